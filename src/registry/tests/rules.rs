//! Each rule, through the whole registry.

use super::*;
use crate::model::key_name::KeyRef;
use crate::registry::record::{MAX_GRANTS, MAX_SOURCES};

fn started() -> (tempfile::TempDir, Lookup, Amend) {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    commit(&amend, &[account_add("acme"), account_add("beta")]);
    commit(&amend, &[key_add(1, "acme/ci", &["acme/app"])]);
    (dir, lookup, amend)
}

#[test]
fn a_key_is_registered_once() {
    let (_dir, lookup, amend) = started();
    let held = Conflict::KeyHeld { holder: name("acme/ci"), kind: Holder::DeployKey };
    assert_eq!(conflict(&amend, &[key_add(1, "acme/other", &[])]), held);
    assert_eq!(conflict(&amend, &[key_add(1, "beta/ci", &[])]), held);
    assert_eq!(conflict(&amend, &[key_add(1, "acme/ci", &["acme/app"])]), held);
    commit(&amend, &[Change::KeyRemove { key: key(1).fingerprint() }]);
    assert_eq!(lookup.named(&name("acme/ci")).unwrap(), None);
    assert!(commit(&amend, &[key_add(1, "beta/ci", &[])]).changed);
}

/// Rule 1: a machine's or a person's, never both, by whatever verb it comes, and also within one commit.
#[test]
fn a_key_is_a_deploy_key_or_an_account_key_and_never_both() {
    let (_dir, lookup, amend) = started();
    settle(&lookup);
    let person = |number, text: &str| {
        let Change::KeyAdd { key, name, note, expiry, sources, .. } = key_add(number, text, &[]) else { panic!() };
        Change::KeyAdd { key, name, note, expiry, sources, holder: Holder::AccountKey, grants: Vec::new() }
    };
    let rotate = |old: u32, new| Change::KeyRotate {
        old: key(old).fingerprint(),
        new: key(new),
        label: Label::parse("next").unwrap(),
        expiry: Expiry::Never,
        until: "2030-01-01T00:00:00Z".parse().unwrap(),
    };
    let deploy = Conflict::KeyHeld { holder: name("acme/ci"), kind: Holder::DeployKey };
    assert_eq!(conflict(&amend, &[person(1, "acme/jo")]), deploy);
    assert_eq!(conflict(&amend, &[person(1, "beta/jo")]), deploy);
    commit(&amend, &[person(2, "beta/jo")]);
    let account = Conflict::KeyHeld { holder: name("beta/jo"), kind: Holder::AccountKey };
    assert_eq!(conflict(&amend, &[key_add(2, "acme/other", &[])]), account);
    assert_eq!(conflict(&amend, &[key_add(2, "beta/other", &[])]), account);
    assert_eq!(conflict(&amend, &[rotate(1, 2)]), account);
    assert_eq!(conflict(&amend, &[rotate(2, 1)]), deploy);
    let both = conflict(&amend, &[key_add(3, "acme/both", &[]), person(3, "beta/both")]);
    assert_eq!(both, Conflict::KeyHeld { holder: name("acme/both"), kind: Holder::DeployKey });
    assert_eq!(everything(&lookup).1.len(), 2);
}

#[test]
fn a_label_names_one_key() {
    let (_dir, lookup, amend) = started();
    let taken = Conflict::LabelTaken { name: name("acme/ci"), fingerprint: key(1).fingerprint() };
    assert_eq!(conflict(&amend, &[key_add(2, "acme/ci", &[])]), taken);
    commit(&amend, &[key_add(2, "acme/two", &[])]);
    let rename =
        |number, label: &str| Change::KeyRename { key: key(number).fingerprint(), label: Label::parse(label).unwrap() };
    assert_eq!(conflict(&amend, &[rename(2, "ci")]), taken);
    assert!(!commit(&amend, &[rename(1, "ci")]).changed);
    // Two labels change places in one commit.
    commit(&amend, &[rename(1, "x"), rename(2, "ci"), rename(1, "two")]);
    assert_eq!(lookup.named(&name("acme/ci")).unwrap().unwrap().fingerprint(), key(2).fingerprint());
    assert_eq!(lookup.named(&name("acme/two")).unwrap().unwrap().fingerprint(), key(1).fingerprint());
    assert_eq!(lookup.named(&name("acme/x")).unwrap(), None);
}

