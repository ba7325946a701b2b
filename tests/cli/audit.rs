//! `pullgate audit`: what a person reads of the audit file, and what a script gets.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::Site;

/// One record of each kind, as a gateway of version 1 of the schema writes them.
pub(crate) const RECORDS: &str = include_str!("audit.jsonl");

fn site() -> Site {
    let site = Site::new();
    std::fs::write(site.path("state/audit.jsonl"), RECORDS).unwrap();
    site
}

fn told(site: &Site, runs: &[&[&str]]) -> String {
    runs.iter().map(|args| format!("$ pullgate {}\n{}\n", args.join(" "), site.run(args))).collect()
}

#[test]
fn records_are_shown_to_people_and_found_by_every_filter() {
    let site = site();
    let story = told(
        &site,
        &[
            &["audit"],
            &["audit", "--id", "1f03"],
            &["audit", "--id", "0000000005"],
            &["audit", "--key", "acme/ci"],
            &["audit", "--key", "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
            &["audit", "--repo", "acme/a*", "-n", "2"],
            &["audit", "--account", "acme", "--changes"],
            &["audit", "--outcome", "served,timed-out", "--fetches"],
            &["audit", "--code", "[not-granted]"],
            &["audit", "--address", "192.0.2.0/24"],
            &["audit", "--since", "2026-03-01T08:00:06", "--until", "2026-03-01"],
            &["audit", "-n", "1", "--json"],
            &["audit", "--since", "7d"],
        ],
    );
    site.snapshot("audit_records", &story);
}

/// As clients, keys and the config have them.
#[test]
fn a_network_of_ipv4_is_one_however_it_is_written() {
    let site = site();
    let records = |network: &str| site.run(&["audit", "--json", "--address", network]).to_string();
    let plain = records("192.0.2.0/24");
    assert!(plain.contains("192.0.2."), "{plain}");
    assert_eq!(records("::ffff:192.0.2.0/120"), plain);
}

#[test]
fn what_is_wrong_is_said_with_a_remedy() {
    let site = Site::new();
    let mut story = told(&site, &[&["audit"], &["audit", "--json"], &["audit", "--follow", "--file", "x"]]);
    std::fs::write(site.path("state/audit.jsonl"), "").unwrap();
    std::fs::write(site.path("state/audit.jsonl.2.gz"), "").unwrap();
    story += &told(
        &site,
        &[
            &["audit"],
            &["audit", "--key", "acme", "--repo", "acme/@backend", "--since", "soon", "--address", "10.0.0.0/33"],
            &["audit", "--since", "2027-03-02", "--until", "2027-03-01"],
            &["audit", "--outcome", "fetched"],
            &["audit", "-n", "0"],
            &["audit", "--code", "[not-grantd]"],
            &["audit", "--file", "none.jsonl"],
            &["audit", "--file", "state"],
            &["audit", "--file", "-", "--file", "-"],
        ],
    );
    let strange = site.run_with(&["audit", "--file", "-"], "no record\n{}\n\n{\"v\":1,\"ti");
    site.snapshot("audit_mistakes", &format!("{story}$ pullgate audit --file - < strange\n{strange}\n"));
}

#[test]
fn json_is_the_lines_as_they_are_of_all_files_in_order() {
    let site = site();
    let lines: Vec<_> = RECORDS.lines().collect();
    let (old, rest) = lines.split_at(3);
    let (middle, new) = rest.split_at(4);
    let write = |name: &str, lines: &[&str]| std::fs::write(site.path(name), lines.join("\n") + "\n").unwrap();
    write("state/audit.jsonl.2", old);
    write("state/audit.jsonl.1", middle);
    write("state/audit.jsonl", new);
    assert_eq!(site.ok(&["audit", "--json"]).out, RECORDS);
    for count in 1..=lines.len() {
        let last = lines[lines.len() - count..].join("\n") + "\n";
        assert_eq!(site.ok(&["audit", "--json", "-n", &count.to_string()]).out, last);
    }
    // The same from named files, and from a pipe.
    let named = ["audit", "--json", "--file", "state/audit.jsonl.2", "--file", "-"];
    assert_eq!(site.run_with(&named, &(rest.join("\n") + "\n")).out, RECORDS);
    let two = lines[lines.len() - 2..].join("\n") + "\n";
    assert_eq!(site.run_with(&["audit", "--json", "-n", "2", "--file", "-"], RECORDS).out, two);
    // What a terminal would act on does not reach it.
    let evil = lines[0].replace("SSH-2.0-git", "\\u001b[2J\\u202e");
    let shown = site.run_with(&["audit", "--file", "-"], &evil);
    assert!(shown.out.contains("\\u{1b}[2J\\u{202e}") && !shown.out.contains('\u{1b}'), "{shown}");
}

/// A file that others may not read: said, with who may. Root may read everything, so this runs as somebody else.
#[test]
fn no_right_to_read_is_said_with_who_has_it() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let site = site();
    let open = |name: &str, mode| std::fs::set_permissions(site.path(name), PermissionsExt::from_mode(mode)).unwrap();
    open("", 0o755);
    open("config.toml", 0o644);
    open("state", 0o700);
    let Ok(output) = site.command(&["audit"]).uid(65534).output() else { return };
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("audit.jsonl cannot be read") && said.contains("as root"), "{said}");
}

/// A run of the program that goes on, and the lines that it has written.
struct Following {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Following {
    fn start(site: &Site, args: &[&str]) -> Self {
        let mut child = site.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines }
    }

