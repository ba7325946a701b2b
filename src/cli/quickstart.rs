//! `pullgate quickstart`: everything on loopback, in one folder, proved with the real git, ready to be tried.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::io::{Io, Stop};
use super::serve::{build, cannot_open, signals};
use super::{Context, exit, known_hosts};
use crate::admin::fault::{Fault, Kind};
use crate::daemon::config::{Config, EXAMPLE};
use crate::daemon::signals::Signals;
use crate::daemon::sockets::{Handed, Sockets};
use crate::daemon::{log, serve};
use crate::store::sample;

/// Try everything on this machine: a gateway with a sample repository and a key, and commands to paste
///
/// Makes DIR with a config, host keys, a registry, a sample repository and a deploy key, starts the gateway on a loopback
/// port, clones once through it with git, shows that a push is refused, and stays up until Ctrl-C. Run again, it goes on
/// with what is there.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where
    #[arg(default_value = "pullgate-quickstart")]
    dir: PathBuf,
    /// Stop after the first clone instead of staying up
    #[arg(long)]
    once: bool,
}

const ACCOUNT: &str = "acme";
const LABEL: &str = "quickstart";
const REPO: &str = "acme/sample";

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        if context.config.is_some() {
            return Err(
                Fault::new(Kind::Invalid, "quickstart has a config of its own in DIR, and takes no --config").into()
            );
        }
        let failed = |error: std::io::Error| Fault::new(Kind::Unavailable, format!("{}: {error}", self.dir.display()));
        let dir = std::path::absolute(&self.dir).map_err(failed)?;
        // Before anything is made.
        for_ssh(&dir)?;
        std::fs::create_dir_all(&dir).map_err(failed)?;
        own(&dir)?;
        super::serve::enough()?;
        let site = Site { config: dir.join("config.toml"), dir, once: self.once };
        let config = site.prepare(context.io)?;
        if log::start(log::Settings { level: tracing::Level::WARN, ..config.log }).is_err() {
            tracing::debug!("the log was started before");
        }
        let house = build(&config)?;
        let runtime = super::serve::runtime()?;
        let _inside = runtime.enter();
        // Not the gateway's own: it stays up until this function ends.
        let told = signals(&runtime)?;
        let sockets =
            runtime.block_on(Sockets::open(&config, Handed::default())).map_err(|error| cannot_open(&error))?;
        let open = serve::Open::new(house, sockets);
        let own = Signals::default();
        // However this function ends, the gateway drains.
        let stop = own.stop.clone().drop_guard();
        let serving = runtime.spawn(open.serve(None, own));
        let address = &config.ssh.public_address;
        context.io.say(format_args!("the gateway serves at ssh://git@{address}"))?;
        let shown = site.show(&config, context.io).and_then(|()| match self.once {
            true => Ok(()),
            false => {
                context.io.say("\nThe gateway stays up until Ctrl-C.")?;
                runtime.block_on(told.stop.cancelled());
                context.io.say("stopping")
            }
        });
        drop(stop);
        runtime
            .block_on(serving)
            .map_err(|error| Fault::new(Kind::Internal, format!("the gateway failed: {error}")))?
            .map_err(|error| cannot_open(&error))?;
        shown
    }
}

/// Says that a folder is quickstart's own, whose files it may replace; refuses one that is somebody else's.
fn own(dir: &Path) -> Result<(), Fault> {
    const MARK: &str = ".pullgate-quickstart";
    let failed = |error: std::io::Error| Fault::new(Kind::Unavailable, format!("{}: {error}", dir.display()));
    if dir.join(MARK).exists() {
        return Ok(());
    }
    if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
        let fact = format!("{} is not empty, and was not made by quickstart", dir.display());
        return Err(Fault::new(Kind::Conflict, fact).hint("name a new folder: pullgate quickstart DIR"));
    }
    std::fs::write(dir.join(MARK), "This folder was made by `pullgate quickstart`, which replaces files in it.\n")
        .map_err(failed)
}

/// The folder of one quickstart.
struct Site {
    dir: PathBuf,
    config: PathBuf,
    /// It does not stay up.
    once: bool,
}

