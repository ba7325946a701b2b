//! What the other clients show of each refusal, as snapshots.
//!
//! Each row that gateway/messages.rs shows of git, with these exceptions. None of these clients can open a shell, ask for LFS or
//! print what a server says beside the protocol, so there is no greeting, no LFS verb and no warning of a key's end; an archive
//! can be asked for by dulwich alone. libgit2 and JGit of that age speak version 0 and nothing else; dulwich speaks all three.

use std::path::Path;

use crate::Check;
use crate::exercise::{Client, Site, missing};
use crate::harness::{Said, wait_until};
use crate::jgit::{self, JGit};
use crate::listen_in::Pace;
use crate::python::{DULWICH, DULWICH_V0, DULWICH_V1, LIBGIT2};
use crate::scene::{Trouble, Verb, normal, refusals, same_id_in_the_audit};

pub(crate) fn checks() -> Vec<Check> {
    let python = [
        ("libgit2", "libgit2", LIBGIT2),
        ("dulwich", "dulwich", DULWICH),
        ("dulwich in version 1", "dulwich", DULWICH_V1),
        ("dulwich in version 0", "dulwich", DULWICH_V0),
    ];
    let python = python.into_iter().map(|(title, name, client)| Check {
        name: format!("messages of {title}"),
        missing: client.missing(),
        run: Box::new(move || {
            let archive: Option<Archive> = (name == "dulwich").then_some(|site, home| DULWICH.archive(site, home));
            let site = Site::bare(&["ed25519"], |config| config);
            show(name, &client, site, &["ed25519"], |_, _| (), archive);
        }),
    });
    let jgit = Check {
        name: "messages of JGit".to_owned(),
        missing: missing(&["jgit"]),
        run: Box::new(|| {
            let kind = ["ecdsa", "-m", "PEM"];
            let place = |site: &Site, home: &Path| jgit::place_key(site, home, "ecdsa");
            show("jgit", &JGit, Site::bare(&kind, jgit::nist_curves), &kind, place, None);
        }),
    };
    let sha1 = Check {
        name: "JGit's SHA-1 signatures are told of".to_owned(),
        missing: missing(&["jgit"]),
        run: Box::new(sha1),
    };
    python.chain([jgit, sha1]).collect()
}

/// How a client asks for an archive.
type Archive = fn(&Site, &Path) -> Said;

fn show(
    name: &str,
    client: &(dyn Client + Sync),
    mut site: Site,
    kind: &[&str],
    prepare: fn(&Site, &Path),
    archive: Option<Archive>,
) {
    let cases = refusals(&site.gateway, kind);
    let (home, work) = (site.gateway.path("home"), site.gateway.path("work"));
    let mut text = String::new();
    let mut row = |site: &Site, name: &str, code: &str, said: &Said| {
        assert_ne!(said.code, Some(0), "{name}: {said:?}");
        let message = message(said, &home);
        assert!(message.contains(&format!("[{code}]")), "{name}: {said:?}");
        same_id_in_the_audit(&site.gateway, &message, code);
        text.push_str(&format!("{name}:\n  {}\n", normal(&site.gateway, site.port(), &message)));
    };
    for case in &cases {
        site.key.clone_from(&case.key);
        prepare(&site, &home);
        let said = match case.verb {
            Verb::Look => match case.trouble {
                None => client.ls_remote(&site, &home, case.repo),
                Some(trouble) => in_trouble(&site, trouble, || client.ls_remote(&site, &home, case.repo)),
            },
            Verb::Push => {
                client.clone(&site, &home, &work, None).ok();
                client.push(&site, &home, &work)
            }
        };
        row(&site, case.name, case.code, &said);
    }
    site.key.clone_from(&cases[0].key);
    if let Some(archive) = archive {
        row(&site, "an archive", "not-served", &archive(&site, &home));
    }
    // It asked in the version that it is to be held to.
    let asked = |version: u8| site.gateway.audit().contains(&format!("\"protocol\":{version},\"outcome\":\"failed\""));
    let versions: Vec<u8> = (0..=2).filter(|version| asked(*version)).collect();
    assert_eq!(versions, client.protocol().into_iter().collect::<Vec<_>>(), "{name}");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(format!("messages_{name}"), text);
    });
}

/// What a client shows: all of it, but for what Java says of itself, each by its exact form, and the trace of where in the
/// client it happened.
fn message(said: &Said, home: &Path) -> String {
    let options = format!("Picked up JAVA_TOOL_OPTIONS: -Duser.home={} ", home.display());
    let of_java = [
        "",
        "SLF4J: Class path contains multiple SLF4J bindings.",
        "SLF4J: See http://www.slf4j.org/codes.html#multiple_bindings for an explanation.",
        "SLF4J: Actual binding is of type [org.slf4j.helpers.NOPLoggerFactory]",
    ];
    let binding = |line: &str| {
        let jar = line.strip_prefix("SLF4J: Found binding in [jar:file:/usr/share/java/");
        let jar = jar.and_then(|rest| rest.strip_suffix(".jar!/org/slf4j/impl/StaticLoggerBinder.class]"));
        jar.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
    };
    let lines =
        said.err.lines().filter(|line| !of_java.contains(line) && !binding(line) && !line.starts_with(&options));
    let lines: Vec<&str> = lines.collect();
    let first = lines.first().copied().unwrap_or_default();
    let trace = |line: &&str| {
        let frame = line.strip_prefix("\tat ").is_some_and(|place| place.ends_with(')') && !place.contains(' '));
        let more = line.strip_prefix("\t... ").and_then(|rest| rest.strip_suffix(" more"));
        let more = more.is_some_and(|count| count.bytes().all(|byte| byte.is_ascii_digit()));
        // The same words once more, under the name of another class.
        let cause = line.strip_prefix("Caused by: ").and_then(|rest| rest.split_once(": "));
        frame || more || cause.is_some_and(|(class, words)| !class.contains(' ') && first.ends_with(words))
    };
    let (out, shown): (_, Vec<&str>) = (&said.out, lines.into_iter().filter(|line| !trace(line)).collect());
    assert_eq!(out, "", "{said:?}");
    let obeyed = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!shown.iter().any(|line| line.contains(obeyed)), "{said:?}");
    shown.join("\n")
}

/// Asks while the gateway is in trouble; where that comes after the login, the wire holds the client up until then.
fn in_trouble(site: &Site, trouble: Trouble, ask: impl FnOnce() -> Said + Send) -> Said {
    if !trouble.is_later() {
        trouble.begin(&site.gateway);
        let said = ask();
        trouble.end(&site.gateway);
        return said;
    }
    let logins = || site.gateway.audit().matches("\"event\":\"login\"").count();
    let before = logins();
    site.wire.set_pace(Pace::Slow);
    let said = std::thread::scope(|scope| {
        let asking = scope.spawn(ask);
        wait_until("the login", || logins() > before);
        site.wire.set_pace(Pace::Stopped);
        trouble.begin(&site.gateway);
        site.wire.set_pace(Pace::Free);
        asking.join().unwrap()
    });
    trouble.end(&site.gateway);
    said
}

/// JSch of that age signs with an RSA key in one way only.
fn sha1() {
    let site = jgit::site("rsa");
    let said = JGit.ls_remote(&site, &site.gateway.path("home"), "acme/app.git");
    assert!(said.code != Some(0) && said.err.contains("use an ed25519 or ECDSA key"), "{said:?}");
    same_id_in_the_audit(&site.gateway, &said.err, "sha1-signature");
}
