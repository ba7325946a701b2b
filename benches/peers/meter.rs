//! What a server costs: processor time of all its processes, those that have ended included, and the memory they hold.
//!
//! As root with control groups of version 2 the kernel adds it up, down to the shortest-lived child. Else it is read from
//! `/proc`: each living process of the tree with what its children used that it has waited for. [`prove`] shows on this
//! machine that either way counts children that live for a millisecond.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Processes that are watched together.
pub(crate) struct Tree {
    root: Child,
    group: Option<PathBuf>,
    peak: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

/// A folder for groups, where this process may make some.
fn groups() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (at, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(at))
    })?;
    rustix::process::geteuid().is_root().then_some(mount)
}

impl Tree {
    /// Starts a program and watches it and everything that it starts.
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self, String> {
        let group = groups().map(|at| at.join(format!("pullgate-bench-{}-{name}", std::process::id())));
        let group = group.filter(|group| fs::create_dir(group).is_ok());
        let mut wrapped;
        let command = match &group {
            // The shell enters the group and becomes the program: no moment is missed.
            Some(group) => {
                wrapped = Command::new("sh");
                wrapped.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(group);
                wrapped.arg(command.get_program()).args(command.get_args());
                for (key, value) in command.get_envs() {
                    match value {
                        Some(value) => wrapped.env(key, value),
                        None => wrapped.env_remove(key),
                    };
                }
                &mut wrapped
            }
            None => command,
        };
        let root = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().map_err(|e| format!("{name}: {e}"))?;
        let tree = Self { root, group, peak: Arc::default(), over: Arc::default() };
        let (peak, over) = (Arc::clone(&tree.peak), Arc::clone(&tree.over));
        let (pid, group) = (tree.root.id(), tree.group.clone());
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                peak.fetch_max(memory(&processes(pid, group.as_deref())), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(40));
            }
        });
        Ok(tree)
    }

    /// How the processor time is counted, for the reader.
    pub(crate) fn method(&self) -> &'static str {
        if self.group.is_some() { "cgroup v2 cpu.stat" } else { "/proc/*/stat with waited-for children" }
    }

    /// Processor time since the start, in milliseconds.
    pub(crate) fn cpu(&self) -> f64 {
        match &self.group {
            Some(group) => {
                let stat = fs::read_to_string(group.join("cpu.stat")).unwrap_or_default();
                let usec = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).expect("usage_usec");
                usec.parse::<f64>().expect("a number") / 1000.0
            }
            None => {
                let tick = 1000.0 / rustix::param::clock_ticks_per_second() as f64;
                processes(self.root.id(), None).iter().filter_map(|pid| ticks(*pid)).sum::<u64>() as f64 * tick
            }
        }
    }

    /// Waits until the tree is at rest: what ends late belongs to the request that it was started for.
    pub(crate) fn rest(&self) {
        // Helpers that are kept for the next request are at rest too.
        let state = || (self.cpu(), processes(self.root.id(), self.group.as_deref()).len());
        let mut last = state();
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(30));
            let now = state();
            if now.0 - last.0 < 0.3 && now.1 == last.1 {
                return;
            }
            last = now;
        }
    }

    pub(crate) fn forget_peak(&self) {
        self.peak.store(0, Ordering::Relaxed);
    }

    /// The most memory of their own that the processes had at one time, in bytes: pages of files, which they share with the
    /// kernel's cache and each other, are not counted.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.root.try_wait(), Ok(None))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let pid = i32::try_from(self.root.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        for _ in 0..100 {
            if self.ended() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.root.kill().ok();
        self.root.wait().ok();
        if let Some(group) = &self.group {
            // Sessions that outlive their listener are ours too.
            fs::write(group.join("cgroup.kill"), "1").ok();
            for _ in 0..50 {
                if fs::remove_dir(group).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Fields of `/proc/PID/stat` behind the name, which may hold anything (proc(5)).
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = text.rsplit_once(')')?;
    Some(behind.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect())
}

/// utime, stime, cutime and cstime.
fn ticks(pid: u32) -> Option<u64> {
    stat(pid).map(|fields| fields[11..15].iter().sum())
}

fn processes(root: u32, group: Option<&Path>) -> Vec<u32> {
    if let Some(group) = group {
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        return text.lines().filter_map(|line| line.parse().ok()).collect();
    }
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: HashMap<u32, u32> =
        pids.filter_map(|pid| Some((pid, u32::try_from(*stat(pid)?.get(1)?).ok()?))).collect();
    let mut found = HashSet::from([root]);
    loop {
        let more: Vec<u32> = parents
            .iter()
            .filter(|(pid, parent)| found.contains(parent) && !found.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found.into_iter().collect();
        }
        found.extend(more);
    }
}

fn memory(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    pids.iter().filter_map(of).sum::<u64>() * 1024
}

/// Runs many short-lived children under the meter, and holds its figure against what the kernel says of the same work when
/// a shell waits for it. Says what it found, or why no figure of this run could be believed.
pub(crate) fn prove() -> Result<String, String> {
    const CHILDREN: &str = "n=0; while [ $n -lt 200 ]; do /bin/true; n=$((n+1)); done";
    let out = std::env::temp_dir().join(format!("pullgate-bench-{}", std::process::id()));
    let script = format!("{CHILDREN}; times > '{}'; exec sleep 30", out.display());
    let tree = Tree::start("proof", Command::new("sh").args(["-c", &script]))?;
    let mut said = String::new();
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(50));
        said = fs::read_to_string(&out).unwrap_or_default();
        if said.lines().count() == 2 {
            break;
        }
    }
    fs::remove_file(&out).ok();
    let seen = tree.cpu();
    let kernel: f64 = said.split_whitespace().filter_map(milliseconds).sum();
    if kernel < 50.0 || !(0.8..1.25).contains(&(seen / kernel)) {
        return Err(format!("the meter saw {seen:.0} ms of 200 short-lived children, the kernel {kernel:.0} ms"));
    }
    Ok(format!("{}: of 200 children of a millisecond it saw {seen:.0} ms, their parent {kernel:.0} ms", tree.method()))
}

/// `0m1.230000s`, as the shell's `times` writes it.
fn milliseconds(word: &str) -> Option<f64> {
    let (minutes, seconds) = word.strip_suffix('s')?.split_once('m')?;
    Some((minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?) * 1000.0)
}
