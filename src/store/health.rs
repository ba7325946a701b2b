//! Whether a repository is in a shape that is cheap to serve: by the names of its files alone, without git.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

use super::open::kind_of;
use super::{BareRepo, StoreError};

/// Files that are looked at in one repository; beyond that "at least" is enough.
pub(super) const MOST: usize = 20_000;
/// Folders within folders below `refs`.
pub(super) const DEEPEST: usize = 64;

/// What the files of a repository say about the price of serving it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// How many packs.
    pub packs: usize,
    /// Their size together, in bytes.
    pub pack_bytes: u64,
    /// Whether there is a bitmap, of a pack or of several.
    pub bitmap: bool,
    /// Whether there is a commit-graph, in one file or in several.
    pub commit_graph: bool,
    /// How many refs are in a file of their own; at most about 20,000 are counted.
    pub loose_refs: usize,
    /// How many objects are in a file of their own, as git estimates it: from one of their 256 folders.
    pub loose_objects: usize,
    /// Whether it borrows objects of other repositories. git makes no bitmap then, since a bitmap needs all objects in
    /// one place (`git-repack`).
    pub borrows: bool,
}

impl BareRepo {
    /// Looks at the names in its folders, beneath the directory that was opened, without following symbolic links.
    ///
    /// # Errors
    /// When one of its folders cannot be read.
    pub fn health(&self) -> Result<Health, StoreError> {
        let mut health = Health { borrows: !self.borrows.is_empty(), ..Health::default() };
        let mut seen = 0;
        if let Some(packs) = self.folder("objects/pack")? {
            for (name, kind) in entries(&packs, &mut seen)? {
                if kind != FileType::RegularFile {
                    continue;
                }
                match name.rsplit_once('.') {
                    Some((_, "pack")) => {
                        health.packs += 1;
                        // Gone just now: git is at work there.
                        if let Ok(stat) = statat(&packs, &name, AtFlags::SYMLINK_NOFOLLOW) {
                            health.pack_bytes += u64::try_from(stat.st_size).unwrap_or(0);
                        }
                    }
                    Some((_, "bitmap")) => health.bitmap = true,
                    Some(_) | None => {}
                }
            }
        }
        health.commit_graph = kind_of(self.dir(), "objects/info/commit-graph")? == Some(FileType::RegularFile)
            || kind_of(self.dir(), "objects/info/commit-graphs")? == Some(FileType::Directory);
        // As git's `too_many_loose_objects` does (builtin/gc.c).
        if let Some(one) = self.folder("objects/17")? {
            health.loose_objects = 256 * entries(&one, &mut 0)?.len();
        }
        health.loose_refs = loose_refs(self.dir(), "refs", 0, &mut 0)?;
        Ok(health)
    }

    fn folder(&self, name: &str) -> Result<Option<OwnedFd>, StoreError> {
        let mut at: Option<OwnedFd> = None;
        for part in name.split('/') {
            let above = at.as_ref().map_or(self.dir(), |fd| fd.as_fd());
            match open(above, part) {
                Ok(fd) => at = Some(fd),
                Err(rustix::io::Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(at)
    }
}

pub(super) fn open(above: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(above, name, flags, Mode::empty())
}

/// The names in a folder and what they are; links are links. Ends early when enough was seen.
pub(super) fn entries(folder: &OwnedFd, seen: &mut usize) -> Result<Vec<(String, FileType)>, StoreError> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        *seen += 1;
        if *seen > MOST {
            break;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            known @ (FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice) => known,
        };
        found.push((name.to_owned(), kind));
    }
    Ok(found)
}

fn loose_refs(above: BorrowedFd<'_>, name: &str, depth: usize, seen: &mut usize) -> Result<usize, StoreError> {
    let folder = match open(above, name) {
        Ok(folder) => folder,
        // Gone just now, or a link, which is not followed.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => return Ok(0),
        Err(errno) => return Err(errno.into()),
    };
    let mut count = 0;
    for (name, kind) in entries(&folder, seen)? {
        match kind {
            FileType::RegularFile => count += 1,
            FileType::Directory if depth < DEEPEST => count += loose_refs(folder.as_fd(), &name, depth + 1, seen)?,
            FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {}
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::repo_path::RepoPath;
    use crate::store::{Settings, Store};

    struct Scene(tempfile::TempDir);

    impl Scene {
        fn new() -> Self {
            let scene = Self(tempfile::tempdir().unwrap());
            for folder in ["refs/heads", "refs/tags", "objects/info", "objects/pack"] {
                fs::create_dir_all(scene.repo().join(folder)).unwrap();
            }
            scene.put("HEAD", "ref: refs/heads/main\n");
            scene
        }

        fn repo(&self) -> std::path::PathBuf {
            self.0.path().join("acme/app.git")
        }

        fn put(&self, name: &str, text: &str) {
            let path = self.repo().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn health(&self) -> Health {
            let store = Store::new(&Settings { root: self.0.path().to_owned(), owners: Vec::new() }).unwrap();
            store.open(&RepoPath::parse("acme/app").unwrap()).unwrap().health().unwrap()
        }
    }

    #[test]
    fn files_are_counted_by_their_names() {
        let scene = Scene::new();
        assert_eq!(scene.health(), Health::default());
        for name in ["a.pack", "a.idx", "b.pack", "b.idx", "tmp_pack_x"] {
            scene.put(&format!("objects/pack/pack-{name}"), "12345");
        }
        for name in ["heads/main", "heads/deep/er/one", "tags/v1"] {
            scene.put(&format!("refs/{name}"), "");
        }
        for n in 0..3 {
            scene.put(&format!("objects/17/{n:038}"), "");
        }
        let found = Health { packs: 2, pack_bytes: 10, loose_refs: 3, loose_objects: 768, ..Health::default() };
        assert_eq!(scene.health(), found);
        scene.put("objects/pack/multi-pack-index-1.bitmap", "");
        scene.put("objects/info/commit-graphs/commit-graph-chain", "");
        assert_eq!(scene.health(), Health { bitmap: true, commit_graph: true, ..found });
    }

    #[test]
    fn symbolic_links_are_not_followed() {
        let (scene, other) = (Scene::new(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("one"), "").unwrap();
        fs::write(other.path().join("pack-a.pack"), "").unwrap();
        std::os::unix::fs::symlink(other.path(), scene.repo().join("refs/heads/elsewhere")).unwrap();
        let packs = scene.repo().join("objects/pack");
        std::os::unix::fs::symlink(other.path().join("pack-a.pack"), packs.join("pack-a.pack")).unwrap();
        assert_eq!(scene.health(), Health::default());
    }

    #[test]
    fn the_count_of_refs_has_an_end() {
        let scene = Scene::new();
        for n in 0..MOST + 500 {
            fs::write(scene.repo().join(format!("refs/heads/b{n}")), "").unwrap();
        }
        let counted = scene.health().loose_refs;
        assert!((MOST - 10..=MOST).contains(&counted), "{counted}");
    }
}
