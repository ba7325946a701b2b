//! Whether the repositories are in a shape that is cheap to serve. Looks at file names only, and at so many repositories
//! at most; every threshold has its source beside it.

use super::Finding;
use crate::daemon::config::Config;
use crate::model::repo_path::RepoPath;
use crate::store::health::Health;
use crate::store::{Store, StoreError};

const SUBJECT: &str = "repositories";

/// Repositories that are looked at.
const MOST: usize = 1000;
/// Repositories that are spoken of one by one.
const SHOWN: usize = 20;

/// Below this a full clone costs so little that a bitmap makes no difference that could be felt: about a tenth of a
/// second of processor time at 1.1 s for 75 MB (measured, docs/operations.md).
const LARGE: u64 = 8 << 20;
/// `gc.autoPackLimit` of git-config: beyond this git itself would gather them.
const MANY_PACKS: usize = 50;
/// At a thousand loose refs a list of refs costs git three times what it costs with packed ones, and a look at them takes the
/// gateway 0.7 ms for each poll (measured, docs/operations.md).
const MANY_LOOSE_REFS: usize = 1000;
/// `gc.auto` of git-config: beyond this git itself would pack them.
const MANY_LOOSE_OBJECTS: usize = 6700;

pub(super) fn shape(config: &Config) -> Vec<Finding> {
    // A store that cannot be read is the business of the look at the folders.
    let Ok(store) = Store::new(&config.store) else { return Vec::new() };
    let names = match store.list(None) {
        Ok(names) => names,
        Err(error) => {
            return vec![Finding::error(SUBJECT, error.to_string(), "let the daemon's user read the whole store")];
        }
    };
    let (mut found, mut fine) = (Vec::new(), 0);
    for name in names.iter().take(MOST) {
        match finding(&store, name) {
            Some(finding) => found.push(finding),
            None => fine += 1,
        }
    }
    // What does not work before what costs.
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let unsaid = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    if unsaid > 0 {
        let remedy = "mend those that are named, and look again; `git maintenance` or a timer does it for all";
        found.push(Finding::warning(SUBJECT, format!("{unsaid} more could be cheaper to serve"), remedy));
    }
    let strays = strays(&store);
    if names.is_empty() {
        return std::iter::once(Finding::ok(SUBJECT, "there are none yet")).chain(strays).collect();
    }
    let mut fact = format!("{fine} of {} are in good shape", names.len().min(MOST));
    if names.len() > MOST {
        fact.push_str(&format!("; {} more were not looked at", names.len() - MOST));
    }
    found.insert(0, Finding::ok(SUBJECT, fact));
    found.extend(strays);
    found
}

/// What is named like a repository and is none: whoever put it there takes it for one.
fn strays(store: &Store) -> Vec<Finding> {
    let strays = store.strays().unwrap_or_default();
    let none = |name: &RepoPath| Finding::warning(SUBJECT, format!("{name}: it is no folder"), MEND);
    let told = |name: &RepoPath| finding(store, name).unwrap_or_else(|| none(name));
    let mut found: Vec<_> = strays.iter().take(SHOWN).map(told).collect();
    if strays.len() > SHOWN {
        let fact = format!("{} more are named like repositories and are none", strays.len() - SHOWN);
        found.push(Finding::warning(SUBJECT, fact, MEND));
    }
    found
}

/// What to do about one that is not served.
const MEND: &str = "mend it, or move it out of the store";

/// What git opens at once in each repository, and a file of nothing else.
const FILES: [&str; 3] = ["HEAD", "config", "packed-refs"];

/// A file of the repository that is none. git waits for ever for whoever would write to a FIFO, until a clock of ours ends it.
fn strange(store: &Store, name: &RepoPath) -> Option<Finding> {
    use std::os::unix::fs::FileTypeExt as _;
    let folder = store.root().join(format!("{name}.git"));
    FILES.into_iter().find_map(|file| {
        let path = folder.join(file);
        let kind = path.symlink_metadata().ok()?.file_type();
        let is = match () {
            () if kind.is_fifo() => "a FIFO, for whose writer git waits until the client is turned away",
            () if kind.is_socket() => "a socket",
            () if kind.is_block_device() || kind.is_char_device() => "a device",
            () => return None,
        };
        let path = quoted(&path.display().to_string());
        let remedy = format!(
            "find out who put it there, then `rm {path}`, and take the file from where the repository comes from"
        );
        Some(Finding::error(SUBJECT, format!("{name}: its {file} is {is}"), remedy))
    })
}

