use super::*;
use crate::model::public_key::PublicKey;

/// The text of a key that nobody has the other half of.
fn key(number: u8) -> String {
    use base64::Engine as _;
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend_from_slice(&[number; 32]);
    format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob))
}

fn draft(number: u8, called: &str) -> Draft {
    Draft { place: format!("line {number}"), line: format!("{} {called}", key(number)), called: called.to_owned() }
}

fn account() -> AccountName {
    AccountName::parse("acme").unwrap()
}

fn names(declared: &Declared) -> Vec<String> {
    declared.keys.iter().map(|key| key.name.to_string()).collect()
}

#[test]
fn labels_are_made_from_what_keys_are_called() {
    let drafts = vec![
        draft(1, "ci@build 7"),
        draft(2, "ci@build 7"),
        draft(3, "--..__"),
        draft(4, "ci-build-7-2"),
        draft(5, &"x".repeat(300)),
        draft(6, "app.git"),
    ];
    let (want, skipped, _) = declare(&Declared::default(), &account(), &[], drafts);
    assert_eq!(skipped, []);
    let names = names(&want);
    assert_eq!(names[..2], ["acme/ci-build-7", "acme/ci-build-7-2"]);
    assert!(names[2].starts_with("acme/key-"), "{names:?}");
    assert_eq!(names[3], "acme/ci-build-7-2-2");
    assert!(names[4].starts_with("acme/xxxx") && names[5].starts_with("acme/key-"), "{names:?}");
}

#[test]
fn a_second_import_wants_what_is_there() {
    let grants = [Grant::parse("acme/app").unwrap()];
    let drafts = || vec![draft(1, "one"), draft(2, "two")];
    let (first, ..) = declare(&Declared::default(), &account(), &[], drafts());
    assert_eq!(declare(&first, &account(), &[], drafts()), (first.clone(), vec![], vec![]));
    let (more, ..) = declare(&first, &account(), &grants, drafts());
    assert!(more.keys.iter().all(|key| key.grants == grants) && names(&more) == names(&first));
    assert_eq!(declare(&more, &account(), &[], drafts()).0, more);
}

#[test]
fn what_is_left_out_has_a_reason() {
    let mut have = Declared::default();
    let mut held = declare(&have, &AccountName::parse("other").unwrap(), &[], vec![draft(9, "theirs")]).0.keys;
    have.keys.append(&mut held);
    let mut person = declare(&have, &account(), &[], vec![draft(8, "person")]).0.keys;
    person.iter_mut().for_each(|key| key.kind = Holder::AccountKey);
    have.keys.append(&mut person);
    let line = |line: String| Draft { place: "line 1".to_owned(), line, called: String::new() };
    let blob = key(7);
    for (draft, why) in [
        (draft(9, "x"), "registered already, as other/theirs"),
        (draft(8, "x"), "registered already, as acme/person"),
        (line("ssh-dss AAAAB3NzaC1kc3MAAACB x".to_owned()), "DSA"),
        (line("nonsense".to_owned()), "not a line with a public key"),
        (line(format!("from=\"*.example.com\" {blob}")), "a name or a pattern"),
        (line("ssh-ed25519 AAAA".to_owned()), "decode"),
    ] {
        let (want, skipped, _) = declare(&have, &account(), &[], vec![draft]);
        assert_eq!(want.keys, []);
        assert_eq!(skipped.len(), 1);
        assert!(format!("{skipped:?}").contains(why), "{why}: {skipped:?}");
    }
    let (want, skipped, _) = declare(&have, &account(), &[], vec![draft(1, "a"), draft(1, "b")]);
    assert_eq!(names(&want), ["acme/a"]);
    assert!(format!("{skipped:?}").contains("line 1 has the same key"), "{skipped:?}");
}

#[test]
fn ten_thousand_keys_of_one_name_take_no_time() {
    let drafts = (0u16..10_000).map(|number| {
        let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        blob.extend_from_slice(&[0; 30]);
        blob.extend_from_slice(&number.to_be_bytes());
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(blob);
        Draft { place: String::new(), line: format!("ssh-ed25519 {text} git"), called: "git".to_owned() }
    });
    let (want, skipped, _) = declare(&Declared::default(), &account(), &[], drafts.collect());
    assert_eq!((want.keys.len(), skipped.len()), (10_000, 0));
    assert_eq!(want.keys.last().unwrap().name.to_string(), "acme/git-10000");
    assert!(want.keys.iter().all(|key| PublicKey::parse(&key.key.to_string()).is_ok()));
}
