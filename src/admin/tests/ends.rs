//! What ends: grants into what goes, and times that no clock can say.

use super::*;
use crate::model::name::GroupName;

/// A file that takes something away cannot grant into it.
#[test]
fn what_goes_in_an_application_is_absent_for_its_grants() {
    let house = House::new();
    house.add("acme/ci", 1, &[]).unwrap();
    let group = GroupName::parse("all").unwrap();
    house.admin.group_add(&house.by, &account("beta"), &group, &[RepoPath::parse("beta/app").unwrap()]).unwrap();
    let key = new("acme/ci", 1, &[]).key.fingerprint();
    let beta = || account("beta");
    let gone = Change::AccountRemove { account: beta() };
    for (take, grant, says) in [
        (&gone, "beta/app", "beta/app: there is no account beta"),
        (&Change::GroupRemove { account: beta(), group: group.clone() }, "beta/@all", "there is no group beta/@all"),
    ] {
        let changes = vec![take.clone(), Change::KeyGrant { key, grants: parsed(&[grant]) }];
        let (kind, fact, _) = told(house.admin.apply(&house.by, changes));
        assert_eq!((kind, fact.as_str()), (Kind::NotFound, says));
    }
    let faults = house.admin.apply(&house.by, vec![gone, Change::KeyGrant { key, grants: parsed(&["beta/@all"]) }]);
    let facts: Vec<_> = faults.unwrap_err().list().iter().map(|fault| fault.fact.clone()).collect();
    assert_eq!(facts, ["beta/@all: there is no account beta", "there is no group beta/@all"]);
}

/// A new key inherits the time of the old one. If no clock goes so far, that is not for ever.
#[test]
fn a_rotation_past_the_end_of_time_is_a_fault() {
    let house = House::new();
    house.add("acme/ci", 1, &[]).unwrap();
    let key = new("acme/ci", 1, &[]).key.fingerprint();
    let expiry = Expiry::At(jiff::Timestamp::MAX);
    house.admin.apply(&house.by, vec![Change::KeyExpire { key, expiry }]).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    let rotation = |expiry| NewRotation { key: new("acme/x", 2, &[]).key, label: None, overlap: None, expiry };
    let old = KeyRef::parse("acme/ci").unwrap();
    let (kind, fact, hint) = told(house.admin.key_rotate(&house.by, &old, rotation(None)));
    assert_eq!((kind, fact.as_str()), (Kind::Invalid, "that time is too far away"));
    assert!(hint.contains("--expires"), "{hint}");
    assert!(house.admin.key_rotate(&house.by, &old, rotation(Some(Expiry::Never))).unwrap().changed);
}
