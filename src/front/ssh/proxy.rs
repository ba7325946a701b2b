//! The PROXY protocol, version 1 and 2: a load balancer says in front of a connection whose it is.
//!
//! Whoever may say that may come from anywhere, so it is believed only from networks that the config names; from those it
//! is demanded, since a connection without it would be taken for one of the balancer's own.
//! The specification is that of HAProxy, `proxy-protocol.txt`; the `ppp` crate reads it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The twelve bytes that version 2 begins with; version 1 is never shorter.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const LINE: &[u8] = b"PROXY ";
/// The longest line of version 1, its CRLF included, in bytes.
const LONGEST_LINE: usize = 107;
/// The most that follows the first 16 bytes of version 2. The addresses take 36, the rest is notes for others.
const LONGEST_REST: u16 = 2048;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It was closed without a word, as by a check whether somebody listens.
    #[error("nothing came")]
    Nothing,
    /// The peer sent too little.
    #[error("the header did not come: {0}")]
    Io(#[from] io::Error),
    /// It is something else, or says nothing that can be understood.
    #[error("what came is no PROXY header of a connection of TCP")]
    NoHeader,
    /// Longer than any that says whose a connection is.
    #[error("the header is too long")]
    TooLong,
}

/// Whether these may be the first bytes of a header.
pub(super) fn is_header(first: &[u8]) -> bool {
    first.starts_with(SIGNATURE) || first.starts_with(LINE)
}

/// Reads the header, and not a byte more. `None`: the balancer speaks for itself, as in a health check, or does not know.
///
/// # Errors
/// [`ProxyError`]
pub async fn header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyError> {
    let mut bytes = vec![0; SIGNATURE.len()];
    let (first, others) = bytes.split_at_mut(1);
    match stream.read(first).await {
        Ok(0) => return Err(ProxyError::Nothing),
        // Some checks end so.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ProxyError::Nothing),
        read => drop(read?),
    }
    stream.read_exact(others).await?;
    if bytes == SIGNATURE {
        let [version_command, family] = [stream.read_u8().await?, stream.read_u8().await?];
        let rest = stream.read_u16().await?;
        if rest > LONGEST_REST {
            return Err(ProxyError::TooLong);
        }
        bytes.extend_from_slice(&[version_command, family]);
        bytes.extend_from_slice(&rest.to_be_bytes());
        let start = bytes.len();
        bytes.resize(start + usize::from(rest), 0);
        stream.read_exact(bytes.get_mut(start..).unwrap_or_default()).await?;
    } else if bytes.starts_with(LINE) {
        while bytes.last() != Some(&b'\n') {
            if bytes.len() == LONGEST_LINE {
                return Err(ProxyError::TooLong);
            }
            bytes.push(stream.read_u8().await?);
        }
    }
    parse(&bytes)
}

/// The client's address in a whole header.
fn parse(bytes: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let said = |address: IpAddr, port: u16| Some(SocketAddr::new(address.to_canonical(), port));
    match ppp::HeaderResult::parse(bytes) {
        ppp::HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            ppp::v1::Addresses::Unknown => None,
            ppp::v1::Addresses::Tcp4(ip) => said(ip.source_address.into(), ip.source_port),
            ppp::v1::Addresses::Tcp6(ip) => said(ip.source_address.into(), ip.source_port),
        }),
        ppp::HeaderResult::V2(Ok(header)) => match (header.command, header.protocol, header.addresses) {
            (ppp::v2::Command::Local, _, _) => Ok(None),
            (ppp::v2::Command::Proxy, ppp::v2::Protocol::Stream, ppp::v2::Addresses::IPv4(ip)) => {
                Ok(said(ip.source_address.into(), ip.source_port))
            }
            (ppp::v2::Command::Proxy, ppp::v2::Protocol::Stream, ppp::v2::Addresses::IPv6(ip)) => {
                Ok(said(ip.source_address.into(), ip.source_port))
            }
            (ppp::v2::Command::Proxy, ppp::v2::Protocol::Unspecified, ppp::v2::Addresses::Unspecified) => Ok(None),
            // A datagram, or a socket file: no client of ours came that way.
            (ppp::v2::Command::Proxy, _, _) => Err(ProxyError::NoHeader),
        },
        ppp::HeaderResult::V1(Err(_)) | ppp::HeaderResult::V2(Err(_)) => Err(ProxyError::NoHeader),
    }
}

#[cfg(test)]
mod tests;
