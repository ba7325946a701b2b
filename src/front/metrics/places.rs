//! Whether the store is where it was. A look at a folder may hang, as on a file system of another machine that is gone: so it is
//! done beside everything else, and who asks is told what the last look found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// How long between two looks, and how long one may take.
const REST: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5);

/// What the last look found. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Place {
    store: Store,
    gone: Arc<AtomicBool>,
}

impl Place {
    pub(super) fn new(store: Store) -> Self {
        Self { store, gone: Arc::new(AtomicBool::new(false)) }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Looks again and again, until `stop`. Never at more than one place at a time: a look that hangs is waited for.
    pub(super) async fn keep(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let store = self.store.clone();
            let look = move || store.is_there();
            if let Some(there) = self.look(look, PATIENCE, &stop).await {
                self.gone.store(!there, Ordering::Relaxed);
            }
            // An end that comes while it rests is an end.
            drop(tokio::time::timeout(REST, stop.cancelled()).await);
        }
    }

    /// One look; until it has ended the store counts as gone, once it takes too long. `None`: the end came first.
    async fn look(
        &self,
        look: impl FnOnce() -> bool + Send + 'static,
        patience: Duration,
        stop: &CancellationToken,
    ) -> Option<bool> {
        let mut looking = tokio::task::spawn_blocking(look);
        if let Ok(there) = tokio::time::timeout(patience, &mut looking).await {
            return Some(there.unwrap_or(false));
        }
        self.gone.store(true, Ordering::Relaxed);
        tokio::select! {
            there = looking => Some(there.unwrap_or(false)),
            () = stop.cancelled() => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::store::Settings;

    fn place(root: &std::path::Path) -> Place {
        Place::new(Store::new(&Settings { root: root.to_owned(), owners: Vec::new() }).unwrap())
    }

    #[tokio::test]
    async fn a_folder_that_was_taken_away_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        std::fs::create_dir(&root).unwrap();
        let place = place(&root);
        assert!(place.store.is_there());
        std::fs::rename(&root, dir.path().join("elsewhere")).unwrap();
        assert!(!place.store.is_there());
    }

    #[tokio::test]
    async fn a_look_that_hangs_counts_as_gone_until_it_has_ended() {
        const SHORT: Duration = Duration::from_millis(20);
        let dir = tempfile::tempdir().unwrap();
        let (place, stop) = (place(dir.path()), CancellationToken::new());
        let look = |hangs: std::sync::mpsc::Receiver<bool>| {
            let (place, stop) = (place.clone(), stop.clone());
            tokio::spawn(async move { place.look(move || hangs.recv().unwrap_or(false), SHORT, &stop).await })
        };
        let (answer, hangs) = channel();
        let one = look(hangs);
        while !place.is_gone() {
            tokio::time::sleep(SHORT).await;
        }
        assert!(!one.is_finished());
        answer.send(true).unwrap();
        assert_eq!(one.await.unwrap(), Some(true));
        // And the end of the daemon does not wait for one.
        let (answer, hangs) = channel();
        let one = look(hangs);
        tokio::time::sleep(SHORT * 3).await;
        stop.cancel();
        assert_eq!(one.await.unwrap(), None);
        drop(answer);
    }
}
