//! Workers: what they take, what they go on with, and that nothing outlives them or whoever they work for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pullgate::sandbox::{Mode, Pool, Running, Settings};
use tokio::io::{AsyncBufReadExt as _, AsyncRead};

use crate::support::{self, child, ended, ended_in, job, me, mode, program, runtime};

fn pool() -> Pool {
    support::pool(mode(Mode::Require))
}

/// A child that says who started it, and ends.
#[test]
#[ignore = "is the child of another test"]
fn who_started_me() {
    println!("\nstarter|{}", std::os::unix::process::parent_id());
}

/// A child that starts itself again, says who both are, and ends first.
#[test]
#[ignore = "is the child of another test"]
fn who_leaves_one_behind() {
    let args = ["--exact", "workers::who_waits", "--ignored", "--nocapture", "--test-threads=1"];
    let mut command = Command::new(me());
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    println!("\nleft|{}", command.spawn().unwrap().id());
}

/// The same, and waits.
#[test]
#[ignore = "is the child of another test"]
fn who_starts_one_and_waits() {
    who_leaves_one_behind();
    who_waits();
}

/// A child that waits for longer than any test.
#[test]
#[ignore = "is the child of another test"]
fn who_waits() {
    println!("\nwaits|{}", std::process::id());
    std::thread::sleep(Duration::from_secs(120));
}

/// A gateway with two workers, one of which has a child that waits.
#[test]
#[ignore = "is the child of another test"]
fn a_gateway() {
    runtime().block_on(async {
        let (pool, who) = (pool(), child("workers::who_started_me"));
        let (one, other) = tokio::join!(ended_in(&pool, &who), ended_in(&pool, &who));
        let mut running = pool.start(&child("workers::who_starts_one_and_waits")).unwrap();
        let (left, waits) = both(&mut running).await;
        println!("\nall|{left} {waits} {} {}", starter(&one.out), starter(&other.out));
        std::future::pending::<()>().await;
    });
}

fn said(text: &str, word: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix('|')?.trim().parse().ok())
}

async fn next(lines: &mut tokio::io::Lines<tokio::io::BufReader<impl AsyncRead + Unpin>>, word: &str) -> u32 {
    loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(number) = said(&line, word) {
            return number;
        }
    }
}

async fn both(running: &mut Running) -> (u32, u32) {
    let mut lines = tokio::io::BufReader::new(&mut running.stdout).lines();
    (next(&mut lines, "left").await, next(&mut lines, "waits").await)
}

/// Whether there is such a process; one that has ended and that nobody has asked about is none.
fn lives(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status
        .is_ok_and(|status| !status.lines().any(|line| line.starts_with("State:\tZ") || line.starts_with("State:\tX")))
}

