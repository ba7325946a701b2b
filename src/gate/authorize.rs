//! From a question to a permission.

use std::net::IpAddr;
use std::time::Instant;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::cover::{Cover, cover};
use super::decide::{self, Trace};
use super::refusal::Reason;
use super::{Code, Declined, Gate, Principal, Refusal};
use crate::audit::{Ended, Event, Source, Subject, new_id};
use crate::model::key_name::KeyName;
use crate::model::protocol::GitProtocol;
use crate::model::public_key::PublicKey;
use crate::model::repo_path::RepoPath;
use crate::registry::Moment;
use crate::registry::change::Unavailable;
use crate::registry::record::KeyRecord;
use crate::store::{BareRepo, StoreError, is_shortage};
use crate::usage::Use;

/// How often a request is decided again because what it depends on changed in the middle.
const PATIENCE: u32 = 16;

/// A question. Nothing but a fetch can be asked: it has no other field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What to fetch from.
    pub repo: RepoPath,
    /// The protocol version to speak.
    pub protocol: GitProtocol,
}

/// Permission for one upload-pack on one repository, once.
///
/// Promise: its fields are private, it cannot be cloned, and serving consumes it. Only [`Gate::authorize`] makes one,
/// after it read the key again. No field can say anything but "fetch". Whoever asks more than once in it is asked for again
/// ([`Fetch::recheck`]).
///
/// ```compile_fail,E0277
/// fn copies<T: Clone>() {}
/// copies::<pullgate::gate::Fetch>();
/// ```
/// ```compile_fail
/// fn swap(fetch: &mut pullgate::gate::Fetch, other: pullgate::store::BareRepo) {
///     fetch.repo = other;
/// }
/// ```
#[derive(Debug)]
pub struct Fetch {
    repo: BareRepo,
    protocol: GitProtocol,
    subject: Subject,
    decided: Instant,
    source: Option<Source>,
    told: Option<Code>,
    key: PublicKey,
    gate: Gate,
    id: String,
    finished: bool,
}

impl Fetch {
    /// The repository to serve.
    #[must_use]
    pub fn repo(&self) -> &BareRepo {
        &self.repo
    }

    /// The protocol version to speak.
    #[must_use]
    pub fn protocol(&self) -> GitProtocol {
        self.protocol
    }

    /// Its id in the audit, which a client is shown with a refusal.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whose permission it is.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Cancelled when the gateway ends what still runs. There is time for a few words then, and for nothing else.
    #[must_use]
    pub fn cut(&self) -> CancellationToken {
        self.gate.cut.of_fetch()
    }

    /// Reads the key again, and asks every rule but those about the repository's own files. Before each request of a talk that
    /// has several, and after a wait, in which the key may have been suspended. Looks into the registry alone.
    ///
    /// # Errors
    /// [`Withdrawn`] when the same request would be refused now.
    pub fn recheck(&self) -> Result<(), Withdrawn> {
        let now = Timestamp::now();
        let found = self.gate.lookup.at_once(|at| {
            let record = at.key(&self.key.fingerprint())?.filter(|record| record.key == self.key);
            let Some(record) = record else { return Ok(Err(Withdrawn { reason: Reason::Removed, key: None })) };
            let permits = self.still_permits(&record, now, at);
            Ok(permits.map_err(|reason| Withdrawn { reason, key: Some(record.name) }))
        });
        match found {
            // Another process has the registry, and decides from now on. What was begun here may end here, in the time that it has.
            Err(_) if self.gate.lookup.is_closed() => Ok(()),
            found => found.map_err(|unavailable| Withdrawn { reason: unavailable.into(), key: None }).flatten(),
        }
    }

    fn still_permits(&self, record: &KeyRecord, now: Timestamp, at: &Moment<'_>) -> Result<(), Reason> {
        decide::in_use(record, self.subject.address, now).decide()?;
        let repo = self.repo.name();
        if cover(record, repo, at).is_none() {
            return Err(Reason::NotGranted { repo: repo.clone() });
        }
        match self.repo.borrows().iter().find(|other| cover(record, other, at).is_none()) {
            Some(other) => Err(Reason::SharedObjects { repo: repo.clone(), other: other.clone() }),
            None => Ok(()),
        }
    }