impl Site {
    /// Config, folders and sample; what is there is left as it is.
    fn prepare(&self, io: &mut Io<'_>) -> Result<Config, Stop> {
        if !self.config.exists() {
            let port = free_port()?;
            let text = EXAMPLE.replace("127.0.0.1:2222", &format!("127.0.0.1:{port}"));
            let text = text.replace("localhost:2222", &format!("localhost:{port}"));
            self.write("config.toml", &text)?;
        }
        let (mut input, mut nowhere) = (std::io::empty(), std::io::sink());
        let mut silent =
            Io { input: &mut input, out: &mut nowhere, err: &mut *io.err, interactive: false, out_is_open: false };
        super::init::Args::at(self.dir.clone()).run(&mut Context { io: &mut silent, config: None })?;
        let config = Config::load(&self.config).map_err(exit::config_faults)?;
        io.say(format_args!("config, keys and state are in {}", self.dir.display()))?;
        let repo = config.store.root.join(format!("{REPO}.git"));
        if !repo.exists() {
            sample::create(&repo).map_err(|error| Fault::new(Kind::Unavailable, error.to_string()))?;
            io.say(format_args!("made the sample repository {REPO}, with three commits"))?;
        }
        Ok(config)
    }

    /// Registers, clones, tries a push, and prints what to paste.
    fn show(&self, config: &Config, io: &mut Io<'_>) -> Result<(), Stop> {
        self.write("known_hosts", &known_hosts::text(config)?)?;
        let text = format!(
            "Host *\n  IdentityFile {key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n",
            key = for_ssh(&self.dir.join("agent_key"))?,
            known = for_ssh(&self.dir.join("known_hosts"))?
        );
        self.write("ssh_config", &text)?;
        self.pullgate(&["account", "add", ACCOUNT], io)?;
        self.register(io)?;
        let url = format!("ssh://git@{}/{REPO}.git", config.ssh.public_address);
        let clone = self.dir.join("first-clone");
        if clone.exists() {
            std::fs::remove_dir_all(&clone)
                .map_err(|error| Fault::new(Kind::Unavailable, format!("{}: {error}", clone.display())))?;
        }
        let cloned = self.git(&["clone", "--quiet", &url, &clone.display().to_string()], io)?;
        if !cloned.success {
            cloned.err.lines().try_for_each(|line| io.say(format_args!("    {line}")))?;
            return Err(Fault::new(Kind::Internal, "the clone failed").into());
        }
        let log = self.git(&["-C", &clone.display().to_string(), "log", "--oneline"], io)?;
        log.out.lines().try_for_each(|line| io.say(format_args!("    {line}")))?;
        let push = self.git(&["-C", &clone.display().to_string(), "push", "origin", "HEAD:refs/heads/mine"], io)?;
        push.err.lines().try_for_each(|line| io.say(format_args!("    {line}")))?;
        if push.success || !push.err.contains("fatal: remote error: this gateway is read-only") {
            return Err(Fault::new(Kind::Internal, "a push was not refused as it should be").into());
        }
        let ssh = format!(
            "GIT_SSH_COMMAND={}",
            shell(&format!("ssh -F {}", shell(&self.dir.join("ssh_config").display().to_string())))
        );
        let program =
            std::env::current_exe().map_or_else(|_| "pullgate".to_owned(), |path| shell(&path.display().to_string()));
        let config_file = shell(&self.config.display().to_string());
        io.say(match self.once {
            false => "\nIn another terminal, paste:\n",
            true => "\nIt stops now. Without --once it stays up, and these can be pasted into another terminal:\n",
        })?;
        for line in [
            format!("  {ssh} git clone {url} /tmp/pullgate-sample-$$"),
            format!("  {ssh} git ls-remote {url}"),
            format!(
                "  ssh -T -F {} -p {} git@{}",
                shell(&self.dir.join("ssh_config").display().to_string()),
                config.ssh.public_address.port,
                config.ssh.public_address.host
            ),
            format!("  {program} --config {config_file} key list"),
            format!("  {program} --config {config_file} key show {ACCOUNT}/{LABEL}"),
        ] {
            io.say(line)?;
        }
        let root = config.store.root.display();
        io.say(format_args!("\nYour own: copy a bare repository to {root}/{ACCOUNT}/NAME.git, and"))?;
        io.say(format_args!("  {program} --config {config_file} key grant {ACCOUNT}/{LABEL} {ACCOUNT}/NAME"))
    }

