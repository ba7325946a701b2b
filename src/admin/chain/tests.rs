use std::path::PathBuf;

use super::*;
use crate::audit::Record;
use crate::model::details::Details;
use crate::model::name::AccountName;
use crate::registry::Amend;
use crate::registry::change::Change;

struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Changes the registry; `recorded` or, as by a process that is killed at that moment, not.
    fn run(&self, names: &[&str], recorded: bool) {
        let (lookup, amend) = registry::open(&self.at("registry")).unwrap();
        let audit = self.begin(&lookup);
        for name in names {
            let committed = add(&amend, name);
            if recorded {
                let (by, what) = ("alice".to_owned(), format!("added account {name}"));
                audit.record(&new_id(), super::super::changed(by, &committed, what, Details::default()));
            }
        }
    }

    fn begin(&self, lookup: &Lookup) -> Audit {
        let audit = Audit::open(&self.at("audit.jsonl")).unwrap();
        let settings = Settings { key: self.at("audit.key"), state: self.at("audit.chain") };
        begin(&audit, &settings, &self.at("registry"), lookup).unwrap();
        audit
    }

    fn told(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.at("audit.jsonl")).unwrap();
        let told = |line: &str| {
            let event = serde_json::from_str::<Record>(line).unwrap().event;
            if let Event::Changed { seq, what, recovered, first_seq, .. } = event {
                let late = if recovered { " late" } else { "" };
                return Some(format!("{}-{seq} {what}{late}", first_seq.unwrap_or(seq)));
            }
            let Event::Gap { first_seq, seq, .. } = event else { return None };
            Some(format!("gap {first_seq:?}-{seq}"))
        };
        text.lines().filter_map(told).collect()
    }
}

fn add(amend: &Amend, name: &str) -> registry::change::Committed {
    let account = AccountName::parse(name).unwrap();
    amend.commit("alice", &[Change::AccountAdd { account }]).unwrap()
}

#[test]
fn a_change_that_had_no_record_gets_one_at_the_next_start() {
    let site = Site::new();
    site.run(&["a"], true);
    site.run(&["b", "c"], false);
    site.run(&["d"], true);
    let expected =
        ["1-1 added account a", "2-2 added account b late", "3-3 added account c late", "4-4 added account d"];
    assert_eq!(site.told(), expected);
    site.run(&[], true);
    assert_eq!(site.told().len(), 4, "once");
}

#[test]
fn changes_before_the_chain_have_none() {
    let site = Site::new();
    let (_lookup, amend) = registry::open(&site.at("registry")).unwrap();
    add(&amend, "a");
    drop((amend, _lookup));
    site.run(&["b"], true);
    assert_eq!(site.told(), ["2-2 added account b"]);
}

#[test]
fn an_older_journal_is_told() {
    let site = Site::new();
    site.run(&["a"], true);
    std::fs::copy(site.at("registry/journal"), site.at("kept")).unwrap();
    site.run(&["b", "c"], true);
    let options = registry::RestoreOptions { replace: true, accept_loss: false };
    registry::restore(&site.at("registry"), &site.at("kept"), options).unwrap();
    site.run(&["x"], true);
    assert_eq!(site.told()[3..], ["gap None-1", "2-2 added account x"]);
}

#[test]
fn what_the_journal_has_no_more_is_a_gap() {
    let site = Site::new();
    let open = || {
        let settings = registry::Settings { compact_after: 1, compact_patience: std::time::Duration::ZERO };
        registry::open_with(&site.at("registry"), settings).unwrap()
    };
    site.run(&["a"], true);
    let (_lookup, amend) = open();
    for n in 0..40 {
        add(&amend, &format!("n{n}"));
    }
    // The compaction is finished at the end.
    std::thread::sleep(std::time::Duration::from_millis(600));
    drop((amend, _lookup));
    assert!(
        std::fs::read_dir(site.at("registry"))
            .unwrap()
            .any(|item| { item.unwrap().file_name().to_string_lossy().starts_with("journal.1-") })
    );
    site.run(&["z"], true);
    let told = site.told();
    assert!(told[1].starts_with("gap Some(2)-"), "{told:?}");
    assert_eq!(told.last().unwrap(), "42-42 added account z");
}
