//! An index that was not closed well: used when it is what was written, and otherwise built again.

use std::fs;

use super::*;
use crate::model::key_name::KeyRef;
use crate::model::name::GroupName;
use crate::model::repo_path::RepoPath;
use crate::registry::journal::known as acknowledged;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

/// Puts another index in the place of the one that is there, without a mark.
fn put_index(dir: &Path, from: &Path) {
    lose_index(dir);
    copy(from, &dir.join("index"));
}

fn more(dir: &Path) {
    let (_lookup, amend) = open(dir).unwrap();
    commit(&amend, &[account_add("gamma"), key_add(7, "gamma/k7", &["acme/app"])]);
    commit(&amend, &[Change::KeyRemove { key: key(1).fingerprint() }]);
    commit(&amend, &[Change::AccountRemove { account: account("beta") }]);
}

/// What is known beside accounts and keys: groups, public repositories, and what is left of a removed key.
fn known(lookup: &Lookup) -> String {
    let left = lookup.tombstone(&KeyRef::Name(name("acme/gone"))).unwrap().expect("it was removed");
    format!("{:?} {:?} {left:?}", lookup.groups(None).unwrap(), lookup.publics(None).unwrap())
}

/// Adds some of each, and takes some away again.
fn more_facts(dir: &Path) -> String {
    let (lookup, amend) = open(dir).unwrap();
    let repo = |text: &str| RepoPath::parse(text).unwrap();
    let group = |group: &str| (account("acme"), GroupName::parse(group).unwrap());
    for text in ["one", "two", "three"] {
        let (account, group) = group(text);
        commit(&amend, &[Change::GroupAdd { account, group, repos: vec![repo("acme/app"), repo("acme/lib")] }]);
        commit(&amend, &[Change::RepoPublish { repo: repo(&format!("acme/{text}")) }]);
    }
    let (account, group) = group("two");
    commit(&amend, &[Change::GroupRemove { account, group }, Change::RepoUnpublish { repo: repo("acme/two") }]);
    commit(&amend, &[key_add(77, "acme/gone", &["acme/app"])]);
    commit(&amend, &[Change::KeyRemove { key: key(77).fingerprint() }]);
    assert_eq!((lookup.groups(None).unwrap().len(), lookup.publics(None).unwrap().len()), (2, 2));
    known(&lookup)
}

#[test]
fn an_index_that_is_only_behind_is_brought_up_to_the_journal() {
    let (dir, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample(dir.path());
    copy(&dir.path().join("index"), aside.path());
    more(dir.path());
    let facts = more_facts(dir.path());
    let before = everything(&open(dir.path()).unwrap().0);
    assert_eq!(before.1.len(), 3);
    for _ in 0..2 {
        put_index(dir.path(), aside.path());
        let (lookup, amend) = open(dir.path()).unwrap();
        assert!(from_index(&lookup), "it is not built again");
        assert_eq!(everything(&lookup), before);
        assert_eq!(known(&lookup), facts);
        drop((lookup, amend));
        same(dir.path());
    }
    // Not behind at all: it only lost its mark.
    fs::remove_file(dir.path().join("index.clean")).unwrap();
    let (lookup, _amend) = open(dir.path()).unwrap();
    assert!(from_index(&lookup));
    assert_eq!(everything(&lookup), before);
}

#[test]
fn an_index_whose_rows_are_not_what_was_written_is_built_again() {
    type Harm = fn(&sled::Tree);
    let harms: [(&str, Harm); 4] = [
        ("a row is missing", |tree| drop(tree.pop_min().unwrap().unwrap())),
        ("a row is back", |tree| drop(tree.insert(b"zz/old", b"x").unwrap())),
        ("a row has the value of another", |tree| {
            let (first, last) = (tree.first().unwrap().unwrap(), tree.last().unwrap().unwrap());
            drop(tree.insert(first.0, last.1).unwrap());
        }),
        ("two rows changed places", |tree| {
            let (first, last) = (tree.first().unwrap().unwrap(), tree.last().unwrap().unwrap());
            drop(tree.insert(first.0, last.1).unwrap());
            drop(tree.insert(last.0, first.1).unwrap());
        }),
    ];
    let dir = tempfile::tempdir().unwrap();
    let before = sample(dir.path());
    let facts = more_facts(dir.path());
    for (tree, (what, harm)) in
        ["keys", "accounts", "facts"].into_iter().flat_map(|tree| harms.map(|harm| (tree, harm)))
    {
        let index = sled::open(dir.path().join("index")).unwrap();
        harm(&index.open_tree(tree).unwrap());
        drop(index);
        fs::remove_file(dir.path().join("index.clean")).unwrap();
        let (lookup, amend) = open(dir.path()).unwrap();
        assert!(!from_index(&lookup), "{tree}: {what}");
        assert_eq!(everything(&lookup), before, "{tree}: {what}");
        assert_eq!(known(&lookup), facts, "{tree}: {what}");
        settle(&lookup);
        assert_eq!(everything(&lookup), before, "{tree}: {what}");
        assert_eq!(known(&lookup), facts, "{tree}: {what}");
        drop((lookup, amend));
    }
}

#[test]
fn an_index_that_is_ahead_or_of_another_journal_is_built_again() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let before = sample(one.path());
    sample(two.path());
    // As long, and with other hashes.
    put_index(one.path(), &two.path().join("index"));
    let check = || {
        let (lookup, _amend) = open(one.path()).unwrap();
        assert!(!from_index(&lookup));
        assert_eq!(everything(&lookup), before);
        settle(&lookup);
    };
    check();
    // Behind, and with other hashes.
    more(two.path());
    let journal = fs::read(one.path().join("journal")).unwrap();
    let index = tempfile::tempdir().unwrap();
    copy(&one.path().join("index"), index.path());
    put_index(two.path(), index.path());
    assert!(!from_index(&open(two.path()).unwrap().0));
    // Ahead: the journal is one that somebody went back to.
    more(one.path());
    fs::write(one.path().join("journal"), journal).unwrap();
    acknowledged::replace(one.path(), 4).unwrap();
    fs::remove_file(one.path().join("index.clean")).unwrap();
    check();
}
