//! Looks at the file system from where others wait as well.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody looks without having made room for others.
static LOOKING: AtomicBool = AtomicBool::new(false);

/// Looks at something that is in memory nearly always, and is a disk or a server that does not answer now and then.
///
/// One at a time looks where it stands, on a thread of the runtime; whoever comes meanwhile brings the others that wait for
/// its thread elsewhere first, which costs more than most looks do. So a file system that hangs has one of the runtime's
/// threads, and it needs two at least.
///
/// # Panics
/// In a runtime of one thread ([`tokio::task::block_in_place`]).
pub fn look<T>(at: impl FnOnce() -> T) -> T {
    if LOOKING.swap(true, Ordering::Acquire) {
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
        let (ends, answers): (Vec<_>, Vec<_>) = (0..3).map(|_| mpsc::channel::<()>()).unzip();
        for answer in answers {
            let began = began.clone();
            drop(runtime.spawn(async move {
                look(|| {
                    began.send(()).unwrap();
                    assert!(answer.recv().is_err(), "until its sender is gone");
                });
            }));
        }
        let soon = Duration::from_secs(20);
        (0..3).for_each(|_| begun.recv_timeout(soon).expect("each look begins"));
        // All of them hang now, and somebody who looks at nothing is served.
        let (served, serves) = mpsc::channel();
        drop(runtime.spawn(async move { served.send(()).unwrap() }));
        let heard = serves.recv_timeout(soon);
        drop(ends);
        heard.expect("somebody else is served");
    }

    #[test]
    fn a_look_that_panics_is_over() {
        std::thread::spawn(|| look(|| panic!("on purpose"))).join().unwrap_err();
        // Another test may look just now.
        let free = (0..2000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            !LOOKING.load(Ordering::Acquire)
        });
        assert!(free);
    }
}
