//! What an administrator wants to see of a repository.

use serde::Serialize;

use super::{BareRepo, StoreError};
use crate::model::text::printable;

/// A look at a repository. What libgit2 cannot read (SHA-256, reftable) is served all the same, and only not shown here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The branch that HEAD names, without `refs/heads/`.
    pub head: Option<String>,
    /// How many branches.
    pub branches: Option<usize>,
    /// How many tags.
    pub tags: Option<usize>,
    /// How many packs.
    pub packs: usize,
    /// The size of the packs, in bytes.
    pub pack_bytes: u64,
    /// Whether a bitmap makes full clones cheap.
    pub bitmap: bool,
    /// Whether there is a commit-graph.
    pub commit_graph: bool,
    /// Why something is missing above.
    pub unread: Option<String>,
}

impl BareRepo {
    /// Looks at the repository.
    ///
    /// # Errors
    /// When its pack folder cannot be read.
    pub fn summary(&self) -> Result<Summary, StoreError> {
        let (mut packs, mut pack_bytes, mut bitmap) = (0, 0, false);
        match std::fs::read_dir(self.path().join("objects/pack")) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry?;
                    match entry.path().extension().and_then(|e| e.to_str()) {
                        Some("pack") => {
                            packs += 1;
                            pack_bytes += entry.metadata()?.len();
                        }
                        Some("bitmap") => bitmap = true,
                        Some(_) | None => {}
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let info = self.path().join("objects/info");
        let commit_graph = info.join("commit-graph").exists() || info.join("commit-graphs").exists();
        let mut summary =
            Summary { head: None, branches: None, tags: None, packs, pack_bytes, bitmap, commit_graph, unread: None };
        if let Err(error) = self.read_refs(&mut summary) {
            summary.unread = Some(printable(error.message(), 200));
        }
        Ok(summary)
    }

    fn read_refs(&self, summary: &mut Summary) -> Result<(), git2::Error> {
        let repo = git2::Repository::open_bare(self.path())?;
        let head = repo.find_reference("HEAD")?;
        let target = head.symbolic_target().ok().flatten();
        summary.head = target.and_then(|name| name.strip_prefix("refs/heads/")).map(|name| printable(name, 200));
        let (mut branches, mut tags) = (0, 0);
        for name in repo.references()?.names() {
            match name {
                Ok(name) if name.starts_with("refs/heads/") => branches += 1,
                Ok(name) if name.starts_with("refs/tags/") => tags += 1,
                Ok(_) | Err(_) => {}
            }
        }
        (summary.branches, summary.tags) = (Some(branches), Some(tags));
        Ok(())
    }
}
