//! The difference between the registry and a file, and the changes that close it.

mod whole;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;
use serde::Serialize;

use super::declared::{Declared, DeclaredKey};
use super::io::Stop;
use crate::admin::Faults;
use crate::admin::fault::{Fault, Kind};
use crate::admin::key::endless;
use crate::admin::policy::Policy;
use crate::model::expiry::Expiry;
use crate::model::fingerprint::Fingerprint;
use crate::model::key_name::KeyName;
use crate::model::name::Label;
use crate::model::text::{Note, counted};
use crate::registry::change::Change;
use crate::registry::record::Holder;
use whole::Along;

/// What is done to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Action {
    Add,
    Change,
    Remove,
}

/// One line of the difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) action: Action,
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// What changes in it, or what a new one has that need not be so; empty when it goes as a whole.
    pub(super) details: Vec<String>,
}

/// The difference, and the changes that close it, in an order in which each of them can be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) lines: Vec<Line>,
    pub(super) changes: Vec<Change>,
    faults: Vec<Fault>,
}

/// Compares. Without `prune` nothing is taken away.
pub(super) fn plan(have: &Declared, want: &Declared, prune: bool, policy: &Policy) -> Result<Plan, Stop> {
    let mut plan = Plan::default();
    plan.twice(want);
    if prune {
        plan.contradictions(have, want);
    }
    plan.accounts(have, want, prune);
    plan.groups(have, want, prune);
    plan.keys(have, want, prune, policy);
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (have.public.iter().collect(), want.public.iter().collect());
    for repo in new.difference(&old) {
        plan.put(Action::Add, "public", repo, Vec::new(), [Change::RepoPublish { repo: (*repo).clone() }]);
    }
    for repo in old.difference(&new).filter(|_| prune) {
        plan.put(Action::Remove, "public", repo, Vec::new(), [Change::RepoUnpublish { repo: (*repo).clone() }]);
    }
    Faults::check(plan.faults)?;
    plan.faults = Vec::new();
    Ok(plan)
}

impl Plan {
    fn put(
        &mut self,
        action: Action,
        kind: &'static str,
        name: &impl ToString,
        details: Vec<String>,
        changes: impl IntoIterator<Item = Change>,
    ) {
        self.lines.push(Line { action, kind, name: name.to_string(), details });
        self.changes.extend(changes);
    }

    /// What stands in the file twice cannot be meant.
    fn twice(&mut self, want: &Declared) {
        let (mut groups, mut names, mut prints) = (BTreeSet::new(), BTreeSet::new(), HashMap::new());
        for group in &want.groups {
            if !groups.insert((&group.account, &group.name)) {
                let fact = format!("the file has the group {}/@{} twice", group.account, group.name);
                self.faults.push(Fault::new(Kind::Invalid, fact).hint("name it once, with all of its repositories"));
            }
        }
        for key in &want.keys {
            if !names.insert(&key.name) {
                self.faults
                    .push(Fault::new(Kind::Invalid, format!("the file has two keys with the name {}", key.name)));
            }
            if let Some(other) = prints.insert(key.key.fingerprint(), &key.name) {
                let fact = format!("the file has one public key twice, as {other} and as {}", key.name);
                self.faults.push(Fault::new(Kind::Invalid, fact).hint("name it once, with all of its grants"));
            }
        }
    }

    fn accounts(&mut self, have: &Declared, want: &Declared, prune: bool) {
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (have.accounts.iter().collect(), want.accounts.iter().collect());
        for account in new.difference(&old) {
            self.put(Action::Add, "account", account, Vec::new(), [Change::AccountAdd { account: (*account).clone() }]);
        }
        let along = if prune { Along::of_accounts(have) } else { BTreeMap::new() };
        for account in old.difference(&new).filter(|_| prune) {
            let change = Change::AccountRemove { account: (*account).clone() };
            let details = along.get(account.as_str()).map(Along::details).unwrap_or_default();
            self.put(Action::Remove, "account", account, details, [change]);
        }
    }

