//! Polls: what the gateway says without asking git is byte for byte what git would say.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::harness::{Gateway, can_init, plain_git, run, wait_until};
use crate::tree::faults_of_gits;

/// Refs that were written a moment ago may be trusted from then on.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(60));
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

fn line(text: &str) -> String {
    format!("{:04x}{text}\n", text.len() + 5)
}

/// What comes back when these bytes are sent and nothing more.
fn answer(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), input).unwrap();
    let output = command.stdin(file.reopen().unwrap()).stderr(Stdio::null()).output().unwrap();
    output.stdout
}

fn from_gateway(gateway: &Gateway, key: &Path, repo: &str, version: u8, input: &[u8]) -> Vec<u8> {
    let words = gateway.ssh_line(key);
    let mut words = words.split(' ');
    let mut ssh = Command::new(words.next().unwrap());
    ssh.args(words).args(["-p", &gateway.port().to_string(), "-o", &format!("SetEnv=GIT_PROTOCOL=version={version}")]);
    ssh.args(["git@localhost", &format!("git-upload-pack '{repo}'")]);
    answer(&mut ssh, input)
}

fn from_git(bare: &Path, version: u8, input: &[u8]) -> Vec<u8> {
    let mut git = plain_git(bare);
    git.env("GIT_PROTOCOL", format!("version={version}"));
    for set in ["uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true", "safe.directory=*"] {
        git.args(["-c", set]);
    }
    answer(git.args(["upload-pack", "--strict", "."]), input)
}

#[track_caller]
fn same(gateway: &Gateway, key: &Path, repo: &str, bare: &Path, version: u8, input: &[u8]) {
    let (ours, gits) = (from_gateway(gateway, key, repo, version, input), from_git(bare, version, input));
    assert!(
        ours == gits,
        "{repo}, version {version}, asked {}\n--- the gateway\n{}\n--- git\n{}\n--- the log\n{}",
        String::from_utf8_lossy(input),
        String::from_utf8_lossy(&ours),
        String::from_utf8_lossy(&gits),
        gateway.log()
    );
}

/// A repository with refs of all kinds.
fn random_refs(bare: &Path, dice: &mut Dice) {
    let git = |args: &[&str]| run(plain_git(bare).args(args)).ok().trim().to_owned();
    let commits: Vec<String> = git(&["rev-list", "--all"]).lines().map(str::to_owned).collect();
    for round in 0..2 {
        for _ in 0..dice.below(12) {
            let name = format!(
                "refs/{}/{}{}",
                dice.of(&["heads", "tags", "notes", "pull/7", "remotes/origin"]),
                dice.of(&["a", "b", "a-b", "a.b", "zz", "Ä", "x/y"]),
                dice.below(3)
            );
            let commit = &commits[dice.below(commits.len())];
            // A name may stand in the way of another: then there is one ref less.
            run(plain_git(bare).args(["update-ref", &name, commit]));
            if dice.one_in(3) {
                run(plain_git(bare).args(["tag", "-f", "-m", "a tag", &format!("t{}", dice.below(9)), commit]));
            }
        }
        if dice.one_in(2) {
            run(plain_git(bare).args([
                "symbolic-ref",
                "refs/heads/link",
                dice.of(&["refs/heads/main", "refs/heads/none"]),
            ]));
        }
        if round == 0 && dice.one_in(2) {
            git(&["pack-refs", "--all"]);
        }
    }
    match dice.below(4) {
        0 => drop(git(&["symbolic-ref", "HEAD", "refs/heads/not-there"])),
        1 => drop(git(&["update-ref", "--no-deref", "HEAD", &commits[0]])),
        _ => {}
    }
    for (set, value) in [
        ("transfer.hideRefs", dice.of(&["refs/pull", "refs/heads/a", "!refs/tags"])),
        ("lsrefs.unborn", dice.of(&["advertise", "allow", "ignore"])),
        ("uploadpack.allowFilter", "false"),
    ] {
        if dice.one_in(3) {
            git(&["config", set, value]);
        }
    }
}

/// Questions as clients ask them, and stranger ones.
fn random_questions(format: &str, dice: &mut Dice) -> String {
    let mut asked = String::new();
    for _ in 0..30 {
        asked += &line("command=ls-refs");
        if dice.one_in(2) {
            asked += &line("agent=test/1");
        }
        if format != "sha1" || dice.one_in(2) {
            asked += &line(&format!("object-format={format}"));
        }
        asked += "0001";
        for word in ["peel", "symrefs", "unborn"] {
            if !dice.one_in(3) {
                asked += &line(word);
            }
        }
        for _ in 0..dice.below(4) {
            let prefix = dice.of(&[
                "refs/heads/",
                "refs/tags/",
                "HEAD",
                "",
                "refs/heads/a",
                "refs/",
                "refs/heads/main",
                "H",
                "x",
            ]);
            asked += &line(&format!("ref-prefix {prefix}"));
        }
        asked += "0000";
    }
    asked + "0000"
}

