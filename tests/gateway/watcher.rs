//! Whoever watches a gateway: asks over HTTP, and reads what it tells.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{Gateway, PATIENCE, free_port};

/// A gateway that tells metrics at this address.
pub(crate) fn watched(edit: impl FnOnce(String) -> String) -> (Gateway, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let gateway = Gateway::start_with(|config| {
        assert!(config.contains("listen = \"\""), "{config}");
        edit(config.replace("listen = \"\"", &format!("listen = \"{address}\"")))
    });
    (gateway, address)
}

/// What an HTTP server says to these bytes, until it closes.
pub(crate) fn say(address: SocketAddr, bytes: &[u8]) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(bytes)?;
    let mut said = Vec::new();
    socket.read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Status and body of what a path is answered with.
#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let said = say(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {path}: {said:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The numbers of one moment, by their names with their labels.
#[derive(Debug, Clone)]
pub(crate) struct Numbers(pub(crate) BTreeMap<String, f64>);

impl Numbers {
    #[track_caller]
    pub(crate) fn of(address: SocketAddr) -> Self {
        let (status, text) = get(address, "/metrics");
        assert_eq!(status, 200, "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let number = |line: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line:?}")))
        };
        Self(lines.map(number).collect())
    }

    /// A series by its whole name; 0 when there is none, as for one that has not begun.
    pub(crate) fn get(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or_default()
    }

    /// All series of a name, by the value of one label; those with the same value are added up.
    pub(crate) fn by(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (series, value) in &self.0 {
            let Some(labels) = series.strip_prefix(name).and_then(|rest| rest.strip_prefix('{')) else { continue };
            let mark = format!("{label}=\"");
            let found = labels
                .split(['{', ','])
                .find_map(|part| part.strip_prefix(&mark))
                .unwrap_or_else(|| panic!("{series}"));
            let word = found.split('"').next().unwrap().to_owned();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of a test are small")]
            let count = *value as u64;
            *sums.entry(word).or_default() += count;
        }
        sums.retain(|_, sum| *sum > 0);
        sums
    }
}
