//! Which git serves, what it is made of, and whether it works in its cell.

use super::{Finding, sandbox};
use crate::daemon::config::Config;
use crate::git::{Program, ProgramError};

const SUBJECT: &str = "git";

pub(super) fn serves(config: &Config) -> Vec<Finding> {
    match Program::find(&std::env::var_os("PATH").unwrap_or_default()) {
        Ok(program) => {
            let fact = format!(
                "{} is version {}; its commands are in {}, and it is linked with {}",
                program.path().display(),
                program.version(),
                program.exec_path().display(),
                names(&program)
            );
            let mut found = vec![Finding::ok(SUBJECT, fact)];
            found.extend(sandbox::holds(config, program));
            found
        }
        Err(error) => vec![Finding::error(SUBJECT, error.to_string(), remedy(&error))],
    }
}

/// The libraries by their own names; the links to them would say it twice.
fn names(program: &Program) -> String {
    let files = program.libraries().iter().filter(|path| !path.is_symlink());
    let names: Vec<_> = files.map(|path| path.display().to_string()).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn remedy(error: &ProgramError) -> &'static str {
    match error {
        ProgramError::NotFound(_) => "install git 2.38 or newer, and see that it is on the PATH of the daemon",
        ProgramError::TooOld(..) => "install git 2.38 or newer, and put its folder first on the PATH of the daemon",
        ProgramError::Silent(..) | ProgramError::Hidden(..) => {
            "put the folder of the real git, not of a script around it, first on the PATH of the daemon"
        }
    }
}
