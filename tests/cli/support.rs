//! A site in a temporary folder, and the program run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Public keys, as `ssh-keygen` writes them: two ed25519 keys.
pub const KEY_A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a@example\n";
pub const KEY_B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/ b@example\n";

pub struct Site {
    dir: TempDir,
}

/// What a run said, and how it ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n--- out\n{}--- err\n{}", self.code, self.out, self.err)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Site {
    /// An empty folder.
    pub fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A folder with what `init` makes.
    pub fn new() -> Self {
        let site = Self::empty();
        site.ok(&["init"]);
        // Whatever else runs on this machine, `check` finds this port free.
        let text = std::fs::read_to_string(site.path("config.toml")).unwrap();
        std::fs::write(site.path("config.toml"), text.replace("127.0.0.1:2222", "127.0.0.1:0")).unwrap();
        site
    }

    /// The same with the account acme and the files a.pub and b.pub.
    pub fn with_acme() -> Self {
        let site = Self::new();
        site.ok(&["account", "add", "acme"]);
        std::fs::write(site.path("a.pub"), KEY_A).unwrap();
        std::fs::write(site.path("b.pub"), KEY_B).unwrap();
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program, in the site's folder, with a bare environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = program(self.dir.path());
        command.args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Runs it, and takes nothing but success.
    pub fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran}");
        ran
    }

    /// Runs it with something on standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Ran {
        use std::io::Write as _;
        let mut child =
            self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Compares with a snapshot in which the folder, times, fingerprints and the user have placeholders.
    pub fn snapshot(&self, name: &str, text: &str) {
        let user = pullgate::admin::operator::user_name(rustix::process::geteuid().as_raw());
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_snapshot_path("snapshots");
        settings.set_omit_expression(true);
        settings.add_filter(&regex(&self.dir.path().display().to_string()), "[DIR]");
        settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "[TIME]");
        settings.add_filter(r#""\d{4}-\d\d-\d\dT[^"]*Z""#, "\"[TIME]\"");
        settings.add_filter(&format!(r#"(by |"added_by": "|\]  |belongs to ){user}"#), "${1}[USER]");
        settings.add_filter(r"git: /.* is version .*", "git: [PROGRAM] is version [VERSION]");
        settings.add_filter(r"Landlock \d+", "Landlock [VERSION]");
        settings.add_filter(r"pullgate \d+\.\d+\.\d+", "pullgate [VERSION]");
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

fn program(dir: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("pullgate"));
    // git is found by it.
    let path = std::env::var_os("PATH").unwrap();
    command.current_dir(dir).env_clear().env("PATH", path).stdin(Stdio::null());
    command
}

fn regex(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '/' { c.to_string() } else { format!(r"\{c}") }).collect()
}
