//! The page about metrics, the dashboard and the alert rules, held against what a running gateway tells.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::watcher::{get, watched};

/// What there is: a metric's type and its labels, by its name.
type Told = BTreeMap<String, (String, BTreeSet<String>)>;

/// Reads a page of numbers, and sees that each has a line of help and a type before it.
fn read(page: &str) -> Told {
    let mut told = Told::new();
    let mut help = None;
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(text)) => {
                assert!(text.len() >= 8 || name == "pullgate_build_info", "{line}");
                help = Some(name);
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                assert_eq!(help.take(), Some(name), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                let new = told.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new())).is_none();
                assert!(new, "{name} is told twice");
            }
            _ => {
                let (series, _) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let base = told
                    .keys()
                    .find(|known| is_of(name, known, &told[*known].0))
                    .unwrap_or_else(|| panic!("{line}"))
                    .clone();
                let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
                told.get_mut(&base).unwrap().1.extend(labels.filter(|label| label != "le"));
            }
        }
    }
    told
}

/// Whether a series belongs to a metric.
fn is_of(series: &str, metric: &str, kind: &str) -> bool {
    series == metric
        || kind == "histogram"
            && ["_bucket", "_sum", "_count"].iter().any(|end| series.strip_suffix(end) == Some(metric))
}

/// The names in a query, each with the labels that are asked of it.
fn asked(query: &str) -> Vec<(String, Vec<String>)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in query.match_indices(|c: char| c.is_ascii_lowercase()) {
        let starts = at == 0 || !query[..at].ends_with(word);
        let name: String = query[at..].chars().take_while(|c| word(*c)).collect();
        if !starts || !(name == "up" || name.starts_with("pullgate_") || name.starts_with("process_")) {
            continue;
        }
        let labels = query[at + name.len()..].strip_prefix('{').map_or("", |rest| rest.split('}').next().unwrap());
        let labels = labels.split(',').filter_map(|label| Some(label.split_once(['=', '!'])?.0.trim().to_owned()));
        found.push((name, labels.collect()));
    }
    found
}

/// Says no to a query that asks for what nobody tells.
fn check(query: &str, told: &Told) -> Result<usize, String> {
    let names = asked(query);
    for (name, labels) in &names {
        if name == "up" {
            continue;
        }
        let metric =
            told.iter().find(|(known, (kind, _))| is_of(name, known, kind) && (kind != "histogram" || name != *known));
        let (_, (_, known)) = metric.ok_or_else(|| format!("{name} is not told: {query}"))?;
        // The collector adds these two.
        let given = |label: &&String| known.contains(*label) || matches!(label.as_str(), "job" | "instance" | "le");
        if let Some(label) = labels.iter().find(|label| !given(label)) {
            return Err(format!("{name} has no label {label}: {query}"));
        }
    }
    for open in ["()", "[]", "{}"] {
        let [a, b] = [0, 1].map(|n| query.matches(open.chars().nth(n).unwrap()).count());
        if a != b {
            return Err(format!("brackets that are not closed: {query}"));
        }
    }
    Ok(names.len())
}

/// The labels that a query groups by, or shows, which a sum over others has lost.
fn grouped(query: &str) -> Vec<String> {
    let groups = query.match_indices("by (").map(|(at, by)| query[at + by.len()..].split(')').next().unwrap());
    groups.flat_map(|group| group.split(',')).map(|label| label.trim().to_owned()).collect()
}

fn gateway_tells() -> Told {
    let (gateway, address) = watched(|config| config);
    let bare = gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    // A cause for what is there from its first time on only: who negotiates has a git of their own.
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "copy"]).ok();
    gateway.commit(&bare, "more", "text");
    gateway.git(&key, &["-C", "copy", "fetch", "-q"]).ok();
    crate::harness::wait_until("something bypassed the cache, and the keys were counted", || {
        let (_, page) = get(address, "/metrics");
        page.contains("pullgate_cache_bypasses_total{") && page.contains("pullgate_registry_keys_expiring{")
    });
    read(&get(address, "/metrics").1)
}

