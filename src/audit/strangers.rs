//! Records that somebody without a registered key can cause: as many as they like, so only so many are written, and the rest
//! is counted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv6Net};
use jiff::Timestamp;

use super::{Event, Record, SCHEMA, new_id};

/// The most networks that have a bucket of their own, and the most counts that are held; all others share one.
const NETWORKS: usize = 1024;
/// How long a count is gathered before it is written.
pub const TOLD_EVERY: Duration = Duration::from_secs(60);
const MINUTE: f64 = 60.0;

/// How many such records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// In a minute, from one IPv4 address or one /64 of IPv6.
    pub per_network: u32,
    /// In a minute, in all.
    pub in_all: u32,
}

impl Default for Settings {
    /// Of one network more than a build farm that has one wrong key makes; in all about 200 MB a day at most.
    fn default() -> Self {
        Self { per_network: 60, in_all: 600 }
    }
}

/// A minute's worth that may be used at once, and comes back evenly.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(most: u32, at: Instant) -> Self {
        Self { left: f64::from(most), at }
    }

    fn fill(&mut self, most: u32, now: Instant) {
        let most = f64::from(most);
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        (self.left, self.at) = ((self.left + since * most / MINUTE).min(most), now);
    }

    fn has(&self) -> bool {
        self.left >= 1.0
    }
}

/// What was not written: of which event, for which reason, from which network.
type Left = (&'static str, String, Option<IpNet>);

#[derive(Debug)]
struct State {
    all: Bucket,
    networks: BTreeMap<IpNet, Bucket>,
    /// For those that have no bucket of their own.
    others: Bucket,
    left: BTreeMap<Left, (u64, Timestamp)>,
    /// When the first of what is left was left.
    since: Option<Instant>,
}

/// The bound on what strangers can cause.
#[derive(Debug)]
pub(super) struct Strangers {
    settings: Settings,
    state: Mutex<State>,
}

impl Strangers {
    pub(super) fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let (all, others) = (Bucket::full(settings.in_all, now), Bucket::full(settings.per_network, now));
        let state = State { all, networks: BTreeMap::new(), others, left: BTreeMap::new(), since: None };
        Self { settings, state: Mutex::new(state) }
    }

    /// Whether a record is written. One of somebody who is registered always is; any other may be counted instead.
    pub(super) fn admits(&self, event: &Event) -> bool {
        match event.subject() {
            Some(subject) if subject.key.is_none() => self.admits_at(event, Instant::now()),
            Some(_) | None => true,
        }
    }

    fn admits_at(&self, event: &Event, now: Instant) -> bool {
        let Settings { per_network, in_all } = self.settings;
        let network = event.subject().and_then(|subject| subject.address).map(network);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { all, networks, others, left, since } = &mut *state;
        let own = network.filter(|network| {
            if networks.len() >= NETWORKS && !networks.contains_key(network) {
                // Who has been quiet for a minute has a full bucket, as who was never here.
                networks.retain(|_, bucket| now.saturating_duration_since(bucket.at).as_secs_f64() < MINUTE);
            }
            networks.len() < NETWORKS || networks.contains_key(network)
        });
        let bucket = match own {
            Some(network) => networks.entry(network).or_insert_with(|| Bucket::full(per_network, now)),
            None => others,
        };
        bucket.fill(per_network, now);
        all.fill(in_all, now);
        if bucket.has() && all.has() {
            bucket.left -= 1.0;
            all.left -= 1.0;
            return true;
        }
        let key = (event.word(), reason(event), own);
        let key = if left.len() < NETWORKS || left.contains_key(&key) { key } else { (event.word(), key.1, None) };
        left.entry(key).or_insert_with(|| (0, Timestamp::now())).0 += 1;
        since.get_or_insert(now);
        false
    }

    /// The records of what was left out, when a minute has passed since the first of it, or all that there is.
    pub(super) fn suppressed(&self, all: bool) -> Vec<Record> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.since.is_some_and(|since| all || since.elapsed() >= TOLD_EVERY) {
            return Vec::new();
        }
        state.since = None;
        let left = std::mem::take(&mut state.left);
        drop(state);
        let record = |((of, reason, network), (count, since)): (Left, (u64, Timestamp))| {
            let event = Event::Suppressed { of: of.to_owned(), reason, network, count, since };
            Record { v: SCHEMA, time: Timestamp::now(), id: new_id(), event, link: None }
        };
        left.into_iter().map(record).collect()
    }
}

