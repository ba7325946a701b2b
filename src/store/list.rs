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
        let mut take = |repo, is_one| {
            if is_one {
                found.push(repo);
            }
        };
        match account {
            Some(account) => match visit(&self.root().join(account.as_str()), account.as_str(), 1, &mut take) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other?,
            },
            None => self.visit_all(&mut take)?,
        }
        found.sort();
        Ok(found)
    }

    /// What is named as a repository would be and is none, by name: symbolic links, files, and folders without any part of one.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the root or a folder cannot be read.
    pub fn strays(&self) -> Result<Vec<RepoPath>, StoreError> {
        let mut found = Vec::new();
        self.visit_all(&mut |repo, is_one| {
            if !is_one {
                found.push(repo);
            }
        })?;
        found.sort();
        Ok(found)
    }

    fn visit_all(&self, take: &mut impl FnMut(RepoPath, bool)) -> std::io::Result<()> {
        for (name, path, is_folder) in entries(self.root())? {
            if is_folder {
                visit(&path, &name, 1, take)?;
            }
        }
        Ok(())
    }
}

/// Hands on what a client could name, and whether it is a repository, or was.
fn visit(folder: &Path, prefix: &str, depth: usize, take: &mut impl FnMut(RepoPath, bool)) -> std::io::Result<()> {
    for (name, path, is_folder) in entries(folder)? {
        let inner = format!("{prefix}/{name}");
        if name.ends_with(".git") {
            if let Ok(repo) = RepoPath::parse(&inner) {
                // One that lost a part of itself is a repository still, and to be told of.
                take(repo, is_folder && ["HEAD", "objects", "refs"].iter().any(|part| path.join(part).exists()));
            }
        } else if is_folder && depth + 1 < MAX_DEPTH {
            visit(&path, &inner, depth + 1, take)?;
        }
    }
    Ok(())
}

/// What is in a folder by names that are text, and whether it is a folder.
fn entries(folder: &Path) -> std::io::Result<Vec<(String, std::path::PathBuf, bool)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            // The entry's own type: a symbolic link is not a folder.
            all.push((name, entry.path(), entry.file_type()?.is_dir()));
        }
    }
    Ok(all)
}
