//! Groups, public repositories, and repositories that go, in memory and from the index.

use super::*;
use crate::model::name::GroupName;
use crate::model::repo_path::RepoPath;
use crate::registry::record::MAX_MEMBERS;

fn group(text: &str) -> GroupName {
    GroupName::parse(text).unwrap()
}

fn repos(texts: &[&str]) -> Vec<RepoPath> {
    texts.iter().map(|text| RepoPath::parse(text).unwrap()).collect()
}

fn group_add(to: &str, name: &str, members: &[&str]) -> Change {
    Change::GroupAdd { account: account(to), group: group(name), repos: repos(members) }
}

fn publish(text: &str) -> Change {
    Change::RepoPublish { repo: RepoPath::parse(text).unwrap() }
}

/// Groups with their members, public repositories, and grants that are held.
fn places(lookup: &Lookup) -> (Vec<String>, Vec<String>, Vec<String>) {
    let groups = lookup.groups(None).unwrap().into_iter().map(|record| {
        assert_eq!(lookup.group(&record.account, &record.name).unwrap().as_ref(), Some(&record));
        let members: Vec<_> = record.repos.iter().map(ToString::to_string).collect();
        format!("{}/@{}: {}", record.account, record.name, members.join(" "))
    });
    let public = lookup.publics(None).unwrap().into_iter().map(|record| {
        assert_eq!(lookup.public(&record.repo).unwrap().as_ref(), Some(&record));
        record.repo.to_string()
    });
    let mut held = Vec::new();
    for account in lookup.accounts().unwrap() {
        for grant in lookup.grants_into(&account.name).unwrap() {
            let by = lookup.granted(&grant).unwrap();
            assert!(!by.is_empty(), "{grant}");
            held.push(format!("{grant} {}", by.len()));
        }
    }
    (groups.collect(), public.collect(), held)
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn people_and_counts_are_told_from_index_and_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    settle(&lookup);
    let person = |number, text: &str| {
        let mut change = key_add(number, text, &[]);
        if let Change::KeyAdd { holder, .. } = &mut change {
            *holder = Holder::AccountKey;
        }
        change
    };
    let people = [person(1, "acme/jo"), person(2, "acme/mo"), person(3, "beta/jo"), key_add(4, "acme/ci", &[])];
    commit(&amend, &[&[account_add("acme"), account_add("beta")][..], &people].concat());
    commit(&amend, &[Change::KeyRemove { key: key(2).fingerprint() }]);
    let check = |lookup: &Lookup| {
        let acme = account("acme");
        assert_eq!(lookup.people(&acme).unwrap().into_iter().collect::<Vec<_>>(), [key(1).fingerprint()]);
        assert_eq!((lookup.count(&acme).unwrap(), lookup.count(&account("beta")).unwrap()), (2, 1));
        assert_eq!((lookup.count(&account("ac")).unwrap(), lookup.people(&account("ac")).unwrap().len()), (0, 0));
    };
    check(&lookup);
    drop((lookup, amend));
    lose_index(dir.path());
    let (lookup, _amend) = open(dir.path()).unwrap();
    assert!(!from_index(&lookup));
    check(&lookup);
    settle(&lookup);
    check(&lookup);
}

