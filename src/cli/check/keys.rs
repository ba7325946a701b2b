//! Which keys are over, and which end soon.

use jiff::{SignedDuration, Timestamp};

use super::Finding;
use crate::admin::view::KeyView;
use crate::cli::table::time;

const SUBJECT: &str = "keys";

/// Keys that are named, of each kind.
const SHOWN: usize = 5;
/// From when on an end is near: the same two as in the metrics.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
const NEXT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Keys of one kind: the first few, and how many.
#[derive(Default)]
struct Few {
    named: Vec<String>,
    count: usize,
}

impl Few {
    fn add(&mut self, key: &KeyView, at: Option<Timestamp>) {
        self.count += 1;
        if self.named.len() < SHOWN {
            let at = at.map(|at| format!(" ({})", time(at))).unwrap_or_default();
            self.named.push(format!("{}{at}", key.name));
        }
    }

    /// `3 keys …: a, b, c`
    fn told(&self, one: &str, many: &str, cut: bool) -> String {
        let what = if self.count == 1 { one } else { many };
        let least = if cut { "at least " } else { "" };
        let more = self.count - self.named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{least}{} {what}: {}{more}", self.count, self.named.join(", "))
    }
}

/// What was seen so far.
pub(super) struct Ends {
    now: Timestamp,
    over: Few,
    next: Few,
    soon: Few,
}

impl Ends {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, over: Few::default(), next: Few::default(), soon: Few::default() }
    }

    pub(super) fn look(&mut self, key: &KeyView) {
        let replaced = key.replaced_by.as_ref().map(|rotation| rotation.until);
        let ends = key.expires.into_iter().chain(replaced).min();
        let few = match ends.map(|at| at.duration_since(self.now)) {
            Some(left) if left <= SignedDuration::ZERO => &mut self.over,
            // One that was replaced ends because somebody saw to it.
            Some(left) if replaced.is_none() && left <= NEXT => &mut self.next,
            Some(left) if replaced.is_none() && left <= SOON => &mut self.soon,
            Some(_) | None => return,
        };
        few.add(key, ends);
    }

    /// `cut`: there were keys that were not looked at.
    pub(super) fn told(self, cut: bool) -> Vec<Finding> {
        let Self { over, next, soon, .. } = self;
        let mut found = Vec::new();
        if over.count > 0 {
            let fact = over.told("key is over", "keys are over", cut);
            let remedy = "`pullgate key expire KEY 90d` if it is missed, else `pullgate key remove KEY`; `pullgate key list \
                          --expired` has all";
            found.push(Finding::notice(SUBJECT, fact, remedy));
        }
        let remedy = "`pullgate key rotate KEY --generate`, or `pullgate key expire KEY 90d`; `pullgate key list --expiring \
                      30d` has all";
        if next.count > 0 {
            let fact = next.told("key ends within 7 days", "keys end within 7 days", cut);
            found.push(Finding::warning(SUBJECT, fact, remedy));
        }
        if soon.count > 0 {
            let fact = soon.told("key ends within 30 days", "keys end within 30 days", cut);
            found.push(Finding::notice(SUBJECT, fact, remedy));
        }
        if found.is_empty() && !cut {
            found.push(Finding::ok(SUBJECT, "none is over, or ends within 30 days"));
        }
        found
    }
}