#[test]
fn what_is_not_there_is_named() {
    let (_dir, _lookup, amend) = started();
    let gone = key(9).fingerprint();
    let no_key = Conflict::NoKey(KeyRef::Fingerprint(gone));
    for change in [
        Change::KeyRemove { key: gone },
        Change::KeyRename { key: gone, label: Label::parse("x").unwrap() },
        Change::KeyNote { key: gone, note: Note::default() },
        Change::KeyGrant { key: gone, grants: Vec::new() },
        Change::KeyUngrant { key: gone, grants: Vec::new() },
    ] {
        assert_eq!(conflict(&amend, &[change]), no_key);
    }
    assert_eq!(conflict(&amend, &[key_add(2, "nobody/x", &[])]), Conflict::NoAccount(account("nobody")));
    let remove = Change::AccountRemove { account: account("nobody") };
    assert_eq!(conflict(&amend, &[remove]), Conflict::NoAccount(account("nobody")));
}

#[test]
fn bounds_hold() {
    let (_dir, lookup, amend) = started();
    let many: Vec<Grant> = (0..=MAX_GRANTS).map(|n| Grant::parse(&format!("acme/r{n}")).unwrap()).collect();
    let fingerprint = key(1).fingerprint();
    let too_many = Change::KeyGrant { key: fingerprint, grants: many[1..].to_vec() };
    assert_eq!(conflict(&amend, &[too_many]), Conflict::TooManyGrants(name("acme/ci")));
    assert_eq!(lookup.key(&fingerprint).unwrap().unwrap().grants, grants(&["acme/app"]));
    commit(&amend, &[Change::KeyGrant { key: fingerprint, grants: many[2..].to_vec() }]);
    assert_eq!(lookup.key(&fingerprint).unwrap().unwrap().grants.len(), MAX_GRANTS);

    let mut person = key_add(2, "acme/jo", &[]);
    if let Change::KeyAdd { holder, grants: granted, sources, .. } = &mut person {
        *holder = Holder::AccountKey;
        *granted = grants(&["acme/app"]);
        *sources = vec!["10.0.0.0/8".parse().unwrap(); MAX_SOURCES + 1];
    }
    assert_eq!(conflict(&amend, &[person.clone()]), Conflict::NotADeployKey(name("acme/jo")));
    if let Change::KeyAdd { grants: granted, .. } = &mut person {
        granted.clear();
    }
    assert_eq!(conflict(&amend, &[person.clone()]), Conflict::TooManySources(name("acme/jo")));
    if let Change::KeyAdd { sources, .. } = &mut person {
        sources.truncate(MAX_SOURCES);
    }
    commit(&amend, &[person]);
    let grant = Change::KeyGrant { key: key(2).fingerprint(), grants: grants(&["acme/app"]) };
    assert_eq!(conflict(&amend, &[grant]), Conflict::NotADeployKey(name("acme/jo")));
}

#[test]
fn what_is_so_already_changes_nothing() {
    let (dir, _lookup, amend) = started();
    let before = std::fs::read(dir.path().join("journal")).unwrap();
    let fingerprint = key(1).fingerprint();
    for change in [
        account_add("acme"),
        Change::KeyGrant { key: fingerprint, grants: grants(&["acme/app"]) },
        Change::KeyUngrant { key: fingerprint, grants: grants(&["acme/*"]) },
        Change::KeyNote { key: fingerprint, note: Note::default() },
    ] {
        assert_eq!(commit(&amend, &[change]), Committed { first: 2, seq: 2, changed: false });
    }
    assert_eq!(commit(&amend, &[]), Committed { first: 2, seq: 2, changed: false });
    assert_eq!(std::fs::read(dir.path().join("journal")).unwrap(), before);
}

#[test]
fn changes_of_one_commit_happen_together_or_not_at_all() {
    let (_dir, lookup, amend) = started();
    let before = everything(&lookup);
    let half = [account_add("gamma"), key_add(2, "gamma/ci", &[]), key_add(1, "gamma/again", &[])];
    conflict(&amend, &half);
    assert_eq!(everything(&lookup), before);
    assert_eq!(commit(&amend, &half[..2]), Committed { first: 3, seq: 3, changed: true });
}