    fn groups(&mut self, have: &Declared, want: &Declared, prune: bool) {
        let kept: BTreeSet<_> = want.accounts.iter().collect();
        let old: BTreeMap<_, _> = have.groups.iter().map(|group| ((&group.account, &group.name), group)).collect();
        let new: BTreeMap<_, _> = want.groups.iter().map(|group| ((&group.account, &group.name), group)).collect();
        for ((account, group), wanted) in &new {
            let name = format!("{account}/@{group}");
            let (account, group) = ((*account).clone(), (*group).clone());
            let members: BTreeSet<_> = wanted.repositories.iter().collect();
            let Some(had) = old.get(&(&wanted.account, &wanted.name)) else {
                let repos = wanted.repositories.clone();
                let details = repos.iter().map(|repo| format!("+ {repo}")).collect();
                self.put(Action::Add, "group", &name, details, [Change::GroupAdd { account, group, repos }]);
                continue;
            };
            let had: BTreeSet<_> = had.repositories.iter().collect();
            let more: Vec<_> = members.difference(&had).map(|repo| (*repo).clone()).collect();
            let less: Vec<_> = had.difference(&members).filter(|_| prune).map(|repo| (*repo).clone()).collect();
            let details: Vec<_> = more
                .iter()
                .map(|repo| format!("+ {repo}"))
                .chain(less.iter().map(|repo| format!("- {repo}")))
                .collect();
            if details.is_empty() {
                continue;
            }
            let add = Change::GroupAdd { account: account.clone(), group: group.clone(), repos: more };
            let take = Change::GroupDrop { account, group, repos: less };
            self.put(Action::Change, "group", &name, details, [take, add]);
        }
        let holders = if prune { whole::holders(have) } else { BTreeMap::new() };
        for (place, _) in old.iter().filter(|(place, _)| prune && !new.contains_key(*place) && kept.contains(place.0)) {
            let change = Change::GroupRemove { account: place.0.clone(), group: place.1.clone() };
            let holders = holders.get(&(place.0.as_str(), place.1.as_str()));
            let details = holders.map(|keys| format!("{} may fetch nothing by it any more", counted(*keys, "key")));
            let name = format!("{}/@{}", place.0, place.1);
            self.put(Action::Remove, "group", &name, details.into_iter().collect(), [change]);
        }
    }

    fn keys(&mut self, have: &Declared, want: &Declared, prune: bool, policy: &Policy) {
        let kept: BTreeSet<_> = want.accounts.iter().collect();
        let old: HashMap<Fingerprint, &DeclaredKey> =
            have.keys.iter().map(|key| (key.key.fingerprint(), key)).collect();
        let new: BTreeSet<Fingerprint> = want.keys.iter().map(|key| key.key.fingerprint()).collect();
        // What goes comes first, so that its label is free.
        for key in have.keys.iter().filter(|key| prune && kept.contains(&key.name.account)) {
            let print = key.key.fingerprint();
            if !new.contains(&print) {
                self.put(Action::Remove, "key", &key.name, Vec::new(), [Change::KeyRemove { key: print }]);
            }
        }
        self.renames(&old, want);
        for key in &want.keys {
            match old.get(&key.key.fingerprint()) {
                Some(had) => self.key(had, key, prune),
                None => self.new_key(key, policy),
            }
        }
    }

    /// Labels change before anything needs them. A label that a key gives up and another one gets is free in between: keys
    /// that swap their labels go by way of labels that nobody has.
    fn renames(&mut self, old: &HashMap<Fingerprint, &DeclaredKey>, want: &Declared) {
        let moves: Vec<(&DeclaredKey, &DeclaredKey)> = want
            .keys
            .iter()
            .filter_map(|key| old.get(&key.key.fingerprint()).map(|had| (*had, key)))
            .filter(|(had, key)| had.name.account == key.name.account && had.name.label != key.name.label)
            .collect();
        if moves.is_empty() {
            return;
        }
        let wanted: BTreeSet<&KeyName> = want.keys.iter().map(|key| &key.name).collect();
        let mut taken: BTreeSet<KeyName> = old.values().map(|key| key.name.clone()).collect();
        taken.extend(wanted.iter().map(|name| (*name).clone()));
        for (number, (had, _)) in moves.iter().enumerate().filter(|(_, (had, _))| wanted.contains(&had.name)) {
            let free = (number..).filter_map(|number| Label::parse(&format!("renamed-{number}")).ok());
            let mut free = free.map(|label| KeyName { account: had.name.account.clone(), label });
            if let Some(name) = free.find(|name| !taken.contains(name)) {
                self.changes.push(Change::KeyRename { key: had.key.fingerprint(), label: name.label.clone() });
                taken.insert(name);
            }
        }
        for (had, key) in moves {
            self.changes.push(Change::KeyRename { key: had.key.fingerprint(), label: key.name.label.clone() });
        }
    }

    fn new_key(&mut self, key: &DeclaredKey, policy: &Policy) {
        let expiry = match policy.expiry(key.expires.map(|moment| moment.0), jiff::Timestamp::now()) {
            Ok(expiry) => expiry,
            Err(fault) => return self.faults.push(Fault { field: Some(format!("key {}", key.name)), ..fault }),
        };
        let add = Change::KeyAdd {
            key: key.key.clone(),
            name: key.name.clone(),
            holder: key.kind,
            note: key.note.clone().unwrap_or_default(),
            expiry,
            sources: key.from.clone(),
            grants: key.grants.clone(),
        };
        let suspend = (key.suspended == Some(true))
            .then(|| Change::KeySuspend { key: key.key.fingerprint(), reason: Note::default() });
        self.put(Action::Add, "key", &key.name, new_key(key, expiry), std::iter::once(add).chain(suspend));
    }