    fn next(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    fn nothing_more(&self) {
        let more = self.lines.recv_timeout(Duration::from_millis(700));
        assert!(more.is_err(), "{more:?}");
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn append(site: &Site, name: &str, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(site.path(name)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn follow_goes_on_over_both_ways_of_rotation_and_waits_for_a_torn_line() {
    let site = Site::new();
    let live = "state/audit.jsonl";
    let line = |n: usize| RECORDS.lines().next().unwrap().replace("0000000001", &format!("{n:010}"));
    append(&site, live, &format!("{}\n{}\n{}", line(1), line(2), &line(3)[..20]));
    let following = Following::start(&site, &["audit", "--json", "--follow", "-n", "1"]);
    assert_eq!(following.next(), line(2));
    following.nothing_more();
    append(&site, live, &format!("{}\n", &line(3)[20..]));
    assert_eq!(following.next(), line(3));
    // Moved away: who writes may go on in the old one for a while.
    std::fs::rename(site.path(live), site.path("state/audit.jsonl.1")).unwrap();
    append(&site, "state/audit.jsonl.1", &format!("{}\n", line(4)));
    assert_eq!(following.next(), line(4));
    append(&site, "state/audit.jsonl.1", &format!("{}\n", line(5)));
    append(&site, live, &format!("{}\n", line(6)));
    assert_eq!([following.next(), following.next()], [line(5), line(6)]);
    // Emptied in its place, and filled again with more than it had.
    std::fs::write(site.path(live), "").unwrap();
    append(&site, live, &format!("{}\n{}\n{}\n", line(7), line(8), line(9)));
    assert_eq!([following.next(), following.next(), following.next()], [line(7), line(8), line(9)]);
    following.nothing_more();
}

#[test]
fn follow_ends_when_nobody_reads_any_more() {
    let site = site();
    let mut child = site.command(&["audit", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    drop(out);
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "it goes on without a reader, and nothing is written");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{status}");
}

/// "Who gave acme/ci this grant, and when?" has an answer, whichever way the grant came.
#[test]
fn what_apply_changed_is_found_by_what_it_changed() {
    let site = Site::with_acme();
    site.ok(&["account", "add", "beta"]);
    site.ok(&["key", "add", "acme", "ci", "--key", "a.pub"]);
    let exported = site.ok(&["export"]).out;
    assert_eq!(exported.matches("grants = []").count(), 1, "{exported}");
    let granted = exported.replace("grants = []", "grants = [\"beta/lib\"]");
    let key = crate::support::KEY_B.trim_end();
    let file = format!("{granted}\n[[key]]\nname = \"beta/new\"\nkey = \"{key}\"\n");
    std::fs::write(site.path("state.toml"), file).unwrap();
    site.ok(&["apply", "state.toml"]);
    let fingerprint: serde_json::Value =
        serde_json::from_str(&site.ok(&["key", "show", "acme/ci", "--json"]).out).unwrap();
    let fingerprint = fingerprint["fingerprint"].as_str().unwrap();
    let last = |args: &[&str]| site.ok(&[&["audit", "--changes", "-n", "1"], args].concat()).out;
    for by in [["--key", "acme/ci"], ["--key", fingerprint], ["--repo", "beta/lib"], ["--account", "acme"]] {
        let told = last(&by);
        assert!(told.contains("applied 2 changes (change 4)"), "{by:?}: {told}");
        assert!(told.contains(&format!("- granted beta/lib to key acme/ci ({fingerprint})")), "{by:?}: {told}");
        assert!(!told.contains("beta/new"), "only what was asked for: {told}");
    }
    assert!(last(&["--key", "beta/new"]).contains("- added key beta/new (SHA256:"));
    assert!(last(&["--account", "gamma"]).is_empty());
    // What goes with something else, too, by each of its names.
    site.ok(&["account", "remove", "beta", "--yes"]);
    assert!(last(&["--key", "beta/new"]).contains("- removed key beta/new (SHA256:"));
    assert!(last(&["--key", "acme/ci"]).contains("- took beta/lib from key acme/ci (SHA256:"));
    site.ok(&["audit", "verify"]);
}

#[test]
fn an_import_of_any_size_is_one_bounded_record_which_says_what_it_leaves_out() {
    let site = Site::with_acme();
    let text: String = (0..3000).map(|n| format!("{} agent {n}\n", crate::import::key(n))).collect();
    let ran = site.run_with(&["import", "authorized-keys", "-", "acme", "--grant", "acme/app"], &text);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines = std::fs::read_to_string(site.path("state/audit.jsonl")).unwrap();
    assert!(lines.lines().all(|line| line.len() < 34 * 1024));
    let found = |key: &str| site.ok(&["audit", "--key", key]);
    let (first, last) = (found("acme/agent-0"), found("acme/agent-2999"));
    assert!(
        first.out.contains("- added key acme/agent-0 (SHA256:") && first.out.contains("may fetch acme/app"),
        "{first}"
    );
    assert!(!first.err.contains("leave out"), "{first}");
    // What the record has no room for is in the journal, which is asked.
    assert!(last.out.contains("applied 3000 changes") && last.err.is_empty(), "{last}");
    assert!(last.out.contains("- added key acme/agent-2999 (SHA256:"), "{last}");
    assert!(found("acme/agent-3000").out.is_empty());
    // Without it, it is not said that there is nothing.
    let alone = site.ok(&["audit", "--file", "state/audit.jsonl", "--key", "acme/agent-2999"]);
    assert!(alone.out.is_empty() && alone.err.contains("such as ") && alone.err.contains("of change 2"), "{alone}");
    assert!(site.ok(&["audit", "--account", "acme", "-n", "1"]).out.contains("applied 3000 changes"));
    let other = found("beta/agent-2999");
    assert!(!other.err.contains("leave out"), "{other}");
    site.ok(&["audit", "verify"]);
}