/// One IPv4 address, or a /64 of IPv6: what one customer of a provider has.
fn network(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(address) => IpNet::from(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            Ipv6Net::new(address, 64).map_or_else(|_| IpAddr::V6(address).into(), |net| net.trunc().into())
        }
    }
}

/// Why, as a stable word: of these there are few, whatever a stranger sends.
fn reason(event: &Event) -> String {
    if let Event::LoginRefused { reason: why, .. } | Event::Refused { code: why, .. } = event {
        return why.clone();
    }
    event.word().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Subject;
    use super::*;

    fn refused(address: &str, reason: &str) -> Event {
        let subject = Subject { address: Some(address.parse().unwrap()), ..Subject::default() };
        Event::LoginRefused { subject, reason: reason.to_owned() }
    }

    fn counts(strangers: &Strangers) -> Vec<(Option<String>, String, u64)> {
        let of = |record: Record| {
            let Event::Suppressed { network, reason, count, .. } = record.event else { panic!("{record:?}") };
            (network.map(|net| net.to_string()), reason, count)
        };
        strangers.suppressed(true).into_iter().map(of).collect()
    }

    #[test]
    fn of_ten_thousand_some_are_written_and_all_are_counted() {
        let strangers = Strangers::new(Settings::default());
        let begin = Instant::now();
        let written = (0..10_000)
            .filter(|n| {
                // Within ten seconds.
                let at = begin + Duration::from_millis(*n);
                let address = if n % 10 == 0 { "2001:db8::7" } else { "192.0.2.7" };
                strangers.admits_at(&refused(address, "unknown-key"), at)
            })
            .count() as u64;
        assert!((2 * 60..=2 * 72).contains(&written), "{written}");
        let counts = counts(&strangers);
        assert_eq!(counts.iter().map(|(_, _, count)| count).sum::<u64>() + written, 10_000);
        let networks: Vec<_> = counts.iter().map(|(network, ..)| network.as_deref().unwrap()).collect();
        assert_eq!(networks, ["192.0.2.7/32", "2001:db8::/64"]);
        assert!(strangers.suppressed(true).is_empty(), "told once");
    }

    #[test]
    fn many_networks_are_bounded_in_all_and_in_memory() {
        let strangers = Strangers::new(Settings { per_network: 5, in_all: 100 });
        let now = Instant::now();
        let written = (0..20_000u32)
            .filter(|n| {
                let address = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
                strangers.admits_at(&refused(&address, "unknown-key"), now)
            })
            .count() as u64;
        assert_eq!(written, 100);
        let state = strangers.state.lock().unwrap();
        assert!(state.networks.len() <= NETWORKS && state.left.len() <= NETWORKS + 1);
        drop(state);
        let counts = counts(&strangers);
        assert_eq!(counts.iter().map(|(_, _, count)| count).sum::<u64>() + written, 20_000);
        assert!(counts.iter().any(|(network, _, count)| network.is_none() && *count > 10_000), "the others together");
        // A minute later there is room again.
        assert!(strangers.admits_at(&refused("10.9.9.9", "x"), now + Duration::from_secs(61)));
    }

    #[test]
    fn who_is_registered_is_never_counted_only() {
        let strangers = Strangers::new(Settings { per_network: 1, in_all: 1 });
        let mut subject = Subject { address: Some("192.0.2.7".parse().unwrap()), ..Subject::default() };
        let login = |subject: &Subject| Event::Login { subject: subject.clone() };
        assert!(strangers.admits(&login(&subject)) && !strangers.admits(&login(&subject)));
        subject.key = Some(crate::model::key_name::KeyName::parse("acme/ci").unwrap());
        assert!((0..100).all(|_| strangers.admits(&login(&subject))));
        assert_eq!(counts(&strangers), [(Some("192.0.2.7/32".to_owned()), "login".to_owned(), 1)]);
        assert!(strangers.suppressed(false).is_empty());
    }
}
