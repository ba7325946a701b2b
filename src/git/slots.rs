//! Who may let git work: a bounded number at a time, shared fairly. What is kept takes no slot.
//!
//! Keys take turns, so that one that asks a thousand times delays another by one turn and not by a thousand. Beside that no
//! key and no repository has all slots at once, so that there is one for somebody else without waiting for a long fetch.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// How many may work, and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotSettings {
    /// Gits that make packs at a time.
    pub slots: usize,
    /// Of these for one key.
    pub per_key: usize,
    /// And for one repository.
    pub per_repository: usize,
    /// How many may wait.
    pub queue: usize,
    /// For how long.
    pub wait: Duration,
}

impl Default for SlotSettings {
    fn default() -> Self {
        Self { slots: 0, per_key: 0, per_repository: 0, queue: 1000, wait: Duration::from_secs(600) }
    }
}

impl SlotSettings {
    /// With numbers in place of the zeros: two for each core of this machine and four at least; for one key and for one
    /// repository all but one.
    #[must_use]
    pub fn for_this_machine(self) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let slots = if self.slots == 0 { (2 * cores).max(4) } else { self.slots };
        let part = |part: usize| if part == 0 { slots.saturating_sub(1).max(1) } else { part.min(slots) };
        Self { slots, per_key: part(self.per_key), per_repository: part(self.per_repository), ..self }
    }
}

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The slots. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    settings: SlotSettings,
    queue: Arc<Mutex<Queue>>,
}

/// For whom and on what git is to work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) key: String,
    pub(super) repository: String,
}

#[derive(Debug, Default)]
struct Queue {
    running: usize,
    keys_running: HashMap<String, usize>,
    repositories_running: HashMap<String, usize>,
    /// Those who wait, by key; the keys in the order of their turns.
    turns: VecDeque<String>,
    waiting: HashMap<String, VecDeque<Waiter>>,
    next: u64,
    /// Where each who waits stands by a label of its own, for those who wait with it.
    labels: BTreeMap<[u8; 32], u64>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    repository: String,
    label: Option<[u8; 32]>,
    tell: oneshot::Sender<()>,
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
    work: Option<Work>,
    number: u64,
    granted: oneshot::Receiver<()>,
}

impl Slots {
    pub(super) fn new(settings: SlotSettings) -> Self {
        Self { settings: settings.for_this_machine(), queue: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long anybody may wait.
    pub(super) fn patience(&self) -> Duration {
        self.settings.wait
    }

    /// Joins the queue. Others who wait for the same work find its place by the label.
    pub(super) fn ask(&self, work: Work, label: Option<[u8; 32]>) -> Result<Place, Full> {
        let (tell, granted) = oneshot::channel();
        let key = work.key.clone();
        let mut queue = self.lock();
        let number = queue.next;
        queue.next += 1;
        let waiter = Waiter { number, repository: work.repository.clone(), label, tell };
        if !queue.waiting.contains_key(&work.key) {
            queue.turns.push_back(work.key.clone());
        }
        queue.waiting.entry(work.key.clone()).or_default().push_back(waiter);
        if let Some(label) = label {
            queue.labels.insert(label, number);
        }
        queue.dispatch(&self.settings);
        let place = Place { slots: self.clone(), work: Some(work), number, granted };
        let full = queue.ahead(number).is_some() && queue.waiting() > self.settings.queue && !queue.crowd_out(&key);
        // Before the place goes, which leaves the queue.
        drop(queue);
        if full { Err(Full) } else { Ok(place) }
    }

    /// How many there are.
    pub(super) fn all(&self) -> usize {
        self.settings.slots
    }

    /// How many are before whoever waits under this label; `None` when nobody does.
    pub(super) fn ahead_of(&self, label: &[u8; 32]) -> Option<usize> {
        let queue = self.lock();
        queue.labels.get(label).and_then(|number| queue.ahead(*number))
    }

    /// Gits at work, and those who wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.running, queue.waiting())
    }
}

impl Queue {
    fn waiting(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
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
        let own = self.waiting.get(key).map_or(0, VecDeque::len);
        let most = self.waiting.values_mut().max_by_key(|waiters| waiters.len());
        // Its place hears that nothing comes any more.
        let Some(last) = most.filter(|waiters| waiters.len() > own).and_then(VecDeque::pop_back) else { return false };
        if let Some(label) = last.label {
            self.labels.remove(&label);
        }
        true
    }

    /// Gives out what is free. A key that had its turn goes to the end; one that cannot go yet keeps its place.
    fn dispatch(&mut self, settings: &SlotSettings) {
        while self.running < settings.slots {
            let turns = self.turns.len();
            let Some((turn, key)) = (0..turns).find_map(|turn| {
                let key = self.turns.get(turn)?.clone();
                self.grant(&key, settings).then_some((turn, key))
            }) else {
                return;
            };
            self.turns.remove(turn);
            if self.waiting.get(&key).is_some_and(|waiters| !waiters.is_empty()) {
                self.turns.push_back(key);
            } else {
                self.waiting.remove(&key);
            }
        }
    }

    /// Lets the first of a key's go whose repository has a slot left.
    fn grant(&mut self, key: &str, settings: &SlotSettings) -> bool {
        if self.keys_running.get(key).copied().unwrap_or(0) >= settings.per_key {
            return false;
        }
        let Some(waiters) = self.waiting.get_mut(key) else { return false };
        let busy = &self.repositories_running;
        let free = |waiter: &Waiter| busy.get(&waiter.repository).copied().unwrap_or(0) < settings.per_repository;
        let Some(waiter) = waiters.iter().position(free).and_then(|at| waiters.remove(at)) else { return false };
        if let Some(label) = waiter.label {
            self.labels.remove(&label);
        }
        if waiter.tell.send(()).is_ok() {
            self.running += 1;
            *self.keys_running.entry(key.to_owned()).or_default() += 1;
            *self.repositories_running.entry(waiter.repository).or_default() += 1;
        }
        true
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

impl Place {
    /// Waits for its turn. Nothing is lost when the future is dropped.
    pub(super) async fn granted(&mut self) -> Option<Slot> {
        (&mut self.granted).await.ok()?;
        let work = self.work.take()?;
        Some(Slot { slots: self.slots.clone(), work })
    }

    /// How many are before it.
    pub(super) fn ahead(&self) -> usize {
        self.slots.lock().ahead(self.number).unwrap_or(0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let mut queue = self.slots.lock();
        // Under the lock nobody grants: it was granted and not taken, or it waits still.
        if self.granted.try_recv().is_ok() {
            queue.release(&work);
        } else if let Some(waiters) = queue.waiting.get_mut(&work.key) {
            waiters.retain(|waiter| waiter.number != self.number);
            if waiters.is_empty() {
                queue.waiting.remove(&work.key);
                queue.turns.retain(|key| *key != work.key);
            }
            let number = self.number;
            queue.labels.retain(|_, other| *other != number);
        }
        let settings = self.slots.settings;
        queue.dispatch(&settings);
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