fn is_gone(pid: u32) {
    let start = Instant::now();
    while lives(pid) {
        assert!(start.elapsed() < Duration::from_secs(20), "{pid} lives");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn starter(out: &str) -> u32 {
    said(out, "starter").unwrap_or_else(|| panic!("{out}"))
}

#[test]
fn a_worker_goes_on_with_the_next_child_and_not_for_ever() {
    let pool = pool();
    runtime().block_on(async {
        let who = child("workers::who_started_me");
        let first = starter(&ended_in(&pool, &who).await.out);
        assert_ne!(first, std::process::id());
        for _ in 1..100 {
            assert_eq!(starter(&ended_in(&pool, &who).await.out), first);
        }
        let second = starter(&ended_in(&pool, &who).await.out);
        assert_ne!(second, first);
        is_gone(first);
        // Two at a time have one each.
        let (one, other) = tokio::join!(ended_in(&pool, &who), ended_in(&pool, &who));
        assert_ne!(starter(&one.out), starter(&other.out));
        drop(pool);
        is_gone(second);
    });
}

/// A job that no worker can take costs no worker.
#[test]
fn a_job_that_is_too_long_is_refused_and_nothing_else() {
    let pool = pool();
    runtime().block_on(async {
        let who = child("workers::who_started_me");
        let first = starter(&ended_in(&pool, &who).await.out);
        let mut long = child("workers::who_started_me");
        long.args.push("x".repeat(200_000).into());
        assert_eq!(pool.start(&long).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(starter(&ended_in(&pool, &who).await.out), first);
    });
}

#[test]
fn a_worker_that_is_gone_is_replaced() {
    let pool = pool();
    runtime().block_on(async {
        let who = child("workers::who_started_me");
        let first = starter(&ended_in(&pool, &who).await.out);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(first.try_into().unwrap()), nix::sys::signal::SIGKILL)
            .unwrap();
        is_gone(first);
        assert_ne!(starter(&ended_in(&pool, &who).await.out), first);
        // In the middle of its work: that is an end by signal.
        let mut running = pool.start(&child("workers::who_starts_one_and_waits")).unwrap();
        let (left, waits) = both(&mut running).await;
        let status = std::fs::read_to_string(format!("/proc/{waits}/status")).unwrap();
        let worker = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(worker), nix::sys::signal::SIGKILL).unwrap();
        assert_eq!(running.wait().await.unwrap(), None);
        is_gone(left);
        is_gone(waits);
        assert_eq!((pool.tally().workers, pool.tally().workers_lost), (2, 2));
    });
}

#[test]
fn a_child_that_is_dropped_is_gone_with_all_that_it_started() {
    let pool = pool();
    runtime().block_on(async {
        let mut running = pool.start(&child("workers::who_starts_one_and_waits")).unwrap();
        let (left, waits) = both(&mut running).await;
        assert!(lives(left) && lives(waits));
        drop(running);
        is_gone(left);
        is_gone(waits);
    });
}

#[test]
fn what_a_child_leaves_behind_is_ended() {
    let pool = pool();
    runtime().block_on(async {
        let one = ended_in(&pool, &child("workers::who_leaves_one_behind")).await;
        assert_eq!(one.code, Some(0), "{one:?}");
        is_gone(said(&one.out, "left").unwrap());
        // And the next is served.
        assert_eq!(ended_in(&pool, &child("workers::who_started_me")).await.code, Some(0));
    });
}

#[test]
fn children_end_with_the_gateway_however_that_ends() {
    let args = ["--exact", "workers::a_gateway", "--ignored", "--nocapture", "--test-threads=1"];
    let mut gateway = Command::new(me()).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(gateway.stdout.take().unwrap()).lines();
    let all = lines.find_map(|line| line.unwrap().strip_prefix("all|").map(str::to_owned)).unwrap();
    let pids: Vec<u32> = all.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() == 4 && pids.iter().all(|pid| lives(*pid)), "{all}");
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    pids.into_iter().for_each(is_gone);
}

#[test]
fn a_child_that_ends_by_a_signal_or_with_a_status_says_so() {
    let pool = pool();
    let odd = ended(&pool, &job(&["--no-such-option"], Path::new("/"), &[]));
    assert!(odd.code.is_some_and(|code| code != 0 && code != 125), "{odd:?}");
    let limits = pullgate::sandbox::Limits { memory: 1 << 30, cpu: 1 };
    let short = support::pool(Settings { limits, ..mode(Mode::Require) });
    let killed = ended(&short, &child("workers::who_computes"));
    assert!(killed.code.is_none() && killed.not_run.is_none(), "{killed:?}");
    // And what it took is counted: that second, and a process.
    let tally = short.tally();
    assert!(tally.cpu > Duration::from_millis(500) && tally.cpu < Duration::from_secs(30), "{tally:?}");
    assert!(tally.peak_bytes > 100_000 && tally.children == 1 && tally.not_run == 0, "{tally:?}");
}

/// A child that computes for longer than it may.
#[test]
#[ignore = "is the child of another test"]
fn who_computes() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_worker_is_for_the_gateway_alone() {
    let order = ["__cells", "require", "memory", "1000000000", "cpu", "60"];
    let mut cases = vec![(vec!["__cells"], true), (order[..5].to_vec(), true)];
    // Its input is no socket; it leads no group.
    cases.extend([(order.to_vec(), true), (order.to_vec(), false)]);
    for (words, leads) in cases {
        let mut command = Command::new(program());
        command.args(&words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if leads {
            command.process_group(0);
        }
        let mut worker = command.spawn().unwrap();
        worker.stdin.take().unwrap().write_all(b"env\0").ok();
        let output = worker.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(125) && text.contains("for the gateway alone"), "{words:?}: {output:?}");
    }
}