    /// Makes and registers the key; or, when an earlier run was cut off in between, registers the one that is there.
    fn register(&self, io: &mut Io<'_>) -> Result<(), Stop> {
        let grant = ["--grant", REPO, "--note", "made by quickstart"];
        let (key, public) = (self.dir.join("agent_key"), self.dir.join("agent_key.pub"));
        if !key.exists() {
            let out = key.display().to_string();
            // The other half of a key that somebody took away: no file is ever written over.
            if let Err(error) = std::fs::remove_file(&public)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(Fault::new(Kind::Unavailable, format!("{}: {error}", public.display())).into());
            }
            return self.pullgate(&[&["key", "generate", ACCOUNT, LABEL, "--out", &out][..], &grant].concat(), io);
        }
        let unread = |error: &dyn std::fmt::Display| {
            Fault::new(Kind::Unavailable, format!("{}: {error}", key.display()))
                .hint("remove it, and a new one is made")
        };
        let text = zeroize::Zeroizing::new(std::fs::read_to_string(&key).map_err(|error| unread(&error))?);
        let pair = russh::keys::PrivateKey::from_openssh(text.as_str()).map_err(|error| unread(&error))?;
        let line = pair.public_key().to_openssh().map_err(|error| unread(&error))?;
        self.write("agent_key.pub", &format!("{line}\n"))?;
        let public = public.display().to_string();
        let (mut input, mut out, mut err) = (std::io::empty(), std::io::sink(), std::io::sink());
        let mut silent = Io { input: &mut input, out: &mut out, err: &mut err, interactive: false, out_is_open: false };
        let config = self.config.display().to_string();
        let whereis = ["pullgate", "--config", &config, "whereis", &public].map(std::ffi::OsString::from);
        if super::run(whereis, &mut silent) == 0 {
            return Ok(());
        }
        self.pullgate(&[&["key", "add", ACCOUNT, LABEL, "--key", &public][..], &grant].concat(), io)
    }

    /// Runs a verb as a person would type it, and shows it.
    fn pullgate(&self, args: &[&str], io: &mut Io<'_>) -> Result<(), Stop> {
        let words: Vec<String> = args.iter().map(|word| shell(word)).collect();
        io.say(format_args!("$ pullgate {}", words.join(" ")))?;
        let config = self.config.as_os_str().to_owned();
        let all = ["pullgate".into(), "--config".into(), config].into_iter().chain(args.iter().map(Into::into));
        match super::run(all, io) {
            0 => Ok(()),
            _ => Err(Stop::Said(Kind::Internal)),
        }
    }

    /// Runs the real git as a build agent would.
    fn git(&self, args: &[&str], io: &mut Io<'_>) -> Result<Ran, Stop> {
        let words: Vec<String> = args.iter().map(|word| shell(word)).collect();
        io.say(format_args!("$ git {}", words.join(" ")))?;
        let output = Command::new("git")
            .args(args)
            .env("GIT_SSH_COMMAND", format!("ssh -F {}", shell(&self.dir.join("ssh_config").display().to_string())))
            .env("GIT_TERMINAL_PROMPT", "0")
            // Somebody's own settings must not decide whether this works.
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                Fault::new(Kind::Unavailable, format!("git cannot be run: {error}")).hint("install git and ssh")
            })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ran { success: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) })
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Fault> {
        let path = self.dir.join(name);
        std::fs::write(&path, text)
            .map_err(|error| Fault::new(Kind::Unavailable, format!("{}: {error}", path.display())))
    }
}

/// What a command said.
struct Ran {
    success: bool,
    out: String,
    err: String,
}

/// Port 2222 when it is free, else any.
fn free_port() -> Result<u16, Fault> {
    let bound = TcpListener::bind(("127.0.0.1", 2222)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    let address = bound.and_then(|listener| listener.local_addr());
    address
        .map(|address| address.port())
        .map_err(|error| Fault::new(Kind::Unavailable, format!("no port is free: {error}")))
}

/// A path as ssh reads it back from its config: one word, in which `%` begins a token and `${` a variable (ssh_config(5)). Within the
/// quotes there is no way to write a quote for every ssh that is about.
fn for_ssh(path: &Path) -> Result<String, Fault> {
    match path.to_str() {
        Some(text) if !text.contains(['"', '\\']) && !text.contains("${") && !text.contains(char::is_control) => {
            Ok(format!("\"{}\"", text.replace('%', "%%")))
        }
        Some(_) | None => {
            let fact = format!("{} has a character in its path that ssh does not take in its config", path.display());
            let hint = "name a folder without quotes, backslashes, `${`, line breaks, and bytes that are no text: pullgate quickstart DIR";
            Err(Fault::new(Kind::Invalid, fact).hint(hint))
        }
    }
}

/// A word as a shell reads it back.
fn shell(word: &str) -> String {
    super::init::quoted(Path::new(word))
}
