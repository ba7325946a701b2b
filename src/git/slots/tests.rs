use super::*;
use proptest::prelude::*;

fn slots(slots: usize, per_key: usize, per_repository: usize) -> Slots {
    Slots::new(SlotSettings { slots, per_key, per_repository, queue: 10, wait: Duration::from_secs(1) })
}

fn work(key: &str, repository: &str) -> Work {
    Work { key: key.to_owned(), repository: repository.to_owned() }
}

/// The slot, if its turn has come.
fn now(place: &mut Place) -> Option<Slot> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(place.granted()).poll(&mut context) {
        std::task::Poll::Ready(slot) => slot,
        std::task::Poll::Pending => None,
    }
}

#[test]
fn zeros_become_what_the_machine_has() {
    let settings = SlotSettings::default().for_this_machine();
    assert!(
        settings.slots >= 4 && settings.per_key == settings.slots - 1 && settings.per_repository == settings.slots - 1
    );
    let one = SlotSettings { slots: 1, ..SlotSettings::default() }.for_this_machine();
    assert_eq!((one.slots, one.per_key, one.per_repository), (1, 1, 1));
}

#[test]
fn keys_take_turns() {
    let slots = slots(1, 1, 1);
    let running = now(&mut slots.ask(work("a", "r"), None).unwrap()).unwrap();
    let mut waiting: Vec<_> =
        ["a", "a", "a", "b", "c", "b"].into_iter().map(|key| (key, slots.ask(work(key, "r"), None).unwrap())).collect();
    assert_eq!(waiting.iter().map(|(_, place)| place.ahead()).collect::<Vec<_>>(), [0, 3, 5, 1, 2, 4]);
    let mut order = String::new();
    drop(running);
    while !waiting.is_empty() {
        let at = waiting.iter_mut().position(|(_, place)| {
            // The slot is free again at once.
            now(place).is_some()
        });
        order.push_str(waiting.remove(at.expect("somebody has the slot")).0);
    }
    assert_eq!(order, "abcaba");
}

/// A key that fills the queue crowds itself out, and nobody else.
#[test]
fn who_has_the_most_in_a_full_queue_makes_room() {
    let slots = slots(1, 1, 1);
    let running = now(&mut slots.ask(work("a", "r"), None).unwrap()).unwrap();
    let mut many: Vec<_> = (0..10).map(|_| slots.ask(work("a", "r"), None).unwrap()).collect();
    assert!(slots.ask(work("a", "r"), None).is_err(), "it is its own queue");
    let mut others: Vec<_> = ["b", "c"].into_iter().map(|key| slots.ask(work(key, "r"), None).unwrap()).collect();
    assert_eq!((slots.counts(), others[0].ahead(), others[1].ahead()), ((1, 10), 1, 2));
    let gone = |place: &mut Place| matches!(place.granted.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    assert_eq!(many.iter_mut().map(gone).collect::<Vec<_>>(), [[false; 8].as_slice(), &[true; 2]].concat());
    drop(many.split_off(8));
    assert_eq!(slots.counts(), (1, 10));
    drop(running);
    assert!(now(&mut many[0]).is_some() && now(&mut others[0]).is_some());
}

#[test]
fn no_key_and_no_repository_has_them_all() {
    let slots = slots(3, 2, 2);
    let mut held = Vec::new();
    for key in ["a", "a"] {
        held.push(now(&mut slots.ask(work(key, "r"), None).unwrap()).unwrap());
    }
    let (mut a, mut b, mut c) = (
        slots.ask(work("a", "other"), None).unwrap(),
        slots.ask(work("b", "r"), None).unwrap(),
        slots.ask(work("c", "free"), None).unwrap(),
    );
    assert!(now(&mut a).is_none(), "its key has two");
    assert!(now(&mut b).is_none(), "its repository has two");
    held.push(now(&mut c).expect("neither is so here"));
    assert_eq!(slots.counts(), (3, 2));
    held.remove(0);
    assert!(now(&mut a).is_some(), "first come, first served");
    held.remove(0);
    assert!(now(&mut b).is_some());
}

#[test]
fn who_is_one_too_many_hears_it() {
    let slots = slots(1, 1, 1);
    let _running = now(&mut slots.ask(work("a", "r"), None).unwrap()).unwrap();
    let waiting: Vec<_> = (0..10).map(|_| slots.ask(work("a", "r"), None).unwrap()).collect();
    assert_eq!(slots.ask(work("a", "r"), None).unwrap_err(), Full);
    assert_eq!(slots.counts(), (1, 10));
    drop(waiting);
    assert_eq!(slots.counts(), (1, 0));
    assert!(slots.ask(work("b", "r"), None).is_ok());
}

#[test]
fn others_find_a_place_by_its_label() {
    let slots = slots(1, 1, 1);
    let running = now(&mut slots.ask(work("a", "r"), Some([1; 32])).unwrap()).unwrap();
    assert_eq!(slots.ahead_of(&[1; 32]), None, "it works");
    let first = slots.ask(work("a", "r"), None).unwrap();
    let mut second = slots.ask(work("a", "r"), Some([2; 32])).unwrap();
    assert_eq!(slots.ahead_of(&[2; 32]), Some(1));
    drop(first);
    assert_eq!(slots.ahead_of(&[2; 32]), Some(0));
    drop(running);
    assert!(now(&mut second).is_some());
    assert_eq!(slots.ahead_of(&[2; 32]), None);
}

proptest! {
    /// Whatever comes and goes: nobody is lost, no limit is passed, and none waits while it could go.
    #[test]
    fn nothing_is_lost(acts in prop::collection::vec((0u8..3, 0usize..8, 0usize..3), 0..60)) {
        let (all, per_key, per_repository) = (3, 2, 2);
        let slots = slots(all, per_key, per_repository);
        let mut waiting: Vec<(usize, usize, Place)> = Vec::new();
        let mut running: Vec<(usize, usize, Slot)> = Vec::new();
        for (act, at, what) in acts {
            match act {
                0 => {
                    let (key, repository) = (at % 3, what);
                    if let Ok(place) = slots.ask(work(&key.to_string(), &repository.to_string()), None) {
                        waiting.push((key, repository, place));
                    }
                }
                1 if !running.is_empty() => drop(running.remove(at % running.len())),
                2 if !waiting.is_empty() => drop(waiting.remove(at % waiting.len())),
                _ => {}
            }
            let mut still = Vec::new();
            for (key, repository, mut place) in waiting {
                match now(&mut place) {
                    Some(slot) => running.push((key, repository, slot)),
                    None => still.push((key, repository, place)),
                }
            }
            waiting = still;
            prop_assert_eq!(slots.counts(), (running.len(), waiting.len()));
            let of_key = |wanted| running.iter().filter(|(key, ..)| *key == wanted).count();
            let of_repository = |wanted| running.iter().filter(|(_, repository, _)| *repository == wanted).count();
            prop_assert!(running.len() <= all);
            prop_assert!((0..3).all(|n| of_key(n) <= per_key && of_repository(n) <= per_repository));
            for (key, repository, _) in &waiting {
                prop_assert!(running.len() == all || of_key(*key) == per_key || of_repository(*repository) == per_repository);
            }
        }
        drop((waiting, running));
        prop_assert_eq!(slots.counts(), (0, 0));
    }
}
