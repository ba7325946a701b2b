//! Whether the kernel confines git as the config wants it: tried, not guessed.

use super::Finding;
use crate::daemon::config::Config;
use crate::git::{Git, Program};
use crate::sandbox::{Cells, Mode};

const SUBJECT: &str = "sandbox.mode";

pub(super) fn holds(config: &Config, program: Program) -> Vec<Finding> {
    let settings = config.sandbox;
    if settings.mode == Mode::Off {
        let remedy =
            "write mode = \"require\"; without a cell, who can change a repository can read what the daemon can";
        return vec![Finding::warning(SUBJECT, "git is not confined", remedy)];
    }
    let git = match Git::new(program, config.limits.git, Cells::new(settings), crate::cache::Cache::off()) {
        Ok(git) => git,
        Err(error) => {
            let remedy = "Linux 5.13 or newer with Landlock and seccomp is needed (in a container: allowed by its own \
                          seccomp profile); or, knowing what is lost, mode = \"prefer\"";
            return vec![Finding::error(SUBJECT, error.to_string(), remedy)];
        }
    };
    let limits = settings.limits;
    match git.report() {
        Some(report) if report.whole() => {
            let fact = format!("git works in a cell ({report}; {} MiB, {} s)", limits.memory >> 20, limits.cpu);
            vec![Finding::ok(SUBJECT, fact)]
        }
        Some(report) => {
            let remedy = "start it on Linux 5.13 or newer with Landlock and seccomp, and write mode = \"require\"";
            vec![Finding::warning(SUBJECT, format!("git is not wholly confined ({report})"), remedy)]
        }
        None => Vec::new(),
    }
}
