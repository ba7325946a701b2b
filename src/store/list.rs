//! Which repositories there are.

use std::path::Path;

use super::{Store, StoreError};
use crate::model::name::AccountName;
use crate::model::repo_path::{MAX_DEPTH, RepoPath};

impl Store {
    /// The repositories of one account, or of all, by name. Folders that no client could name are passed over, and so are
    /// symbolic links.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the root or a folder cannot be read.
    pub fn list(&self, account: Option<&AccountName>) -> Result<Vec<RepoPath>, StoreError> {
        let mut found = Vec::new();
        match account {
            Some(account) => match visit(&self.root().join(account.as_str()), account.as_str(), 1, &mut found) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other?,
            },
            None => {
                for (name, path) in folders(self.root())? {
                    visit(&path, &name, 1, &mut found)?;
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

fn visit(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<RepoPath>) -> std::io::Result<()> {
    for (name, path) in folders(folder)? {
        let inner = format!("{prefix}/{name}");
        if name.ends_with(".git") {
            if let Ok(repo) = RepoPath::parse(&inner)
                // One that lost a part of itself is a repository still, and to be told of.
                && ["HEAD", "objects", "refs"].iter().any(|part| path.join(part).exists())
            {
                found.push(repo);
            }
        } else if depth + 1 < MAX_DEPTH {
            visit(&path, &inner, depth + 1, found)?;
        }
    }
    Ok(())
}

/// The real folders inside a folder, with names that are text.
fn folders(folder: &Path) -> std::io::Result<Vec<(String, std::path::PathBuf)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // The entry's own type: a symbolic link is not a folder.
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            all.push((name, entry.path()));
        }
    }
    Ok(all)
}
