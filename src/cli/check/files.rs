//! Folders and files: are they there, whose are they, who can read them.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{Finding, Severity};
use crate::admin::operator::{others_write, user_for_sudo, user_name};
use crate::audit::journald;
use crate::daemon::config::{AuditTo, Config};

/// Permission bits for everybody but the owner.
const OTHERS: u32 = 0o077;

pub(super) fn state_dir(config: &Config) -> Vec<Finding> {
    let subject = "state_dir";
    let path = &config.state_dir;
    folder(subject, path).map_or_else(
        |finding| vec![finding],
        |meta| {
            let mut found = vec![owner(subject, path, &meta)];
            found.extend(closed(subject, path, &meta));
            found.extend(unwritable(subject, path, &meta));
            found
        },
    )
}

/// What the daemon cannot write to: it would not start.
fn unwritable(subject: &str, path: &Path, meta: &Metadata) -> Option<Finding> {
    const OWNER: u32 = 0o300;
    let place = path.display();
    if meta.mode() & OWNER != OWNER {
        let fact = format!("its owner may not write to {place} (mode {:o})", meta.mode() & 0o777);
        return Some(Finding::error(subject, fact, format!("chmod 700 {place}")));
    }
    let read_only = access(path, Access::WRITE_OK) == Err(Errno::ROFS);
    read_only.then(|| {
        let fact = format!("{place} is on a file system that is mounted read-only");
        Finding::error(subject, fact, "mount it for writing, or name another `state_dir`")
    })
}

/// Whoever writes there decides what is served and from where.
pub(super) fn config_file(config: &Config) -> Vec<Finding> {
    open_to_write("config", &config.file)
}

/// What others may change: all of them, or those of its group, who may be meant.
fn open_to_write(subject: &str, path: &Path) -> Vec<Finding> {
    const ALL: u32 = 0o002;
    let Some(mode) = path.metadata().ok().map(|meta| meta.mode() & 0o777).filter(|mode| others_write(*mode)) else {
        return Vec::new();
    };
    let fact = |who| format!("{} can be written by {who} (mode {mode:o})", path.display());
    match mode & ALL != 0 {
        true => vec![Finding::error(subject, fact("everybody"), format!("chmod o-w {}", path.display()))],
        false => {
            let remedy = format!("chmod g-w {}, unless they are to administer the gateway", path.display());
            vec![Finding::warning(subject, fact("its group"), remedy)]
        }
    }
}

/// Room below which somebody should look: some days of a busy audit log, and a compacted registry of a million keys.
const ROOM: u64 = 1 << 30;

/// On a full disk fetches go on, and no change is accepted any more.
pub(super) fn state_room(config: &Config) -> Vec<Finding> {
    let path = &config.state_dir;
    // A folder that is not there is told of elsewhere.
    let Ok(stat) = rustix::fs::statvfs(path) else { return Vec::new() };
    let room = stat.f_bavail.saturating_mul(stat.f_frsize);
    if room >= ROOM {
        return Vec::new();
    }
    vec![Finding::warning(
        "state_dir",
        format!("{} has {} MiB left; without room no change is accepted", path.display(), room >> 20),
        "make room: older `journal.FIRST-LAST` files and rotated audit logs may go to another disk",
    )]
}

pub(super) fn store_root(config: &Config) -> Vec<Finding> {
    // An empty folder in its place would have every client told that its repository is not granted.
    const REMEDY: &str =
        "mount it, or name its place as `root` under [store]; `pullgate init DIR` makes one for a new gateway";
    let subject = "store.root";
    let path = &config.store.root;
    let missing = |finding| Finding { remedy: Some(REMEDY.to_owned()), ..finding };
    let mut found = vec![folder(subject, path).map_or_else(missing, |_| match std::fs::read_dir(path) {
        Ok(_) => Finding::ok(subject, format!("{} can be read", path.display())),
        Err(error) => Finding::error(
            subject,
            format!("{} cannot be read: {error}", path.display()),
            "let the daemon's user read it and everything below it",
        ),
    })];
    // Those of a group may be who pushes into it.
    found.extend(open_to_write(subject, path).into_iter().filter(|finding| finding.severity == Severity::Error));
    found
}

pub(super) fn host_keys(config: &Config) -> Vec<Finding> {
    let subject = "ssh.host_keys";
    let path = &config.ssh.host_keys;
    if !path.exists() {
        return vec![Finding::ok(subject, format!("{} is made at the next start", path.display()))];
    }
    let mut found = match folder(subject, path) {
        Ok(meta) => vec![owner(subject, path, &meta)],
        Err(finding) => return vec![finding],
    };
    // Whose the state is, is who serves.
    let keeper = config.state_dir.metadata().map_or(0, |meta| meta.uid());
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            let fact = format!("{} cannot be read: {error}", path.display());
            return vec![Finding::error(subject, fact, "let the daemon's user read it")];
        }
    };
    for entry in entries.flatten() {
        let file = entry.path();
        let role = file.extension().is_none_or(|end| end == "next" || end == "retired");
        let private = role && entry.file_name().to_string_lossy().starts_with("ssh_host_");
        match file.metadata() {
            Ok(meta) if private && meta.mode() & OTHERS != 0 => found.push(Finding::error(
                subject,
                format!("the private key {} is open to others (mode {:o})", file.display(), meta.mode() & 0o777),
                format!("chmod 600 {}; if others could read it, replace it", file.display()),
            )),
            Ok(meta) if private => found.extend(out_of_reach(subject, &file, &meta, keeper)),
            Ok(_) => {}
            Err(error) => found.push(Finding::error(
                subject,
                format!("{} cannot be looked at: {error}", file.display()),
                "mend or remove it",
            )),
        }
    }
    found
}

