//! `key list`, `account-key list`

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::admin::fault::Fault;
use crate::admin::operator::Operator;
use crate::admin::view::{KeyState, KeyView, Page};
use crate::admin::{Admin, Faults, PAGE};
use crate::model::expiry::Expiry;
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;
use crate::model::name::AccountName;
use crate::model::repo_path::RepoPath;
use crate::registry::change::Conflict;
use crate::registry::record::{Holder, KeyRecord};

/// How many keys are looked at for one page: an answer comes in time even when hardly any of a million keys is asked for.
const LOOKED_AT: usize = 20_000;

/// Which keys are asked for. What is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Keys of machines or of people.
    pub holder: Option<Holder>,
    /// Not used for so long, and registered for longer.
    pub unused: Option<SignedDuration>,
    /// Ending within this time, by expiry or rotation.
    pub expiring: Option<SignedDuration>,
    /// Over already.
    pub expired: bool,
    /// Suspended.
    pub suspended: bool,
    /// Able to fetch this repository by their grants.
    pub grants: Option<RepoPath>,
}

impl Admin {
    /// The keys of one account or of all in the order of their names, after a name for the next page. A page may be short,
    /// or empty, and have another one behind it.
    ///
    /// # Errors
    /// No such account, or the registry cannot say.
    pub fn key_list(
        &self,
        _by: &Operator,
        account: Option<&AccountName>,
        after: Option<&KeyName>,
        filter: &Filter,
    ) -> Result<Page<KeyView>, Faults> {
        if let Some(account) = account
            && self.lookup.account(account)?.is_none()
        {
            return Err(Fault::from(Conflict::NoAccount(account.clone())).into());
        }
        let now = Timestamp::now();
        let able = filter.grants.as_ref().map(|repo| self.able(repo)).transpose()?;
        let (mut found, mut after, mut looked_at) = (Vec::new(), after.cloned(), 0);
        let more = loop {
            let keys = self.lookup.keys(account, after.as_ref(), PAGE)?;
            looked_at += keys.len();
            let last = keys.last().map(|key| key.name.clone());
            let full = keys.len() == PAGE;
            found.extend(keys.into_iter().filter(|key| self.wanted(key, filter, able.as_ref(), now)));
            after = last.or(after);
            if !full || found.len() >= PAGE || looked_at >= LOOKED_AT {
                break full;
            }
        };
        let views = found.iter().map(|key| KeyView::of(key, now).used(self.usage.of(&key.fingerprint(), key.added_at)));
        let mut page = Page::fill(views, false, |view| &view.name);
        if more && page.next.is_none() {
            page.next = after.map(|name| name.to_string());
        }
        Ok(page)
    }

    /// The keys with a grant that covers the repository.
    fn able(&self, repo: &RepoPath) -> Result<BTreeSet<Fingerprint>, Faults> {
        let mut able = BTreeSet::new();
        for grant in self.covering(repo)? {
            able.extend(self.lookup.granted(&grant)?);
        }
        Ok(able)
    }

    fn wanted(&self, key: &KeyRecord, filter: &Filter, able: Option<&BTreeSet<Fingerprint>>, now: Timestamp) -> bool {
        let ends = match key.expiry {
            Expiry::At(at) => Some(at),
            Expiry::Never => None,
        };
        let ends = ends.into_iter().chain(key.replaced_by.iter().map(|rotation| rotation.until)).min();
        let unused = |span: SignedDuration| {
            let used = self.usage.of(&key.fingerprint(), key.added_at).map_or(key.added_at, |uses| uses.last.at);
            now.duration_since(used) >= span
        };
        let own = match (key.holder, &filter.grants) {
            (Holder::AccountKey, Some(repo)) => repo.is_in(key.account()),
            (Holder::AccountKey | Holder::DeployKey, _) => able.is_none_or(|able| able.contains(&key.fingerprint())),
        };
        filter.holder.is_none_or(|holder| key.holder == holder)
            && own
            && filter.unused.is_none_or(unused)
            && filter
                .expiring
                .is_none_or(|span| ends.is_some_and(|ends| ends > now && ends.duration_since(now) <= span))
            && (!filter.expired || ends.is_some_and(|ends| ends <= now))
            && (!filter.suspended || KeyView::of(key, now).state == KeyState::Suspended)
    }
}
