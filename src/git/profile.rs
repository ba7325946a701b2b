//! What git may touch: itself, what it is linked with, one repository and what that borrows. Nothing is written.

use std::path::{Path, PathBuf};

use super::program::Program;
use crate::sandbox::{Allow, Profile};
use crate::store::BareRepo;

/// Read if they are there: the loader's cache (glibc) or search path (musl), and how many processors there are, by which
/// `pack-objects` chooses its threads.
const SYSTEM: [&str; 4] =
    ["/etc/ld.so.cache", "/etc/ld-musl-x86_64.path", "/etc/ld-musl-aarch64.path", "/sys/devices/system/cpu/online"];

/// What each git needs, whatever it serves.
pub(super) fn of_program(program: &Program) -> Profile {
    let mut allowed: Vec<Allow> = program.executables().iter().cloned().map(Allow::Execute).collect();
    allowed.extend(program.libraries().iter().cloned().map(Allow::Read));
    allowed.extend(SYSTEM.iter().map(|path| Allow::Read(PathBuf::from(path))));
    // git opens it for reading and writing, to be sure that the three standard descriptors are taken.
    allowed.push(Allow::Device(PathBuf::from("/dev/null")));
    Profile::new(allowed)
}

/// And for one repository: its directory, in which git starts, and the objects that it borrows.
pub(super) fn of_fetch(program: &Profile, repo: &BareRepo) -> Profile {
    program.and(std::iter::once(Allow::Here).chain(repo.borrowed_objects().iter().cloned().map(Allow::Beneath)))
}

/// The interpreter that an ELF program asks for (`PT_INTERP`, elf(5)): the loader, which the kernel executes. `None` for a
/// static program, and for what is not a 64-bit little-endian ELF file.
pub(super) fn interpreter(program: &[u8]) -> Option<PathBuf> {
    const INTERPRETER: u32 = 3;
    let word = |at: usize, length: usize| -> Option<u64> {
        let bytes = program.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    };
    (program.get(..6)? == b"\x7fELF\x02\x01").then_some(())?;
    let (start, size, count) = (usize::try_from(word(32, 8)?).ok()?, word(54, 2)?, word(56, 2)?);
    for n in 0..count {
        let header = start.checked_add(usize::try_from(n * size).ok()?)?;
        if word(header, 4)? == u64::from(INTERPRETER) {
            let offset = usize::try_from(word(header + 8, 8)?).ok()?;
            let length = usize::try_from(word(header + 32, 8)?).ok()?;
            let name = program.get(offset..offset.checked_add(length)?)?;
            let name = name.split(|byte| *byte == 0).next()?;
            return std::str::from_utf8(name).ok().map(PathBuf::from);
        }
    }
    None
}

/// The files that a process has mapped, from its `maps` (proc_pid_maps(5)).
pub(super) fn mapped(maps: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = maps
        .lines()
        // Nothing before the path has a slash.
        .filter_map(|line| line.find('/').and_then(|at| line.get(at..)))
        .filter(|path| !path.ends_with(" (deleted)"))
        .map(PathBuf::from)
        .collect();
    files.sort();
    files.dedup();
    files
}

/// The names by which a loader may ask for a library: its own, and the links beside it that lead to it (`libz.so.1` to
/// `libz.so.1.2.13`). The links go on working when an update puts another file in the library's place.
pub(super) fn names_of(library: &Path) -> Vec<PathBuf> {
    let mut names = vec![library.to_owned()];
    let entries = library.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_symlink() && path.canonicalize().is_ok_and(|target| target == library) {
            names.push(path);
        }
    }
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_program_names_its_loader() {
        let me = std::fs::read("/proc/self/exe").unwrap();
        let loader = interpreter(&me).expect("test programs are linked dynamically");
        assert!(loader.is_absolute() && loader.exists(), "{}", loader.display());
        assert_eq!(interpreter(b"#!/bin/sh\nexec git"), None);
        assert_eq!(interpreter(&me[..63]), None);
    }

    #[test]
    fn mapped_files_are_found() {
        let maps = "55d0-55d1 r--p 00000000 fe:00 247232   /usr/bin/git\n\
                    7f00-7f01 r-xp 00000000 fe:00 1   /opt/a folder/libz.so.1.2\n\
                    7f02-7f03 rw-p 00000000 00:00 0 \n\
                    7f04-7f05 r-xp 00000000 fe:00 2   /usr/lib/gone.so (deleted)\n\
                    7ffe-7fff r-xp 00000000 00:00 0   [vdso]\n";
        assert_eq!(mapped(maps), [Path::new("/opt/a folder/libz.so.1.2"), Path::new("/usr/bin/git")]);
    }

    #[test]
    fn links_to_a_library_are_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let at = |name: &str| dir.join(name);
        std::fs::write(at("libz.so.1.2"), "").unwrap();
        std::fs::write(at("other.so"), "").unwrap();
        std::os::unix::fs::symlink("libz.so.1.2", at("libz.so.1")).unwrap();
        std::os::unix::fs::symlink("other.so", at("libother.so")).unwrap();
        assert_eq!(names_of(&at("libz.so.1.2")), [at("libz.so.1"), at("libz.so.1.2")]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), elf: bool) {
            if elf {
                bytes.splice(0..bytes.len().min(6), *b"\x7fELF\x02\x01");
            }
            drop(interpreter(&bytes));
        }
    }
}
