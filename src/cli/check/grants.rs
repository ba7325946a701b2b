//! Grants and groups that reach nothing: what they name is not in the store. A grant may be older than its repository, so it
//! is nothing but a warning, with what takes it away.

use std::collections::BTreeMap;

use super::Finding;
use crate::admin::view::KeyView;
use crate::cli::Session;
use crate::daemon::config::Config;
use crate::front::control::client::CallError;
use crate::model::grant::Grant;
use crate::model::repo_path::RepoPath;
use crate::store::Store;

const SUBJECT: &str = "grants";

/// Grants and groups that are spoken of one by one.
const SHOWN: usize = 10;
/// Different grants that are remembered, those of one repository that is there aside. What is beyond is said.
const REMEMBERED: usize = 100_000;

/// What is in the store, and in the groups.
struct Reach {
    repositories: BTreeMap<String, Vec<RepoPath>>,
    groups: BTreeMap<String, bool>,
}

impl Reach {
    fn of(repositories: Vec<RepoPath>) -> Self {
        let mut all: BTreeMap<String, Vec<RepoPath>> = BTreeMap::new();
        for repo in repositories {
            all.entry(repo.account_str().to_owned()).or_default().push(repo);
        }
        Self { repositories: all, groups: BTreeMap::new() }
    }

    fn has(&self, repo: &RepoPath) -> bool {
        self.repositories.get(repo.account_str()).is_some_and(|all| all.binary_search(repo).is_ok())
    }

    fn reaches(&self, grant: &Grant) -> bool {
        match grant {
            Grant::Repo(repo) => self.has(repo),
            Grant::Glob(glob) => {
                self.repositories.get(grant.account_str()).is_some_and(|all| all.iter().any(|repo| glob.covers(repo)))
            }
            // An empty group is told of once, and not for each key.
            Grant::Group(..) => true,
        }
    }
}

/// The first key that holds a grant, and how many others do.
#[derive(Default)]
struct Holders {
    first: String,
    others: usize,
}

/// What was seen so far.
pub(super) struct Grants {
    reach: Reach,
    /// `None`: it reaches something, and is not looked at again.
    seen: BTreeMap<String, Option<Holders>>,
    /// There were more.
    unseen: bool,
}

impl Grants {
    /// Looks at the store and at the groups; a store that cannot be read is the business of others.
    pub(super) fn new(session: &Session, config: &Config) -> Result<Option<Self>, CallError> {
        let Some(all) = Store::new(&config.store).ok().and_then(|store| store.list(None).ok()) else {
            return Ok(None);
        };
        let mut reach = Reach::of(all);
        groups(session, &mut reach)?;
        Ok(Some(Self { reach, seen: BTreeMap::new(), unseen: false }))
    }

    pub(super) fn look(&mut self, key: &KeyView) {
        for text in &key.grants {
            if let Some(known) = self.seen.get_mut(text) {
                if let Some(holders) = known {
                    holders.others += 1;
                }
                continue;
            }
            let grant = Grant::parse(text);
            if matches!(&grant, Ok(Grant::Repo(repo)) if self.reach.has(repo)) {
                continue;
            }
            if self.seen.len() >= REMEMBERED {
                self.unseen = true;
            } else {
                let nothing = grant.is_ok_and(|grant| !self.reach.reaches(&grant));
                let holders = nothing.then(|| Holders { first: key.name.clone(), others: 0 });
                self.seen.insert(text.clone(), holders);
            }
        }
    }

    /// `cut`: there were keys that were not looked at.
    pub(super) fn told(&self, cut: bool) -> Vec<Finding> {
        let groups = self.reach.groups.iter().filter(|(_, reaches)| !**reaches);
        let mut found: Vec<_> = groups.map(|(name, _)| empty(name)).collect();
        found.extend(self.seen.iter().filter_map(|(grant, holders)| Some(nothing(grant, holders.as_ref()?))));
        if self.reach.repositories.is_empty() && !found.is_empty() {
            // Not a remedy for each, which would take grants away.
            let remedy = "see that it is mounted, and that `root` under [store] is its place";
            return vec![Finding::warning(
                SUBJECT,
                "there is no repository in the store, so none reaches anything",
                remedy,
            )];
        }
        if self.unseen {
            let remedy = "grant a pattern in place of many repositories";
            let fact = format!("there are more than {REMEMBERED} different ones: not all were looked at");
            found.push(Finding::warning(SUBJECT, fact, remedy));
        }
        let more = found.len().saturating_sub(SHOWN);
        found.truncate(SHOWN);
        if more > 0 {
            let remedy = "mend those that are named, and look again";
            found.push(Finding::warning(SUBJECT, format!("{more} more reach nothing"), remedy));
        }
        if found.is_empty() && !cut {
            found.push(Finding::ok(SUBJECT, "each of them reaches a repository"));
        }
        found
    }
}

/// Which groups have a member that is in the store.
fn groups(session: &Session, reach: &mut Reach) -> Result<(), CallError> {
    for group in session.groups()? {
        let reaches = group.repositories.iter().any(|text| RepoPath::parse(text).is_ok_and(|repo| reach.has(&repo)));
        reach.groups.insert(group.name, reaches);
    }
    Ok(())
}

fn empty(group: &str) -> Finding {
    let remedy =
        format!("`pullgate group add {group} REPO` puts one in; `pullgate group remove {group}` takes it away");
    Finding::warning(SUBJECT, format!("the group {group} has no repository that is in the store"), remedy)
}

fn nothing(grant: &str, holders: &Holders) -> Finding {
    let others = match holders.others {
        0 => String::new(),
        1 => " and one more".to_owned(),
        more => format!(" and {more} more"),
    };
    let first = &holders.first;
    if grant.contains('*') {
        let fact = format!("{grant}, which {first}{others} may fetch, fits no repository in the store");
        return Finding::warning(SUBJECT, fact, format!("`pullgate key ungrant {first} '{grant}'`, if none will come"));
    }
    let fact = format!("{grant}, which {first}{others} may fetch, is not in the store");
    Finding::warning(
        SUBJECT,
        fact,
        format!("`pullgate repo remove {grant}` takes all grants of it, if it will not come"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_reaches_what_is_there() {
        let repo = |text: &str| RepoPath::parse(text).unwrap();
        let reach = Reach::of(vec![repo("acme/app"), repo("acme/back/end"), repo("other/x")]);
        let reaches = |text: &str| reach.reaches(&Grant::parse(text).unwrap());
        for good in ["acme/app", "acme/a*", "acme/**", "acme/back/*", "other/*"] {
            assert!(reaches(good), "{good}");
        }
        for bad in ["acme/x", "acme/x*", "other/app", "nobody/*", "acme/back/other", "acme/*/other"] {
            assert!(!reaches(bad), "{bad}");
        }
    }
}