/// How many sessions were served in which way.
fn sources(gateway: &Gateway) -> String {
    let audit = gateway.audit();
    let mut text = String::new();
    for word in ["hit", "joined", "miss", "bypass"] {
        write!(text, "{word} {} ", audit.matches(&format!(r#""cache":"{word}""#)).count()).unwrap();
    }
    text.trim_end().to_owned()
}

fn wait_for_sources(gateway: &Gateway, expected: &str) {
    let number = |text: &str| text.split(' ').filter_map(|word| word.parse::<usize>().ok()).sum::<usize>();
    wait_until("every session is recorded", || number(&sources(gateway)) >= number(expected));
    assert_eq!(sources(gateway), expected, "{}", gateway.audit());
}

#[test]
fn polls_say_what_git_says() {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &["acme/*"]);
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut sessions = 0;
    for round in 0..3 {
        for (format, init) in
            [("sha1", &[][..]), ("sha256", &["--object-format=sha256"]), ("sha1", &["--ref-format=reftable"])]
        {
            if !can_init(init) {
                continue;
            }
            let repo = format!("acme/r{sessions}");
            let bare = gateway.repo_with(&repo, init);
            random_refs(&bare, &mut dice);
            for change in 0..2 {
                if change == 1 {
                    let git = |args: &[&str]| run(plain_git(&bare).args(args)).ok().trim().to_owned();
                    let tip = git(&["rev-parse", "refs/heads/main"]);
                    git(&["update-ref", &format!("refs/heads/new{round}"), &tip]);
                }
                settle();
                let asked = random_questions(format, &mut dice);
                for _ in 0..2 {
                    same(&gateway, &key, &repo, &bare, 2, asked.as_bytes());
                    same(&gateway, &key, &repo, &bare, 1, b"0000");
                    same(&gateway, &key, &repo, &bare, 0, b"0000");
                    sessions += 3;
                }
                // A client that hangs up at once has seen the same.
                same(&gateway, &key, &repo, &bare, 0, b"");
                same(&gateway, &key, &repo, &bare, 2, b"");
                sessions += 2;
            }
        }
    }
    let (kept, made) = (sessions / 2, sessions * 3 / 8);
    // Of eight sessions per state three are the first of their kind, four say it again, and one asks for nothing.
    assert_eq!(sessions % 8, 0);
    wait_for_sources(&gateway, &format!("hit {kept} joined 0 miss {made} bypass 0"));
}

#[test]
fn an_empty_repository_polls_as_git_has_it() {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &["acme/*"]);
    for (repo, init) in [("acme/empty", "--object-format=sha1"), ("acme/empty256", "--object-format=sha256")] {
        let bare = gateway.path(&format!("repositories/{repo}.git"));
        run(plain_git(&gateway.path("")).args(["init", "-q", "--bare", "-b", "trunk", init]).arg(&bare)).ok();
        settle();
        let format = init.trim_start_matches("--object-format=");
        for _ in 0..2 {
            same(&gateway, &key, repo, &bare, 0, b"0000");
            same(&gateway, &key, repo, &bare, 2, random_questions(format, &mut Dice(7)).as_bytes());
        }
        gateway.git(&key, &["clone", "-q", &gateway.url(repo), format]).ok();
        let head = run(plain_git(&gateway.path(format)).args(["symbolic-ref", "HEAD"])).ok();
        assert_eq!(head.trim(), "refs/heads/trunk");
    }
}

/// What git makes of requests that are none is what the client gets, whatever was kept.
#[test]
fn odd_requests_are_gits_to_answer() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    settle();
    let refs = line("command=ls-refs") + "0001" + &line("peel") + "0000";
    for odd in [
        line("command=ls-refs") + "0001" + &line("peeled") + "0000",
        line("command=ls-refs") + &line("object-format=sha256") + "00010000",
        line("command=fly") + "0000",
        refs.clone() + &line("command=object-info") + "0001" + &line("size") + "00000000",
        // To a fetch of nothing git says nothing, not even that it is at its end.
        line("command=fetch") + "0001" + &line("done") + "0000" + &refs + "0000",
        line("command=fetch") + "0000" + &line("command=fetch") + "00010000" + &refs + "0000",
        refs.clone() + "zzzz",
        refs + "00",
        "0002".to_owned(),
    ] {
        same(&gateway, &key, "acme/app", &bare, 2, odd.as_bytes());
    }
    for odd in ["zzzz", "0009done\n"] {
        same(&gateway, &key, "acme/app", &bare, 0, odd.as_bytes());
    }
    // A client leaves at git's error line, and would not hear what comes behind it: so ours is in the same line.
    let nothing = "0032want 0123456789012345678901234567890123456789\n0000";
    let said = from_gateway(&gateway, &key, "acme/app", 0, nothing.as_bytes());
    let said = String::from_utf8_lossy(&said);
    let line = said.rsplit_once("ERR ").unwrap().1;
    let start = "upload-pack: not our ref 0123456789012345678901234567890123456789: acme/app: ";
    assert!(
        line.starts_with(start)
            && line.contains("that is not in the repository, or no more")
            && line.contains("[repository] (id "),
        "{said}"
    );
}

