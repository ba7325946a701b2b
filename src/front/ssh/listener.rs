//! Who comes to the door: the accept loop, the places for those who are not logged in yet, and the clocks until they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use russh::server::RunningSession;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument as _, Span};

use super::connection::{Connection, ConnectionError};
use super::exchange::{Asked, Exchanges};
use super::guesses::Standing;
use super::line::Line;
use super::meter::{Counted, Limit};
use super::places::{Entry, NetworkPlace};
use super::prompt::Prompt;
use super::proxy::ProxyError;
use super::quiet::Quiet;
use super::stay::{Stay, Watch};
use super::{Door, algorithms};
use crate::audit::Subject;
use crate::model::text::printable;

/// How long the loop rests after a failed accept: descriptors that ran out come back when connections end.
const PAUSE: Duration = Duration::from_millis(100);

/// How much of what a client offered is logged, in characters.
const SHOWN: usize = 400;

/// How much may lie in the kernel that was not sent yet, in bytes. What is on its way may be as much as the path takes, near
/// or far, which the kernel finds out by itself; more than this ahead of it is of no use, leaves the processor's caches before
/// it is sent, and would stay there for a reader who stands still: up to `tcp_wmem`, 4 MiB each.
const UNSENT: u32 = 128 * 1024;

/// The number of the last connection, since the start of this process.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A place among those who are not logged in yet, and the sign that they are.
pub(super) struct Startup {
    _place: OwnedSemaphorePermit,
    _network: NetworkPlace,
    _counted: Counted,
    logged_in: CancellationToken,
}

impl Startup {
    /// Frees the place and stops the login clock.
    pub(super) fn logged_in(self) {
        self.logged_in.cancel();
    }
}

/// What ends, in this order.
#[derive(Debug, Clone, Default)]
pub struct Ends {
    /// Nobody new is let in.
    pub accepting: CancellationToken,
    /// Who has nothing to wait for is told to come again.
    pub staying: CancellationToken,
    /// Everybody's line is cut.
    pub cut: CancellationToken,
}

/// Accepts connections for as long as that is to be, each by the door that is the newest then; lets those that are open
/// finish until they are cut.
pub async fn run(doors: watch::Receiver<Arc<Door>>, listener: Arc<TcpListener>, ends: Ends) {
    let mut open = JoinSet::new();
    let unaccepted = Quiet::default();
    // Until nobody more comes in, somebody may be on the way to a decision.
    let undecided = doors.borrow().undecided.token();
    loop {
        let accepted = tokio::select! {
            biased;
            () = ends.accepting.cancelled() => break,
            // Ended connections are collected as they end, so that the set stays as small as what is open.
            Some(_) = open.join_next(), if !open.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (socket, address) = match accepted {
            // One of IPv4 is so in the log too, whatever socket it came in by.
            Ok((socket, peer)) => (socket, SocketAddr::new(peer.ip().to_canonical(), peer.port())),
            Err(error) => {
                let door = Arc::clone(&doors.borrow());
                door.meter.unaccepted();
                // As often as somebody asks who has nothing, so a stranger can cause it all the time.
                if let Some(untold) = unaccepted.may_say(Instant::now()) {
                    tracing::error!(%error, untold, "connections cannot be accepted; where descriptors ran out, raise `LimitNOFILE=` or `ulimit -n`");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let door = Arc::clone(&doors.borrow());
        let Entry { connection, startup } = match door.places.enter() {
            Ok(entry) => entry,
            Err(limit) => {
                door.meter.met(limit);
                door.places.tell(address.ip(), limit);
                continue;
            }
        };
        let (cut, leave, counted) = (ends.cut.child_token(), ends.staying.clone(), door.meter.enters());
        let stay = Stay::begin(&door, ends.accepting.clone());
        open.spawn(async move {
            // In a box: this task lasts as long as the connection, and would keep the room for its beginning all the time.
            if let Some((visit, span)) = Box::pin(admit(door, socket, address, startup, stay, cut)).await {
                visit.last(leave).instrument(span).await;
            }
            drop((connection, counted));
        });
    }
    drop((listener, undecided));
    while open.join_next().await.is_some() {}
}

/// A connection from its first byte until it is known whose it is, and has begun to speak SSH.
async fn admit(
    door: Arc<Door>,
    mut socket: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    stay: (Stay, Watch),
    cut: CancellationToken,
) -> Option<(Visit, Span)> {
    let counted = door.meter.starts();
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "small packets will be delayed");
    }
    if let Err(error) = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "the kernel keeps as much for a client as it likes");
    }
    let address = match tokio::time::timeout(door.settings.banner, Box::pin(door.client(&mut socket, peer))).await {
        Ok(Ok(address)) => address,
        Ok(Err(ProxyError::Nothing)) => {
            tracing::debug!(balancer = %peer, "a balancer looked whether we listen");
            return None;
        }
        Ok(Err(error)) => {
            door.meter.headless();
            // One that is not set up as it should be has all its clients here.
            let untold = door.odd.may_say(Instant::now())?;
            tracing::warn!(balancer = %peer, %error, untold, "a connection of a balancer is dropped");
            return None;
        }
        Err(_) => {
            door.meter.met(Limit::Banner);
            tracing::debug!(balancer = %peer, "a balancer did not say whose a connection is");
            return None;
        }
    };
    if door.guesses.standing(address.ip(), Instant::now()) == Standing::Barred {
        door.meter.met(Limit::Guesses);
        door.places.tell(address.ip(), Limit::Guesses);
        return None;
    }
    // At the level of an error: it is there with each line that is. The key is known when it is logged in.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
    let span = tracing::error_span!("connection", number, %address, key = tracing::field::Empty);
    let visit = begin(door, socket, address, (place, counted), stay, cut).instrument(span.clone()).await?;
    Some((visit, span))
}

