//! `pullgate backup`

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::Context;
use super::io::{Stop, wrote};
use crate::admin::fault::{Fault, Kind};
use crate::registry::{self, BackedUp, OpenError};

/// Write the registry to a file that `pullgate restore` reads; the daemon may run meanwhile
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  pullgate backup /backup/registry-$(date +%F)\n  pullgate backup - | ssh backup 'cat > registry'"
)]
pub(super) struct Args {
    /// The file, which may not be there yet; - for standard output
    file: PathBuf,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let dir = context.load()?.registry_dir();
        if self.file == Path::new("-") {
            // The result is the backup itself: nothing else goes to standard output.
            let done = registry::backup(&dir, context.io.out).map_err(|error| fault(&error, &dir))?;
            wrote(context.io.out.flush())?;
            return context.io.tell(format_args!("backed up {} changes, {} bytes", done.seq, done.bytes));
        }
        let done = to_file(&dir, &self.file)?;
        if self.json {
            let BackedUp { seq, bytes } = done;
            return context.io.json(&serde_json::json!({ "file": self.file, "changes": seq, "bytes": bytes }));
        }
        let file = self.file.display();
        context.io.say(format_args!("backed up {} changes to {file}, {} bytes", done.seq, done.bytes))
    }
}

/// Under another name until it is whole and on disk: what has the name is a backup.
fn to_file(dir: &Path, file: &Path) -> Result<BackedUp, Fault> {
    let failed = |error: io::Error| {
        Fault::new(Kind::Unavailable, format!("the backup {} cannot be written: {error}", file.display()))
            .hint("name another place, or make room there")
    };
    if file.try_exists().map_err(failed)? {
        return Err(Fault::new(Kind::Conflict, format!("{} is there already", file.display()))
            .hint("give each backup a name of its own, or delete the old one first"));
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(failed)?;
    let done = registry::backup(dir, &mut out).map_err(|error| fault(&error, dir)).and_then(|done| {
        out.sync_all().and_then(|()| std::fs::rename(&part, file)).map_err(failed)?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(done)
    });
    if done.is_err() && part.exists() {
        std::fs::remove_file(&part).map_err(failed)?;
    }
    done
}

fn fault(error: &OpenError, dir: &Path) -> Fault {
    let fact = format!("the registry in {} cannot be backed up: {error}", dir.display());
    match error {
        OpenError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Fault::new(Kind::Denied, fact).hint("run the command as root or as the daemon's user")
        }
        OpenError::Io(_) | OpenError::Locked => {
            Fault::new(Kind::Unavailable, fact).hint("`pullgate check` looks at the whole installation")
        }
        OpenError::Newer(_) => Fault::new(Kind::Unavailable, fact).hint("use the pullgate that wrote it"),
        OpenError::Damaged(_) | OpenError::NoJournal => {
            Fault::new(Kind::Unavailable, fact).hint("keep the older backups: `pullgate restore` takes one of them")
        }
    }
}