    /// Notes for the record where the pack came from.
    pub fn note(&mut self, source: Source) {
        self.source = Some(source);
    }

    /// Uses the permission up and leaves its record.
    pub fn finish(mut self, outcome: Ended, bytes_out: u64, bytes_in: u64) {
        self.record(outcome, bytes_out, bytes_in);
    }

    /// What to tell the client when it could not be served to the end, with the id that the record has. The code stands in the
    /// record, too.
    #[must_use]
    pub fn unserved(&mut self, why: Unserved) -> Refusal {
        let repo = self.repo.name().clone();
        let reason = match why {
            Unserved::Repository => Reason::Repository { repo, why: String::new() },
            Unserved::NotThere => Reason::NotThere { repo },
            Unserved::NothingSelected => Reason::NothingSelected { repo },
            Unserved::TimedOut => Reason::TimedOut { repo },
            Unserved::Flooded => Reason::Flooded { repo },
            Unserved::Busy => Reason::Declined(Declined::Busy),
            Unserved::Stopped => Reason::Stopped { repo },
            Unserved::NoGit => Reason::Unavailable("git cannot be started".to_owned()),
            Unserved::Withdrawn(Withdrawn { reason, key }) => {
                self.subject.key = key.or_else(|| self.subject.key.take());
                reason
            }
        };
        self.told = Some(reason.code());
        Refusal::new(&self.id, &self.subject, &reason)
    }

    fn record(&mut self, outcome: Ended, bytes_out: u64, bytes_in: u64) {
        self.finished = true;
        let duration_ms = u64::try_from(self.decided.elapsed().as_millis()).unwrap_or(u64::MAX);
        let event = Event::Fetch {
            subject: self.subject.clone(),
            repository: self.repo.name().clone(),
            protocol: self.protocol.number(),
            outcome: self.gate.cut.truly(outcome),
            bytes_out,
            bytes_in,
            duration_ms,
            source: self.source.clone(),
            code: self.told.map(|code| code.as_str().to_owned()),
        };
        self.gate.audit.record(&self.id, event);
    }
}

/// Why a permission is one no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    reason: Reason,
    /// What the key is called by now.
    key: Option<KeyName>,
}

/// Why a permitted fetch came to no good end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unserved {
    /// git could not serve the repository.
    Repository,
    /// It has not, or no more, what the client asked for.
    NotThere,
    /// git did not, and the client had set bounds within which there may be nothing.
    NothingSelected,
    /// One of our clocks ran out.
    TimedOut,
    /// The client sent more than it may.
    Flooded,
    /// The gateway was stopped before its end.
    Stopped,
    /// The machine has no room for one more.
    Busy,
    /// There is no git that can be started, whatever the repository is.
    NoGit,
    /// It would not be permitted any more.
    Withdrawn(Withdrawn),
}

/// A permission that nobody finished leaves its record all the same.
impl Drop for Fetch {
    fn drop(&mut self) {
        if !self.finished {
            self.record(Ended::ClientGone, 0, 0);
        }
    }
}

impl Gate {
    /// Decides one request: reads the key again, asks the rules, opens the repository.
    ///
    /// A repository that is not granted is never looked at, so that neither words nor time tell whether it exists.
    ///
    /// # Errors
    /// A [`Refusal`], which is already recorded.
    pub fn authorize(&self, who: &Principal, ask: Ask) -> Result<Fetch, Refusal> {
        let Ask { repo: name, protocol } = ask;
        let mut patience = PATIENCE;
        let (repo, subject) = loop {
            let (repo, subject) = self.now(who, Some(&name), |record| {
                let at = Timestamp::now();
                let (trace, repo) = self.examine(record, &name, who.subject.address, at)?;
                if !self.stands(record, &name, &trace, repo.as_ref())? {
                    return Ok(None);
                }
                let cover = trace.decide()?;
                // No rule refused, so there is a repository; if there were none, nothing could be served either.
                let repo = repo.ok_or_else(|| Reason::Missing { repo: name.clone() })?;
                self.note_use(record, cover.as_ref(), who, &name, at);
                Ok(Some(repo))
            })?;
            match repo {
                Some(repo) => break (repo, subject),
                None if patience > 0 => patience -= 1,
                None => {
                    let reason = Reason::Unavailable("the registry changes all the time".to_owned());
                    return Err(self.refuse(&subject, reason, Some(&name)));
                }
            }
        };
        let id = new_id();
        let event = Event::Allowed { subject: subject.clone(), repository: name, protocol: protocol.number() };
        self.audit.record(&id, event);
        Ok(Fetch {
            repo,
            protocol,
            subject,
            decided: Instant::now(),
            source: None,
            told: None,
            key: who.key.clone(),
            gate: self.clone(),
            id,
            finished: false,
        })
    }