/// The same from the moment on when it is known whose it is.
async fn begin(
    door: Arc<Door>,
    socket: TcpStream,
    address: SocketAddr,
    (place, counted): (OwnedSemaphorePermit, Counted),
    (stay, watch): (Stay, Watch),
    cut: CancellationToken,
) -> Option<Visit> {
    let Some(network) = door.places.network(address.ip()) else {
        door.meter.met(Limit::StartupsPerNetwork);
        door.places.tell(address.ip(), Limit::StartupsPerNetwork);
        return None;
    };
    let subject = Subject { address: Some(address.ip().to_canonical()), ..Subject::default() };
    let logged_in = CancellationToken::new();
    let asked = Asked::default();
    let exchanges = Exchanges::new(asked.clone(), network.turns(&door.meter));
    let startup = Startup { _place: place, _network: network, _counted: counted, logged_in: logged_in.clone() };
    let connection = Connection::new(Arc::clone(&door), subject, startup, asked.clone(), stay);
    let line = Box::new(Line::new(Prompt::new(socket, logged_in.clone()), &cut, exchanges));
    // Whatever ends here ends the session's task with it.
    let cut = cut.drop_guard();
    let starting = russh::server::run_stream(Arc::clone(&door.config), line, connection);
    match tokio::time::timeout(door.settings.banner, starting).await {
        Ok(Ok(session)) => Some(Visit { door, session, watch, logged_in, _cut: cut }),
        Ok(Err(error)) => {
            // It has that clock, too, from its first moment on.
            if matches!(error, ConnectionError::Ssh(russh::Error::Elapsed(_))) {
                door.meter.met(Limit::Idle);
            }
            // The one mistake here that is an operator's, and cuts off everybody behind that balancer.
            if asked.has_header()
                && let Some(untold) = door.odd.may_say(Instant::now())
            {
                tracing::warn!(
                    untold,
                    "a connection began with the header of a PROXY protocol: if {} is a balancer, name it in `proxy_protocol_from` under [ssh]",
                    address.ip()
                );
            }
            tracing::debug!(%error, "a connection did not begin");
            None
        }
        Err(_) => {
            door.meter.met(Limit::Banner);
            tracing::debug!("a peer did not say what it is");
            None
        }
    }
}

/// A connection that speaks SSH: what is needed of it for as long as it lasts.
struct Visit {
    door: Arc<Door>,
    session: RunningSession<Connection>,
    watch: Watch,
    logged_in: CancellationToken,
    /// Ends the session's task with this.
    _cut: DropGuard,
}

impl Visit {
    /// Stays until it ends, by its client, by a clock or with the daemon, and says why.
    async fn last(self, leave: CancellationToken) {
        let Self { door, mut session, watch, logged_in, _cut } = self;
        let goodbye = watch.goodbye(&leave, session.handle());
        tokio::pin!(goodbye);
        let ended = tokio::select! {
            ended = &mut session => ended,
            () = &mut goodbye => Ok(()),
            () = tokio::time::sleep(door.settings.login), if !logged_in.is_cancelled() => {
                if !logged_in.is_cancelled() {
                    door.meter.met(Limit::Login);
                    return tracing::debug!("a peer did not log in in time, or asked for nothing while its key has no place for it");
                }
                tokio::select! {
                    ended = &mut session => ended,
                    () = &mut goodbye => Ok(()),
                }
            }
        };
        match &ended {
            Err(ConnectionError::Ssh(russh::Error::InactivityTimeout)) => door.meter.met(Limit::Idle),
            Err(ConnectionError::Ssh(russh::Error::KeepaliveTimeout)) => door.meter.met(Limit::Keepalive),
            Err(_) | Ok(()) => {}
        }
        if let Err(ConnectionError::Ssh(russh::Error::NoCommonAlgo { kind, theirs, .. })) = &ended {
            // The client's own words for it are few, and an operator has the remedy; but anybody can be one.
            let Some(untold) = door.odd.may_say(Instant::now()) else { return };
            let (offered, remedy) = (printable(&theirs.join(","), SHOWN), algorithms::remedy(theirs));
            tracing::warn!(?kind, offered, untold, "a client has nothing in common with us: {remedy}");
        } else if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended with an error");
        }
    }
}
