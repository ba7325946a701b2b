//! What git shows of each refusal, in every protocol version; and that nothing which a client or a repository brings can
//! do anything to whoever reads it.

use std::path::Path;

use crate::harness::{Gateway, Said, plain_git, run};
use crate::scene::{Trouble, Verb, normal, refusals, same_id_in_the_audit};

#[test]
fn every_refusal_in_every_version() {
    let gateway = Gateway::start();
    let cases = refusals(&gateway, &["ed25519"]);
    gateway.git(&cases[0].key, &["clone", "-q", &gateway.url("acme/app"), "work"]).ok();
    let soon = gateway.keygen("soon", &["ed25519"]);
    let public = soon.with_extension("pub");
    let args = ["key", "add", "acme", "soon", "--grant", "acme/app", "--expires", "7d", "--key"];
    gateway.pullgate(args.into_iter().chain([public.to_str().unwrap()])).ok();
    let refs = gateway.refs(&gateway.path("repositories/acme/app.git"));
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
            same_id_in_the_audit(&gateway, &said.err, case.code);
            text.push_str(&format!("{}:\n  {}\n", case.name, normal(&gateway, gateway.port(), &said.err)));
        }
        let archive = gateway
            .git(&cases[0].key, &["-c", &config, "archive", &format!("--remote={}", gateway.url("acme/app")), "HEAD"]);
        assert_eq!((archive.code, archive.out.as_str()), (Some(128), ""), "{archive:?}");
        same_id_in_the_audit(&gateway, &archive.err, "not-served");
        text.push_str(&format!("an archive:\n  {}\n", normal(&gateway, gateway.port(), &archive.err)));
        let looked = gateway.git(&soon, &["-c", &config, "ls-remote", &gateway.url("acme/app")]);
        assert_eq!((looked.code, looked.out.as_str()), (Some(0), refs.as_str()), "{looked:?}");
        text.push_str(&format!("a key that ends soon:\n  {}\n", normal(&gateway, gateway.port(), &looked.err)));
        versions.push(text);
    }
    assert_eq!(versions[0], versions[1]);
    assert_eq!(versions[0], versions[2]);
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("messages_git", versions[0]);
    });
}

/// What is heard over plain ssh, word for word: who asks for a shell, who asks for LFS, and who is not known at all.
#[test]
fn what_ssh_shows() {
    let gateway = Gateway::start();
    let cases = refusals(&gateway, &["ed25519"]);
    let mut text = String::new();
    let mut row = |name: &str, said: &Said| {
        assert_eq!(said.out, "", "{name}");
        let words = normal(&gateway, gateway.port(), &said.err).replace('\n', "\n  ");
        text.push_str(&format!("{name}: status {}\n  {}\n\n", said.code.unwrap(), words.trim_end()));
    };
    let hello = gateway.ssh(&cases[0].key, &["-T"], &[]);
    assert_eq!(hello.code, Some(0));
    row("a shell", &hello);
    let bound = gateway.keygen("bound", &["ed25519"]).with_extension("pub");
    let (bound, key) = (bound.to_str().unwrap(), gateway.path("bound"));
    gateway.pullgate(["key", "add", "acme", "bound", "--key", bound, "--expires", "2099-12-30"]).ok();
    row("a shell for a key with an end and without a grant", &gateway.ssh(&key, &["-T"], &[]));
    let person = gateway.keygen("person", &["ed25519"]).with_extension("pub");
    let (person, key) = (person.to_str().unwrap(), gateway.path("person"));
    gateway.pullgate(["account-key", "add", "acme", "person", "--key", person]).ok();
    row("a shell for a person of the account", &gateway.ssh(&key, &["-T"], &[]));
    for case in cases.iter().filter(|case| matches!(case.code, "expired" | "suspended" | "rotated" | "source-address"))
    {
        let said = gateway.ssh(&case.key, &["-T"], &[]);
        assert_eq!(said.code, Some(128), "{said:?}");
        same_id_in_the_audit(&gateway, &said.err, case.code);
        row(&format!("a shell for {}", case.name), &said);
    }
    let asked = gateway.ssh(&cases[0].key, &[], &["id"]);
    same_id_in_the_audit(&gateway, &asked.err, "not-served");
    row("a command", &asked);
    for verb in ["git-lfs-authenticate acme/app.git download", "git-lfs-transfer /acme/app.git download"] {
        let said = gateway.ssh(&cases[0].key, &[], &[verb]);
        assert_eq!(said.code, Some(127), "{said:?}");
        row(verb, &said);
    }
    row("an unknown key", &gateway.ssh(&gateway.keygen("stranger", &["ed25519"]), &["-o", "LogLevel=ERROR"], &[]));
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("messages_ssh", text);
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

/// Control characters of every sort in a path and a command: none comes back.
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
}

