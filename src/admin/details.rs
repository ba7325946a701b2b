//! Changes one by one, for the record of a commit whose sentence does not name all that it changed.

use std::collections::HashMap;

use super::Admin;
use crate::model::details::{Details, Gathering};
use crate::model::fingerprint::Fingerprint;
use crate::model::grant::Grant;
use crate::model::key_name::{KeyName, KeyRef};
use crate::model::name::AccountName;
use crate::registry::Lookup;
use crate::registry::change::{Change, Unavailable};

/// What a key is called, or was when it was removed. Nothing too when the registry cannot say: its fingerprint names it as well.
pub(super) fn called(lookup: &Lookup, key: &Fingerprint) -> Option<KeyName> {
    let tomb = || lookup.tombstone(&KeyRef::Fingerprint(*key)).ok().flatten().map(|tomb| tomb.name);
    lookup.key(key).ok().flatten().map(|record| record.name).or_else(tomb)
}

impl Admin {
    /// What changes will do, one by one, and what goes with them. To be asked for before they are committed.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub(super) fn details(&self, changes: &[Change]) -> Result<Details, Unavailable> {
        let mut all = Gathering::default();
        // What these very changes call keys, as long as it is told.
        let mut new: HashMap<Fingerprint, KeyName> = HashMap::new();
        for change in changes {
            let key = change.key().map(|key| new.get(key).cloned().or_else(|| called(&self.lookup, key)));
            let name = key.flatten();
            let accounts = change.accounts().chain(name.as_ref().map(|name| name.account.as_str()));
            all.put(|| change.words(&|_| name.clone(), usize::MAX), accounts);
            if all.has_room() {
                new.extend(renamed(change, name.as_ref()));
            }
            self.gone_with(change, &mut all)?;
        }
        Ok(all.end())
    }

    /// What goes with what a change takes away.
    fn gone_with(&self, change: &Change, all: &mut Gathering) -> Result<(), Unavailable> {
        if let Change::AccountRemove { account } = change {
            self.gone_with_account(account, all)?;
        } else if let Change::GroupRemove { account, group } = change {
            self.lost(&Grant::Group(account.clone(), group.clone()), all)?;
        } else if let Change::RepoRemove { repo } = change {
            self.lost(&Grant::Repo(repo.clone()), all)?;
        }
        Ok(())
    }

    /// Keys that lose a grant.
    fn lost(&self, grant: &Grant, all: &mut Gathering) -> Result<(), Unavailable> {
        for key in self.lookup.granted(grant)? {
            let name = called(&self.lookup, &key);
            let accounts = name.as_ref().map(|name| name.account.as_str());
            let change = Change::KeyUngrant { key, grants: vec![grant.clone()] };
            all.put(|| change.words(&|_| name.clone(), usize::MAX), accounts);
        }
        Ok(())
    }

    fn gone_with_account(&self, account: &AccountName, all: &mut Gathering) -> Result<(), Unavailable> {
        let of = || Some(account.as_str());
        let mut after: Option<KeyName> = None;
        loop {
            let page = self.lookup.keys(Some(account), after.as_ref(), super::PAGE)?;
            for record in &page {
                all.put(|| format!("removed key {} ({})", record.name, record.fingerprint()), of());
            }
            match page.into_iter().last() {
                Some(last) => after = Some(last.name),
                None => break,
            }
        }
        for group in self.lookup.groups(Some(account))? {
            all.put(|| format!("removed group {account}/@{}", group.name), of());
        }
        for public in self.lookup.publics(Some(account))? {
            all.put(|| format!("unpublished {}", public.repo), of());
        }
        for key in self.lookup.reaching(account)? {
            let Some(record) = self.lookup.key(&key)? else { continue };
            let into = record.grants.iter().filter(|grant| grant.account_str() == account.as_str()).cloned();
            let change = Change::KeyUngrant { key, grants: into.collect() };
            let accounts = [record.name.account.as_str(), account.as_str()];
            all.put(|| change.words(&|_| Some(record.name.clone()), usize::MAX), accounts);
        }
        Ok(())
    }

    /// The same for one change, if a sentence that names at most `named` of anything does not tell all of it.
    pub(super) fn details_beyond(&self, change: &Change, named: usize) -> Result<Details, Unavailable> {
        let takes =
            matches!(change, Change::AccountRemove { .. } | Change::GroupRemove { .. } | Change::RepoRemove { .. });
        match takes || change.longest() > named {
            true => self.details(std::slice::from_ref(change)),
            false => Ok(Details::default()),
        }
    }
}

/// What a change calls a key.
fn renamed(change: &Change, name: Option<&KeyName>) -> Option<(Fingerprint, KeyName)> {
    if let Change::KeyAdd { key, name, .. } = change {
        return Some((key.fingerprint(), name.clone()));
    }
    let (key, label) = if let Change::KeyRename { key, label } = change {
        (*key, label)
    } else if let Change::KeyRotate { new, label, .. } = change {
        (new.fingerprint(), label)
    } else {
        return None;
    };
    Some((key, KeyName { account: name?.account.clone(), label: label.clone() }))
}
