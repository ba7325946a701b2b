use proptest::prelude::*;

use super::*;

/// What a header says, and how many bytes behind it are left for SSH.
fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyError>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut stream = bytes;
    let said = runtime.block_on(header(&mut stream));
    (said, stream.len())
}

/// A header of version 2 as HAProxy writes it.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend_from_slice(&[0x20 | command, family]);
    bytes.extend_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(rest);
    bytes
}

const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 22];

#[test]
fn the_client_is_who_the_balancer_says() {
    let mut v6 = [0u8; 36];
    v6[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    v6[32..].copy_from_slice(&[0x1f, 0x90, 0, 22]);
    // A note behind the addresses: a checksum, a name, whatever.
    let mut noted = V4.to_vec();
    noted.extend_from_slice(&[4, 0, 3, 1, 2, 3]);
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 22\r\n".to_vec(), Some("192.0.2.7:8080")),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 8080 22\r\n".to_vec(), Some("[2001:db8::7]:8080")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN whatever it knows\r\n".to_vec(), None),
        (v2(1, 0x11, &V4), Some("192.0.2.7:8080")),
        (v2(1, 0x11, &noted), Some("192.0.2.7:8080")),
        (v2(1, 0x21, &v6), Some("[2001:db8::7]:8080")),
        (v2(1, 0x00, &[]), None),
        (v2(0, 0x00, &[]), None),
        (v2(0, 0x11, &V4), None),
    ] {
        let mut bytes = header.clone();
        bytes.extend_from_slice(b"SSH-2.0-x\r\n");
        let (said, left) = read(&bytes);
        let expected = client.map(|client| client.parse().unwrap());
        assert_eq!((said.unwrap(), left), (expected, 11), "{}", header.escape_ascii());
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_LINE));
    for bytes in [
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7\r\n".to_vec(),
        b"PROXY TCP4 example.com 10.0.0.1 1 2\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 22\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 22\n".to_vec(),
        b"proxy TCP4 192.0.2.7 10.0.0.1 8080 22\r\n".to_vec(),
        longest.into_bytes(),
        b"PROXY".to_vec(),
        v2(1, 0x11, &V4[..11]),
        v2(1, 0x12, &V4),
        v2(1, 0x31, &[0; 216]),
        v2(2, 0x11, &V4),
        v2(1, 0x11, &V4)[..20].to_vec(),
        [SIGNATURE.as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat(),
        [SIGNATURE.as_slice(), &[0x11, 0x11, 0, 12], &V4].concat(),
    ] {
        let (said, _) = read(&bytes);
        assert!(said.is_err(), "{}: {said:?}", bytes.escape_ascii());
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_none_are_read_without_end(
        start in prop_oneof![Just(Vec::new()), Just(SIGNATURE.to_vec()), Just(b"PROXY TCP4 ".to_vec())],
        rest in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let bytes = [start, rest].concat();
        let (_, left) = read(&bytes);
        prop_assert!(bytes.len() - left <= 16 + usize::from(LONGEST_REST));
    }
}
