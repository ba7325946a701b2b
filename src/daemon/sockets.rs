//! The sockets of all doors: opened here, or by somebody else who hands them over open, so that nobody is refused meanwhile.

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::config::Config;
use super::serve::ServeError;
use crate::front::control::listener::Listener;

/// Sockets that are open before this process opens any.
#[derive(Debug, Default)]
pub struct Handed {
    /// Doors for git.
    pub ssh: Vec<std::net::TcpListener>,
    /// Whether the service manager chose where those listen, whatever the config says.
    pub managed: bool,
    /// The control socket.
    pub control: Option<UnixListener>,
    /// The door for who watches.
    pub metrics: Option<std::net::TcpListener>,
}

impl Handed {
    /// Those of a service manager.
    #[must_use]
    pub fn by_manager(ssh: Vec<std::net::TcpListener>) -> Self {
        Self { managed: !ssh.is_empty(), ssh, ..Self::default() }
    }
}

/// The sockets of all doors. Nobody is let in yet.
#[derive(Debug)]
pub struct Sockets {
    pub(super) ssh: Vec<Arc<TcpListener>>,
    pub(super) managed: bool,
    pub(super) control: Arc<Listener>,
    pub(super) metrics: Option<Arc<TcpListener>>,
    /// Where the control socket was, if the config has another place for it by now.
    pub(super) moved: Option<PathBuf>,
}

impl Sockets {
    /// Opens what the config says and is not open yet; and closes what is open and not in the config any more.
    ///
    /// # Errors
    /// [`ServeError`]; then none is open.
    pub async fn open(config: &Config, handed: Handed) -> Result<Self, ServeError> {
        let Handed { ssh: mut open, managed, control, metrics } = handed;
        let mut ssh = Vec::new();
        if managed {
            for listener in open.drain(..) {
                ssh.push(Arc::new(adopted(listener).map_err(ServeError::Inherited)?));
            }
        }
        for address in config.ssh.listen.iter().filter(|_| !managed) {
            let failed = |error| ServeError::Listen { address: *address, error };
            ssh.push(Arc::new(listen(*address, &config.ssh.listen, &mut open).map_err(failed)?));
        }
        let metrics = match config.metrics {
            None => None,
            Some(address) => {
                let failed = |error| ServeError::Metrics { address, error };
                let mut open = metrics.into_iter().collect();
                Some(Arc::new(listen(address, &[], &mut open).map_err(failed)?))
            }
        };
        let path = |socket: &UnixListener| Some(socket.local_addr().ok()?.as_pathname()?.to_owned());
        let at = control.as_ref().and_then(path);
        let same = at.as_ref() == Some(&config.control.socket);
        let control = match control.filter(|_| same) {
            Some(socket) => Listener::adopt(socket, config.control.clone())?,
            None => Listener::bind(config.control.clone())?,
        };
        Ok(Self { ssh, managed, control: Arc::new(control), metrics, moved: at.filter(|_| !same) })
    }
}

/// The one of those that are open that listens there, or a new one, beside `others`.
fn listen(
    address: SocketAddr,
    others: &[SocketAddr],
    open: &mut Vec<std::net::TcpListener>,
) -> std::io::Result<TcpListener> {
    let found = open.iter().position(|listener| listener.local_addr().is_ok_and(|at| at == address));
    match found {
        Some(place) => adopted(open.swap_remove(place)),
        None => adopted(bind(address, others)?),
    }
}

