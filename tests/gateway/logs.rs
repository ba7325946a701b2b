//! The log: each line says which connection and which fetch it is of, in both forms.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Gateway, program, wait_until};
use crate::scene::id;
use crate::watcher::{Numbers, watched};

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

/// A disk that is full, and a reader who left: the log is gone, and everything else goes on.
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    for full in [true, false] {
        let (mut gateway, metrics) = watched(|config| config.replace("drain_seconds = 30", "drain_seconds = 60"));
        gateway.repo("acme/app");
        let key = gateway.key("ci", &["acme/app"]);
        assert_eq!(gateway.stop(), Some(0));
        let (reader, writer) = std::io::pipe().unwrap();
        let full_disk = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let log = if full { Stdio::from(full_disk) } else { Stdio::from(writer) };
        drop(reader);
        let mut daemon = Command::new(program());
        let mut daemon = daemon.args(["serve", "--config"]).arg(gateway.config()).stderr(log).spawn().unwrap();
        wait_until("it serves", || TcpStream::connect(("127.0.0.1", gateway.port())).is_ok());
        let id = Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap();
        kill_process(id, Signal::HUP).unwrap();
        let taken = || Numbers::of(metrics).get("pullgate_config_reloads_total{result=\"taken\"}");
        wait_until("it has read its config anew", || taken() == 1.0);
        // What is not there is logged.
        std::fs::rename(gateway.path("repositories/acme/app.git"), gateway.path("elsewhere")).unwrap();
        let said = gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).failed();
        assert!(said.contains("[not-granted]"), "{said}");
        std::fs::rename(gateway.path("elsewhere"), gateway.path("repositories/acme/app.git")).unwrap();
        gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
        kill_process(id, Signal::TERM).unwrap();
        assert_eq!(daemon.wait().unwrap().code(), Some(0));
    }
}
