use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Offers so many and says how many were free.
fn free(guesses: &Guesses, client: IpAddr, number: usize, now: Instant) -> usize {
    (0..number).filter(|_| guesses.guessed(client, now) == Standing::Free).count()
}

#[test]
fn a_network_may_offer_some_at_once_and_then_one_a_second() {
    let (guesses, client, start) = (Guesses::new(100), address("192.0.2.1"), Instant::now());
    assert_eq!(free(&guesses, client, 10_000, start), 100);
    assert_eq!(guesses.standing(client, start), Standing::Barred);
    assert_eq!(guesses.standing(address("192.0.2.2"), start), Standing::Free);
    // However often it tries meanwhile.
    let mut heard = 0;
    for second in 1..=1000 {
        heard += free(&guesses, client, 10, start + Duration::from_secs(second));
    }
    assert_eq!(heard, 1000);
    // It stops, and all is forgiven a moment later.
    let later = start + Duration::from_millis(1_001_001);
    assert_eq!(guesses.standing(client, later), Standing::Free);
    assert_eq!(free(&guesses, client, 1000, later + Duration::from_secs(1000)), 100);
}

#[test]
fn stray_keys_of_those_who_log_in_never_add_up() {
    let (guesses, client, now) = (Guesses::new(100), address("192.0.2.1"), Instant::now());
    for _ in 0..1000 {
        assert_eq!(free(&guesses, client, 12, now), 12);
        guesses.logged_in(client, 12, now);
    }
    // Nor do they leave room for more than others have.
    assert_eq!(free(&guesses, client, 1000, now), 100);
}

#[test]
fn a_build_farm_is_slowed_and_never_turned_away() {
    let (guesses, farm, start) = (Guesses::new(100), address("192.0.2.1"), Instant::now());
    free(&guesses, farm, 1000, start);
    assert_eq!(guesses.standing(farm, start), Standing::Barred);
    guesses.logged_in(farm, 0, start);
    free(&guesses, farm, 1000, start);
    assert_eq!(guesses.standing(farm, start), Standing::Slowed);
    // Whoever logs in speaks for it for a day.
    let tomorrow = start + FRIENDS + Duration::from_secs(1);
    free(&guesses, farm, 1000, tomorrow);
    assert_eq!(guesses.standing(farm, tomorrow), Standing::Barred);
}

#[test]
fn one_host_of_version_6_is_one_network() {
    let (guesses, now) = (Guesses::new(10), Instant::now());
    for last in 0..20_u128 {
        guesses.guessed(IpAddr::V6(std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) | last)), now);
    }
    assert_eq!(guesses.standing(address("2001:db8::ffff"), now), Standing::Barred);
    assert_eq!(guesses.standing(address("2001:db8:0:1::1"), now), Standing::Free);
    // The same address, as a socket for both kinds writes it.
    free(&guesses, address("::ffff:192.0.2.9"), 20, now);
    assert_eq!(guesses.standing(address("192.0.2.9"), now), Standing::Barred);
}

#[test]
fn who_is_exempt_is_not_counted_and_with_0_nobody_is() {
    let now = Instant::now();
    let mut guesses = Guesses::new(10);
    guesses.exempt(vec!["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(free(&guesses, address("192.0.2.7"), 1000, now), 1000);
    assert_eq!(free(&guesses, address("198.51.100.7"), 1000, now), 10);
    assert_eq!(free(&guesses.again(0), address("198.51.100.7"), 1000, now), 1000);
    assert_eq!(guesses.again(20).standing(address("198.51.100.7"), now), Standing::Free);
}

/// Networks that know somebody are forgotten last.
#[test]
fn the_table_is_bounded() {
    let (guesses, now) = (Guesses::new(10), Instant::now());
    let farm = address("192.0.2.1");
    guesses.logged_in(farm, 0, now);
    free(&guesses, farm, 20, now);
    for network in 0..100_000_u128 {
        guesses.guessed(IpAddr::V6(std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) | (network << 64))), now);
        assert!(guesses.networks.lock().unwrap().len() <= NETWORKS);
    }
    assert_eq!(guesses.standing(farm, now), Standing::Slowed);
}
