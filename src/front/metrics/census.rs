//! How many keys there are, and how many of them end soon.
//!
//! That takes a look at every key, of which there may be a million: so it is done beside everything else, at a small part of
//! one core's time, and a scrape is told what the last look found and when that was.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::expiry::Expiry;
use crate::registry::Lookup;
use crate::registry::change::Unavailable;
use crate::registry::record::{Holder, KeyRecord};

/// How many keys are looked at in one go.
const PAGE: usize = 256;
/// For each moment of looking it rests so many: at most a tenth of one core is used.
const REST: u32 = 9;
/// How long it rests between two rounds; a round that took long is followed by a long rest.
const LEAST: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(60);
/// After a round it rests for so many times as long as it took to look, within these bounds.
const REST_OF_ROUND: u32 = 100;

type Labelled = Family<[(&'static str, &'static str); 1], Gauge>;

/// What the last look found. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Census {
    accounts: Gauge,
    keys: Labelled,
    grants: Gauge,
    suspended: Gauge,
    expired: Gauge,
    expiring: Labelled,
    at: Gauge,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    deploy: i64,
    account: i64,
    grants: i64,
    suspended: i64,
    expired: i64,
    week: i64,
    month: i64,
}

impl Sums {
    fn add(&mut self, key: &KeyRecord, now: Timestamp) {
        match key.holder {
            Holder::DeployKey => self.deploy += 1,
            Holder::AccountKey => self.account += 1,
        }
        self.grants += i64::try_from(key.grants.len()).unwrap_or(i64::MAX);
        self.suspended += i64::from(key.suspended.is_some());
        let ends = match key.expiry {
            Expiry::At(at) => Some(at),
            Expiry::Never => None,
        };
        let replaced = key.replaced_by.as_ref().map(|rotation| rotation.until);
        let over = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if over(ends) || over(replaced) {
            self.expired += 1;
        } else if let (Some(ends), None) = (ends, replaced) {
            // One that was replaced ends because somebody saw to it.
            let within = |days: i64| ends.duration_since(now) <= SignedDuration::from_hours(24 * days);
            self.week += i64::from(within(7));
            self.month += i64::from(within(30));
        }
    }
}

impl Census {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("pullgate_registry_accounts", "Accounts", self.accounts.clone());
        registry.register("pullgate_registry_keys", "Registered keys, by what they are", self.keys.clone());
        registry.register("pullgate_registry_grants", "Grants of all keys together", self.grants.clone());
        registry.register("pullgate_registry_keys_suspended", "Keys that are suspended", self.suspended.clone());
        registry.register(
            "pullgate_registry_keys_expired",
            "Keys that are over, by their expiry or since another took their place",
            self.expired.clone(),
        );
        registry.register(
            "pullgate_registry_keys_expiring",
            "Keys whose expiry comes within this time and that no other has replaced; 30d has those of 7d, too",
            self.expiring.clone(),
        );
        registry.register_with_unit(
            "pullgate_registry_counted_timestamp",
            "When accounts, keys and grants were last counted, in seconds since 1970",
            Unit::Seconds,
            self.at.clone(),
        );
    }

    fn tell(&self, accounts: usize, sums: &Sums, now: Timestamp) {
        let Sums { deploy, account, grants, suspended, expired, week, month } = *sums;
        self.accounts.set(i64::try_from(accounts).unwrap_or(i64::MAX));
        self.keys.get_or_create(&[("holder", "deploy-key")]).set(deploy);
        self.keys.get_or_create(&[("holder", "account-key")]).set(account);
        self.grants.set(grants);
        self.suspended.set(suspended);
        self.expired.set(expired);
        self.expiring.get_or_create(&[("within", "7d")]).set(week);
        self.expiring.get_or_create(&[("within", "30d")]).set(month);
        self.at.set(now.as_second());
    }

    /// Counts again and again, until `stop`.
    pub(super) async fn keep(self, lookup: Lookup, stop: CancellationToken) {
        loop {
            let rest = match self.round(&lookup, &stop).await {
                Ok(worked) => worked.saturating_mul(REST_OF_ROUND).clamp(LEAST, MOST),
                Err(error) => {
                    // What was found last stays, with its time.
                    tracing::debug!(%error, "the keys cannot be counted");
                    MOST
                }
            };
            if tokio::time::timeout(rest, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// Looks at every key once; says how long it looked.
    async fn round(&self, lookup: &Lookup, stop: &CancellationToken) -> Result<Duration, Unavailable> {
        let (now, mut sums, mut after, mut worked) = (Timestamp::now(), Sums::default(), None, Duration::ZERO);
        loop {
            let begin = Instant::now();
            let keys = tokio::task::block_in_place(|| lookup.keys(None, after.as_ref(), PAGE))?;
            keys.iter().for_each(|key| sums.add(key, now));
            let took = begin.elapsed();
            worked += took;
            if keys.len() < PAGE {
                break;
            }
            after = keys.into_iter().last().map(|key| key.name);
            if tokio::time::timeout(took.saturating_mul(REST), stop.cancelled()).await.is_ok() {
                return Ok(worked);
            }
        }
        let accounts = tokio::task::block_in_place(|| lookup.accounts())?.len();
        self.tell(accounts, &sums, now);
        Ok(worked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::public_key::PublicKey;
    use crate::registry::record::{Rotation, Suspension};

    fn key(ends: Option<&str>) -> KeyRecord {
        let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let key = PublicKey::parse(line).unwrap();
        KeyRecord {
            key,
            name: crate::model::key_name::KeyName::parse("acme/ci").unwrap(),
            holder: Holder::DeployKey,
            note: Default::default(),
            added_at: Timestamp::UNIX_EPOCH,
            added_by: String::new(),
            expiry: ends.map_or(Expiry::Never, |at| Expiry::At(at.parse().unwrap())),
            expiry_set: None,
            suspended: None,
            sources: Vec::new(),
            grants: vec![crate::model::grant::Grant::parse("acme/*").unwrap()],
            replaces: None,
            replaced_by: None,
        }
    }

    #[test]
    fn keys_are_told_apart_by_their_ends() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut sums = Sums::default();
        let rotation = |until: &str| {
            let until = until.parse().unwrap();
            Some(Rotation { key: key(None).fingerprint(), name: key(None).name, at: now, until })
        };
        let suspended = Some(Suspension { at: now, by: String::new(), reason: Default::default() });
        for key in [
            key(None),
            key(Some("2026-01-01T00:00:00Z")),
            key(Some("2026-01-08T00:00:00Z")),
            key(Some("2026-01-08T00:00:01Z")),
            key(Some("2026-01-31T00:00:00Z")),
            key(Some("2026-01-31T00:00:01Z")),
            KeyRecord { replaced_by: rotation("2026-01-03T00:00:00Z"), ..key(Some("2026-01-05T00:00:00Z")) },
            KeyRecord { replaced_by: rotation("2025-12-31T00:00:00Z"), ..key(None) },
            KeyRecord { suspended, holder: Holder::AccountKey, grants: Vec::new(), ..key(None) },
        ] {
            sums.add(&key, now);
        }
        let expected = Sums { deploy: 8, account: 1, grants: 8, suspended: 1, expired: 2, week: 1, month: 3 };
        assert_eq!(sums, expected);
    }
}