    fn key(&mut self, had: &DeclaredKey, want: &DeclaredKey, prune: bool) {
        if had.name.account != want.name.account {
            return self.faults.push(elsewhere(&had.name, &want.name));
        }
        if had.kind != want.kind {
            return self.faults.push(of_another_kind(had, want));
        }
        let key = want.key.fingerprint();
        let (mut details, mut changes) = (Vec::new(), Vec::new());
        if had.name.label != want.name.label {
            // Done already: see `renames`.
            details.push(format!("label: {} -> {}", had.name.label, want.name.label));
        }
        if let Some(note) = want.note.as_ref().filter(|note| had.note.as_ref() != Some(note)) {
            details.push(format!("note: {note}"));
            changes.push(Change::KeyNote { key, note: note.clone() });
        }
        if let Some(expiry) = want.expires.map(|moment| moment.0).filter(|expiry| !ends(had, *expiry)) {
            let from = had.expires.map_or(Expiry::Never, |moment| moment.0);
            details.push(format!("expires: {from} -> {expiry}"));
            changes.push(Change::KeyExpire { key, expiry });
            match (&had.replaced, expiry) {
                (None, _) => {}
                (Some(_), Expiry::At(until)) => changes.push(Change::KeyOverlap { key, until }),
                (Some(replaced), Expiry::Never) => {
                    self.faults.push(
                        Fault::new(Kind::Conflict, endless(&had.name, &replaced.by)).field("expires").hint(format!(
                            "say when, or leave `expires` of {} out of the file: then it ends when it was to",
                            had.name
                        )),
                    );
                }
            }
        }
        if had.from != want.from && (prune || !want.from.is_empty()) {
            details.extend(new_networks(&had.from, &want.from));
            changes.push(Change::KeySources { key, sources: want.from.clone() });
        }
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (had.grants.iter().collect(), want.grants.iter().collect());
        let more: Vec<_> = new.difference(&old).map(|grant| (*grant).clone()).collect();
        let less: Vec<_> = old.difference(&new).filter(|_| prune).map(|grant| (*grant).clone()).collect();
        if !less.is_empty() {
            details.extend(less.iter().map(|grant| format!("- {grant}")));
            changes.push(Change::KeyUngrant { key, grants: less });
        }
        if !more.is_empty() {
            details.extend(more.iter().map(|grant| format!("+ {grant}")));
            changes.push(Change::KeyGrant { key, grants: more });
        }
        match (had.suspended.unwrap_or(false), want.suspended) {
            (false, Some(true)) => {
                details.push("suspended".to_owned());
                changes.push(Change::KeySuspend { key, reason: Note::default() });
            }
            (true, Some(false)) => {
                details.push("resumed".to_owned());
                changes.push(Change::KeyResume { key });
            }
            (true | false, None) | (true, Some(true)) | (false, Some(false)) => {}
        }
        if !details.is_empty() {
            self.put(Action::Change, "key", &want.name, details, changes);
        }
    }
}

/// What whoever agrees to a new key has to see: what it opens, for how long, and for whom.
fn new_key(key: &DeclaredKey, expiry: Expiry) -> Vec<String> {
    let mut details = Vec::new();
    if key.kind == Holder::AccountKey {
        details.push(format!("a person's: reads all of {}", key.name.account));
    }
    details.extend(key.grants.iter().map(|grant| format!("+ {grant}")));
    if expiry != Expiry::Never {
        details.push(format!("expires: {expiry}"));
    }
    if !key.from.is_empty() {
        details.push(from(&key.from));
    }
    if key.suspended == Some(true) {
        details.push("suspended".to_owned());
    }
    details
}

fn from(networks: &[IpNet]) -> String {
    format!("from: {}", networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// What becomes of a key's networks. To be let in from anywhere takes a bound away, and is asked about as such.
fn new_networks(had: &[IpNet], want: &[IpNet]) -> Vec<String> {
    match want {
        [] => vec![format!("- {}", from(had)), "from: anywhere".to_owned()],
        want => vec![from(want)],
    }
}

/// Whether a key ends then already. Of one that was replaced, a file may say either end: it was written before the rotation
/// or after it.
fn ends(had: &DeclaredKey, expiry: Expiry) -> bool {
    had.expires.is_some_and(|moment| moment.0 == expiry)
        || had.replaced.as_ref().is_some_and(|replaced| replaced.own == expiry || replaced.until == expiry)
}

fn of_another_kind(had: &DeclaredKey, want: &DeclaredKey) -> Fault {
    let kind = |holder| match holder {
        Holder::DeployKey => "a deploy key",
        Holder::AccountKey => "an account key",
    };
    let fact = format!("key {} is {}, and the file says {}", had.name, kind(had.kind), kind(want.kind));
    Fault::new(Kind::Conflict, fact).field("kind").hint(format!(
        "a key stays what it is: make a new one, or remove it first (pullgate key remove {}, or account-key remove)",
        had.name
    ))
}

fn elsewhere(had: &KeyName, want: &KeyName) -> Fault {
    Fault::new(Kind::Conflict, format!("the public key of {want} is registered as {had}"))
        .hint(format!("a key is registered once: make a new one, or remove it there first: pullgate key remove {had}"))
}
