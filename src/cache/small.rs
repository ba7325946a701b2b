//! Small things that are kept in memory: made once for all who wait for them, and handed out whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Key;

/// How much is kept in memory, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallSettings {
    /// Bytes of all things together.
    pub total: u64,
    /// How long a thing may be found, whatever its maker says of it.
    pub life: Duration,
}

/// Why nothing was made; a stable word.
pub type Why = &'static str;

/// How a thing was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// It was there.
    Kept,
    /// Somebody else was making it.
    Joined,
    /// It was made for this.
    Made,
}

/// Things under keys. Cheap to clone. Without settings it keeps nothing, and what is asked for is made.
#[derive(Debug)]
pub struct Small<T> {
    shelf: Option<Arc<Shelf<T>>>,
}

impl<T> Clone for Small<T> {
    fn clone(&self) -> Self {
        Self { shelf: self.shelf.clone() }
    }
}

#[derive(Debug)]
struct Shelf<T> {
    settings: SmallSettings,
    slots: Mutex<HashMap<Key, Slot<T>>>,
}

/// What is being made, or was: everybody who waits gets the same, a failure too.
type Made<T> = Arc<OnceCell<Result<(T, u64), Why>>>;

#[derive(Debug)]
struct Slot<T> {
    cell: Made<T>,
    made: Instant,
    last: Instant,
}

impl<T> Slot<T> {
    fn bytes(&self) -> u64 {
        match self.cell.get() {
            Some(Ok((_, bytes))) => *bytes,
            Some(Err(_)) | None => 0,
        }
    }
}

impl<T: Clone> Small<T> {
    /// A shelf of that size.
    #[must_use]
    pub fn new(settings: Option<SmallSettings>) -> Self {
        Self { shelf: settings.map(|settings| Arc::new(Shelf { settings, slots: Mutex::default() })) }
    }

    /// Whether anything is kept.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shelf.is_some()
    }

    /// The thing under a key, made if it is missing: `make` says it and its size in bytes. If who makes it goes away, one
    /// of those who wait goes on in its place.
    ///
    /// # Errors
    /// What `make` said, to everybody who waited for it; it is not kept.
    pub async fn get(&self, key: Key, make: impl Future<Output = Result<(T, u64), Why>>) -> Result<(T, By), Why> {
        let Some(shelf) = &self.shelf else { return make.await.map(|(thing, _)| (thing, By::Made)) };
        let cell = shelf.cell(key);
        if let Some(Ok((thing, _))) = cell.get() {
            return Ok((thing.clone(), By::Kept));
        }
        let mut mine = false;
        let thing = cell
            .get_or_init(|| {
                mine = true;
                make
            })
            .await
            .clone();
        let by = if mine { By::Made } else { By::Joined };
        if mine {
            shelf.made(key, &cell);
        }
        thing.map(|(thing, _)| (thing, by))
    }

    /// Things, and bytes of all of them.
    #[must_use]
    pub fn used(&self) -> (usize, u64) {
        self.shelf.as_ref().map_or((0, 0), |shelf| {
            let slots = shelf.lock();
            (slots.len(), slots.values().map(Slot::bytes).sum())
        })
    }

    /// Forgets everything; says how many things that were.
    pub fn clear(&self) -> usize {
        self.shelf.as_ref().map_or(0, |shelf| shelf.lock().drain().count())
    }
}

