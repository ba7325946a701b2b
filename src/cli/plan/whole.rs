//! What goes along with what a file leaves out, when it is to be all that there is; and whether it keeps a part of that.

use std::collections::{BTreeMap, BTreeSet};

use super::Plan;
use crate::admin::fault::{Fault, Kind};
use crate::cli::declared::Declared;
use crate::model::grant::Grant;
use crate::model::text::counted;

/// What goes with an account.
#[derive(Debug, Default)]
pub(super) struct Along {
    keys: usize,
    groups: usize,
    public: usize,
    /// Keys of other accounts that hold a grant in it.
    reaching: usize,
}

impl Along {
    /// For each account that there is.
    pub(super) fn of_accounts(have: &Declared) -> BTreeMap<&str, Self> {
        let mut all: BTreeMap<&str, Self> = BTreeMap::new();
        for key in &have.keys {
            all.entry(key.name.account.as_str()).or_default().keys += 1;
            let into: BTreeSet<&str> = key.grants.iter().map(Grant::account_str).collect();
            for account in into.into_iter().filter(|account| *account != key.name.account.as_str()) {
                all.entry(account).or_default().reaching += 1;
            }
        }
        for group in &have.groups {
            all.entry(group.account.as_str()).or_default().groups += 1;
        }
        for repo in &have.public {
            all.entry(repo.account_str()).or_default().public += 1;
        }
        all
    }

    pub(super) fn details(&self) -> Vec<String> {
        let Self { keys, groups, public, reaching } = *self;
        let inside = [(keys, "key"), (groups, "group"), (public, "public path")];
        let inside = inside.into_iter().filter(|(count, _)| *count > 0);
        let mut details: Vec<String> = inside.map(|(count, one)| format!("with {}", counted(count, one))).collect();
        if reaching > 0 {
            details.push(format!("{} of other accounts may fetch nothing of it any more", counted(reaching, "key")));
        }
        details
    }
}

/// How many keys may fetch by each group that there is.
pub(super) fn holders(have: &Declared) -> BTreeMap<(&str, &str), usize> {
    let mut all = BTreeMap::new();
    for key in &have.keys {
        for grant in &key.grants {
            if let Grant::Group(account, group) = grant {
                *all.entry((account.as_str(), group.as_str())).or_default() += 1;
            }
        }
    }
    all
}

impl Plan {
    /// A file that is all there is to be, and has something of what it leaves out, is not what somebody meant: it would be
    /// taken away with the rest.
    pub(super) fn contradictions(&mut self, have: &Declared, want: &Declared) {
        let kept: BTreeSet<&str> = want.accounts.iter().map(|account| account.as_str()).collect();
        let gone: BTreeSet<&str> =
            have.accounts.iter().map(|account| account.as_str()).filter(|account| !kept.contains(account)).collect();
        let kept: BTreeSet<_> = want.groups.iter().map(|group| (&group.account, &group.name)).collect();
        let groups: BTreeSet<_> = have.groups.iter().map(|group| (&group.account, &group.name)).collect();
        let group_goes = |grant: &Grant| match grant {
            Grant::Group(account, group) => groups.contains(&(account, group)) && !kept.contains(&(account, group)),
            Grant::Repo(_) | Grant::Glob(_) => false,
        };
        // What is left out, and what the file has of it: the first, and how many more.
        let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
        let mut note = |missing: String, has: String| found.entry(missing).or_insert((has, 0)).1 += 1;
        for key in &want.keys {
            if gone.contains(key.name.account.as_str()) {
                note(format!("account {}", key.name.account), format!("key {}", key.name));
                continue;
            }
            for grant in &key.grants {
                let has = || format!("the grant {grant} of key {}", key.name);
                if gone.contains(grant.account_str()) {
                    note(format!("account {}", grant.account_str()), has());
                } else if group_goes(grant) {
                    note(format!("group {grant}"), has());
                }
            }
        }
        for group in want.groups.iter().filter(|group| gone.contains(group.account.as_str())) {
            note(format!("account {}", group.account), format!("group {}/@{}", group.account, group.name));
        }
        for repo in want.public.iter().filter(|repo| gone.contains(repo.account_str())) {
            note(format!("account {}", repo.account_str()), format!("{repo} among those that are public"));
        }
        for (missing, (has, count)) in found {
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            let fact = format!("the file has {has}{more}, and not {missing}, with which --prune would take that away");
            self.faults
                .push(Fault::new(Kind::Invalid, fact).hint(format!("add {missing} to the file, or leave that out")));
        }
    }
}
