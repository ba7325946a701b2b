//! Who asks: a bounded number at a time, each for a bounded time, one question to a connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Door, HEAD, PATIENCE, PEERS, answer};

/// How long the loop rests after a failed accept.
const PAUSE: Duration = Duration::from_millis(200);
/// The most headers of a request.
const HEADERS: usize = 64;

/// Answers until `stop`. What is being answered then is cut: nothing here is worth waiting for.
pub async fn run(door: Arc<Door>, listener: Arc<TcpListener>, stop: CancellationToken) {
    let census = tokio::spawn(door.census.clone().keep(door.health.lookup.clone(), stop.clone()));
    let place = tokio::spawn(door.health.place.clone().keep(stop.clone()));
    let places = Arc::new(Semaphore::new(PEERS));
    let mut peers = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            // Ended ones are collected as they end.
            Some(_) = peers.join_next(), if !peers.is_empty() => continue,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>((listener.accept().await?, place))
            } => accepted,
        };
        match accepted {
            Ok(((socket, _), place)) => {
                let door = Arc::clone(&door);
                peers.spawn(async move {
                    // The clock over all of it: slow to ask, slow to read.
                    if tokio::time::timeout(PATIENCE, talk(door, socket)).await.is_err() {
                        tracing::debug!("who asks for metrics took too long");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::error!(%error, "the metrics listener cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    peers.shutdown().await;
    if place.await.is_err() {
        tracing::warn!("the look at the store ended in a panic");
    }
    if census.await.is_err() {
        tracing::warn!("the counting of keys ended in a panic");
    }
}

async fn talk(door: Arc<Door>, socket: TcpStream) {
    let serve = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let door = Arc::clone(&door);
        async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            Ok::<_, Infallible>(tokio::task::block_in_place(|| answer::answer(&door, &method, &path)))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .max_buf_size(HEAD)
        .max_headers(HEADERS);
    if let Err(error) = http.serve_connection(TokioIo::new(socket), serve).await {
        tracing::debug!(%error, "a question for metrics came to nothing");
    }
}