/// A private key that the daemon cannot read.
fn out_of_reach(subject: &str, key: &Path, meta: &Metadata, keeper: u32) -> Option<Finding> {
    let why = match std::fs::File::open(key) {
        Err(error) => error.to_string(),
        // Root reads everything, and is not the one who serves.
        Ok(_) if geteuid().is_root() && keeper != 0 && meta.uid() != keeper => {
            format!("it belongs to {}", user_name(meta.uid()))
        }
        Ok(_) => return None,
    };
    let fact = format!("the private key {} cannot be read by the daemon: {why}", key.display());
    Some(Finding::error(subject, fact, format!("chown {keeper} {}", key.display())))
}

pub(super) fn audit_file(config: &Config) -> Vec<Finding> {
    let subject = "audit.file";
    let path = &config.audit_file;
    match path.metadata() {
        Ok(meta) if others_write(meta.mode()) => vec![Finding::error(
            subject,
            format!("{} can be written by others", path.display()),
            format!("chmod go-w {}; what is in it proves nothing", path.display()),
        )],
        Ok(_) => vec![Finding::ok(subject, format!("{} is there", path.display()))],
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            match path.parent().map(|parent| (parent, parent.is_dir())) {
                Some((_, true)) => vec![Finding::ok(subject, format!("{} is made when it is needed", path.display()))],
                Some((parent, false)) => vec![Finding::error(
                    subject,
                    format!("its folder {} is not there", parent.display()),
                    "make it, or name another place",
                )],
                None => vec![Finding::error(subject, "names no file", "name one")],
            }
        }
        Err(error) => vec![Finding::error(
            subject,
            format!("{} cannot be looked at: {error}", path.display()),
            "let the daemon's user write it",
        )],
    }
}

/// Whether somebody takes the records, where they go elsewhere than into the file.
pub(super) fn audit_to(config: &Config) -> Vec<Finding> {
    let subject = "audit.to";
    match config.audit_to {
        AuditTo::File | AuditTo::Stdout => Vec::new(),
        AuditTo::Journal => vec![match journald::listens() {
            Ok(()) => Finding::ok(subject, format!("systemd's journal listens at {}", journald::SOCKET)),
            Err(error) => Finding::error(
                subject,
                format!("systemd's journal cannot be reached at {}: {error}", journald::SOCKET),
                "start systemd-journald, or write \"file\" or \"stdout\" as `to` under [audit]",
            ),
        }],
    }
}

/// The key that signs the record of changes; one that is missing is made. The daemon does not start with one that others can
/// read: what it signed would prove nothing.
pub(super) fn audit_key(config: &Config) -> Vec<Finding> {
    let path = config.audit_chain().key;
    let open = path.metadata().is_ok_and(|meta| meta.mode() & OTHERS != 0);
    let finding = || {
        Finding::error(
            "audit.key",
            format!("the audit key {} is open to others", path.display()),
            format!(
                "chmod 600 {}; if others could read it, move it away: another is made, and signs from then on",
                path.display()
            ),
        )
    };
    open.then(finding).into_iter().collect()
}

/// Operators have to be able to enter the socket's folder.
pub(super) fn control_socket(config: &Config) -> Vec<Finding> {
    let subject = "control.socket";
    let path = &config.control.socket;
    let Some(parent) = path.parent() else {
        return vec![Finding::error(subject, "names no file", "name one")];
    };
    let meta = match folder(subject, parent) {
        Ok(meta) => meta,
        Err(finding) => return vec![finding],
    };
    let mode = meta.permissions().mode();
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return vec![Finding::error(
            subject,
            format!("everybody can write to {}, and so put another socket there", parent.display()),
            format!("chmod o-w {}", parent.display()),
        )];
    }
    if config.control.operators.beyond_owner() && mode & 0o011 == 0 {
        return vec![Finding::warning(
            subject,
            format!("operators are configured and cannot enter {}", parent.display()),
            "put the socket into a folder that they can enter, such as /run/pullgate/control.sock",
        )];
    }
    if path.symlink_metadata().is_ok_and(|meta| !meta.file_type().is_socket()) {
        return vec![Finding::error(
            subject,
            format!("{} is there and is not a socket", path.display()),
            "remove it, or name another place for the socket",
        )];
    }
    vec![Finding::ok(subject, format!("{} is a good place", path.display()))]
}

fn folder(subject: &str, path: &Path) -> Result<Metadata, Finding> {
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Ok(meta),
        Ok(_) => Err(Finding::error(subject, format!("{} is not a folder", path.display()), "name a folder")),
        Err(error) => Err(Finding::error(
            subject,
            format!("{} cannot be looked at: {error}", path.display()),
            "`pullgate init DIR` makes what is missing beside DIR/config.toml",
        )),
    }
}

fn owner(subject: &str, path: &Path, meta: &Metadata) -> Finding {
    let me = geteuid().as_raw();
    if meta.uid() == me {
        return Finding::ok(subject, format!("{} belongs to {}", path.display(), user_name(me)));
    }
    let owner = user_name(meta.uid());
    Finding::warning(
        subject,
        format!("{} belongs to {owner}, and this is {}", path.display(), user_name(me)),
        format!("look again as the daemon's user: sudo -u {} pullgate check", user_for_sudo(meta.uid())),
    )
}

fn closed(subject: &str, path: &Path, meta: &Metadata) -> Option<Finding> {
    let mode = meta.mode() & 0o777;
    let remedy = format!("chmod 700 {}", path.display());
    if others_write(mode) {
        return Some(Finding::error(
            subject,
            format!("{} can be written by others (mode {mode:o})", path.display()),
            remedy,
        ));
    }
    (mode & OTHERS != 0)
        .then(|| Finding::warning(subject, format!("{} can be read by others (mode {mode:o})", path.display()), remedy))
}
