//! A small repository for a first try, made without the git program.

use std::path::Path;

use git2::{Oid, Repository, RepositoryInitOptions, Signature, Time};

/// Makes a bare repository with three commits, two branches and a tag. The same every time, to the byte.
///
/// # Errors
/// When it cannot be written.
pub fn create(path: &Path) -> Result<(), SampleError> {
    let mut options = RepositoryInitOptions::new();
    let repo =
        Repository::init_opts(path, options.bare(true).initial_head("main").external_template(false).mkpath(true))?;
    let readme = "# A sample\n\nThis repository came through pullgate, with a key that can fetch and nothing else.\n";
    let first = commit(&repo, &[], 0, "Say what this is", &[("README.md", readme)])?;
    let script = "#!/bin/sh\necho \"built from a read-only clone\"\n";
    let second = commit(&repo, &[first], 1, "Add something to build", &[("README.md", readme), ("build.sh", script)])?;
    let notes = "Nothing was ever pushed through the gateway.\n";
    let third =
        commit(&repo, &[second], 2, "Keep notes", &[("README.md", readme), ("build.sh", script), ("NOTES", notes)])?;
    repo.reference("refs/heads/main", third, true, "sample")?;
    repo.reference("refs/heads/stable", second, true, "sample")?;
    let tagged = repo.find_object(second, None)?;
    repo.tag("v1.0", &tagged, &author(3)?, "The first release\n", true)?;
    Ok(())
}

/// Why the sample could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the sample repository cannot be made: {}", .0.message())]
pub struct SampleError(#[from] git2::Error);

fn author(hour: i64) -> Result<Signature<'static>, git2::Error> {
    Signature::new("pullgate quickstart", "quickstart@localhost", &Time::new(1_767_225_600 + hour * 3600, 0))
}

fn commit(
    repo: &Repository,
    parents: &[Oid],
    hour: i64,
    message: &str,
    files: &[(&str, &str)],
) -> Result<Oid, git2::Error> {
    let mut tree = repo.treebuilder(None)?;
    for (name, text) in files {
        let mode = if name.ends_with(".sh") { 0o100_755 } else { 0o100_644 };
        tree.insert(name, repo.blob(text.as_bytes())?, mode)?;
    }
    let tree = repo.find_tree(tree.write()?)?;
    let parents = parents.iter().map(|id| repo.find_commit(*id)).collect::<Result<Vec<_>, _>>()?;
    let who = author(hour)?;
    repo.commit(None, &who, &who, &format!("{message}\n"), &tree, &parents.iter().collect::<Vec<_>>())
}
