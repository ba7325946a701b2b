//! Kernels that cannot confine, played by a filter that answers as they do.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use pullgate::sandbox::{Allow, CellError, Mode};
use rustix::process::{Resource, getrlimit};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::support::{cells, child, ended, job, mode, pool, program};

/// A system call that a kernel lacks, or that something around this process refuses.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    call: i64,
    when: Vec<SeccompCondition>,
    says: i32,
}

impl Missing {
    pub(crate) fn call(call: i64) -> Self {
        Self { call, when: Vec::new(), says: libc::ENOSYS }
    }

    /// Only where this argument is such.
    pub(crate) fn when(mut self, argument: u8, length: SeccompCmpArgLen, op: SeccompCmpOp, value: u64) -> Self {
        self.when.push(SeccompCondition::new(argument, length, op, value).unwrap());
        self
    }

    /// With another answer: of a container's list of system calls, say.
    pub(crate) fn says(self, errno: i32) -> Self {
        Self { says: errno, ..self }
    }
}

/// Runs something in a thread, and so in children of it, for which the kernel lacks some system calls.
pub(crate) fn lacking<T: Send>(calls: &[Missing], run: impl FnOnce() -> T + Send) -> T {
    let arch = if cfg!(target_arch = "aarch64") { TargetArch::aarch64 } else { TargetArch::x86_64 };
    let says = calls.first().map_or(libc::ENOSYS, |first| first.says);
    assert!(calls.iter().all(|call| call.says == says), "one filter has one answer");
    let mut missing: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for Missing { call, when, .. } in calls {
        let rules = missing.entry(*call).or_default();
        if !when.is_empty() {
            rules.push(SeccompRule::new(when.clone()).unwrap());
        }
    }
    let answer = SeccompAction::Errno(says.unsigned_abs());
    let filter = SeccompFilter::new(missing, SeccompAction::Allow, answer, arch).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            seccompiler::apply_filter(&program).unwrap();
            run()
        });
        thread.join().unwrap()
    })
}

fn without<T: Send>(calls: &[i64], run: impl FnOnce() -> T + Send) -> T {
    lacking(&calls.iter().copied().map(Missing::call).collect::<Vec<_>>(), run)
}

pub(crate) const LANDLOCK: &[i64] =
    &[libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];

#[test]
fn a_kernel_without_landlock_is_refused_or_told() {
    let help = job(&["--help"], Path::new("/"), &[]);
    let trial = |which| without(LANDLOCK, || cells(mode(which)).trial(&help));
    let error = trial(Mode::Require).unwrap_err();
    assert!(matches!(&error, CellError::Refused(why) if why.contains("Landlock")), "{error}");
    let report = trial(Mode::Prefer).unwrap().unwrap();
    assert!(!report.whole() && report.landlock.is_none() && report.calls && report.limits, "{report}");
    assert_eq!(trial(Mode::Off).unwrap(), None);
    // Here, nothing is missing.
    assert!(cells(mode(Mode::Require)).trial(&help).unwrap().unwrap().whole());
}

#[test]
fn a_worker_confines_as_far_as_it_must() {
    let run = |which| without(LANDLOCK, || ended(&pool(mode(which)), &job(&["--help"], Path::new("/"), &[])));
    let required = run(Mode::Require);
    assert!(required.not_run.is_some() && required.err.contains("Landlock"), "{required:?}");
    let preferred = run(Mode::Prefer);
    assert!(preferred.code == Some(0) && preferred.out.contains("Usage"), "{preferred:?}");
}

/// What the system has too little of for a moment is told as that, and not as a fault of the child.
#[test]
fn a_shortage_in_a_worker_is_told_as_one() {
    let mut job = job(&["--help"], Path::new("/"), &[]);
    // The one thing that is opened in this way.
    job.profile = job.profile.and([Allow::Beneath("/usr".into())]);
    for (errno, which) in [(libc::EMFILE, Mode::Require), (libc::ENOMEM, Mode::Prefer)] {
        let pool = pool(mode(which));
        let ended = lacking(&[Missing::call(libc::SYS_openat2).says(errno)], || ended(&pool, &job));
        let told = ended.not_run.as_ref().and_then(std::io::Error::raw_os_error);
        assert_eq!(told, Some(errno), "{ended:?}");
        assert_eq!((pool.tally().children, pool.tally().not_run), (1, 1));
    }
}

