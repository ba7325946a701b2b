//! `pullgate init`

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::io::Stop;
use super::{Context, exit};
use crate::admin::fault::{Fault, Kind};
use crate::daemon::config::{Config, EXAMPLE};

const KEYS_README: &str = "\
# Host keys

pullgate keeps the private host keys of its SSH server here, and makes those that are missing at its first start. They are
what clients recognise the server by: back them up, keep them private (mode 0600), and never commit them.
";
const KEYS_IGNORE: &str = "*\n!.gitignore\n!README.md\n";

/// Write a config file and make the folders that it names
///
/// What is there already is left alone, so it can be run again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder, which is made if it is missing
    #[arg(default_value = ".")]
    dir: PathBuf,
}

impl Args {
    /// For a folder.
    pub(super) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        if context.config.is_some() {
            return Err(Fault::new(Kind::Invalid, "init writes DIR/config.toml, and takes no --config").into());
        }
        make_folder(&self.dir, 0o755, context)?;
        let file = self.dir.join("config.toml");
        make_file(&file, EXAMPLE, context)?;
        // The folders are those of the config that is there now, which may be an older one with other places.
        let config = Config::load(&file).map_err(exit::config_faults)?;
        make_folder(&config.state_dir, 0o700, context)?;
        make_folder(&config.store.root, 0o750, context)?;
        if make_folder(&config.ssh.host_keys, 0o700, context)? {
            make_file(&config.ssh.host_keys.join("README.md"), KEYS_README, context)?;
            make_file(&config.ssh.host_keys.join(".gitignore"), KEYS_IGNORE, context)?;
        }
        let option = match self.dir == Path::new(".") {
            true => String::new(),
            false => format!(" --config {}", quoted(&file)),
        };
        context.io.say("next:")?;
        for verb in ["check", "account add acme", "key generate acme ci --out ci_key --grant 'acme/*'", "serve"] {
            context.io.say(format_args!("  pullgate{option} {verb}"))?;
        }
        Ok(())
    }
}

fn make_folder(path: &Path, mode: u32, context: &mut Context<'_, '_>) -> Result<bool, Stop> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            context.io.say(format_args!("made {}", path.display()))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(error) => Err(cannot("made", path, &error)),
    }
}

fn make_file(path: &Path, text: &str, context: &mut Context<'_, '_>) -> Result<(), Stop> {
    match OpenOptions::new().write(true).create_new(true).mode(0o644).open(path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).map_err(|error| cannot("written", path, &error))?;
            context.io.say(format_args!("wrote {}", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            context.io.say(format_args!("left {} as it is", path.display()))
        }
        Err(error) => Err(cannot("written", path, &error)),
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Stop {
    Fault::new(Kind::Unavailable, format!("{} cannot be {what}: {error}", path.display()))
        .hint("make its parent folder, or choose another place")
        .into()
}

/// A path as a shell reads it back.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted(Path::new("/srv/pull-gate/config.toml")), "/srv/pull-gate/config.toml");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
