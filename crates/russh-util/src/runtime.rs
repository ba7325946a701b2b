//! Tasks.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A task ended without a result: it panicked, or its runtime came to its end first.
#[derive(Debug)]
pub struct JoinError;

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a task ended without a result")
    }
}

impl std::error::Error for JoinError {}

/// The end of a task, to wait for. Who drops it leaves the task to itself.
#[derive(Debug)]
pub struct JoinHandle<T>(tokio::task::JoinHandle<T>);

/// Starts a task, which takes as much memory as its future and some 200 bytes.
///
/// # Panics
///
/// Outside a runtime, as [`tokio::spawn`].
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    JoinHandle(tokio::spawn(future))
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| JoinError)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::spawn;

    #[tokio::test]
    async fn a_result_is_handed_on() {
        assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_nothing_more() {
        let task = spawn(async { assert!(std::env::args().count() == 0, "on purpose") });
        assert_eq!(task.await.unwrap_err().to_string(), "a task ended without a result");
    }

    #[tokio::test]
    async fn a_task_that_nobody_waits_for_goes_on() {
        let (tell, told) = oneshot::channel();
        let (go, gone) = oneshot::channel::<()>();
        drop(spawn(async move {
            gone.await.unwrap();
            tell.send(7).unwrap();
        }));
        go.send(()).unwrap();
        assert_eq!(told.await.unwrap(), 7);
    }
}