#[test]
fn places_are_kept_and_go_together() {
    for settled in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (lookup, amend) = open(dir.path()).unwrap();
        if settled {
            settle(&lookup);
        }
        commit(&amend, &["acme", "acme-x", "beta"].map(account_add));
        commit(&amend, &[key_add(1, "acme/a", &["acme/app", "acme/@g", "acme/*"])]);
        commit(&amend, &[key_add(2, "beta/b", &["acme/app", "acme/app-2", "acme/@g", "beta/app"])]);
        commit(&amend, &[group_add("acme", "g", &["acme/lib", "acme/app", "acme/lib"]), group_add("acme-x", "g", &[])]);
        assert!(!commit(&amend, &[group_add("acme", "g", &["acme/app"])]).changed);
        commit(&amend, &[publish("acme/app"), publish("beta/app")]);
        assert!(!commit(&amend, &[publish("beta/app")]).changed);
        assert_eq!(
            places(&lookup),
            (
                texts(&["acme/@g: acme/app acme/lib", "acme-x/@g: "]),
                texts(&["acme/app", "beta/app"]),
                texts(&["acme/app 2", "acme/app-2 1", "acme/* 1", "acme/@g 2", "beta/app 1"])
            )
        );
        // The repository takes the exact grants with it, and no other.
        commit(&amend, &[Change::RepoRemove { repo: RepoPath::parse("acme/app").unwrap() }]);
        assert!(!commit(&amend, &[Change::RepoRemove { repo: RepoPath::parse("acme/app").unwrap() }]).changed);
        let after = (
            texts(&["acme/@g: acme/lib", "acme-x/@g: "]),
            texts(&["beta/app"]),
            texts(&["acme/app-2 1", "acme/* 1", "acme/@g 2", "beta/app 1"]),
        );
        assert_eq!(places(&lookup), after);
        drop((lookup, amend));
        lose_index(dir.path());
        let (lookup, amend) = open(dir.path()).unwrap();
        assert_eq!(places(&lookup), after);
        settle(&lookup);
        assert_eq!(places(&lookup), after);
        // The group takes the grants that name it; the account takes all that is in it.
        commit(&amend, &[Change::GroupRemove { account: account("acme"), group: group("g") }]);
        assert_eq!(places(&lookup).2, texts(&["acme/app-2 1", "acme/* 1", "beta/app 1"]));
        commit(&amend, &["acme-x", "beta"].map(|gone| Change::AccountRemove { account: account(gone) }));
        assert_eq!(places(&lookup), (Vec::new(), Vec::new(), texts(&["acme/* 1"])));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_lookup, amend) = open(dir.path()).unwrap();
    commit(&amend, &[account_add("acme")]);
    assert_eq!(conflict(&amend, &[group_add("nobody", "g", &[])]), Conflict::NoAccount(account("nobody")));
    assert_eq!(conflict(&amend, &[publish("nobody/app")]), Conflict::NoAccount(account("nobody")));
    let elsewhere = Conflict::NotOfAccount { repo: RepoPath::parse("beta/x").unwrap(), account: account("acme") };
    assert_eq!(conflict(&amend, &[group_add("acme", "g", &["acme/a", "beta/x"])]), elsewhere);
    let none = Conflict::NoGroup(account("acme"), group("g"));
    let (of, name) = (account("acme"), group("g"));
    assert_eq!(conflict(&amend, &[Change::GroupRemove { account: of.clone(), group: name.clone() }]), none);
    let drop = Change::GroupDrop { account: of.clone(), group: name.clone(), repos: repos(&["acme/a"]) };
    assert_eq!(conflict(&amend, &[drop]), none);
    let many: Vec<RepoPath> = (0..=MAX_MEMBERS).map(|n| RepoPath::parse(&format!("acme/r{n}")).unwrap()).collect();
    let add = |repos: &[RepoPath]| Change::GroupAdd { account: of.clone(), group: name.clone(), repos: repos.to_vec() };
    commit(&amend, &[add(&many[1..])]);
    assert_eq!(conflict(&amend, &[add(&many[..1])]), Conflict::TooManyMembers(of.clone(), name.clone()));
}

#[test]
fn the_largest_group_fits_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    settle(&lookup);
    let long = |n: usize| format!("acme/{n:0>100}/{}/{}", "b".repeat(100), "c".repeat(46));
    let members: Vec<RepoPath> = (0..MAX_MEMBERS).map(|n| RepoPath::parse(&long(n)).unwrap()).collect();
    let name = group(&"g".repeat(100));
    commit(&amend, &[account_add("acme")]);
    commit(&amend, &[Change::GroupAdd { account: account("acme"), group: name.clone(), repos: members.clone() }]);
    assert_eq!(lookup.group(&account("acme"), &name).unwrap().unwrap().repos, members);
    assert!(from_index(&lookup));
}

#[test]
fn an_account_is_closed_only_when_it_holds_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = open(dir.path()).unwrap();
    commit(&amend, &[account_add("acme"), key_add(1, "acme/ci", &[])]);
    let close = Change::AccountClose { account: account("acme") };
    assert_eq!(conflict(&amend, std::slice::from_ref(&close)), Conflict::NotEmpty(account("acme")));
    assert!(lookup.key(&key(1).fingerprint()).unwrap().is_some());
    commit(&amend, &[Change::KeyRemove { key: key(1).fingerprint() }, close]);
    assert_eq!(lookup.account(&account("acme")).unwrap(), None);
}

/// Whoever removes an account that holds nothing does not take what came meanwhile. A journal from before this rule is read
/// as it was written.
#[test]
fn an_account_is_closed_only_when_nothing_goes_with_it() {
    let repo = |text: &str| RepoPath::parse(text).unwrap();
    let given: [(Change, Change); 3] = [
        (Change::RepoPublish { repo: repo("acme/docs") }, Change::RepoUnpublish { repo: repo("acme/docs") }),
        (
            Change::GroupAdd { account: account("acme"), group: group("all"), repos: Vec::new() },
            Change::GroupRemove { account: account("acme"), group: group("all") },
        ),
        (key_add(1, "beta/ci", &["acme/app"]), Change::KeyRemove { key: key(1).fingerprint() }),
    ];
    let close = [Change::AccountClose { account: account("acme") }];
    for (give, take) in given {
        let dir = tempfile::tempdir().unwrap();
        let (lookup, amend) = open(dir.path()).unwrap();
        commit(&amend, &[account_add("acme"), account_add("beta"), give.clone()]);
        assert_eq!(conflict(&amend, &close), Conflict::NotEmpty(account("acme")), "{give:?}");
        assert!(lookup.account(&account("acme")).unwrap().is_some());
        let mut state = crate::registry::state::State::default();
        let mut draft = crate::registry::rules::Draft::new(&state);
        for change in [&account_add("acme"), &account_add("beta"), &give, &close[0]] {
            assert!(draft.apply(change, "tester", jiff::Timestamp::now()).unwrap(), "an old journal is read");
        }
        let over = draft.into_overlay();
        state.apply(over);
        assert!(state.accounts().all(|record| record.name != account("acme")));
        commit(&amend, &[take, close[0].clone()]);
        assert_eq!(lookup.account(&account("acme")).unwrap(), None);
    }
}
