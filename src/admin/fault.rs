//! Why something was not done: kind, fact, hint.

use serde::{Deserialize, Serialize};

use crate::model::text::printable;
use crate::registry::change::{CommitError, Conflict, Unavailable};

/// The kind of a fault; the command's exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What was given is not well formed.
    Invalid,
    /// Something that was named does not exist.
    NotFound,
    /// A rule stands against it.
    Conflict,
    /// Whoever asks may not.
    Denied,
    /// Neither yes nor no: try again, or look at the machine.
    Unavailable,
    /// A fault of pullgate.
    Internal,
}

/// Why something was not done. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The kind.
    pub kind: Kind,
    /// The field or option that is meant, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is the case.
    pub fact: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without a hint. Whatever the fact quotes is made printable: no terminal has to trust it.
    #[must_use]
    pub fn new(kind: Kind, fact: impl AsRef<str>) -> Self {
        Self { kind, field: None, fact: printable(fact.as_ref(), 2000), hint: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(printable(hint.as_ref(), 2000));
        self
    }

    /// The same with the field or option that is meant.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}

impl From<Unavailable> for Fault {
    fn from(error: Unavailable) -> Self {
        Self::new(Kind::Unavailable, error.to_string())
            .hint("nothing was changed; `pullgate check` looks for the cause")
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(conflict) => conflict.into(),
            CommitError::Unavailable(error) => error.into(),
        }
    }
}

/// The general words for each rule; a verb that knows more about what was meant says it better.
impl From<Conflict> for Fault {
    fn from(conflict: Conflict) -> Self {
        let fact = conflict.to_string();
        let (kind, hint) = match &conflict {
            Conflict::KeyHeld { holder, .. } => {
                (Kind::Conflict, format!("to let it fetch more: pullgate key grant {holder} REPO"))
            }
            Conflict::LabelTaken { name, .. } => (
                Kind::Conflict,
                format!("choose another label, or look at the key that has it: pullgate key show {name}"),
            ),
            Conflict::NoAccount(account) => (
                Kind::NotFound,
                format!("add it with `pullgate account add {account}`; `pullgate account list` lists all"),
            ),
            Conflict::NotEmpty(account) => (
                Kind::Conflict,
                format!("keys stop working at once when the account goes: pullgate account remove {account} --yes"),
            ),
            Conflict::NoKey(_) => (Kind::NotFound, "`pullgate key list` lists all keys".to_owned()),
            Conflict::NotADeployKey(_) => {
                (Kind::Conflict, "register another key as a deploy key to grant single repositories".to_owned())
            }
            Conflict::TooManyGrants(name) => {
                (Kind::Conflict, format!("grant a pattern instead, such as '{0}/*' or '{0}/team-*'", name.account))
            }
            Conflict::TooManySources(_) => (Kind::Conflict, "join neighbouring networks into larger ones".to_owned()),
            Conflict::Replaced { by, .. } => {
                (Kind::Conflict, format!("rotate the key that took its place: pullgate key rotate {by} …"))
            }
            Conflict::NotReplaced(name) => (
                Kind::Conflict,
                format!("replace it with `pullgate key rotate {name}`, or end it with `pullgate key expire`"),
            ),
            Conflict::NoGroup(account, group) => (
                Kind::NotFound,
                format!("make it with `pullgate group add {account}/@{group} REPO`; `pullgate group list` lists all"),
            ),
            Conflict::NotOfAccount { .. } => {
                (Kind::Conflict, "make a group in the other account, and grant that one as well".to_owned())
            }
            Conflict::TooManyMembers(account, _) => {
                (Kind::Conflict, format!("grant a pattern instead, such as '{account}/*' or '{account}/team-*'"))
            }
        };
        Self::new(kind, fact).hint(hint)
    }
}
