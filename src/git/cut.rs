//! The way to a client for as long as it may be served: one that is cut off for what it sends is sent nothing more, whatever its
//! fetch waits for, and nobody is when the gateway stops.

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::inbound::Watch;
use super::{Gone, Outbound};

/// A way that ends when its client is cut off.
pub(super) struct UntilCut<'a, O> {
    outbound: &'a mut O,
    watch: Watch,
    stopped: CancellationToken,
}

impl<'a, O: Outbound> UntilCut<'a, O> {
    /// Until the watch says so, or the token.
    pub(super) fn new(outbound: &'a mut O, watch: Watch, stopped: CancellationToken) -> Self {
        Self { outbound, watch, stopped }
    }
}

impl<O: Outbound> Outbound for UntilCut<'_, O> {
    async fn send(&mut self, bytes: Bytes) -> Result<(), Gone> {
        tokio::select! {
            biased;
            () = self.watch.cut() => Err(Gone),
            () = self.stopped.cancelled() => Err(Gone),
            sent = self.outbound.send(bytes) => sent,
        }
    }

    async fn say(&mut self, text: &str) -> Result<(), Gone> {
        tokio::select! {
            biased;
            () = self.watch.cut() => Err(Gone),
            () = self.stopped.cancelled() => Err(Gone),
            said = self.outbound.say(text) => said,
        }
    }

    async fn gone(&mut self) {
        tokio::select! {
            () = self.watch.cut() => {}
            () = self.stopped.cancelled() => {}
            () = self.outbound.gone() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbound::{Budget, Pool, channel};
    use super::*;

    /// A client that reads nothing, and stays.
    struct Silent;

    impl Outbound for Silent {
        async fn send(&mut self, _bytes: Bytes) -> Result<(), Gone> {
            std::future::pending().await
        }

        async fn say(&mut self, _text: &str) -> Result<(), Gone> {
            std::future::pending().await
        }

        async fn gone(&mut self) {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn whatever_waits_for_a_client_ends_when_it_is_cut_off() {
        for stops in [false, true] {
            let (mut feed, inbound) = channel(Budget { unread: 8, total: 8 }, &Pool::new(0).party());
            let stopped = CancellationToken::new();
            let mut silent = [Silent, Silent, Silent];
            let mut ways = silent.each_mut().map(|way| UntilCut::new(way, inbound.watch(), stopped.clone()));
            let [sends, says, waits] = &mut ways;
            let all = async { tokio::join!(sends.send(Bytes::from_static(b"pack")), says.say("words"), waits.gone()) };
            let cut = async {
                tokio::task::yield_now().await;
                if stops {
                    stopped.cancel()
                } else {
                    feed.push(b"more than it may").unwrap_err();
                }
            };
            assert_eq!(tokio::join!(all, cut).0, (Err(Gone), Err(Gone), ()));
        }
    }
}
