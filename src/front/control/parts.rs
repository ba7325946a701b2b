//! An application that is too large for one frame: its parts are gathered until the last one is there.
//!
//! What the daemon holds for it is bounded: one peer at a time gathers, at most [`MAX_COMMIT`] bytes; a peer that stops in
//! between runs into its deadline, and all of it is dropped.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::protocol::{Answer, Request};
use crate::admin::fault::{Fault, Kind};
use crate::admin::{Done, Faults};
use crate::registry::MAX_COMMIT;
use crate::registry::change::Change;

/// The parts of one connection.
#[derive(Debug)]
pub(super) struct Parts {
    place: Arc<Semaphore>,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    changes: Vec<Change>,
    bytes: usize,
    _place: OwnedSemaphorePermit,
}

/// What to do about a request.
#[derive(Debug)]
pub(super) enum Next {
    /// It is whole.
    Do(Request),
    /// It is not: this is the answer.
    Answer(Result<Answer, Faults>),
}

impl Parts {
    /// `place` has one permit, which all connections share.
    pub(super) fn new(place: Arc<Semaphore>) -> Self {
        Self { place, begun: None }
    }

    /// Takes a request that came in a frame of so many bytes.
    pub(super) fn take(&mut self, request: Request, bytes: usize) -> Next {
        match (request, self.begun.take()) {
            (Request::Apply { changes, more: true, .. }, begun) => Next::Answer(self.gather(begun, changes, bytes)),
            (Request::Apply { mut changes, more: false, dry_run }, Some(begun)) => {
                let mut all = begun.changes;
                all.append(&mut changes);
                Next::Do(Request::Apply { changes: all, more: false, dry_run })
            }
            // Whatever was begun is given up.
            (request, _) => Next::Do(request),
        }
    }

    fn gather(&mut self, begun: Option<Begun>, mut changes: Vec<Change>, bytes: usize) -> Result<Answer, Faults> {
        let mut begun = match begun {
            Some(begun) => begun,
            None => {
                let busy = || {
                    Fault::new(Kind::Unavailable, "another large file is being applied")
                        .hint("nothing was changed; start the command again in a while")
                };
                let place = Arc::clone(&self.place).try_acquire_owned().map_err(|_| busy())?;
                Begun { changes: Vec::new(), bytes: 0, _place: place }
            }
        };
        begun.bytes += bytes;
        if begun.bytes > MAX_COMMIT {
            let fact =
                format!("the difference has more than the {MAX_COMMIT} bytes that can be done in one transaction");
            return Err(Fault::new(Kind::Invalid, fact)
                .hint("apply it as two files or more, one after the other")
                .into());
        }
        begun.changes.append(&mut changes);
        let message = format!("{} changes wait for the rest", begun.changes.len());
        self.begun = Some(begun);
        Ok(Answer::Done(Done { message, ..Done::default() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::AccountName;

    fn part(name: &str, more: bool) -> Request {
        Request::Apply {
            changes: vec![Change::AccountAdd { account: AccountName::parse(name).unwrap() }],
            more,
            dry_run: false,
        }
    }

    fn waits(next: &Next) -> bool {
        matches!(next, Next::Answer(Ok(Answer::Done(Done { changed: false, .. }))))
    }

    #[test]
    fn parts_become_one_request_in_their_order() {
        let mut parts = Parts::new(Arc::new(Semaphore::new(1)));
        assert!(waits(&parts.take(part("a", true), 10)));
        assert!(waits(&parts.take(part("b", true), 10)));
        let Next::Do(Request::Apply { changes, more: false, dry_run: false }) = parts.take(part("c", false), 10) else {
            panic!()
        };
        let names: Vec<_> = changes.iter().map(|change| format!("{change:?}")).collect();
        assert_eq!(names.len(), 3);
        assert!(names[0].contains("\"a\"") && names[1].contains("\"b\"") && names[2].contains("\"c\""), "{names:?}");
        // The next one has nothing of it.
        let Next::Do(Request::Apply { changes, .. }) = parts.take(part("d", false), 10) else { panic!() };
        assert_eq!(changes.len(), 1);
    }

    #[test]
    fn another_request_gives_up_what_was_begun() {
        let mut parts = Parts::new(Arc::new(Semaphore::new(1)));
        assert!(waits(&parts.take(part("a", true), 10)));
        assert!(matches!(parts.take(Request::AccountList { after: None }, 10), Next::Do(Request::AccountList { .. })));
        let Next::Do(Request::Apply { changes, .. }) = parts.take(part("b", false), 10) else { panic!() };
        assert_eq!(changes.len(), 1);
    }

    #[test]
    fn one_peer_gathers_and_no_more_than_fits_a_transaction() {
        let place = Arc::new(Semaphore::new(1));
        let (mut one, mut two) = (Parts::new(Arc::clone(&place)), Parts::new(place));
        assert!(waits(&one.take(part("a", true), MAX_COMMIT - 1)));
        let refused = |next: Next| match next {
            Next::Answer(Err(faults)) => faults.kind(),
            Next::Answer(Ok(answer)) => panic!("{answer:?}"),
            Next::Do(request) => panic!("{request:?}"),
        };
        assert_eq!(refused(two.take(part("b", true), 1)), Kind::Unavailable);
        assert_eq!(refused(one.take(part("c", true), 2)), Kind::Invalid);
        // What was too large is dropped, and with it the place.
        assert!(waits(&two.take(part("d", true), 1)));
        drop(two);
        assert!(waits(&one.take(part("e", true), 1)));
    }
}