    /// Reads the key again and asks something of its record. Words and records name the key as it is called now, which may
    /// not be what it was called when it logged in.
    pub(super) fn now<T>(
        &self,
        who: &Principal,
        repo: Option<&RepoPath>,
        ask: impl FnOnce(&KeyRecord) -> Result<T, Reason>,
    ) -> Result<(T, Subject), Refusal> {
        let mut subject = who.subject.clone();
        let answer = match self.current(&who.key) {
            Ok(Some(record)) => {
                subject.key = Some(record.name.clone());
                ask(&record)
            }
            Ok(None) => Err(Reason::Removed),
            Err(unavailable) => Err(unavailable.into()),
        };
        match answer {
            Ok(answer) => Ok((answer, subject)),
            Err(reason) => Err(self.refuse(&subject, reason, repo)),
        }
    }

    /// Whether what was found out bit by bit, with the disk in between, is true at one moment as well. A change may take a
    /// repository from a group and give the group to the key: half of the old and half of the new would permit what
    /// neither does.
    fn stands(
        &self,
        record: &KeyRecord,
        name: &RepoPath,
        trace: &Trace,
        repo: Option<&BareRepo>,
    ) -> Result<bool, Unavailable> {
        let borrows = repo.filter(|_| trace.passes()).map(BareRepo::borrows).unwrap_or_default();
        self.lookup.at_once(|at| {
            Ok(at.key(&record.fingerprint())?.as_ref() == Some(record)
                && cover(record, name, at) == trace.cover
                && borrows.iter().all(|other| cover(record, other, at).is_some()))
        })
    }

    /// Asks every rule in its order, the repository's own last: it is looked at only when the others let the request pass.
    pub(super) fn examine(
        &self,
        record: &KeyRecord,
        name: &RepoPath,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(Trace, Option<BareRepo>), Unavailable> {
        let mut trace = decide::may_fetch(record, name, from, now, &self.lookup)?;
        if !trace.passes() {
            return Ok((trace, None));
        }
        let repo = match self.store.open(name) {
            Ok(repo) => repo,
            Err(error) => {
                let reason = match error {
                    StoreError::Missing => Reason::Missing { repo: name.clone() },
                    StoreError::Io(error) if is_shortage(&error) => {
                        tracing::error!(%error, "the machine is short of something: a repository cannot be opened");
                        Reason::Declined(Declined::Busy)
                    }
                    // That nothing can be looked up says nothing of this repository.
                    StoreError::Gone(_) => Reason::Unavailable(error.to_string()),
                    StoreError::NotBare(_) | StoreError::Unsafe(_) | StoreError::Io(_) => {
                        Reason::Repository { repo: name.clone(), why: error.to_string() }
                    }
                };
                trace.add("repository", Err(reason));
                return Ok((trace, None));
            }
        };
        trace.add("repository", Ok("it is there and can be served".to_owned()));
        let uncovered = self
            .lookup
            .at_once(|at| Ok(repo.borrows().iter().find(|other| cover(record, other, at).is_none()).cloned()))?;
        trace.add(
            "shared-objects",
            match (uncovered, repo.borrows().is_empty()) {
                (Some(other), _) => Err(Reason::SharedObjects { repo: name.clone(), other }),
                (None, true) => Ok("it borrows no objects".to_owned()),
                (None, false) => Ok("what it borrows objects from is granted too".to_owned()),
            },
        );
        Ok((trace, Some(repo)))
    }

    fn note_use(&self, record: &KeyRecord, cover: Option<&Cover>, who: &Principal, name: &RepoPath, at: Timestamp) {
        let through = cover.map_or_else(String::new, ToString::to_string);
        let (address, client) = (who.subject.address, who.subject.client.clone());
        self.usage.note(record.fingerprint(), &through, &Use { at, address, repository: name.clone(), client });
    }
}