/// One bound that this kernel does not have must not cost the others where not all are required.
#[test]
fn a_bound_that_cannot_be_set_costs_no_other() {
    // One of them, in the middle, and only that it is set.
    let sets = Missing::call(libc::SYS_prlimit64).when(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0);
    let cpu = u64::from(libc::RLIMIT_CPU);
    let missing = [sets.when(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, cpu).says(libc::EPERM)];
    let run = |which| lacking(&missing, || ended(&pool(mode(which)), &child("kernels::which_bounds")));
    let required = run(Mode::Require);
    assert!(required.not_run.is_some() && required.err.contains("limits"), "{required:?}");
    let preferred = run(Mode::Prefer);
    let bounds = "\nbounds|core Some(0), queues Some(0), cpu None\n";
    assert!(preferred.out.contains(bounds), "{preferred:?}");
}

/// A child that says what of its bounds it sees.
#[test]
#[ignore = "is the child of another test"]
fn which_bounds() {
    let of = |resource| getrlimit(resource).current;
    let (core, queues, cpu) = (of(Resource::Core), of(Resource::Msgqueue), of(Resource::Cpu));
    println!("\nbounds|core {core:?}, queues {queues:?}, cpu {cpu:?}");
}

#[test]
fn the_gateway_does_not_start_on_such_a_kernel_unless_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let run = |verb: &'static [&'static str]| -> Output {
        let mut command = Command::new(program());
        command.args(verb).env("PULLGATE_CONFIG", dir.path().join("config.toml")).current_dir(dir.path());
        without(LANDLOCK, || command.stdin(Stdio::null()).output().unwrap())
    };
    assert!(run(&["init", "."]).status.success());
    // Whatever else runs on this machine, `check` finds these ports free.
    let [ssh, watch] = [0, 1].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [ssh, watch] = [ssh, watch].map(|held| held.local_addr().unwrap().to_string());
    let config = std::fs::read_to_string(dir.path().join("config.toml")).unwrap();
    let config = config.replace("127.0.0.1:2222", &ssh).replace("listen = \"\"", &format!("listen = \"{watch}\""));
    std::fs::write(dir.path().join("config.toml"), config).unwrap();
    let refused = run(&["serve"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("cannot be confined") && text.contains("prefer"), "{text}");
    let checked = run(&["check"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(!checked.status.success() && text.contains("error    sandbox.mode"), "{text}");
    let config = std::fs::read_to_string(dir.path().join("config.toml")).unwrap();
    std::fs::write(dir.path().join("config.toml"), config.replace("\"require\"", "\"prefer\"")).unwrap();
    let checked = run(&["check"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && text.contains("warning  sandbox.mode: git is not wholly confined"), "{text}");
    // It serves there, and says at every start what is not enforced, and to who watches.
    for start in 1..=2 {
        let mut command = Command::new(program());
        command.arg("serve").env("PULLGATE_CONFIG", dir.path().join("config.toml")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut daemon = without(LANDLOCK, || command.spawn().unwrap());
        let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines().map(Result::unwrap);
        let said: Vec<String> = lines.by_ref().take_while(|line| !line.contains("serving SSH")).collect();
        let mut asks = std::net::TcpStream::connect(&watch).unwrap();
        asks.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let numbers = std::io::read_to_string(asks).unwrap();
        for line in
            ["pullgate_cell_whole 0", "pullgate_cell_mode{mode=\"prefer\"} 1", "pullgate_cell_mode{mode=\"require\"} 0"]
        {
            assert!(numbers.lines().any(|told| told == line), "{line}: {numbers}");
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let warned = said.iter().filter(|line| line.contains("WARN") && line.contains("NOT wholly confined")).count();
        assert_eq!(warned, 1, "start {start}: {said:#?}");
    }
}