fn finding(store: &Store, name: &RepoPath) -> Option<Finding> {
    if let Some(strange) = strange(store, name) {
        return Some(strange);
    }
    match store.open(name).and_then(|repo| Ok((repo.broken(), repo.health()?, repo.path().to_owned()))) {
        Ok((Some(why), ..)) => Some(Finding::warning(SUBJECT, format!("{name}: {why}"), MEND)),
        Ok((None, health, path)) => {
            let (faults, commands) = judged(&health);
            let at = quoted(&path.display().to_string());
            let remedy =
                commands.iter().map(|command| format!("git -C {at} {command}")).collect::<Vec<_>>().join(" && ");
            (!faults.is_empty()).then(|| Finding::warning(SUBJECT, format!("{name} has {}", faults.join(", ")), remedy))
        }
        // Removed since it was listed.
        Err(StoreError::Missing) => None,
        Err(error @ (StoreError::NotBare(_) | StoreError::Unsafe(_) | StoreError::Gone(_) | StoreError::Io(_))) => {
            Some(Finding::warning(SUBJECT, format!("{name}: {error}"), MEND))
        }
    }
}

/// What is wrong, and the commands that mend it, in their order.
fn judged(health: &Health) -> (Vec<String>, Vec<&'static str>) {
    let (mut faults, mut commands) = (Vec::new(), Vec::new());
    let mut repack = false;
    if health.packs > MANY_PACKS {
        faults.push(format!("{} packs", health.packs));
        repack = true;
    }
    if health.loose_objects > MANY_LOOSE_OBJECTS {
        faults.push(format!("about {} loose objects", health.loose_objects));
        repack = true;
    }
    if health.pack_bytes > LARGE && !health.bitmap && !health.borrows {
        faults.push(format!("no bitmap for {} MB of packs", health.pack_bytes / 1_000_000));
        repack = true;
    }
    if repack {
        // `-A` keeps what no ref names any more for as long as git would: a client may be about to fetch it. `-l` leaves
        // out what is borrowed, and where something is borrowed there can be no bitmap.
        commands.push(if health.borrows { "repack -A -d -l" } else { "repack -A -d -b" });
    }
    if health.pack_bytes > LARGE && !health.commit_graph {
        faults.push("no commit-graph".to_owned());
        commands.push("commit-graph write --reachable");
    }
    if health.loose_refs > MANY_LOOSE_REFS {
        faults.push(format!("{} loose refs", health.loose_refs));
        commands.push("pack-refs --all");
    }
    (faults, commands)
}

/// For a shell, when it holds anything that a shell would take for its own.
fn quoted(path: &str) -> String {
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte));
    if plain { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_threshold_says_no_beyond_it_and_not_at_it() {
        let good = Health {
            packs: MANY_PACKS,
            pack_bytes: LARGE + 1,
            bitmap: true,
            commit_graph: true,
            loose_refs: MANY_LOOSE_REFS,
            loose_objects: MANY_LOOSE_OBJECTS,
            borrows: false,
        };
        assert_eq!(judged(&good), (Vec::new(), Vec::new()));
        assert_eq!(judged(&Health::default()), (Vec::new(), Vec::new()));
        let small = Health { pack_bytes: LARGE, bitmap: false, commit_graph: false, ..good };
        assert_eq!(judged(&small), (Vec::new(), Vec::new()));
        let repack = vec!["repack -A -d -b"];
        let says = |health: Health| judged(&health).0.join("; ");
        assert_eq!(judged(&Health { packs: MANY_PACKS + 1, ..good }), (vec!["51 packs".to_owned()], repack.clone()));
        assert_eq!(says(Health { loose_objects: 6912, ..good }), "about 6912 loose objects");
        let blind = Health { bitmap: false, ..good };
        assert_eq!(judged(&blind), (vec!["no bitmap for 8 MB of packs".to_owned()], repack));
        assert_eq!(judged(&Health { borrows: true, ..blind }), (Vec::new(), Vec::new()));
        assert_eq!(judged(&Health { commit_graph: false, ..good }).1, ["commit-graph write --reachable"]);
        assert_eq!(judged(&Health { loose_refs: MANY_LOOSE_REFS + 1, ..good }).1, ["pack-refs --all"]);
    }

    #[test]
    fn a_path_is_quoted_for_a_shell() {
        assert_eq!(quoted("/srv/git/acme/app.git"), "/srv/git/acme/app.git");
        assert_eq!(quoted("/srv/it's here"), r"'/srv/it'\''s here'");
    }
}
