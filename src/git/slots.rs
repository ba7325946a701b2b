//! Who may let git work: a bounded number at a time, shared fairly. What is kept takes no slot.
//!
//! Keys take turns, so that one that asks a thousand times delays another by one turn and not by a thousand; who waits for what
//! another key has asked for lends it its own turn, so that it waits for no more than if it had asked by itself. Beside that no
//! key and no repository has all slots at once, so that there is one for somebody else without waiting for a long fetch.

mod settings;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

pub use settings::SlotSettings;

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The slots. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    /// What they are called where a client hears that it waits for one.
    name: &'static str,
    settings: SlotSettings,
    queue: Arc<Mutex<Queue>>,
}

/// For whom and on what git is to work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) key: String,
    pub(super) repository: String,
}

/// What several wait for together.
pub(super) type Label = [u8; 32];

#[derive(Debug, Default)]
struct Queue {
    running: usize,
    keys_running: HashMap<String, usize>,
    repositories_running: HashMap<String, usize>,
    /// Those who wait, by key, none of them without any; the keys in the order of their turns.
    turns: VecDeque<String>,
    waiting: HashMap<String, VecDeque<Waiter>>,
    next: u64,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    repository: String,
    label: Option<Label>,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// Hears when its turn has come, and whose turn it was.
    Asks(oneshot::Sender<Work>),
    /// So many of one key wait for what another asks for under this label.
    Lends(usize),
}

impl Waiter {
    fn asks(&self) -> bool {
        matches!(self.role, Role::Asks(_))
    }
}

/// Permission to let one git work; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    work: Work,
}

/// A place in the queue; dropped, it is given up.
#[derive(Debug)]
pub(super) struct Place {
    slots: Slots,
    number: u64,
    granted: oneshot::Receiver<Work>,
}

/// A turn that is lent to who asks for the same; dropped, it is taken back.
#[derive(Debug)]
pub(super) struct Lent {
    slots: Slots,
    label: Label,
    number: u64,
}

impl Slots {
    pub(super) fn new(name: &'static str, settings: SlotSettings) -> Self {
        Self { name, settings: settings.for_this_machine(), queue: Arc::default() }
    }

    /// What a client hears that waits.
    pub(super) fn waiting(&self, ahead: usize) -> String {
        format!("waiting for a free {}, {ahead} ahead", self.name)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long anybody may wait.
    pub(super) fn patience(&self) -> Duration {
        self.settings.wait
    }

    /// Joins the queue. Others who wait for the same work find its place by the label.
    pub(super) fn ask(&self, work: Work, label: Option<Label>) -> Result<Place, Full> {
        let (tell, granted) = oneshot::channel();
        let mut queue = self.lock();
        let key = work.key.clone();
        let number = queue.join(work, label, Role::Asks(tell));
        queue.dispatch(&self.settings);
        let place = Place { slots: self.clone(), number, granted };
        let full = queue.ahead(number).is_some() && queue.waiting() > self.settings.queue && !queue.crowd_out(&key);
        // Before the place goes, which leaves the queue.
        drop(queue);
        if full { Err(Full) } else { Ok(place) }
    }

    /// Lends a turn to whoever waits under this label; `None` when nobody does.
    pub(super) fn lend(&self, work: Work, label: Label) -> Option<Lent> {
        let mut queue = self.lock();
        queue.under(&label).find(|waiter| waiter.asks())?;
        let own =
            queue.waiting.get_mut(&work.key).and_then(|own| own.iter_mut().find(|waiter| waiter.label == Some(label)));
        let number = match own {
            Some(Waiter { number, role: Role::Lends(lenders), .. }) => {
                *lenders += 1;
                *number
            }
            // It is its own turn already.
            Some(Waiter { number, role: Role::Asks(_), .. }) => *number,
            None => queue.join(work, Some(label), Role::Lends(1)),
        };
        queue.dispatch(&self.settings);
        Some(Lent { slots: self.clone(), label, number })
    }

    /// A slot without waiting, if one is free.
    pub(super) fn take(&self, work: Work) -> Option<Slot> {
        let mut queue = self.lock();
        queue.is_free(&work.key, &work.repository, &self.settings).then(|| {
            queue.begin(&work);
            Slot { slots: self.clone(), work }
        })
    }

    /// How many there are.
    pub(super) fn all(&self) -> usize {
        self.settings.slots
    }

    /// Gits at work, and those who wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.running, queue.waiting())
    }
}