/// A name of one process is nobody else's.
#[test]
fn session_ids_are_never_said_again() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    run(plain_git(&bare).args(["config", "transfer.advertiseSID", "true"])).ok();
    settle();
    for version in [0, 2] {
        let said: Vec<String> = (0..3)
            .map(|_| String::from_utf8_lossy(&from_gateway(&gateway, &key, "acme/app", version, b"0000")).into_owned())
            .collect();
        let ids: std::collections::BTreeSet<&str> = said
            .iter()
            .map(|said| said.split_once("session-id=").unwrap().1.split_once(['\n', ' ']).unwrap().0)
            .collect();
        assert_eq!(ids.len(), 3, "{said:?}");
    }
}

/// No other git can go on where one has said its session's id.
#[test]
fn where_session_ids_are_told_a_clone_is_served_that_is_not_kept() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    std::fs::write(bare.join("more"), "").unwrap();
    for option in [["transfer.advertiseSID", "true"], ["include.path", "more"]] {
        run(plain_git(&bare).args(["config", option[0], option[1]])).ok();
    }
    settle();
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "copy"]).ok();
    gateway.git(&key, &["clone", "-q", "--depth=1", &gateway.url("acme/app"), "shallow"]).ok();
}

#[test]
fn a_poll_that_is_kept_starts_nothing() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    settle();
    let url = gateway.url("acme/app");
    let poll =
        |version: &str| gateway.git(&key, &["-c", &format!("protocol.version={version}"), "ls-remote", &url]).ok();
    for version in ["0", "2"] {
        poll(version);
    }
    let expected = gateway.refs(&bare);
    let before = faults_of_gits(&gateway);
    assert!(before > 0);
    for version in ["0", "2", "0", "2"] {
        assert_eq!(poll(version), expected);
    }
    assert_eq!(faults_of_gits(&gateway), before, "a process was started for a poll");
    gateway.commit(&bare, "new", "x\n");
    assert_eq!(poll("2"), gateway.refs(&bare));
    assert!(faults_of_gits(&gateway) > before);
}

/// Fetches of old protocols go to git, whatever it was told in whose name.
#[test]
fn old_protocols_fetch_after_a_kept_advertisement() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    settle();
    let url = gateway.url("acme/app");
    for (n, version) in ["0", "1", "0", "1"].into_iter().enumerate() {
        let (version, copy) = (format!("protocol.version={version}"), format!("copy{n}"));
        gateway.git(&key, &["-c", &version, "clone", "-q", &url, &copy]).ok();
        gateway.commit(&bare, &format!("new{n}"), "x\n");
        settle();
        gateway.git(&key, &["-c", &version, "-C", &copy, "pull", "-q"]).ok();
        assert!(gateway.path(&copy).join(format!("new{n}")).exists());
        run(plain_git(&gateway.path(&copy)).args(["fsck", "--strict"])).ok();
    }
}

/// Authorisation is before what is kept, and nobody's name is in it.
#[test]
fn what_was_said_is_for_those_who_may_hear_it() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let (key, other) = (gateway.key("ci", &["acme/app"]), gateway.key("other", &["acme/app"]));
    let stranger = gateway.key("stranger", &["acme/else"]);
    settle();
    for version in ["0", "2"] {
        let version = format!("protocol.version={version}");
        let poll = |key: &Path| gateway.git(key, &["-c", &version, "ls-remote", &gateway.url("acme/app")]);
        assert_eq!((poll(&key).ok(), poll(&other).ok()), (gateway.refs(&bare), gateway.refs(&bare)));
        let refused = poll(&stranger).failed();
        assert!(refused.contains("[not-granted]"), "{refused}");
        gateway.pullgate(["key", "suspend", "acme/other"]).ok();
        let refused = poll(&other).failed();
        assert!(refused.contains("[suspended]"), "{refused}");
        gateway.pullgate(["key", "resume", "acme/other"]).ok();
    }
    wait_for_sources(&gateway, "hit 2 joined 0 miss 2 bypass 0");
}
