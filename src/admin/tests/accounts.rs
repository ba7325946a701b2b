//! What goes with an account.

use super::*;
use crate::model::name::GroupName;

#[test]
fn an_account_with_keys_goes_only_when_that_was_said() {
    let house = House::new();
    house.add("acme/ci", 1, &["acme/app"]).unwrap();
    house.add("beta/ci", 2, &["acme/app", "beta/app"]).unwrap();
    let (kind, fact, hint) = told(house.admin.account_remove(&house.by, &account("acme"), false));
    assert_eq!(kind, Kind::Conflict);
    assert_eq!(fact, "account acme holds 1 key: acme/ci; 1 key of other accounts has grants into it: beta/ci");
    assert!(hint.contains("--yes"), "{hint}");
    let done = house.admin.account_remove(&house.by, &account("acme"), true).unwrap();
    assert_eq!(
        done.message,
        "removed account acme and its 1 key: acme/ci; took the grants into it from 1 key of other accounts: beta/ci"
    );
    let left = house.admin.key_show(&house.by, &KeyRef::parse("beta/ci").unwrap()).unwrap();
    assert_eq!(left.grants, ["beta/app"]);
    assert_eq!(told(house.admin.account_remove(&house.by, &account("acme"), true)).0, Kind::NotFound);
}

/// Whatever goes with an account is named first, each kind by itself too, and named again when it went.
#[test]
fn what_goes_with_an_account_is_named_before_and_after() {
    let published = |house: &House| {
        house.admin.repo_publish(&house.by, &RepoPath::parse("acme/docs").unwrap()).unwrap();
    };
    let grouped = |house: &House| {
        let group = GroupName::parse("all").unwrap();
        house.admin.group_add(&house.by, &account("acme"), &group, &[RepoPath::parse("acme/app").unwrap()]).unwrap();
    };
    let reached = |house: &House| drop(house.add("beta/ci", 2, &["acme/app"]).unwrap());
    type Make<'a> = &'a dyn Fn(&House);
    let kinds: [(Make<'_>, &str, &str); 3] = [
        (&published, "has 1 public repository: acme/docs", "; with it 1 public repository: acme/docs"),
        (&grouped, "holds 1 group: acme/@all", "; with it 1 group: acme/@all"),
        (
            &reached,
            "1 key of other accounts has grants into account acme: beta/ci",
            "; took the grants into it from 1 key of other accounts: beta/ci",
        ),
    ];
    for (make, before, after) in kinds {
        let house = House::new();
        make(&house);
        let (kind, fact, hint) = told(house.admin.account_remove(&house.by, &account("acme"), false));
        assert!(kind == Kind::Conflict && fact.contains(before) && hint.contains("--yes"), "{fact}: {hint}");
        assert!(house.admin.lookup.account(&account("acme")).unwrap().is_some());
        let done = house.admin.account_remove(&house.by, &account("acme"), true).unwrap();
        assert_eq!(done.message, format!("removed account acme, which held no keys{after}"));
    }
    let house = House::new();
    assert!(house.admin.account_remove(&house.by, &account("acme"), false).unwrap().changed, "nothing goes with it");
}