impl<T> Shelf<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot<T>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, key: Key) -> Made<T> {
        let now = Instant::now();
        let mut slots = self.lock();
        let life = self.settings.life;
        match slots.get_mut(&key).filter(|slot| now < slot.made + life) {
            Some(slot) => {
                slot.last = now;
                Arc::clone(&slot.cell)
            }
            None => {
                let cell = Made::default();
                slots.insert(key, Slot { cell: Arc::clone(&cell), made: now, last: now });
                cell
            }
        }
    }

    /// Something was made: makes room for it, at the cost of what is over or was asked for least recently. A failure goes,
    /// and so does what is larger than the whole shelf.
    fn made(&self, key: Key, cell: &Made<T>) {
        let now = Instant::now();
        let mut slots = self.lock();
        let is_this = |slot: &Slot<T>| Arc::ptr_eq(&slot.cell, cell);
        let too_large = matches!(cell.get(), Some(Ok((_, bytes))) if *bytes > self.settings.total);
        if (matches!(cell.get(), Some(Err(_))) || too_large) && slots.get(&key).is_some_and(is_this) {
            slots.remove(&key);
        }
        let life = self.settings.life;
        // What is being made is held by who waits for it; what nobody holds any more, nobody makes.
        let is_awaited = |slot: &Slot<T>| slot.cell.get().is_none() && Arc::strong_count(&slot.cell) > 1;
        slots.retain(|_, slot| now < slot.made + life || is_awaited(slot));
        let mut used: u64 = slots.values().map(Slot::bytes).sum();
        while used > self.settings.total {
            let idle = slots.iter().filter(|(_, slot)| slot.bytes() > 0);
            let Some(oldest) = idle.min_by_key(|(_, slot)| slot.last).map(|(key, _)| *key) else { break };
            used -= slots.remove(&oldest).map_or(0, |slot| slot.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn small(total: u64) -> Small<u64> {
        Small::new(Some(SmallSettings { total, life: Duration::from_secs(60) }))
    }

    fn key(n: u8) -> Key {
        Key::new([n; 32])
    }

    async fn kept(small: &Small<u64>, n: u8) -> By {
        small.get(key(n), async { Ok((u64::from(n), 10)) }).await.unwrap().1
    }

    #[tokio::test(start_paused = true)]
    async fn many_wait_for_one_who_makes_it() {
        let (small, made) = (small(100), Arc::new(AtomicUsize::new(0)));
        let asks: Vec<_> = (0..50)
            .map(|_| {
                let (small, made) = (small.clone(), Arc::clone(&made));
                tokio::spawn(async move {
                    let make = async {
                        made.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        Ok((7, 10))
                    };
                    small.get(key(1), make).await
                })
            })
            .collect();
        let mut by = Vec::new();
        for ask in asks {
            let (thing, how) = ask.await.unwrap().unwrap();
            assert_eq!(thing, 7);
            by.push(how);
        }
        assert_eq!((made.load(Ordering::Relaxed), by.iter().filter(|by| **by == By::Joined).count()), (1, 49));
        assert_eq!(kept(&small, 1).await, By::Kept);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_while_making_is_replaced() {
        let small = small(100);
        let first = {
            let small = small.clone();
            tokio::spawn(async move { small.get(key(1), std::future::pending()).await })
        };
        tokio::task::yield_now().await;
        let second = {
            let small = small.clone();
            tokio::spawn(async move { small.get(key(1), async { Ok((2, 1)) }).await })
        };
        tokio::task::yield_now().await;
        first.abort();
        assert_eq!(second.await.unwrap(), Ok((2, By::Made)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_and_not_kept() {
        let small = small(100);
        assert_eq!(small.get(key(1), async { Err("no") }).await, Err("no"));
        assert_eq!(small.used(), (0, 0));
        assert_eq!(kept(&small, 1).await, By::Made);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_goes_for_room_and_all_goes_with_time() {
        let small = small(25);
        for n in 1..=2 {
            assert_eq!(kept(&small, n).await, By::Made);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(kept(&small, 1).await, By::Kept);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(kept(&small, 3).await, By::Made);
        assert_eq!(small.used(), (2, 20));
        assert_eq!((kept(&small, 1).await, kept(&small, 2).await), (By::Kept, By::Made));
        assert_eq!(small.get(key(9), async { Ok((9, 26)) }).await, Ok((9, By::Made)));
        assert!(small.used().1 <= 25);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(kept(&small, 2).await, By::Made);
        assert_eq!(small.clear(), 1);
        assert_eq!(small.used(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_makes_any_more_is_forgotten() {
        let small = small(100);
        for n in 1..=20 {
            let abandoned = tokio::spawn({
                let small = small.clone();
                async move { small.get(key(n), std::future::pending()).await }
            });
            tokio::task::yield_now().await;
            abandoned.abort();
            assert!(abandoned.await.is_err());
        }
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(kept(&small, 21).await, By::Made);
        assert_eq!(small.used(), (1, 10));
    }

    #[tokio::test]
    async fn switched_off_it_only_makes() {
        let small = Small::new(None);
        assert!(!small.is_on());
        assert_eq!((kept(&small, 1).await, kept(&small, 1).await), (By::Made, By::Made));
    }
}
