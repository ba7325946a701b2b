//! Which keys are over, and which end soon.

use jiff::{SignedDuration, Timestamp};

use super::Finding;
use super::pages::{self, Budget};
use crate::admin::view::KeyView;
use crate::cli::Session;
use crate::cli::table::time;
use crate::front::control::client::CallError;
use crate::front::control::protocol::KeyFilter;

const SUBJECT: &str = "keys";

/// Keys that are named, of each kind.
const SHOWN: usize = 5;
/// From when on an end is near: the same two as in the metrics.
const SOON: &str = "30d";
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

/// One look at the keys that are over, one at those whose time is nearly over.
pub(super) fn ends(session: &Session, budget: Budget) -> Result<Vec<Finding>, CallError> {
    let (mut over, mut next, mut soon) = (Few::default(), Few::default(), Few::default());
    let now = Timestamp::now();
    let filter = KeyFilter { expired: true, ..KeyFilter::default() };
    let over_cut = pages::keys(session, &filter, budget, |key| {
        let replaced = key.replaced_by.as_ref().map(|rotation| rotation.until);
        over.add(key, key.expires.into_iter().chain(replaced).min());
    })?;
    let filter = KeyFilter { expiring: Some(SOON.to_owned()), ..KeyFilter::default() };
    let soon_cut = pages::keys(session, &filter, budget, |key| match key.expires {
        // One that was replaced ends because somebody saw to it.
        Some(at) if key.replaced_by.is_none() => {
            let near = at.duration_since(now) <= NEXT;
            if near { &mut next } else { &mut soon }.add(key, Some(at));
        }
        Some(_) | None => {}
    })?;
    let mut found = Vec::new();
    if over.count > 0 {
        found.push(Finding::notice(
            SUBJECT,
            over.told("key is over", "keys are over", over_cut),
            "`pullgate key expire KEY 90d` if it is missed, else `pullgate key remove KEY`; `pullgate key list --expired` \
             has all",
        ));
    }
    let remedy = "`pullgate key rotate KEY --generate`, or `pullgate key expire KEY 90d`; `pullgate key list --expiring \
                  30d` has all";
    if next.count > 0 {
        let fact = next.told("key ends within 7 days", "keys end within 7 days", soon_cut);
        found.push(Finding::warning(SUBJECT, fact, remedy));
    }
    if soon.count > 0 {
        let fact = soon.told("key ends within 30 days", "keys end within 30 days", soon_cut);
        found.push(Finding::notice(SUBJECT, fact, remedy));
    }
    if found.is_empty() && !over_cut && !soon_cut {
        found.push(Finding::ok(SUBJECT, "none is over, or ends within 30 days"));
    }
    Ok(found)
}
