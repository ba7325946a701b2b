use tokio::time::timeout;

use super::*;

fn places(startups: usize, per_network: usize) -> Arc<Places> {
    let settings = Settings { startups, startups_per_network: per_network, ..Settings::default() };
    Arc::new(Places::new(&settings))
}

#[test]
fn one_network_cannot_take_the_places_of_another() {
    let places = places(100, 2);
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let first = places.network(address("192.0.2.1")).unwrap();
    // The same address, as a socket for both kinds writes it.
    let _second = places.network(address("::ffff:192.0.2.1")).unwrap();
    assert!(places.network(address("192.0.2.1")).is_none());
    let _other = places.network(address("192.0.2.2")).unwrap();
    drop(first);
    let _third = places.network(address("192.0.2.1")).unwrap();
    let _v6 = [places.network(address("2001:db8::1")).unwrap(), places.network(address("2001:db8::2")).unwrap()];
    assert!(places.network(address("2001:db8:0:0:ffff::1")).is_none());
    assert!(places.network(address("2001:db8:0:1::1")).is_some());
}

#[test]
fn networks_that_left_are_forgotten() {
    let places = places(100, 2);
    for last in 0..=255 {
        drop(places.network(IpAddr::from([192, 0, 2, last])));
    }
    assert!(places.lock().is_empty());
}

#[tokio::test]
async fn a_network_has_half_of_the_turns_and_they_come_in_order() {
    let settings = Settings { group_exchanges: 4, ..Settings::default() };
    let (places, meter) = (Arc::new(Places::new(&settings)), Meter::default());
    let of = |last| places.network(IpAddr::from([192, 0, 2, last])).unwrap();
    let (first, again, second, third) = (of(1), of(1), of(2), of(3));
    let turn = |place: &NetworkPlace| place.turns(&meter).next(What::Exchange);
    let soon = Duration::from_millis(20);
    let held = [turn(&first).await.unwrap(), turn(&first).await.unwrap()];
    assert!(timeout(soon, turn(&again)).await.is_err(), "half of them, whichever connection it is");
    let more = [turn(&second).await.unwrap(), turn(&second).await.unwrap()];
    assert!(timeout(soon, turn(&third)).await.is_err(), "all of them");
    {
        // Somebody of a network that has its half, who came before, does not stand before others.
        let (mut waits, mut next) = (Box::pin(turn(&again)), Box::pin(turn(&third)));
        assert!(timeout(soon, &mut waits).await.is_err() && timeout(soon, &mut next).await.is_err());
        drop(more);
        timeout(soon, next).await.unwrap().unwrap();
        assert!(timeout(soon, waits).await.is_err());
    }
    // Who is logged in has no such place any more, and is of its network all the same.
    let (stays, elsewhere) = (first.turns(&meter), second.turns(&meter));
    drop((first, again, second, third));
    assert_eq!(places.lock().len(), 2);
    assert!(timeout(soon, of(1).turns(&meter).next(What::Exchange)).await.is_err(), "it has its half yet");
    drop((held, stays, elsewhere));
    assert!(places.lock().is_empty());
    assert_eq!(places.turns.available_permits(), 4);
}

#[tokio::test]
async fn who_logs_in_does_not_wait_for_every_exchange_of_its_network() {
    let settings = Settings { group_exchanges: 3, ..Settings::default() };
    let (places, meter) = (Arc::new(Places::new(&settings)), Meter::default());
    let here = places.network(IpAddr::from([192, 0, 2, 1])).unwrap();
    let turn = |what| here.turns(&meter).next(what);
    let exchange = turn(What::Exchange).await.unwrap();
    let mut waits = Box::pin(turn(What::Exchange));
    assert!(timeout(Duration::from_millis(20), &mut waits).await.is_err());
    let login = turn(What::Login).await.unwrap();
    assert!(timeout(Duration::from_millis(20), turn(What::Login)).await.is_err(), "one of each");
    drop(exchange);
    waits.await.unwrap();
    drop(login);
    // Together they have no more turns than there are.
    let all = [of_all(&places).await, of_all(&places).await, of_all(&places).await];
    assert!(timeout(Duration::from_millis(20), turn(What::Login)).await.is_err());
    drop(all);
}

async fn of_all(places: &Places) -> OwnedSemaphorePermit {
    Arc::clone(&places.turns).acquire_owned().await.unwrap()
}

#[test]
fn there_are_never_more_than_the_bound_and_few_are_turned_away_before() {
    let places = places(100, 100);
    let mut inside = Vec::new();
    for _ in 0..10_000 {
        inside.extend(places.enter());
    }
    assert!((76..=100).contains(&inside.len()), "{}", inside.len());
    inside.truncate(10);
    assert!(places.enter().is_ok(), "with most places free nobody is turned away");
}

#[test]
fn chance_grows_from_nothing_to_certainty() {
    assert!((0..=75).all(|taken| !is_unlucky(taken, 100, 0)));
    let odds = |taken| (0..=u16::MAX).filter(|dice| is_unlucky(taken, 100, *dice)).count();
    let all = usize::from(u16::MAX) + 1;
    assert!((76..100).all(|taken| odds(taken) < odds(taken + 1)), "more and more");
    assert!(odds(76) > 0 && odds(76) * 20 < all && odds(100) * 10 > all * 9, "{} {}", odds(76), odds(100));
    // With one place there is no chance to take.
    assert!(!is_unlucky(1, 1, 0));
}
