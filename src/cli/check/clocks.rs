//! Whether this machine's clock can be believed: a key's end is judged by it, and an audit record's time is its.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::Finding;
use crate::cli::table::time;
use crate::daemon::config::Config;
use crate::registry;

const SUBJECT: &str = "clock";
const REMEDY: &str = "set the clock (`timedatectl set-ntp true`): keys that have ended are let in while it is behind";

/// Where systemd-timesyncd says that it has found the time (its manual page, `FILES`). Without the folder it does not run,
/// and something else, which is not asked, may keep the clock.
const TIMESYNC: &str = "/run/systemd/timesync";

/// How far behind a change the clock may be: two looks at a clock that is being corrected.
const SLACK: SignedDuration = SignedDuration::from_mins(1);

pub(super) fn agree(config: &Config) -> Vec<Finding> {
    let newest = newest(&config.registry_dir());
    let mut found = against(Timestamp::now(), built(), newest);
    found.extend(synchronized(Path::new(TIMESYNC)));
    found
}

/// When the commit was made that this program was built from; nothing in a debug build, or where nobody knows.
fn built() -> Option<Timestamp> {
    env!("PULLGATE_COMMITTED").parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
}

/// When the registry was changed last. Nothing when that is in a snapshot, or while a change is being written; a journal that
/// is damaged is told of elsewhere.
fn newest(registry: &Path) -> Option<Timestamp> {
    let last = registry::acknowledged(registry).ok()??;
    registry::history(registry, last.saturating_sub(1), 1, &|_| None).ok()?.last().map(|past| past.time)
}

fn against(now: Timestamp, built: Option<Timestamp>, newest: Option<Timestamp>) -> Vec<Finding> {
    let earlier = [(built, "this program was made from a commit of"), (newest, "the registry was changed last at")];
    let wrong = earlier.into_iter().filter_map(|(then, what)| {
        let then = then?;
        let fact = || format!("it is {} by the clock, and {what} {}", time(now), time(then));
        (now.duration_until(then) > SLACK).then(|| Finding::error(SUBJECT, fact(), REMEDY))
    });
    let wrong: Vec<_> = wrong.collect();
    if wrong.is_empty() { vec![Finding::ok(SUBJECT, "it is later than all that is known to have been")] } else { wrong }
}

fn synchronized(folder: &Path) -> Option<Finding> {
    (folder.is_dir() && !folder.join("synchronized").exists()).then(|| {
        let remedy = "`timedatectl timesync-status` says which server it asks; keys end by this clock";
        Finding::warning(SUBJECT, "systemd-timesyncd runs, and has not found the time since the start", remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn a_clock_behind_the_program_or_the_registry_is_an_error() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-06-01T12:00:00Z");
        let severities = |built, newest| -> Vec<Severity> {
            against(now, built, newest).iter().map(|finding| finding.severity).collect()
        };
        assert_eq!(severities(None, None), [Severity::Ok]);
        assert_eq!(severities(Some(now), Some(at("2026-06-01T12:01:00Z"))), [Severity::Ok]);
        assert_eq!(severities(Some(at("2026-06-02T00:00:00Z")), Some(now)), [Severity::Error]);
        assert_eq!(severities(Some(now), Some(at("2026-06-01T12:01:01Z"))), [Severity::Error]);
        let both = against(now, Some(at("2027-01-01T00:00:00Z")), Some(at("2028-01-01T00:00:00Z")));
        assert!(
            both[0].fact.contains("a commit of 2027-01-01") && both[1].fact.contains("last at 2028-01-01"),
            "{both:?}"
        );
    }

    #[test]
    fn the_last_change_of_the_registry_is_known() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest(dir.path()), None);
        let (_lookup, amend) = registry::open(dir.path()).unwrap();
        assert_eq!(newest(dir.path()), None);
        let before = Timestamp::now();
        for name in ["one", "two"] {
            let account = crate::model::name::AccountName::parse(name).unwrap();
            amend.commit("alice", &[registry::change::Change::AccountAdd { account }]).unwrap();
        }
        // While it is open, as beside a daemon.
        let newest = newest(dir.path()).unwrap();
        assert!(newest >= before && newest <= Timestamp::now(), "{newest}");
    }

    #[test]
    fn who_keeps_the_clock_and_has_not_set_it_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(synchronized(&dir.path().join("none")), None);
        assert_eq!(synchronized(dir.path()).unwrap().severity, Severity::Warning);
        std::fs::write(dir.path().join("synchronized"), "").unwrap();
        assert_eq!(synchronized(dir.path()), None);
    }
}
