//! The order of the rules, as a function of the record, the question and the time.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::cover::covers;
use super::refusal::Reason;
use crate::model::expiry::Expiry;
use crate::model::repo_path::RepoPath;
use crate::registry::record::KeyRecord;

/// Whether the key is in use now and from there: what stands against any request of it.
pub(super) fn in_use(record: &KeyRecord, from: Option<IpAddr>, now: Timestamp) -> Result<(), Reason> {
    if let Some(suspension) = &record.suspended {
        return Err(Reason::Suspended { since: suspension.at });
    }
    if let Expiry::At(at) = record.expiry
        && record.expiry.is_over(now)
    {
        return Err(Reason::Expired { at });
    }
    if !record.sources.is_empty() {
        // Without an address nothing shows that it comes from where it must.
        let from = from.map(|from| from.to_canonical());
        let inside = from.is_some_and(|from| record.sources.iter().any(|network: &IpNet| network.contains(&from)));
        if !inside {
            return Err(Reason::SourceAddress { from });
        }
    }
    Ok(())
}

/// Whether the key may fetch the repository, all things but the repository itself considered.
pub(super) fn may_fetch(
    record: &KeyRecord,
    repo: &RepoPath,
    from: Option<IpAddr>,
    now: Timestamp,
) -> Result<(), Reason> {
    in_use(record, from, now)?;
    if covers(record, repo) { Ok(()) } else { Err(Reason::NotGranted { repo: repo.clone() }) }
}
