//! What git shows of each refusal, in every protocol version; and that nothing which a client or a repository brings can
//! do anything to whoever reads it.

use std::path::Path;
use std::process::Command;

use crate::harness::{Gateway, Said, plain_git, run};
use crate::scene::{Trouble, Verb, normal, refusals, same_id_in_the_audit};

#[test]
fn every_refusal_in_every_version() {
    let gateway = Gateway::start();
    let cases = refusals(&gateway, &["ed25519"]);
    gateway.git(&cases[0].key, &["clone", "-q", &gateway.url("acme/app"), "work"]).ok();
    let mut versions = Vec::new();
    for version in ["0", "1", "2"] {
        let config = format!("protocol.version={version}");
        let mut text = String::new();
        for case in &cases {
            let url = gateway.url(case.repo);
            let args = match case.verb {
                Verb::Look => vec!["-c", &config, "ls-remote", &url],
                Verb::Push => vec!["-c", &config, "-C", "work", "push", "origin", "HEAD:refs/heads/main"],
            };
            let said = match case.trouble {
                None => gateway.git(&case.key, &args),
                Some(trouble) => in_trouble(&gateway, &case.key, &args, trouble),
            };
            assert_eq!((said.code, said.out.as_str()), (Some(128), ""), "{}: {said:?}", case.name);
            if case.code == "repository" {
                // Found by git itself when it serves; its record is that of a fetch that failed.
                assert!(said.err.contains("[repository]"), "{said:?}");
            } else {
                same_id_in_the_audit(&gateway, &said.err, case.code);
            }
            text.push_str(&format!("{}:\n  {}\n", case.name, normal(&gateway, gateway.port(), &said.err)));
        }
        let archive =
            gateway.git(&cases[0].key, &["archive", &format!("--remote={}", gateway.url("acme/app")), "HEAD"]);
        same_id_in_the_audit(&gateway, &archive.err, "not-served");
        text.push_str(&format!("an archive:\n  {}\n", normal(&gateway, gateway.port(), &archive.err)));
        versions.push(text);
    }
    assert_eq!(versions[0], versions[1]);
    assert_eq!(versions[0], versions[2]);
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("messages_git", versions[0]);
    });
}

/// Runs git while the gateway is in trouble; where that comes after the login, over a connection that is open.
fn in_trouble(gateway: &Gateway, key: &Path, args: &[&str], trouble: Trouble) -> Said {
    let socket = gateway.path("shared").display().to_string();
    let mut line = gateway.ssh_line(key);
    if trouble.is_later() {
        line.push_str(&format!(" -o ControlMaster=auto -o ControlPersist=60 -o ControlPath={socket}"));
        run(plain_git(&gateway.path("")).env("GIT_SSH_COMMAND", &line).args(args)).ok();
    }
    trouble.begin(gateway);
    let said = run(plain_git(&gateway.path("")).env("GIT_SSH_COMMAND", &line).args(args));
    trouble.end(gateway);
    if trouble.is_later() {
        gateway.ssh(key, &["-O", "exit", "-o", &format!("ControlPath={socket}")], &[]).ok();
    }
    said
}

/// Control characters of every sort in a path, a command, a variable and a user name: none comes back.
#[test]
fn nothing_that_a_terminal_would_obey_comes_back() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/*"]);
    let evil =
        ["\x1b[2J", "\x07", "\r", "\u{9b}31m", "\u{202e}gpj", "\u{2066}", "\x7f", "\x08\x08", "\u{feff}", "a\nb"];
    for evil in evil {
        let commands = [
            format!("git-upload-pack 'acme/{evil}app'"),
            format!("git-receive-pack 'acme/{evil}app'"),
            format!("git-upload-archive '{evil}'"),
            format!("{evil} x"),
            format!("git-lfs-authenticate acme/{evil} download"),
        ];
        for command in commands {
            let said = gateway.ssh(&key, &[], &[&command]);
            assert_ne!(said.code, Some(0), "{command:?}: {said:?}");
            for text in [&said.out, &said.err] {
                let bad = text.trim_end_matches('\n').chars().find(|c| is_obeyed(*c));
                assert_eq!(bad, None, "{command:?}: {said:?}");
            }
        }
    }
    // The same through real git, which sends what a URL hides, in every version; a push, too.
    run(plain_git(&gateway.path("")).args(["clone", "-q", "repositories/acme/app.git", "work"])).ok();
    for (evil, version) in evil.into_iter().zip([0, 1, 2].into_iter().cycle()) {
        let config = format!("protocol.version={version}");
        let hidden: String = evil.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let url = gateway.url(&format!("acme/{hidden}app.git"));
        for args in
            [&["ls-remote", &url][..], &["-C", "work", "push", &url, "main"], &["archive", "--remote", &url, "main"]]
        {
            let said = gateway.git(&key, &[&["-c", &config], args].concat());
            assert!(said.code != Some(0) && said.err.contains("(id "), "{evil:?} {args:?}: {said:?}");
            assert_eq!(said.err.trim_end_matches('\n').chars().find(|c| is_obeyed(*c) && *c != '\n'), None, "{said:?}");
            // git itself would have put question marks in their place.
            assert!(!said.err.lines().any(|line| line.contains("remote error") && line.contains('?')), "{said:?}");
        }
    }
    // Nor does it reach the audit file unescaped.
    let audit = gateway.audit();
    assert!(!audit.lines().any(|line| line.chars().any(is_obeyed)), "{audit}");
    // A label and a note are refused when they are made.
    let public = gateway.keygen("evil", &["ed25519"]).with_extension("pub");
    let added = gateway.pullgate(["key", "add", "acme", "a\x1b[2Jb", "--key", public.to_str().unwrap()]);
    assert_eq!(added.code, Some(2), "{added:?}");
    assert!(!format!("{}{}", added.out, added.err).contains('\x1b'), "{added:?}");
}

/// C0, C1, DEL, direction marks and the byte order mark.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A branch whose name is as wild as git allows is data, and goes through as it is; what we add to it says nothing.
#[test]
fn what_is_in_the_repository_is_not_in_our_words() {
    let gateway = Gateway::start();
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let mut git = plain_git(&bare);
    run(git.args(["update-ref", "refs/heads/\u{202e}\u{9b}31m", "main"])).ok();
    assert_eq!(gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok(), gateway.refs(&bare));
    std::fs::write(bare.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[\x1b[2Jx\n").unwrap();
    let said = gateway.ssh(&key, &[], &["git-upload-pack 'acme/app'"]);
    assert!(said.out.contains("[repository]") && !said.out.contains('\x1b') && !said.err.contains('\x1b'), "{said:?}");
}

/// What a person sees who opens a shell with a key that has nothing to say: the same sentences, on standard error.
#[test]
fn a_shell_hears_the_same_words() {
    let gateway = Gateway::start();
    let cases = refusals(&gateway, &["ed25519"]);
    for case in cases.iter().filter(|case| matches!(case.code, "expired" | "source-address")) {
        let line = gateway.ssh_line(&case.key);
        let mut ssh = Command::new("ssh");
        ssh.args(line.split(' ').skip(1)).args(["-p", &gateway.port().to_string(), "-T", "git@localhost"]);
        let said = run(&mut ssh);
        assert_eq!((said.code, said.out.as_str()), (Some(128), ""), "{said:?}");
        same_id_in_the_audit(&gateway, &said.err, case.code);
    }
}
