//! What a running daemon takes over from a config that was changed: all that a connection is let in by. What is open goes on.

use std::sync::Arc;

use tokio::sync::watch;

use super::config::{Config, ConfigError, Limits};
use super::meter::Reloads;
use super::service;
use crate::audit::Audit;
use crate::front::ssh::Door;
use crate::front::ssh::host_keys::{self, HostKeyError};
use crate::gate::Gate;

/// The way to change what a daemon serves by.
#[derive(Debug)]
pub struct Reloader {
    doors: watch::Sender<Arc<Door>>,
    audit: Audit,
    /// What the daemon was started with.
    started: Config,
    meter: Reloads,
}

impl Reloader {
    pub(super) fn new(door: Arc<Door>, audit: Audit, started: Config) -> Self {
        Self { doors: watch::Sender::new(door), audit, started, meter: Reloads::default() }
    }

    pub(super) fn meter(&self) -> &Reloads {
        &self.meter
    }

    pub(super) fn doors(&self) -> watch::Receiver<Arc<Door>> {
        self.doors.subscribe()
    }

    /// Has those who come from now on stand before another gate.
    pub(super) fn replace_gate(&self, gate: Gate) {
        self.doors.send_modify(|door| *door = Arc::new(door.behind(gate)));
    }

    /// Reads the config anew each time that this is said, until nobody can say it any more.
    pub(super) async fn at_hangups(self: Arc<Self>, mut hangups: watch::Receiver<u64>) {
        // The config was read before anybody could say so.
        let mut read = 0;
        while let Ok(count) = hangups.wait_for(|count| *count != read).await.map(|count| *count) {
            read = count;
            let reloader = Arc::clone(&self);
            // It reads files, and may wait for a disk.
            let done = tokio::task::spawn_blocking(move || {
                service::reloading();
                reloader.read_anew();
                service::ready();
            });
            if done.await.is_err() {
                tracing::error!("SIGHUP: the reading of the config ended in a panic");
            }
        }
    }

    /// Takes over what has changed in the config file, and says so in the log. Blocks.
    fn read_anew(&self) {
        self.reopen_audit();
        let config = match Config::load(&self.started.file) {
            Ok(config) => config,
            Err(error) => {
                if let ConfigError::Faults { faults, .. } = &error {
                    faults.iter().for_each(|fault| tracing::error!(%fault, "a fault in the config"));
                }
                self.meter.note(false);
                return tracing::error!(%error, "SIGHUP: the config cannot be read, and the old one stays; see `pullgate check`");
            }
        };
        let reloaded = self.reload(&config);
        self.meter.note(reloaded.is_ok());
        match reloaded {
            Ok(later) if later.is_empty() => tracing::info!("SIGHUP: config and host keys were read anew"),
            Ok(later) => {
                let later = later.join(", ");
                tracing::warn!(
                    later,
                    "SIGHUP: config and host keys were read anew; some of what changed needs `pullgate upgrade` or a restart"
                );
            }
            Err(error) => tracing::error!(%error, "SIGHUP: the old config and host keys stay"),
        }
    }

    /// Opens the audit file again, which a log rotation may have moved away; where it cannot be opened, the old one is written
    /// on. Blocks while the disk does.
    pub(super) fn reopen_audit(&self) {
        match self.audit.reopen() {
            Ok(()) => tracing::info!("SIGHUP: the audit file was opened anew"),
            Err(error) => {
                tracing::error!(%error, "SIGHUP: the audit file cannot be opened anew, and the old one is written on");
            }
        }
    }

    /// Takes a config over: the host keys, whom to believe a client's address, the bounds and clocks of the door, for
    /// everybody who connects from now on. Says what else differs from what the daemon was started with, which needs a
    /// restart.
    ///
    /// # Errors
    /// The host keys cannot be read or made, and nothing has changed.
    fn reload(&self, next: &Config) -> Result<Vec<&'static str>, HostKeyError> {
        let shown = self.doors.borrow().host_keys();
        let keys = host_keys::load_or_make(&next.ssh.host_keys, next.ssh.host_key_kinds, &shown)?;
        // In one step: another gate may just be put behind the door.
        self.doors.send_modify(|door| {
            let new = door.again(keys, next.limits.ssh, next.ssh.public_address.to_string());
            let new = new.with_balancers(next.ssh.balancers.clone());
            *door = Arc::new(new.with_exempt(next.limits.guesses_exempt.clone()));
        });
        Ok(at_the_next_start(&self.started, next))
    }
}

/// What differs and cannot be changed while a daemon runs, by its name in the file.
pub(in crate::daemon) fn at_the_next_start(old: &Config, new: &Config) -> Vec<&'static str> {
    let Config {
        file: _,
        state_dir,
        store,
        ssh,
        control,
        audit_file,
        audit_to,
        audit_strangers,
        metrics,
        log,
        keys,
        sandbox,
        cache,
        packing,
        limits,
    } = new;
    let of_door = Limits { ssh: old.limits.ssh, guesses_exempt: old.limits.guesses_exempt.clone(), ..*limits };
    [
        ("state_dir", *state_dir != old.state_dir),
        ("[store]", *store != old.store),
        ("listen under [ssh]", ssh.listen != old.ssh.listen),
        ("[control]", *control != old.control),
        ("[audit]", (audit_file, audit_to, audit_strangers) != (&old.audit_file, &old.audit_to, &old.audit_strangers)),
        ("[metrics]", *metrics != old.metrics),
        ("[log]", *log != old.log),
        ("[keys]", *keys != old.keys),
        ("[sandbox]", *sandbox != old.sandbox),
        ("[cache]", (cache, packing) != (&old.cache, &old.packing)),
        ("what [limits] says of fetches, slots and the end", of_door != old.limits),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_needs_a_restart_is_named_and_nothing_else() {
        let config = |text: &str| Config::parse(text, Path::new("/etc/pullgate/config.toml")).unwrap();
        let differs = |text: &str| at_the_next_start(&config(""), &config(text));
        assert_eq!(differs(""), [""; 0]);
        assert_eq!(differs("[limits]\nstartups = 7\nlogin_seconds = 3\n[ssh]\nrsa_host_key = true"), [""; 0]);
        assert_eq!(differs("[store]\nroot = \"/srv\"\n[log]\nformat = \"json\""), ["[store]", "[log]"]);
        assert_eq!(differs("[metrics]\nlisten = \"127.0.0.1:9180\""), ["[metrics]"]);
        assert_eq!(differs("[ssh]\nlisten = [\"127.0.0.1:1\"]"), ["listen under [ssh]"]);
        assert_eq!(differs("[limits]\ndrain_seconds = 1"), ["what [limits] says of fetches, slots and the end"]);
        assert_eq!(differs("state_dir = \"/var/lib/x\"")[0], "state_dir");
    }
}
