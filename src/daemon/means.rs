//! What a daemon needs of its machine: threads, of which one is left when no more can be had, and descriptors.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::runtime::{Builder, Runtime};

/// How many may wait for a disk or a lock at a time, each on a thread of its own. When the runtime needs one more for its own work and
/// there is none, it stands still. So no crowd may have all of them: 256 look at the store ([`crate::store::look`]), 100 each wait with
/// audit records and for the disk of the cache, and the rest is for the few who do so beside the fetches.
const BLOCKED: usize = 512;

/// What a daemon starts beside the threads of its runtime: who writes the registry and the audit, who reads them at the start,
/// and who gives memory back. 16 were counted.
const BESIDE: usize = 20;

/// The runtime ends a thread that had nothing to do for so long.
const KEPT: Duration = Duration::from_secs(10);
/// How often one of those threads is given something to do. The runtime panics when it needs one, has none and can start none; as
/// long as it has one it waits for that.
const AGAIN: Duration = Duration::from_secs(4);

/// What a daemon has open before anybody comes, and a few clones. With 32 one was served.
const DESCRIPTORS: u64 = 64;

/// The machine lets a process have less than a daemon needs.
#[derive(Debug, thiserror::Error)]
pub enum TooLittle {
    /// Of threads.
    #[error("the {needed} threads that the daemon needs cannot be started: {error}")]
    Threads {
        /// How many.
        needed: usize,
        /// What the kernel says.
        error: std::io::Error,
    },
    /// Of descriptors.
    #[error("the daemon may open {0} files at a time, and needs {DESCRIPTORS} at least")]
    Descriptors(u64),
}

impl TooLittle {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Threads { .. } => {
                "raise what bounds them: `ulimit -u` of its user, `TasksMax=` of its unit, or the `pids` limit of its container; \
                 each git that serves takes 3 to 6 more"
            }
            Self::Descriptors(_) => {
                "raise what bounds them: `ulimit -n`, or `LimitNOFILE=` of its unit; each connection is one, and each git that \
                 serves takes five more"
            }
        }
    }
}

/// A thread for each core, and two at least: one may have to wait for a file system ([`crate::store::look`]).
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).max(2)
}

/// Starts as many threads as a daemon needs, and ends them. To be asked before any is needed: neither the runtime nor what reads
/// the registry goes on without theirs.
///
/// # Errors
/// [`TooLittle`]
pub fn enough() -> Result<(), TooLittle> {
    // As many as it may raise them to, which is done soon. None: as many as there can be.
    if let Some(may) = getrlimit(Resource::Nofile).maximum.filter(|may| *may < DESCRIPTORS) {
        return Err(TooLittle::Descriptors(may));
    }
    let needed = workers() + BESIDE;
    startable(needed).map_err(|error| TooLittle::Threads { needed, error })
}

fn startable(threads: usize) -> std::io::Result<()> {
    let end = Mutex::new(());
    std::thread::scope(|scope| {
        // Until it is dropped none of them ends, however it turns out.
        let _all = end.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = || drop(end.lock().unwrap_or_else(PoisonError::into_inner));
        (0..threads).try_for_each(|_| std::thread::Builder::new().spawn_scoped(scope, wait).map(drop))
    })
}

/// The runtime of a daemon. It always has a thread for work that may wait: whoever is given one while the machine starts no more
/// waits for that.
///
/// # Errors
/// With what the kernel says of what it takes to hear of sockets.
pub fn runtime() -> std::io::Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers())
        .max_blocking_threads(BLOCKED)
        .thread_keep_alive(KEPT)
        .enable_all()
        .build()?;
    drop(runtime.spawn(async {
        while tokio::task::spawn_blocking(|| ()).await.is_ok() {
            tokio::time::sleep(AGAIN).await;
        }
    }));
    Ok(runtime)
}
