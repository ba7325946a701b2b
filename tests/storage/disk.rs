//! A file system of its own on a loop device: power cuts, and a disk that is full.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An ext4 file system in a file.
pub(crate) struct Disk {
    dir: tempfile::TempDir,
    mounted: bool,
}

impl Disk {
    /// Makes and mounts one of `megabytes`, or says why that is impossible here.
    pub(crate) fn new(megabytes: u64) -> Result<Self, String> {
        Self::made_with(megabytes, &[])
    }

    /// The same, with more arguments to `mkfs.ext4`.
    pub(crate) fn made_with(megabytes: u64, options: &[&str]) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("this takes root".to_owned());
        }
        let dir = tempfile::tempdir().unwrap();
        let image = std::fs::File::create(dir.path().join("image")).unwrap();
        image.set_len(megabytes * 1024 * 1024).unwrap();
        std::fs::create_dir(dir.path().join("mount")).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).args(options).arg(dir.path().join("image")))?;
        let mut disk = Self { dir, mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    pub(crate) fn mount(&mut self) -> Result<(), String> {
        let (image, mount) = (self.dir.path().join("image"), self.path());
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(mount))?;
        self.mounted = true;
        Ok(())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    /// Takes the file system down at once. What was not synced is gone, and its log is not written out any more.
    pub(crate) fn cut(&self) -> Result<(), String> {
        // EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH (fs/ext4/ext4.h). From Python, since this crate has no unsafe.
        const SHUTDOWN: &str = "import fcntl, os, struct, sys\n\
             fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
        run(Command::new("python3").args(["-c", SHUTDOWN]).arg(self.path()))
    }

    pub(crate) fn unmount(&mut self) {
        for _ in 0..100 {
            if run(Command::new("umount").arg(self.path())).is_ok() {
                self.mounted = false;
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{} cannot be unmounted", self.path().display());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            drop(run(Command::new("umount").arg("--lazy").arg(self.path())));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// A registry's directory on the disk.
pub(crate) fn registry(path: &Path) -> PathBuf {
    path.join("registry")
}
