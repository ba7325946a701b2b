//! Another process takes the daemon's place: a newer program, or a config that needs a restart.

use std::fmt::Debug;

use super::fault::{Fault, Kind};
use super::operator::Operator;
use super::{Admin, Done, Faults};

/// Who can start another process in the place of this one.
pub trait Upgrader: Debug + Send + Sync {
    /// Does so; when it returns, the other one serves, and this one only brings to an end what it has begun. Returns the other
    /// one's process id. Blocks meanwhile.
    ///
    /// # Errors
    /// Why this one serves on.
    fn upgrade(&self, by: &str) -> Result<u32, Fault>;
}

impl Admin {
    /// The same, able to have another process take the daemon's place.
    #[must_use]
    pub fn with_upgrader(self, upgrader: std::sync::Arc<dyn Upgrader>) -> Self {
        Self { upgrader: Some(upgrader), ..self }
    }

    /// Has another process take the daemon's place.
    ///
    /// # Errors
    /// Why the daemon serves on; or no daemon runs.
    pub fn upgrade(&self, by: &Operator) -> Result<Done, Faults> {
        let upgrader = self.upgrader.as_deref().ok_or_else(|| {
            Fault::new(Kind::Unavailable, "no daemon runs whose place another one could take")
                .hint("start one with `pullgate serve`; a quickstart is only stopped and started again")
        })?;
        let next = upgrader.upgrade(by.name())?;
        let message = format!(
            "process {next} serves from now on; process {} brings to an end what it has begun",
            std::process::id()
        );
        Ok(Done { message, changed: true, warnings: Vec::new(), notes: Vec::new() })
    }

    /// Closes the registry for everybody in this process, so that another one can open it.
    pub fn close(&self) {
        self.amend.close();
    }
}
