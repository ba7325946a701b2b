//! The log: each line says which connection and which fetch it is of, in both forms.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Gateway, wait_until};
use crate::scene::id;

/// A gateway with a repository that can be served and one that git complains of.
fn gateway(log: &str) -> Gateway {
    let gateway = Gateway::start_with(|config| {
        let (head, rest) = config.split_once("[log]\n").unwrap();
        let (_, tail) = rest.split_once("[sandbox]").unwrap();
        format!("{head}[log]\n{log}\n[sandbox]{tail}")
    });
    gateway.repo("acme/app");
    let broken = gateway.repo("acme/broken");
    std::fs::write(broken.join("config"), "[core\nbroken").unwrap();
    gateway
}

/// A clone, a refusal, and a fetch that git cannot serve; the ids of the last two, as their client was shown them.
fn three(gateway: &Gateway) -> [String; 2] {
    let key = gateway.key("ci", &["acme/app", "acme/broken"]);
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "copy"]).ok();
    let ids =
        ["acme/none", "acme/broken"].map(|repo| id(&gateway.git(&key, &["ls-remote", &gateway.url(repo)]).failed()));
    wait_until("git's complaint in the log", || gateway.log().contains("git complained"));
    ids
}

#[test]
fn each_line_of_the_json_form_says_whose_it_is() {
    let mut gateway = gateway("level = \"debug\"\nformat = \"json\"");
    let [refused, failed] = three(&gateway);
    let audit = gateway.audit();
    gateway.stop();
    let lines: Vec<Value> = gateway.log().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for line in &lines {
        let time: Option<jiff::Timestamp> = line["timestamp"].as_str().and_then(|text| text.parse().ok());
        assert!(time.is_some() && line["level"].is_string() && line["fields"]["message"].is_string(), "{line}");
    }
    let with = |message: &str| -> Vec<&Value> {
        lines.iter().filter(|line| line["fields"]["message"].as_str() == Some(message)).collect()
    };
    let span = |line: &Value, name: &str| -> Value {
        let spans = line["spans"].as_array().unwrap_or_else(|| panic!("{line}"));
        spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("no {name}: {line}")).clone()
    };
    // The refusal: the id that its client was shown, that of its record, and the connection that it was on.
    let [refusal] = with("refused")[..] else { panic!("{:?}", with("refused")) };
    assert_eq!(
        (refusal["fields"]["id"].as_str(), refusal["fields"]["code"].as_str()),
        (Some(&*refused), Some("not-granted"))
    );
    assert!(audit.lines().any(|line| line.contains(&refused) && line.contains("\"event\":\"refused\"")), "{audit}");
    // The fetch that failed: the same of its end.
    let complaint = with("git complained")[0];
    assert_eq!(span(complaint, "fetch")["id"].as_str(), Some(&*failed));
    assert_eq!(span(complaint, "fetch")["repository"], "acme/broken");
    assert!(audit.lines().any(|line| line.contains(&failed) && line.contains("\"event\":\"fetch\"")), "{audit}");
    let mut numbers = BTreeSet::new();
    for line in [refusal, complaint] {
        let connection = span(line, "connection");
        assert_eq!(connection["key"], "acme/ci", "{line}");
        assert!(connection["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
        numbers.insert(connection["number"].as_u64().unwrap());
    }
    assert_eq!(numbers.len(), 2, "two connections have two numbers");
}

/// As it is for people, at the level that is usual: what goes well leaves no line.
#[test]
fn the_text_form_says_what_went_wrong_and_whose_it_was() {
    let gateway = gateway("level = \"info\"\nformat = \"text\"");
    let began = gateway.log().len();
    let [refused, failed] = three(&gateway);
    let log = gateway.log().split_off(began);
    assert!(!log.contains(&refused), "{log}");
    assert!(log.lines().all(|line| line.contains(&failed)), "a line of something that went well: {log}");
    let line = log.lines().find(|line| line.contains("git complained")).unwrap();
    assert!(line.contains(" WARN connection{number="), "{line}");
    assert!(line.contains(&format!(" key=acme/ci}}:fetch{{id=\"{failed}\" repository=acme/broken}}")), "{line}");
}
