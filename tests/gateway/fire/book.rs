//! What every ref was, and when: against this every answer is held.
//!
//! git reads loose refs one after the other, so an answer need not be one moment's picture when two refs change while it is
//! made. What holds for git holds for us: each ref has a value that it had at some time between question and answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::refs::{Refs, Tip};

/// A value of one ref (`None`: it is not there), and the time within which it came to be.
#[derive(Debug, Clone)]
struct Version {
    tip: Option<Tip>,
    begin: Instant,
    end: Instant,
    operation: usize,
}

#[derive(Debug, Clone)]
struct Operation {
    what: String,
    begin: Instant,
    end: Instant,
}

#[derive(Debug, Default)]
struct Pages {
    refs: BTreeMap<String, Vec<Version>>,
    operations: Vec<Operation>,
    under_way: Option<Instant>,
}

/// The book: one writer, who keeps it, and many readers.
#[derive(Debug)]
pub(super) struct Book {
    start: Instant,
    pages: Mutex<Pages>,
}

/// What one reader was told last, so that it can tell when it is told something older.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<String, usize>);

/// One answer. `covers` says which refs were asked for.
pub(super) struct Answer<'a> {
    pub(super) kind: String,
    pub(super) begin: Instant,
    pub(super) end: Instant,
    pub(super) refs: Refs,
    pub(super) covers: Box<dyn Fn(&str) -> bool + Send + 'a>,
    /// How much of a ref this kind of answer shows.
    pub(super) shows: fn(&str, &Tip) -> Option<Tip>,
}

