//! The processes of a gateway: its workers, who are kept, and the gits that serve, who are their children.

use rustix::process::Pid;

use crate::harness::Gateway;

/// One process as `/proc/PID/stat` has it (proc(5)).
struct Process {
    id: u32,
    name: String,
    /// What is behind the name, which may hold anything: the state, the parent's number, and numbers.
    fields: Vec<String>,
}

impl Process {
    fn all() -> impl Iterator<Item = Self> {
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?))
    }

    fn read(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (start, rest) = stat.rsplit_once(") ")?;
        let name = start.split_once('(')?.1.to_owned();
        Some(Self { id, name, fields: rest.split_whitespace().map(str::to_owned).collect() })
    }

    fn is_child_of(&self, parent: u32) -> bool {
        self.fields[1] == parent.to_string()
    }

    /// Minor page faults of its children that it has waited for; no process can do without some.
    fn faults_of_children(&self) -> u64 {
        self.fields[8].parse().unwrap()
    }
}

/// How many processes the daemon has started that are there: its workers.
pub(crate) fn workers(gateway: &Gateway) -> usize {
    workers_of(gateway).len()
}

/// The same, by their numbers.
pub(crate) fn workers_of(gateway: &Gateway) -> Vec<u32> {
    Process::all().filter(|process| process.is_child_of(gateway.pid())).map(|process| process.id).collect()
}

/// What a process is, and what it waits for: its command, its state, and the system call with its arguments (proc(5)).
pub(crate) fn waits_for(id: u32) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
    let status = read("status");
    let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default();
    format!("{id} {} {state} {}", read("cmdline").replace('\0', " "), read("syscall").trim())
}

/// The gits that serve, and what they have started.
pub(crate) fn gits(gateway: &Gateway) -> Vec<u32> {
    let all: Vec<Process> = Process::all().collect();
    let (mut parents, mut gits) = (vec![gateway.pid()], Vec::new());
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.is_child_of(parent)) {
            parents.push(process.id);
            gits.extend(process.name.starts_with("git").then_some(process.id));
        }
    }
    gits
}

/// The gits that make packs.
pub(crate) fn packers(gateway: &Gateway) -> Vec<Pid> {
    let packs = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == b"pack-objects")
    };
    gits(gateway).into_iter().filter(packs).filter_map(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).collect()
}

/// Processes that the daemon or one of its workers started, that have ended, and that nobody has waited for.
pub(crate) fn zombies(gateway: &Gateway) -> usize {
    let all: Vec<Process> = Process::all().collect();
    let workers = all.iter().filter(|process| process.is_child_of(gateway.pid())).map(|worker| worker.id);
    let parents: Vec<u32> = workers.chain([gateway.pid()]).collect();
    let ours = |process: &&Process| parents.iter().any(|parent| process.is_child_of(*parent));
    all.iter().filter(ours).filter(|process| process.fields[0] == "Z").count()
}

/// A number that grows with every git that ends.
pub(crate) fn faults_of_gits(gateway: &Gateway) -> u64 {
    let workers = Process::all().filter(|process| process.is_child_of(gateway.pid()));
    let daemon = Process::read(gateway.pid()).unwrap();
    workers.chain([daemon]).map(|process| process.faults_of_children()).sum()
}