/// No way into the registry takes a name that a terminal would obey; and a folder of the store that has one is no repository.
#[test]
fn no_name_that_a_terminal_would_obey_comes_in() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/**"]);
    let public = gateway.keygen("evil", &["ed25519"]).with_extension("pub");
    let public = public.to_str().unwrap();
    let line = std::fs::read_to_string(public).unwrap();
    let before = gateway.pullgate(["export"]).ok();
    for evil in ["a\x1b[2Jb", "a\u{202e}b", "a\u{9b}31m", "a\nb", "a\x07"] {
        let (account, repo, group) = (evil.to_owned(), format!("acme/{evil}"), format!("acme/@{evil}"));
        let file = gateway.path("evil.toml");
        // As TOML spells characters.
        let escaped: String = evil.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect();
        let declared = before.replace("\"acme/ci\"", &format!("\"acme/{escaped}\""));
        assert!(declared.contains(&escaped), "{declared}");
        std::fs::write(&file, declared).unwrap();
        for args in [
            &["key", "add", "acme", evil, "--key", public][..],
            &["key", "add", "acme", "label", "--key", public, "--grant", &repo],
            &["key", "rename", "acme/ci", evil],
            &["key", "note", "acme/ci", evil],
            &["key", "grant", "acme/ci", &repo],
            &["account", "add", &account],
            &["account-key", "add", "acme", evil, "--key", public],
            &["group", "add", &group, "acme/app"],
            &["repo", "publish", &repo],
            &["apply", file.to_str().unwrap()],
        ] {
            let said = gateway.pullgate(args);
            assert!(said.code != Some(0) && !said.err.is_empty(), "{args:?}: {said:?}");
            let text = format!("{}{}", said.out, said.err);
            assert_eq!(text.chars().find(|c| is_obeyed(*c) && *c != '\n'), None, "{args:?}: {text:?}");
        }
        // The comment of a key is no name, and is not repeated.
        std::fs::write(public, format!("{} {evil}\n", line.split(' ').take(2).collect::<Vec<_>>().join(" "))).unwrap();
        assert_eq!(gateway.pullgate(["export"]).ok(), before, "{evil:?}");

        let folder = gateway.path("repositories/acme").join(format!("{}.git", evil.replace('\n', "\r")));
        std::fs::rename(gateway.repo("acme/wild"), &folder).unwrap();
        let listed = gateway.pullgate(["repo", "list", "acme"]);
        let text = format!("{}{}", listed.out, listed.err);
        assert_eq!(text.chars().find(|c| is_obeyed(*c) && *c != '\n'), None, "{text:?}");
        let hidden: String =
            folder.file_name().unwrap().to_str().unwrap().bytes().map(|b| format!("%{b:02x}")).collect();
        let said = gateway.git(&key, &["ls-remote", &gateway.url(&format!("acme/{hidden}"))]);
        assert_eq!(said.code, Some(128), "{said:?}");
        same_id_in_the_audit(&gateway, &said.err, "bad-path");
        assert_eq!(said.err.trim_end().lines().count(), 1, "{said:?}");
        assert_eq!(said.err.chars().find(|c| is_obeyed(*c) && *c != '\n'), None, "{said:?}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
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
