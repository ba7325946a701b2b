//! Where records are read from.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::admin::fault::{Fault, Kind};
use crate::admin::operator::user_for_sudo;
use crate::audit::files::{Family, family};
use crate::audit::journald::IDENTIFIER;
use crate::cli::Context;
use crate::cli::io::Stop;
use crate::daemon::config::AuditTo;

/// What is read, oldest first.
#[derive(Debug)]
pub(super) struct Source {
    /// The files; `-` is standard input.
    pub(super) files: Vec<PathBuf>,
    /// Rotated files that were packed, and are left out.
    pub(super) packed: Vec<PathBuf>,
    /// The file that the daemon writes; none when others were named.
    pub(super) live: Option<PathBuf>,
    /// The folder of the registry that they tell of, if that is this gateway's.
    pub(super) registry: Option<PathBuf>,
}

impl Source {
    /// The files that were named, or those of the config.
    pub(super) fn new(named: Vec<PathBuf>, context: &Context<'_, '_>) -> Result<Self, Stop> {
        if !named.is_empty() {
            if named.iter().filter(|file| is_stdin(file)).count() > 1 {
                return Err(Fault::new(Kind::Invalid, "standard input can be read only once").field("--file").into());
            }
            return Ok(Self { files: named, packed: Vec::new(), live: None, registry: None });
        }
        let config = context.load()?;
        let elsewhere = match config.audit_to {
            AuditTo::File => None,
            AuditTo::Stdout => Some(("standard output", "-u pullgate".to_owned())),
            AuditTo::Journal => Some(("systemd's journal", format!("-t {IDENTIFIER}"))),
        };
        if let Some((place, which)) = elsewhere {
            let fact = format!("the daemon writes its records to {place}: `to` under [audit]");
            let hint = format!(
                "give them: journalctl {which} -o cat | pullgate audit --file -; those of commands without a daemon are in \
                 the audit file"
            );
            return Err(Fault::new(Kind::Invalid, fact).field("--file").hint(hint).into());
        }
        let registry = Some(config.registry_dir());
        let live = config.audit_file;
        let Family { plain, packed } = family(&live).map_err(|error| unreadable(&live, &error))?;
        Ok(Self { files: plain, packed, live: Some(live), registry })
    }
}

pub(super) fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// Opens a file, and says how long it is; `None` for one that cannot be read backwards, such as a pipe.
pub(super) fn open(path: &Path) -> Result<(File, Option<u64>), Fault> {
    let open = || -> io::Result<(File, Option<u64>)> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let kind = meta.file_type();
        let streams = kind.is_fifo() || kind.is_char_device() || kind.is_socket();
        Ok((file, (!streams).then_some(meta.len())))
    };
    open().map_err(|error| unreadable(path, &error))
}

/// An audit file that cannot be read, and who could.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Fault {
    let fact = format!("the audit file {} cannot be read: {error}", path.display());
    if error.kind() == io::ErrorKind::PermissionDenied {
        // The nearest folder that may be looked at says whose it is.
        let owner = path.ancestors().find_map(|place| place.metadata().ok()).map(|meta| meta.uid());
        let hint = match owner.filter(|uid| *uid != geteuid().as_raw()) {
            Some(0) | None => "run it as root or as the user that the daemon runs as".to_owned(),
            Some(uid) => {
                format!("run it as root, or as the daemon's user: sudo -u {} pullgate audit …", user_for_sudo(uid))
            }
        };
        return Fault::new(Kind::Denied, fact).hint(hint);
    }
    let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Unavailable };
    Fault::new(kind, fact)
}
