//! Looks at the file system from where others wait as well.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;

/// Whether somebody looks without having made room for others.
static LOOKING: AtomicBool = AtomicBool::new(false);

/// How many may look beside the one, each on a thread of its own. The runtime has 512 for whoever may have to wait, and when it needs
/// one more for its own work and there is none, it stands still: nobody is served then, and no signal heard.
const LOOKS: usize = 256;
static BESIDE: Semaphore = Semaphore::const_new(LOOKS);

/// Looks at something that is in memory nearly always, and is a disk or a server that does not answer now and then.
///
/// One at a time looks where it stands, on a thread of the runtime; whoever comes meanwhile brings the others that wait for
/// its thread elsewhere first, which costs more than most looks do. So a file system that hangs has one of the runtime's
/// threads, and it needs two at least. Of those who come meanwhile 256 look at a time, and the others wait in the order in
/// which they come, without a thread.
///
/// # Panics
/// In a runtime of one thread ([`tokio::task::block_in_place`]).
pub async fn look<T>(at: impl FnOnce() -> T) -> T {
    if LOOKING.swap(true, Ordering::Acquire) {
        // Nobody closes it.
        let _beside = BESIDE.acquire().await.ok();
        return tokio::task::block_in_place(at);
    }
    let _over = Over;
    at()
}

/// Lets the next one look, also after a panic.
struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        LOOKING.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn looks_that_hang_leave_a_thread_for_the_others() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let (began, begun) = mpsc::channel();
        // More than the runtime has threads.
        let (ends, answers): (Vec<_>, Vec<_>) = (0..600).map(|_| mpsc::channel::<()>()).unzip();
        for answer in answers {
            let began = began.clone();
            drop(runtime.spawn(async move {
                look(move || {
                    began.send(()).unwrap();
                    assert!(answer.recv().is_err(), "until its sender is gone");
                })
                .await;
            }));
        }
        let soon = Duration::from_secs(20);
        // And the one that stands where it is, unless another test has just that place.
        (0..LOOKS).for_each(|_| begun.recv_timeout(soon).expect("each look begins for which there is a thread"));
        // All of them hang now, and somebody who looks at nothing is served.
        let (served, serves) = mpsc::channel();
        drop(runtime.spawn(async move { served.send(()).unwrap() }));
        let heard = serves.recv_timeout(soon);
        drop(ends);
        heard.expect("somebody else is served");
        (LOOKS..600).for_each(|_| begun.recv_timeout(soon).expect("the others have their turn"));
    }

    #[test]
    fn a_look_that_panics_is_over() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(runtime.spawn(look(|| panic!("on purpose")))).unwrap_err();
        // Another test may look just now.
        let free = (0..2000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            !LOOKING.load(Ordering::Acquire)
        });
        assert!(free);
    }
}