#[test]
fn an_account_goes_with_its_keys_and_with_what_reaches_into_it() {
    for settled in [false, true] {
        let (_dir, lookup, amend) = started();
        commit(&amend, &[key_add(2, "beta/ci", &["acme/app", "acme/*", "beta/app", "acme/@all"])]);
        if settled {
            settle(&lookup);
        }
        let mut changes = vec![key_add(3, "acme/late", &[]), key_add(4, "beta/late", &["acme/x"])];
        changes.push(Change::AccountRemove { account: account("acme") });
        commit(&amend, &changes);
        assert_eq!(lookup.account(&account("acme")).unwrap(), None);
        assert_eq!(lookup.keys(Some(&account("acme")), None, 10).unwrap(), []);
        assert_eq!(lookup.key(&key(1).fingerprint()).unwrap(), None);
        assert_eq!(lookup.named(&name("beta/ci")).unwrap().unwrap().grants, grants(&["beta/app"]));
        assert_eq!(lookup.named(&name("beta/late")).unwrap().unwrap().grants, []);
        // What comes back is new: it inherits nothing.
        commit(&amend, &[account_add("acme"), key_add(1, "acme/ci", &[])]);
        assert_eq!(lookup.named(&name("acme/ci")).unwrap().unwrap().grants, []);
    }
}

#[test]
fn pages_follow_the_order_of_names() {
    for settled in [false, true] {
        let (_dir, lookup, amend) = started();
        // A dash sorts before a slash, and an account may be the beginning of another one.
        let accounts = ["acme-x", "acmea", "acme"];
        commit(&amend, &accounts.map(account_add));
        for (count, account) in accounts.iter().enumerate() {
            for label in ["a", "b.c", "b"] {
                commit(&amend, &[key_add(fresh(), &format!("{account}/{label}{count}"), &[])]);
            }
        }
        if settled {
            settle(&lookup);
        }
        let all: Vec<KeyName> = everything(&lookup).1.into_iter().map(|record| record.name).collect();
        assert_eq!(all.len(), 10);
        assert!(all.is_sorted());
        for one in [None, Some("acme"), Some("acme-x"), Some("acmea"), Some("beta"), Some("zeta")] {
            let one = one.map(account);
            let expected: Vec<_> =
                all.iter().filter(|name| one.as_ref().is_none_or(|one| name.account == *one)).cloned().collect();
            let mut paged = Vec::new();
            loop {
                let page = lookup.keys(one.as_ref(), paged.last(), 2).unwrap();
                if page.is_empty() {
                    break;
                }
                paged.extend(page.into_iter().map(|record| record.name));
            }
            assert_eq!(paged, expected, "{one:?}");
            let from_elsewhere = lookup.keys(one.as_ref(), Some(&name("acme-x/b0")), 100).unwrap();
            let behind: Vec<_> = expected.into_iter().filter(|found| *found > name("acme-x/b0")).collect();
            assert_eq!(from_elsewhere.into_iter().map(|record| record.name).collect::<Vec<_>>(), behind);
        }
    }
}

#[test]
fn the_largest_record_fits_the_index() {
    let (_dir, lookup, amend) = started();
    settle(&lookup);
    let long = |n: usize| format!("acme/{n:0>100}/{}/{}", "b".repeat(100), "c".repeat(46));
    let mut large = key_add(2, &format!("acme/{}", "l".repeat(100)), &[]);
    if let Change::KeyAdd { grants: granted, sources, note, .. } = &mut large {
        *granted = (0..MAX_GRANTS).map(|n| Grant::parse(&long(n)).unwrap()).collect();
        *sources = vec!["2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/128".parse().unwrap(); MAX_SOURCES];
        *note = Note::parse(&"\u{1f600}".repeat(500)).unwrap();
    }
    commit(&amend, &[large]);
    assert_eq!(lookup.key(&key(2).fingerprint()).unwrap().unwrap().grants.len(), MAX_GRANTS);
    assert!(from_index(&lookup));
}
