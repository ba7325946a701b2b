mod reference;

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;

const FILE: &str = "/srv/pullgate/config.toml";

fn parse(text: &str) -> Result<Config, Vec<String>> {
    Config::parse(text, Path::new(FILE)).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn keys(prefix: &str, table: &toml::Table, into: &mut BTreeSet<String>) {
    for (key, value) in table {
        match value.as_table() {
            Some(table) => keys(&format!("{prefix}{key}."), table, into),
            None => {
                into.insert(format!("{prefix}{key}"));
            }
        }
    }
}

#[test]
fn the_example_is_the_defaults() {
    assert_eq!(parse(EXAMPLE).unwrap(), parse("").unwrap());
}

const SECTIONS: [&str; 10] =
    ["store", "ssh", "control", "keys", "audit", "metrics", "log", "sandbox", "cache", "limits"];

/// Every key that the reader asks for: it names them in the fault about one that it does not.
fn known_keys() -> BTreeSet<String> {
    let text: String = SECTIONS.iter().map(|section| format!("[{section}]\nnone = 1\n")).collect();
    let faults = Config::parse(&format!("none = 1\n{text}"), Path::new(FILE)).unwrap_err();
    let mut known = BTreeSet::new();
    for fault in &faults {
        let section = fault.key.strip_suffix("none").unwrap();
        let names = fault.remedy.strip_prefix("remove it, or write one of ").unwrap().split(", ");
        known.extend(names.map(|name| format!("{section}{name}")));
    }
    let top: BTreeSet<String> = known.iter().filter(|key| !key.contains('.')).cloned().collect();
    let expected: BTreeSet<String> = SECTIONS.iter().map(ToString::to_string).chain(["state_dir".to_owned()]).collect();
    assert_eq!(top, expected, "a section is missing in this test");
    known.retain(|key| !SECTIONS.contains(&key.as_str()));
    known
}

#[test]
fn what_was_meant_is_asked_for() {
    let faults = Config::parse("[limits]\ndrain_second = 1\n[limit]\n", Path::new(FILE)).unwrap_err();
    let said: Vec<_> = faults.iter().map(|fault| format!("{} {}", fault.key, fault.remedy)).collect();
    assert_eq!(said, ["limits.drain_second did you mean drain_seconds?", "limit did you mean limits?"]);
}

#[test]
fn networks_have_no_bits_behind_their_prefix() {
    let faults = Config::parse("[ssh]\nproxy_protocol_from = [\"10.0.0.1/8\"]", Path::new(FILE)).unwrap_err();
    assert!(faults[0].fact.contains("did you mean 10.0.0.0/8?"), "{faults:?}");
}

#[test]
fn the_example_has_every_key() {
    let mut written = BTreeSet::new();
    keys("", &EXAMPLE.parse().unwrap(), &mut written);
    assert_eq!(written, known_keys());
}

#[test]
fn relative_paths_start_at_the_file() {
    let config = parse("state_dir = 'x'\n[store]\nroot = '/data'\n[ssh]\nhost_keys = '../k'").unwrap();
    assert_eq!(config.state_dir, Path::new("/srv/pullgate/x"));
    assert_eq!(config.registry_dir(), Path::new("/srv/pullgate/x/registry"));
    assert_eq!(config.control.socket, Path::new("/srv/pullgate/x/control.sock"));
    assert_eq!(config.audit_file, Path::new("/srv/pullgate/x/audit.jsonl"));
    assert_eq!(config.store.root, Path::new("/data"));
    assert_eq!(config.ssh.host_keys, Path::new("/srv/pullgate/../k"));
}

#[test]
fn all_faults_are_reported_at_once() {
    let faults = parse(
        r#"
            stat_dir = "x"
            state_dir = 7
            ssh = "no"
            [store]
            rooot = "x"
            [control]
            operators = ["no-such-user-here", 4294967295, true]
            socket = ""
            [log]
            level = "loud"
            format = "xml"
            [extra]
            a = 1
        "#,
    )
    .unwrap_err();
    insta::assert_snapshot!(faults.join("\n"));
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let faults = parse("state_dir = \"x\"\n[store\n").unwrap_err();
    assert!(faults.len() == 1 && faults[0].starts_with("line 2: "), "{faults:?}");
}

#[test]
fn addresses_are_checked() {
    assert_eq!(parse("[ssh]\nlisten = ['0.0.0.0:22', '[::]:22']").unwrap().ssh.listen.len(), 2);
    let faults = parse("[ssh]\nlisten = ['localhost', ':22', '0.0.0.0']").unwrap_err();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert_eq!(parse("[ssh]\nlisten = []").unwrap_err().len(), 1);
    for (text, host, port, shown) in [
        ("git.example.org", "git.example.org", 22, "git.example.org:22"),
        ("git.example.org:2222", "git.example.org", 2222, "git.example.org:2222"),
        ("[2001:db8::1]:22", "2001:db8::1", 22, "[2001:db8::1]:22"),
        ("[::1]", "::1", 22, "[::1]:22"),
    ] {
        let address = parse(&format!("[ssh]\npublic_address = '{text}'")).unwrap().ssh.public_address;
        assert_eq!((address.host.as_str(), address.port), (host, port));
        assert_eq!(address.to_string(), shown);
    }
    for bad in ["", ":22", "a:b", "a:0", "a:99999", "[x]:1", "[::1", "[::1]x", "-oProxyCommand=x", "a b", "2001:db8::1"]
    {
        assert!(parse(&format!("[ssh]\npublic_address = '{bad}'")).is_err(), "{bad}");
    }
}

#[test]
fn operators_are_names_or_ids() {
    let config = parse("[control]\noperators = ['root', 1000, '1001']").unwrap();
    assert_eq!(config.control.operators, Operators::new([0, 1000, 1001]));
    assert!(config.control.operators.beyond_owner());
    assert!(!parse("").unwrap().control.operators.beyond_owner());
}

#[test]
fn a_socket_path_has_to_fit_also_when_it_is_the_default() {
    let most = crate::front::control::MAX_SOCKET_PATH;
    let written = |length: usize| parse(&format!("[control]\nsocket = '/{}'", "x".repeat(length - 1)));
    assert!(written(most).is_ok());
    assert!(written(most + 1).unwrap_err()[0].starts_with("control.socket: is a path of 108 bytes"));
    let derived = parse(&format!("state_dir = '/{}'", "x".repeat(most))).unwrap_err();
    assert!(derived.len() == 1 && derived[0].starts_with("control.socket: "), "{derived:?}");
}

/// What the packages install is the example, at the places of a system.
#[test]
fn the_packaged_config_is_the_example_at_other_places() {
    let packaged = include_str!("../../../packaging/config.toml");
    let places = [
        ("# Unknown keys", "# Relative paths start at the folder of this file. Unknown keys"),
        ("\"/var/lib/pullgate\"", "\"state\""),
        ("\"/srv/git\"", "\"repositories\""),
        ("\"/var/lib/pullgate/keys\"", "\"keys\""),
        ("socket = \"/run/pullgate", "socket = \"state"),
        ("\"/var/log/pullgate/audit.jsonl\"", "\"state/audit.jsonl\""),
        ("\"/var/cache/pullgate\"", "\"state/cache\""),
    ];
    let mut text = packaged.to_owned();
    for (there, here) in places {
        assert!(text.contains(there), "{there}");
        text = text.replace(there, here);
    }
    let wrong = text.lines().zip(EXAMPLE.lines()).find(|(packaged, example)| packaged != example);
    assert_eq!((wrong, text.lines().count()), (None, EXAMPLE.lines().count()));
    assert!(parse(packaged).is_ok());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}|(\\[?[a-z_.]{1,9}\\]?( = ('[a-z:0-9]*'|[0-9]{1,4}|\\[\\]))?\n){0,8}") {
        drop(Config::parse(&text, Path::new(FILE)));
    }
}

#[test]
fn audit_records_go_to_one_of_three_places() {
    let parse = |to: &str| Config::parse(&format!("[audit]\nto = \"{to}\""), Path::new("/srv/config.toml"));
    assert_eq!(parse("stdout").unwrap().audit_to, AuditTo::Stdout);
    assert_eq!(parse("file").unwrap(), Config::parse("", Path::new("/srv/config.toml")).unwrap());
    assert_eq!(parse("journald").unwrap().audit_to, AuditTo::Journal);
    let faults = parse("syslog").unwrap_err();
    assert!(faults[0].key == "audit.to" && faults[0].remedy.contains("\"journald\""), "{faults:?}");
    let zero = Config::parse("[audit]\nstranger_records = 0", Path::new("/srv/config.toml")).unwrap_err();
    assert_eq!(zero[0].key, "audit.stranger_records");
}