#[test]
fn what_is_told_is_what_the_page_the_dashboard_and_the_rules_say() {
    let told = gateway_tells();
    assert!(told.len() > 40, "{told:?}");

    // The page: every metric, with its type and its labels, and no other.
    let page = include_str!("../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>()).filter(|cells| cells.len() == 5);
    let written: Told = rows
        .map(|cells| {
            let labels = cells[2].split(',').map(|label| label.trim().trim_matches('`').to_owned());
            assert!(!cells[3].is_empty(), "{cells:?}");
            (
                cells[0].trim_matches('`').to_owned(),
                (cells[1].to_owned(), labels.filter(|label| !label.is_empty()).collect()),
            )
        })
        .collect();
    assert_eq!(written, told);

    let dashboard: Value = serde_json::from_str(include_str!("../../contrib/grafana/pullgate.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut queries = 0;
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()) && panel["title"].is_string(), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            assert!(check(query, &told).unwrap() > 0, "{query}");
            assert!(query.contains("instance=~\"$instance\""), "{query}");
            // What a legend shows is there after the sum.
            let legend = target["legendFormat"].as_str().unwrap();
            let shown = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().to_owned());
            let left = grouped(query);
            assert!(shown.clone().all(|label| left.contains(&label) || !query.contains("sum")), "{query}: {legend}");
            queries += 1;
        }
    }
    assert!(queries > 40, "{queries} queries");
    let variable = dashboard["templating"]["list"][1]["definition"].as_str().unwrap();
    assert!(check(variable, &told).unwrap() == 1, "{variable}");

    let rules = YamlLoader::load_from_str(include_str!("../../contrib/prometheus/alerts.yml")).unwrap();
    let rules = rules[0]["groups"][0]["rules"].as_vec().unwrap();
    let mut names = BTreeSet::new();
    for rule in rules {
        let query = rule["expr"].as_str().unwrap();
        assert!(check(query, &told).unwrap() > 0, "{query}");
        assert!(query.matches("job=\"pullgate\"").count() == asked(query).len(), "{query}");
        assert!(names.insert(rule["alert"].as_str().unwrap()), "{rule:?}");
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("critical" | "warning")), "{rule:?}");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].as_str().is_some_and(|text| text.len() > 20), "{rule:?}");
        }
        assert!(matches!(rule["for"], Yaml::String(_) | Yaml::BadValue), "{rule:?}");
    }
    assert!(names.len() >= 10, "{names:?}");
}

/// The judge can say no.
#[test]
fn a_query_for_what_is_not_told_is_refused() {
    let page = "# HELP pullgate_a_total some help\n# TYPE pullgate_a_total counter\npullgate_a_total{code=\"x\"} 1\n\
                # HELP pullgate_b_seconds some help\n# TYPE pullgate_b_seconds histogram\npullgate_b_seconds_bucket{le=\"1.0\"} 1\n";
    let told = read(page);
    for good in [
        "sum by (code) (rate(pullgate_a_total{job=\"x\", code=~\"y\"}[5m])) > 0",
        "histogram_quantile(0.9, rate(pullgate_b_seconds_bucket[5m]))",
        "up == 0",
    ] {
        assert_eq!(check(good, &told), Ok(1), "{good}");
    }
    for bad in [
        "pullgate_c_total",
        "rate(pullgate_a_totals[5m])",
        "pullgate_a_total{reason=\"x\"}",
        "pullgate_b_seconds",
        "rate(pullgate_b_seconds_buckets[5m])",
        "rate(pullgate_a_total[5m]",
    ] {
        assert!(check(bad, &told).is_err(), "{bad}");
    }
    assert_eq!(asked("a_pullgate_x + pullgate_y{a!=\"b\"}"), [("pullgate_y".to_owned(), vec!["a".to_owned()])]);
}

/// Each folder of `contrib`, and each document, is in the package; and each source that the package names is there.
#[test]
fn the_package_has_the_dashboard_the_rules_and_the_documents() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = std::fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let sources: Vec<&str> = assets.iter().map(|asset| asset[0].as_str().unwrap()).collect();
    for source in sources.iter().filter(|source| !source.starts_with("target/")) {
        let place = root.join(source.rsplit_once('*').map_or(*source, |(folder, _)| folder));
        assert!(place.exists(), "{source} is not there");
    }
    for folder in std::fs::read_dir(root.join("contrib")).unwrap() {
        let wanted = format!("contrib/{}/*", folder.unwrap().file_name().to_str().unwrap());
        assert!(sources.contains(&wanted.as_str()), "{wanted} is not packaged");
    }
    for wanted in ["docs/*.md", "docs/ci/*.md", "docs/decisions/*.md", "CHANGELOG.md"] {
        assert!(sources.contains(&wanted), "{wanted} is not packaged");
    }
}
