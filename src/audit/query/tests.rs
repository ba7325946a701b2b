use super::super::{SCHEMA, Source};
use super::*;

fn record(event: Event) -> Record {
    let time = "2027-03-01T08:00:00Z".parse().unwrap();
    Record { v: SCHEMA, time, id: "0123456789".to_owned(), event, link: None }
}

fn subject() -> Subject {
    Subject {
        key: Some(KeyName::parse("acme/ci").unwrap()),
        fingerprint: Some(Fingerprint::of_blob(b"x")),
        address: Some("10.1.2.3".parse().unwrap()),
        client: Some("SSH-2.0-x".to_owned()),
    }
}

fn fetch() -> Record {
    record(Event::Fetch {
        subject: subject(),
        repository: RepoPath::parse("beta/app").unwrap(),
        protocol: 2,
        outcome: Ended::Failed,
        bytes_out: 1,
        bytes_in: 2,
        duration_ms: 3,
        source: Some(Source::Hit),
        code: Some("repository".to_owned()),
    })
}

fn changed(what: &str) -> Record {
    let (by, what) = ("root".to_owned(), what.to_owned());
    record(Event::Changed { by, seq: 1, first_seq: None, what, recovered: false })
}

fn refused() -> Record {
    let (code, reason) = ("not-granted".to_owned(), "no".to_owned());
    record(Event::Refused { subject: subject(), code, reason, asked: "acme/secret.git".to_owned() })
}

fn key(text: &str) -> Query {
    Query { key: Some(KeyRef::parse(text).unwrap()), ..Query::default() }
}

fn repo(text: &str) -> Query {
    Query { repo: Some(Grant::parse(text).unwrap()), ..Query::default() }
}

fn account(text: &str) -> Query {
    Query { account: Some(AccountName::parse(text).unwrap()), ..Query::default() }
}

#[test]
fn each_filter_takes_what_it_says_and_nothing_else() {
    let fingerprint = Fingerprint::of_blob(b"x").to_string();
    assert!(key("acme/ci").wants(&fetch()) && key(&fingerprint).wants(&fetch()));
    assert!(!key("acme/ci-2").wants(&fetch()));
    assert!(!key(&Fingerprint::of_blob(b"y").to_string()).wants(&fetch()));
    assert!(repo("beta/app").wants(&fetch()) && repo("beta/*").wants(&fetch()) && !repo("beta/ap").wants(&fetch()));
    assert!(repo("acme/secret").wants(&refused()) && !repo("acme/@secret").wants(&refused()));
    assert!(account("acme").wants(&fetch()) && account("beta").wants(&fetch()) && !account("gamma").wants(&fetch()));
    for (network, is_in) in [("10.0.0.0/8", true), ("10.1.2.3/32", true), ("10.1.2.4/32", false), ("::/0", false)] {
        let query = Query { address: Some(network.parse().unwrap()), ..Query::default() };
        assert_eq!(query.wants(&fetch()), is_in, "{network}");
        assert!(!query.wants(&changed("x")));
    }
    for (code, fits) in [("not-granted", true), ("busy", false)] {
        assert_eq!(Query { code: Some(code.to_owned()), ..Query::default() }.wants(&refused()), fits);
    }
    let outcomes =
        |words: &[&str]| Query { outcomes: words.iter().map(ToString::to_string).collect(), ..Query::default() };
    assert!(outcomes(&["failed"]).wants(&fetch()) && !outcomes(&["served"]).wants(&fetch()));
    assert!(outcomes(&["served", "refused"]).wants(&refused()));
    let at = |text: &str| Some(text.parse().unwrap());
    assert!(Query { since: at("2027-03-01T08:00:00Z"), ..Query::default() }.wants(&fetch()));
    assert!(!Query { since: at("2027-03-01T08:00:01Z"), ..Query::default() }.wants(&fetch()));
    assert!(Query { until: at("2027-03-01T08:00:00Z"), ..Query::default() }.wants(&fetch()));
    assert!(!Query { until: at("2027-03-01T07:59:59Z"), ..Query::default() }.wants(&fetch()));
    let id = |id: &str| Query { id: Some(id.to_owned()), ..Query::default() };
    assert!(id("0123456789").wants(&fetch()) && !id("012345678").wants(&fetch()));
    assert!(id("0123456789").may_want(br#"{"id":"0123456789"}"#) && !id("1").may_want(b"{}"));
    let changes = Query { changes: true, ..Query::default() };
    assert!(changes.wants(&changed("x")) && !changes.wants(&fetch()) && !changes.wants(&refused()));
    let both = Query { changes: true, fetches: true, ..Query::default() };
    assert!(both.wants(&changed("x")) && both.wants(&fetch()) && !both.wants(&refused()));
}

#[test]
fn changes_are_found_by_what_they_name() {
    let fingerprint = Fingerprint::of_blob(b"x").to_string();
    let added = changed(&format!("added key acme/ci ({fingerprint}), which may fetch acme/app, acme/lib"));
    for yes in [key("acme/ci"), key(&fingerprint), repo("acme/lib"), repo("acme/l*"), account("acme")] {
        assert!(yes.wants(&added), "{yes:?}");
    }
    for no in [key("acme/c"), key("acme/which"), repo("acme/li"), account("added"), account("ac"), account("beta")] {
        assert!(!no.wants(&added), "{no:?}");
    }
    let account_added = changed("added account acme");
    assert!(account("acme").wants(&account_added) && !account("added").wants(&account_added));
}
