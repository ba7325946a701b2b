//! What the other clients show of each refusal, as snapshots.

use std::path::Path;

use crate::Check;
use crate::exercise::{Client, Site, missing};
use crate::harness::{Said, wait_until};
use crate::jgit::{self, JGit};
use crate::listen_in::Pace;
use crate::python::{DULWICH, LIBGIT2};
use crate::scene::{Trouble, Verb, normal, refusals, same_id_in_the_audit};

pub(crate) fn checks() -> Vec<Check> {
    let python = [("libgit2", LIBGIT2), ("dulwich", DULWICH)].into_iter().map(|(name, client)| Check {
        name: format!("messages of {name}"),
        missing: client.missing(),
        run: Box::new(move || show(name, &client, Site::bare(&["ed25519"], |config| config), &["ed25519"], |_, _| ())),
    });
    let jgit = Check {
        name: "messages of JGit".to_owned(),
        missing: missing(&["jgit"]),
        run: Box::new(|| {
            let kind = ["ecdsa", "-m", "PEM"];
            let place = |site: &Site, home: &Path| jgit::place_key(site, home, "ecdsa");
            show("jgit", &JGit, Site::bare(&kind, jgit::nist_curves), &kind, place)
        }),
    };
    let sha1 = Check {
        name: "JGit's SHA-1 signatures are told of".to_owned(),
        missing: missing(&["jgit"]),
        run: Box::new(sha1),
    };
    python.chain([jgit, sha1]).collect()
}

fn show(name: &str, client: &(dyn Client + Sync), mut site: Site, kind: &[&str], prepare: fn(&Site, &Path)) {
    let cases = refusals(&site.gateway, kind);
    let (home, work) = (site.gateway.path("home"), site.gateway.path("work"));
    let mut text = String::new();
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
        assert_ne!(said.code, Some(0), "{}: {said:?}", case.name);
        // Java's traces and what it says about itself are no part of the message.
        let lines = said.err.lines().filter(|line| {
            line.contains('[') && line.contains(']') && !line.starts_with("SLF4J") && !line.starts_with("Caused by")
        });
        let message = lines.collect::<Vec<_>>().join("\n");
        assert!(message.contains(&format!("[{}]", case.code)), "{}: {said:?}", case.name);
        if case.code != "repository" {
            same_id_in_the_audit(&site.gateway, &message, case.code);
        }
        text.push_str(&format!("{}:\n  {}\n", case.name, normal(&site.gateway, site.port(), &message)));
    }
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(format!("messages_{name}"), text);
    });
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