impl Book {
    pub(super) fn open(refs: &Refs) -> Self {
        let now = Instant::now();
        let book = Self { start: now, pages: Mutex::default() };
        book.write("the beginning", now, refs);
        book
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An operation begins; it may be seen from now on.
    pub(super) fn begin(&self) -> Instant {
        let now = Instant::now();
        self.pages().under_way = Some(now);
        now
    }

    /// It is over, and this is what git says now.
    pub(super) fn write(&self, what: &str, begin: Instant, refs: &Refs) {
        let end = Instant::now();
        let mut pages = self.pages();
        let operation = pages.operations.len();
        pages.operations.push(Operation { what: what.to_owned(), begin, end });
        pages.under_way = None;
        let mut names: Vec<String> = pages.refs.keys().cloned().collect();
        names.extend(refs.keys().filter(|name| !pages.refs.contains_key(*name)).cloned());
        for name in names {
            let tip = refs.get(&name).cloned();
            let versions = pages.refs.entry(name).or_insert_with(|| {
                // It was not there from the start.
                vec![Version { tip: None, begin: self.start, end: self.start, operation: 0 }]
            });
            if versions.last().is_none_or(|last| last.tip != tip) {
                versions.push(Version { tip, begin, end, operation });
            }
        }
    }

    pub(super) fn operations(&self) -> usize {
        self.pages().operations.len()
    }

    /// Whether everything that an answer given until `end` may have seen is written down.
    pub(super) fn knows_until(&self, end: Instant) -> bool {
        self.pages().under_way.is_none_or(|begin| begin > end)
    }

    /// Holds an answer against the book; what is wrong with it, in words.
    pub(super) fn judge(&self, answer: &Answer<'_>, memory: &mut Memory) -> Result<(), String> {
        let pages = self.pages();
        for name in answer.refs.keys() {
            if !pages.refs.contains_key(name) {
                return Err(self.fault(&pages, answer, &format!("{name} was never there")));
            }
            if !(answer.covers)(name) {
                return Err(self.fault(&pages, answer, &format!("{name} was not asked for")));
            }
        }
        for (name, versions) in pages.refs.iter().filter(|(name, _)| (answer.covers)(name)) {
            let seen = answer.refs.get(name).and_then(|tip| (answer.shows)(name, tip));
            let oldest = memory.0.get(name).copied().unwrap_or(0);
            // git lists a folder and then reads its files; what goes away in between it tells as zeros. Only then.
            let zeros = answer.refs.get(name).is_some_and(|tip| tip.oid.bytes().all(|byte| byte == b'0'));
            let then = |n: usize, version: &Version| {
                let over = versions.get(n + 1).map(|next| next.end);
                version.begin <= answer.end && over.is_none_or(|over| over >= answer.begin)
            };
            let shown = |version: &Version| version.tip.as_ref().and_then(|tip| (answer.shows)(name, tip));
            let fits = |n: usize, version: &Version| {
                if zeros {
                    return version.tip.is_none() && version.begin <= answer.end && version.end >= answer.begin;
                }
                then(n, version) && shown(version) == seen
            };
            let fitting: Vec<usize> =
                versions.iter().enumerate().filter(|(n, version)| fits(*n, version)).map(|(n, _)| n).collect();
            // git reads a symbolic ref twice, for its object and for its target (`send_ref` in ls-refs.c): between the two it
            // may change.
            let read_twice = || {
                let seen = seen.as_ref().filter(|seen| seen.target.is_some())?;
                let found = |same: &dyn Fn(&Tip) -> bool| {
                    let of = |(n, version)| then(n, version) && shown(version).as_ref().is_some_and(same);
                    versions.iter().enumerate().skip(oldest).find(|(n, version)| of((*n, version))).map(|(n, _)| n)
                };
                let object = found(&|tip| (&tip.oid, &tip.peeled) == (&seen.oid, &seen.peeled))?;
                Some(object.min(found(&|tip| tip.target == seen.target)?))
            };
            match fitting.iter().copied().find(|n| *n >= oldest).or_else(read_twice) {
                Some(n) => {
                    memory.0.insert(name.clone(), n);
                }
                None => {
                    let why = if fitting.is_empty() {
                        "had another value then"
                    } else {
                        "is older than what it was told before"
                    };
                    let when = |version: &Version| {
                        format!(
                            "{} from operation {} ({}..{})",
                            version.tip.as_ref().map_or("absent".to_owned(), told),
                            version.operation,
                            self.time(version.begin),
                            self.time(version.end)
                        )
                    };
                    let last: Vec<String> = versions.iter().rev().take(4).map(when).collect();
                    let seen = seen.as_ref().map_or("absent".to_owned(), told);
                    return Err(self.fault(
                        &pages,
                        answer,
                        &format!("{name} {why}: was told {seen}; the book, newest first: {}", last.join(", ")),
                    ));
                }
            }
        }
        Ok(())
    }

    fn time(&self, moment: Instant) -> String {
        format!("{:.4} s", moment.saturating_duration_since(self.start).as_secs_f64())
    }

    fn fault(&self, pages: &Pages, answer: &Answer<'_>, fact: &str) -> String {
        let near = answer.begin.checked_sub(Duration::from_secs(4)).unwrap_or(self.start);
        let mut text = format!("{} ({}..{}): {fact}\n", answer.kind, self.time(answer.begin), self.time(answer.end));
        for (n, one) in pages.operations.iter().enumerate().filter(|(_, one)| one.end >= near).take(60) {
            text.push_str(&format!(
                "    operation {n} {}..{}: {}\n",
                self.time(one.begin),
                self.time(one.end),
                one.what
            ));
        }
        text
    }
}

fn short(oid: &str) -> &str {
    oid.get(..8).unwrap_or(oid)
}

fn told(tip: &Tip) -> String {
    let target = tip.target.as_ref().map_or_else(String::new, |target| format!(" of {target}"));
    format!("{}{target}", short(&tip.oid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refs(oid: &str) -> Refs {
        Refs::from([("refs/heads/a".to_owned(), Tip { oid: oid.repeat(8), peeled: None, target: None })])
    }

    fn answer(begin: Instant, end: Instant, refs: Refs) -> Answer<'static> {
        Answer {
            kind: "a poll".to_owned(),
            begin,
            end,
            refs,
            covers: Box::new(|_| true),
            shows: |_, tip| Some(tip.clone()),
        }
    }

    /// The judge says no to what was over before the question, to what came after the answer, to a step back, and to a
    /// ref that is missing or too many.
    #[test]
    fn the_judge_can_say_no() {
        let tick = || {
            std::thread::sleep(Duration::from_millis(2));
            Instant::now()
        };
        let book = Book::open(&refs("first___"));
        let before = (tick(), tick());
        let begin = book.begin();
        let during = (tick(), tick());
        assert!(book.knows_until(before.1) && !book.knows_until(during.1));
        tick();
        book.write("a push", begin, &refs("second__"));
        let after = (tick(), tick());
        let judge = |when: (Instant, Instant), refs: Refs, memory: &mut Memory| {
            book.judge(&answer(when.0, when.1, refs), memory)
        };
        let fresh = &mut Memory::default();
        judge(before, refs("first___"), fresh).unwrap();
        judge(during, refs("first___"), fresh).unwrap();
        judge(during, refs("second__"), fresh).unwrap();
        assert!(judge(during, refs("first___"), fresh).unwrap_err().contains("older than what it was told"));
        judge(after, refs("second__"), fresh).unwrap();
        for (when, what) in [(after, refs("first___")), (before, refs("second__")), (after, Refs::new())] {
            assert!(judge(when, what, &mut Memory::default()).unwrap_err().contains("had another value"));
        }
        let begin = book.begin();
        let going = (tick(), tick());
        book.write("it goes", begin, &Refs::new());
        let gone = (tick(), tick());
        judge(going, refs("00000000"), &mut Memory::default()).unwrap();
        assert!(judge(gone, refs("00000000"), &mut Memory::default()).unwrap_err().contains("had another value"));
        judge(gone, Refs::new(), &mut Memory::default()).unwrap();
        let mut more = refs("second__");
        more.insert("refs/heads/b".to_owned(), more["refs/heads/a"].clone());
        assert!(judge(after, more, &mut Memory::default()).unwrap_err().contains("never there"));
    }

    /// Between the two looks at a symbolic ref it may change, and at no other time may its halves be of two times.
    #[test]
    fn halves_of_a_symbolic_ref_are_each_judged() {
        let tick = || {
            std::thread::sleep(Duration::from_millis(2));
            Instant::now()
        };
        let head = |oid: &str, target: &str| {
            let (peeled, target) = (None, Some(format!("refs/heads/{target}")));
            Refs::from([("HEAD".to_owned(), Tip { oid: oid.repeat(8), peeled, target })])
        };
        let book = Book::open(&head("first___", "main"));
        let before = (tick(), tick());
        let begin = book.begin();
        let during = (tick(), tick());
        tick();
        book.write("HEAD", begin, &head("second__", "next"));
        let after = (tick(), tick());
        for (oid, target) in [("first___", "next"), ("second__", "main")] {
            let judge = |when: (Instant, Instant)| {
                book.judge(&answer(when.0, when.1, head(oid, target)), &mut Memory::default())
            };
            judge(during).unwrap();
            for when in [before, after] {
                assert!(judge(when).unwrap_err().contains("HEAD had another value then"));
            }
        }
        let never = book.judge(&answer(during.0, during.1, head("first___", "none")), &mut Memory::default());
        assert!(never.unwrap_err().contains("first___ of refs/heads/none"), "it was never there");
    }
}