impl Queue {
    /// How many wait for a slot each.
    fn waiting(&self) -> usize {
        self.waiting.values().map(asking).sum()
    }

    /// Those who wait under a label.
    fn under<'a>(&'a self, label: &'a Label) -> impl Iterator<Item = &'a Waiter> {
        self.waiting.values().flatten().filter(move |waiter| waiter.label.as_ref() == Some(label))
    }

    fn of(&self, number: u64) -> Option<&Waiter> {
        self.waiting.values().flatten().find(|waiter| waiter.number == number)
    }

    fn join(&mut self, work: Work, label: Option<Label>, role: Role) -> u64 {
        let number = self.next;
        self.next += 1;
        if !self.waiting.contains_key(&work.key) {
            self.turns.push_back(work.key.clone());
        }
        let waiter = Waiter { number, repository: work.repository, label, role };
        self.waiting.entry(work.key).or_default().push_back(waiter);
        number
    }

    /// Keeps those of whom this is so.
    fn keep(&mut self, mut so: impl FnMut(&Waiter) -> bool) {
        self.waiting.retain(|_, waiters| {
            waiters.retain(&mut so);
            !waiters.is_empty()
        });
        self.turns.retain(|key| self.waiting.contains_key(key));
    }

    /// How many turns come before this one's: its own key's earlier ones, and of each other key as many as have turns
    /// meanwhile.
    fn ahead(&self, number: u64) -> Option<usize> {
        let place = |waiters: &VecDeque<Waiter>| waiters.iter().position(|waiter| waiter.number == number);
        let (own, index) = self
            .turns
            .iter()
            .enumerate()
            .find_map(|(turn, key)| Some((turn, self.waiting.get(key).and_then(place)?)))?;
        let others = self.turns.iter().enumerate().map(|(turn, key)| {
            let waiting = self.waiting.get(key).map_or(0, VecDeque::len);
            if turn == own { 0 } else { waiting.min(index + usize::from(turn < own)) }
        });
        Some(index + others.sum::<usize>())
    }

    /// Makes room for one of this key: the last of the key that has the most in the queue goes, unless that is this one.
    fn crowd_out(&mut self, key: &str) -> bool {
        let own = self.waiting.get(key).map_or(0, asking);
        let most = self.waiting.values().max_by_key(|waiters| asking(waiters)).filter(|waiters| asking(waiters) > own);
        let Some(last) = most.and_then(|waiters| waiters.iter().rev().find(|waiter| waiter.asks())) else {
            return false;
        };
        // Its place hears that nothing comes any more.
        let (number, label) = (last.number, last.label);
        self.leave(number, label);
        true
    }

    /// Who asked is not there any more, and nobody lends it a turn.
    fn leave(&mut self, number: u64, label: Option<Label>) {
        let lends_it = |waiter: &Waiter| !waiter.asks() && label.is_some() && waiter.label == label;
        self.keep(|waiter| waiter.number != number && !lends_it(waiter));
    }

    /// One less who lends this turn.
    fn take_back(&mut self, number: u64) {
        let mut waiters = self.waiting.values_mut().flatten();
        let Some(Waiter { role: Role::Lends(lenders), .. }) = waiters.find(|waiter| waiter.number == number) else {
            return;
        };
        *lenders -= 1;
        if *lenders == 0 {
            self.leave(number, None);
        }
    }

