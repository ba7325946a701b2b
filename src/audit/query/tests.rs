use super::super::{SCHEMA, Source};
use super::*;
use crate::model::details::{Details, Gathering};

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
    record(Event::Changed { by, seq: 1, first_seq: None, what, details: Details::default(), recovered: false })
}

fn refused() -> Record {
    let (code, reason) = ("not-granted".to_owned(), "no".to_owned());
    let asked = "acme/secret.git".to_owned();
    record(Event::Refused { subject: subject(), code, reason, asked, repository: None })
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
fn a_refusal_is_found_by_its_repository_whatever_its_reason() {
    let repository = Some(RepoPath::parse("acme/app").unwrap());
    for asked in ["acme/app", "git archive", ""] {
        let (code, reason, asked) = ("expired".to_owned(), "no".to_owned(), asked.to_owned());
        let refused =
            record(Event::Refused { subject: subject(), code, reason, asked, repository: repository.clone() });
        assert!(
            repo("acme/app").wants(&refused) && repo("acme/*").wants(&refused) && !repo("acme/lib").wants(&refused)
        );
    }
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

/// A commit of so many changes, each of a key of its own; the accounts `a0` to `a4` in turn.
fn applied(changes: u32) -> Record {
    let mut all = Gathering::default();
    for n in 0..changes {
        let account = format!("a{}", n % 5);
        let print = Fingerprint::of_blob(&n.to_be_bytes());
        all.put(|| format!("granted {account}/app to key {account}/ci-{n} ({print})"), [account.as_str()]);
    }
    let (by, what) = ("root".to_owned(), format!("applied {changes} changes"));
    record(Event::Changed { by, seq: 1, first_seq: None, what, details: all.end(), recovered: false })
}

#[test]
fn a_commit_of_many_changes_is_found_by_what_each_of_them_names() {
    let few = applied(20);
    let print = Fingerprint::of_blob(&7u32.to_be_bytes()).to_string();
    for yes in [key("a2/ci-7"), key(&print), repo("a3/app"), repo("a4/*"), account("a1")] {
        assert!(yes.wants(&few) && !yes.leaves_open(&few), "{yes:?}");
    }
    for no in [key("a2/ci-8"), key("a2/ci-20"), repo("a5/app"), account("a5"), account("applied")] {
        assert!(!no.wants(&few) && !no.leaves_open(&few), "{no:?}");
    }
    let both = Query { repo: repo("a2/app").repo, ..key("a2/ci-7") };
    let told = few.event.details().unwrap().told.iter();
    assert_eq!(told.filter(|told| both.names(told)).count(), 1);
}

#[test]
fn what_a_record_does_not_name_is_left_open_and_not_denied() {
    let many = applied(100_000);
    assert!(key("a2/ci-7").wants(&many) && !key("a2/ci-7").leaves_open(&many));
    assert!(account("a4").wants(&many), "accounts are all there");
    let print = Fingerprint::of_blob(b"any").to_string();
    for open in [key("a4/ci-99999"), key(&print), repo("a4/lib")] {
        assert!(!open.wants(&many) && open.leaves_open(&many), "{open:?}");
    }
    for no in [key("a5/ci-5"), repo("a5/app"), account("a5"), Query::default()] {
        assert!(!no.leaves_open(&many), "{no:?}");
    }
    let other = Query { since: Some("2030-01-01T00:00:00Z".parse().unwrap()), ..key("a4/ci-99999") };
    assert!(!other.leaves_open(&many));
}