/// Listens at an address, beside `others`. All addresses of IPv6 are all of IPv4 too, by the system's default (ipv6(7)), unless
/// others of these are of IPv4 at the same port.
///
/// # Errors
/// Of the system.
pub fn bind(address: SocketAddr, others: &[SocketAddr]) -> std::io::Result<std::net::TcpListener> {
    /// Connections that nobody has taken yet; the system bounds it too (`net.core.somaxconn`).
    const BACKLOG: i32 = 1024;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // The connections of the last process may still be closing.
    socket.set_reuse_address(true)?;
    let beside = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port();
    if address.is_ipv6() && address.ip().is_unspecified() && others.iter().any(beside) {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn adopted(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener as Std;
    use std::path::Path;

    use super::*;

    fn config(dir: &Path, listen: &[SocketAddr]) -> Config {
        let quoted = listen.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
        let text = format!("[ssh]\nlisten = [{quoted}]\n[control]\nsocket = \"control.sock\"\n");
        Config::parse(&text, &dir.join("config.toml")).unwrap()
    }

    fn any() -> Std {
        Std::bind("127.0.0.1:0").unwrap()
    }

    #[tokio::test]
    async fn what_is_open_is_gone_on_with_and_the_rest_is_opened_or_closed() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, dropped, free) = (any(), any(), any().local_addr().unwrap());
        let (here, gone) = (kept.local_addr().unwrap(), dropped.local_addr().unwrap());
        let config = config(dir.path(), &[free, here]);
        let before = UnixListener::bind(&config.control.socket).unwrap();
        let handed = Handed { ssh: vec![dropped, kept], control: Some(before), ..Handed::default() };
        let sockets = Sockets::open(&config, handed).await.unwrap();
        assert_eq!(sockets.ssh.iter().map(|door| door.local_addr().unwrap()).collect::<Vec<_>>(), [free, here]);
        assert_eq!(sockets.moved, None);
        assert!(std::net::TcpStream::connect(gone).is_err(), "it listens where it should not any more");
        sockets.control.claim().unwrap();
        drop(sockets);
        assert!(!config.control.socket.exists(), "whose it is removes it at the end");
    }

    /// As the example says for agents on other machines.
    #[tokio::test]
    async fn all_addresses_of_both_kinds_are_listened_at() {
        let dir = tempfile::tempdir().unwrap();
        let port = any().local_addr().unwrap().port();
        let [v4, v6] = [format!("0.0.0.0:{port}"), format!("[::]:{port}")].map(|text| text.parse().unwrap());
        for listen in [[v4, v6].as_slice(), &[v6, v4], &[v6]] {
            let sockets = Sockets::open(&config(dir.path(), listen), Handed::default()).await.unwrap();
            assert_eq!(sockets.ssh.len(), listen.len());
            for near in ["127.0.0.1", "::1"] {
                let near = SocketAddr::new(near.parse().unwrap(), port);
                // A machine may have no IPv6 on its loopback.
                if near.is_ipv4() || std::net::TcpListener::bind("[::1]:0").is_ok() {
                    std::net::TcpStream::connect(near).unwrap();
                }
            }
        }
    }

    /// Who could not take over leaves everything to the one whose it is.
    #[tokio::test]
    async fn a_control_socket_that_was_not_claimed_stays() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), &[any().local_addr().unwrap()]);
        let before = UnixListener::bind(&config.control.socket).unwrap();
        let handed = Handed { control: Some(before.try_clone().unwrap()), ..Handed::default() };
        drop(Sockets::open(&config, handed).await.unwrap());
        assert!(config.control.socket.exists());
        std::os::unix::net::UnixStream::connect(&config.control.socket).unwrap();
    }

    #[tokio::test]
    async fn a_service_manager_chooses_whatever_the_config_says() {
        let dir = tempfile::tempdir().unwrap();
        let chosen = any();
        let at = chosen.local_addr().unwrap();
        let config = config(dir.path(), &[any().local_addr().unwrap()]);
        let sockets = Sockets::open(&config, Handed::by_manager(vec![chosen])).await.unwrap();
        assert!(sockets.managed);
        assert_eq!(sockets.ssh.iter().map(|door| door.local_addr().unwrap()).collect::<Vec<_>>(), [at]);
        assert!(!Handed::by_manager(Vec::new()).managed);
    }

    #[tokio::test]
    async fn a_control_socket_at_another_place_is_opened_there() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), &[any().local_addr().unwrap()]);
        let elsewhere = dir.path().join("before.sock");
        let handed = Handed { control: Some(UnixListener::bind(&elsewhere).unwrap()), ..Handed::default() };
        let sockets = Sockets::open(&config, handed).await.unwrap();
        assert_eq!(sockets.moved.as_ref(), Some(&elsewhere));
        assert!(config.control.socket.exists() && elsewhere.exists());
    }
}
