use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::*;
use crate::admin::operator::Operators;
use crate::audit::Audit;
use crate::front::control::protocol::KeyAdd;
use crate::registry;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

fn house() -> (Admin, Operator) {
    let dir = tempfile::tempdir().unwrap();
    let (lookup, amend) = registry::open(&dir.path().join("registry")).unwrap();
    let (here, _there) = UnixStream::pair().unwrap();
    let by = Operator::from_peer(&here, &Operators::new([])).unwrap();
    (Admin::new(lookup, amend, Audit::off()), by)
}

fn fields(result: Result<Answer, Faults>) -> Vec<String> {
    let faults = result.unwrap_err();
    faults.list().iter().map(|fault| fault.field.clone().unwrap_or_default()).collect()
}

#[test]
fn all_faults_are_reported_at_once() {
    let (admin, by) = house();
    let add = KeyAdd {
        account: "-acme".to_owned(),
        label: "c i".to_owned(),
        key: "ssh-rsa nonsense".to_owned(),
        grants: vec!["acme/app".to_owned(), "../etc".to_owned(), "a*/b".to_owned()],
        expires: Some("soon".to_owned()),
        sources: vec!["10.0.0.1/8".to_owned(), "everywhere".to_owned()],
        note: Some("a\nb".to_owned()),
    };
    let found = fields(handle(&admin, &by, Request::KeyAdd(add)));
    assert_eq!(found, ["account", "label", "key", "grant", "grant", "expires", "from", "from", "note"]);
    let rename = Request::KeyRename { key: "acme".to_owned(), label: "-x".to_owned() };
    assert_eq!(fields(handle(&admin, &by, rename)), ["key", "label"]);
    let grant = Request::KeyGrant { key: "acme".to_owned(), grants: Vec::new() };
    assert_eq!(fields(handle(&admin, &by, grant)), ["key", "grant"]);
}

#[test]
fn what_a_person_types_arrives() {
    let (admin, by) = house();
    handle(&admin, &by, Request::AccountAdd { account: "acme".to_owned() }).unwrap();
    let add = KeyAdd {
        account: "acme".to_owned(),
        label: "ci".to_owned(),
        key: format!("{KEY} comment\r\n"),
        grants: vec!["acme/app.git".to_owned()],
        expires: Some("90d".to_owned()),
        sources: vec!["10.0.0.0/8".to_owned(), "192.0.2.7".to_owned()],
        note: Some(" built by Jo ".to_owned()),
    };
    handle(&admin, &by, Request::KeyAdd(add)).unwrap();
    let found = handle(&admin, &by, Request::WhereIs { fingerprint: None, key: Some(KEY.to_owned()) }).unwrap();
    let Answer::Key(view) = found else { panic!("{found:?}") };
    assert_eq!((view.name.as_str(), view.note.as_str()), ("acme/ci", "built by Jo"));
    assert_eq!(view.grants, ["acme/app"]);
    assert_eq!(view.sources, ["10.0.0.0/8", "192.0.2.7/32"]);
    assert!(view.expires.is_some());
    let by_fingerprint = Request::WhereIs { fingerprint: Some(view.fingerprint.clone()), key: None };
    assert_eq!(handle(&admin, &by, by_fingerprint).unwrap(), Answer::Key(view));
}

#[test]
fn a_private_key_is_refused_and_not_echoed() {
    let (admin, by) = house();
    let secret = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----";
    let faults = handle(&admin, &by, Request::WhereIs { fingerprint: None, key: Some(secret.to_owned()) }).unwrap_err();
    assert!(!format!("{faults:?}").contains("c2VjcmV0"));
    assert!(faults.list()[0].fact.contains("private key"), "{faults:?}");
}

#[test]
fn a_fingerprint_or_a_key_is_needed_and_not_both() {
    let (admin, by) = house();
    for (fingerprint, key) in [(None, None), (Some("SHA256:x".to_owned()), Some(KEY.to_owned()))] {
        assert_eq!(fields(handle(&admin, &by, Request::WhereIs { fingerprint, key })), ["fingerprint"]);
    }
}

proptest! {
    #[test]
    fn no_text_reaches_a_terminal_unescaped(text in any::<String>()) {
        let (admin, by) = house();
        for request in [
            Request::AccountAdd { account: text.clone() },
            Request::KeyShow { key: text.clone() },
            Request::KeyGrant { key: text.clone(), grants: vec![text.clone()] },
            Request::RepoShow { repo: text.clone() },
        ] {
            if let Err(faults) = handle(&admin, &by, request) {
                for fault in faults.list() {
                    prop_assert!(!fault.fact.chars().any(char::is_control), "{fault:?}");
                }
            }
        }
    }
}