    /// Gives out what is free. A key that had its turn goes to the end; one that cannot go yet keeps its place.
    fn dispatch(&mut self, settings: &SlotSettings) {
        while self.running < settings.slots {
            let turns = self.turns.len();
            let Some(key) = (0..turns).find_map(|turn| {
                let key = self.turns.get(turn)?.clone();
                self.grant(&key, settings).then_some(key)
            }) else {
                return;
            };
            let behind = self.turns.iter().position(|other| *other == key).and_then(|turn| self.turns.remove(turn));
            self.turns.extend(behind);
        }
    }

    fn is_free(&self, key: &str, repository: &str, settings: &SlotSettings) -> bool {
        let running = |counts: &HashMap<String, usize>, name| counts.get(name).copied().unwrap_or(0);
        self.running < settings.slots
            && running(&self.keys_running, key) < settings.per_key
            && running(&self.repositories_running, repository) < settings.per_repository
    }

    /// Lets the first of a key's go whose repository has a slot left; or, where that one lends its turn, who asks for the same.
    fn grant(&mut self, key: &str, settings: &SlotSettings) -> bool {
        let free = |waiter: &&Waiter| self.is_free(key, &waiter.repository, settings);
        let Some(waiter) = self.waiting.get(key).and_then(|waiters| waiters.iter().find(free)) else { return false };
        let (number, label, lends) = (waiter.number, waiter.label, !waiter.asks());
        let work = Work { key: key.to_owned(), repository: waiter.repository.clone() };
        let is_its = |waiter: &Waiter| match lends {
            true => waiter.asks() && waiter.label == label,
            false => waiter.number == number,
        };
        let asker = self.waiting.values_mut().find_map(|waiters| {
            let at = waiters.iter().position(is_its)?;
            waiters.remove(at)
        });
        self.leave(number, label);
        if let Some(Waiter { role: Role::Asks(tell), .. }) = asker
            && tell.send(work.clone()).is_ok()
        {
            self.begin(&work);
        }
        true
    }

    fn begin(&mut self, work: &Work) {
        self.running += 1;
        *self.keys_running.entry(work.key.clone()).or_default() += 1;
        *self.repositories_running.entry(work.repository.clone()).or_default() += 1;
    }

    fn release(&mut self, work: &Work) {
        self.running = self.running.saturating_sub(1);
        for (counts, name) in [(&mut self.keys_running, &work.key), (&mut self.repositories_running, &work.repository)]
        {
            if let Some(count) = counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(name);
                }
            }
        }
    }
}

/// How many of these wait for a slot each.
fn asking(waiters: &VecDeque<Waiter>) -> usize {
    waiters.iter().filter(|waiter| waiter.asks()).count()
}

impl Place {
    /// Waits for its turn. Nothing is lost when the future is dropped.
    pub(super) async fn granted(&mut self) -> Option<Slot> {
        let work = (&mut self.granted).await.ok()?;
        Some(Slot { slots: self.slots.clone(), work })
    }

    /// How many are before it.
    pub(super) fn ahead(&self) -> usize {
        self.slots.lock().ahead(self.number).unwrap_or(0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let settings = self.slots.settings;
        let mut queue = self.slots.lock();
        // Under the lock nobody grants: it was granted and not taken, or it waits still, or neither.
        if let Ok(work) = self.granted.try_recv() {
            queue.release(&work);
        } else if let Some(label) = queue.of(self.number).map(|waiter| waiter.label) {
            queue.leave(self.number, label);
        } else {
            return;
        }
        queue.dispatch(&settings);
    }
}

impl Lent {
    /// How many are before what its own turn, or that of who asked, will bring; `None` when nobody waits for it any more.
    pub(super) fn ahead(&self) -> Option<usize> {
        let queue = self.slots.lock();
        let asker = queue.under(&self.label).find(|waiter| waiter.asks())?.number;
        let ahead = |number| queue.ahead(number).unwrap_or(usize::MAX);
        Some(ahead(asker).min(ahead(self.number)))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut queue = self.slots.lock();
        queue.take_back(self.number);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let settings = self.slots.settings;
        let mut queue = self.slots.lock();
        queue.release(&self.work);
        queue.dispatch(&settings);
    }
}

#[cfg(test)]
mod tests;
