//! Whether the gateway serves as it should.

use super::Door;
use crate::registry::Ails;

impl Door {
    /// What stands against it, in one line.
    pub(super) fn ails(&self) -> Option<&'static str> {
        if self.stopping.is_cancelled() {
            return Some("stopping: nobody new is let in, what runs may finish");
        }
        self.lookup.ails().map(|ails| match ails {
            Ails::Silent => "the registry cannot be read: nobody is let in; restart the gateway, its log says why",
            Ails::Full => "the registry takes no changes: there is no room for its journal to grow; fetches are served",
            Ails::Building => "the index of the registry is being built: fetches are served from memory meanwhile",
        })
    }
}
