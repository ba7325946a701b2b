//! Networks that clients come from.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Bits in front of an IPv4 address in one of IPv6 that stands for it (RFC 4291 §2.5.5.2).
const MAPPED: u8 = 96;

/// One address, or a network in CIDR notation; `None` for anything else.
#[must_use]
pub fn parse(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse());
    network.ok().map(plain)
}

/// The same, of which a key may come. Bits behind the prefix are refused: `10.1.2.3/8` is rarely what was meant, and sshd lets nobody in
/// by it.
///
/// # Errors
/// What was meant, perhaps.
pub fn exact(text: &str) -> Result<IpNet, String> {
    let network = parse(text).ok_or("a network looks like 10.0.0.0/8 or 2001:db8::/32")?;
    if network.trunc() == network { Ok(network) } else { Err(format!("did you mean {}?", network.trunc())) }
}

/// `::ffff:192.0.2.0/120` as the network of IPv4 that it is: a client's address is compared as one of IPv4, whatever socket it came
/// in by, and the other form would never fit.
fn plain(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let prefix = v6.prefix_len().checked_sub(MAPPED);
    let v4 = v6.addr().to_ipv4_mapped().zip(prefix).map(|(address, prefix)| Ipv4Net::new(address, prefix));
    v4.and_then(Result::ok).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_of_ipv4_is_one_however_it_is_written() {
        for (text, network) in [
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            // More than IPv4 is in it.
            ("::/0", "::/0"),
            ("::ffff:0:0/95", "::ffff:0.0.0.0/95"),
        ] {
            assert_eq!(parse(text).map(|network| network.to_string()).as_deref(), Some(network), "{text}");
        }
        assert_eq!([parse("here"), parse(""), parse("192.0.2.0/33")], [None; 3]);
    }

    #[test]
    fn networks_are_spelled_without_host_bits() {
        let exact = |text| exact(text).map(|network| network.to_string());
        assert_eq!(exact("10.0.0.0/8").as_deref(), Ok("10.0.0.0/8"));
        assert_eq!(exact("2001:db8::1").as_deref(), Ok("2001:db8::1/128"));
        assert_eq!(exact("10.1.2.3/8").as_deref(), Err(&"did you mean 10.0.0.0/8?".to_owned()));
        assert!(exact("10.0.0.0/33").is_err() && exact("").is_err());
    }

    proptest! {
        #[test]
        fn it_has_the_same_addresses(bits: u32, prefix in 0_u8..=32, other: u32) {
            let v4 = IpNet::V4(Ipv4Net::new(bits.into(), prefix).unwrap());
            let IpAddr::V4(address) = v4.addr() else { unreachable!() };
            let mapped = parse(&format!("{}/{}", address.to_ipv6_mapped(), prefix + MAPPED)).unwrap();
            prop_assert_eq!(mapped, v4);
            let other = IpAddr::V4(other.into());
            prop_assert_eq!(mapped.contains(&other), v4.contains(&other));
        }
    }
}
