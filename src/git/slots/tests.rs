use super::*;
use proptest::prelude::*;

fn slots(slots: usize, per_key: usize, per_repository: usize) -> Slots {
    Slots::new(
        "slot",
        SlotSettings { slots, per_key, per_repository, rooms: 0, queue: 10, wait: Duration::from_secs(1) },
    )
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

const POPULAR: Label = [2; 32];

#[test]
fn who_waits_for_the_same_hears_where_it_stands() {
    let slots = slots(1, 1, 1);
    let running = now(&mut slots.ask(work("a", "r"), Some([1; 32])).unwrap()).unwrap();
    assert!(slots.lend(work("b", "r"), [1; 32]).is_none(), "it works");
    let first = slots.ask(work("a", "r"), None).unwrap();
    let mut second = slots.ask(work("a", "r"), Some(POPULAR)).unwrap();
    let lent = slots.lend(work("a", "r"), POPULAR).unwrap();
    assert_eq!(lent.ahead(), Some(1));
    drop(first);
    assert_eq!(lent.ahead(), Some(0));
    drop(running);
    assert!(now(&mut second).is_some());
    assert_eq!(lent.ahead(), None);
}

/// What a key has asked for at the end of its own queue is done when it is somebody else's turn who wants it too.
#[test]
fn who_waits_for_the_same_lends_its_own_turn() {
    let slots = slots(1, 1, 1);
    let running = now(&mut slots.ask(work("a", "r"), None).unwrap()).unwrap();
    let mut many: Vec<_> = (0..5).map(|_| slots.ask(work("a", "other"), None).unwrap()).collect();
    let mut popular = slots.ask(work("a", "r"), Some(POPULAR)).unwrap();
    let lent = [(); 3].map(|()| slots.lend(work("b", "r"), POPULAR).unwrap());
    assert_eq!((popular.ahead(), lent[0].ahead(), slots.counts()), (6, Some(1), (1, 6)), "of b there is one more");
    drop(running);
    let next = now(&mut many[0]).expect("a's turn");
    drop(next);
    let slot = now(&mut popular).expect("b's turn");
    assert_eq!(slot.work, work("b", "r"), "it counts as b's");
    assert!(lent.iter().all(|lent| lent.ahead().is_none()));
    drop((slot, lent));
    assert!(now(&mut many[1]).is_some());
}

#[test]
fn who_may_go_lets_another_go_that_may_not() {
    let slots = slots(2, 1, 2);
    let _running = now(&mut slots.ask(work("a", "r"), None).unwrap()).unwrap();
    let mut popular = slots.ask(work("a", "r"), Some(POPULAR)).unwrap();
    assert!(now(&mut popular).is_none(), "its key has one");
    let lent = slots.lend(work("b", "r"), POPULAR);
    assert!(now(&mut popular).is_some() && lent.is_some());
}

#[test]
fn a_turn_that_is_lent_is_taken_back_by_the_last_who_lent_it() {
    let slots = slots(1, 1, 1);
    let running = now(&mut slots.ask(work("a", "r"), None).unwrap()).unwrap();
    let popular = slots.ask(work("a", "r"), Some(POPULAR)).unwrap();
    let (one, other) = (slots.lend(work("b", "r"), POPULAR).unwrap(), slots.lend(work("b", "r"), POPULAR).unwrap());
    let behind = slots.ask(work("c", "r"), None).unwrap();
    assert_eq!(behind.ahead(), 2);
    drop(one);
    assert_eq!(behind.ahead(), 2);
    drop(other);
    assert_eq!(behind.ahead(), 1);
    let kept = slots.lend(work("b", "r"), POPULAR);
    drop(popular);
    assert_eq!(behind.ahead(), 0, "nobody asks for it any more");
    drop((running, kept, behind));
    let queue = slots.lock();
    assert!(queue.turns.is_empty() && queue.waiting.is_empty());
}

#[test]
fn who_lends_takes_no_place_in_a_full_queue() {
    let slots = slots(1, 1, 1);
    let _running = now(&mut slots.ask(work("a", "r"), None).unwrap()).unwrap();
    let _popular = slots.ask(work("a", "r"), Some(POPULAR)).unwrap();
    let keys: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let lent: Vec<_> = keys.iter().map(|key| slots.lend(work(key, "r"), POPULAR)).collect();
    assert!(lent.iter().all(Option::is_some) && slots.ask(work("c", "r"), None).is_ok());
    assert_eq!(slots.counts(), (1, 1));
}

#[test]
fn what_is_free_is_taken_without_waiting_and_no_more() {
    let slots = slots(2, 1, 2);
    let held = slots.take(work("a", "r"));
    assert!(held.is_some() && slots.take(work("a", "r")).is_none(), "its key has one");
    let mut waits = slots.ask(work("a", "r"), None).unwrap();
    drop(held);
    assert!(now(&mut waits).is_some() && slots.take(work("b", "r")).is_some());
    assert_eq!(slots.counts(), (0, 0));
}

proptest! {
    /// Whatever comes and goes, and whoever lends whom a turn: nobody is lost, no limit is passed, and none waits while it could go.
    #[test]
    fn nothing_is_lost(acts in prop::collection::vec((0u8..5, 0usize..8, 0u8..3), 0..80)) {
        let (all, per_key, per_repository) = (3, 2, 2);
        let slots = slots(all, per_key, per_repository);
        let mut waiting: Vec<(Work, Option<Label>, Place)> = Vec::new();
        let mut running: Vec<Slot> = Vec::new();
        let mut lent: Vec<(Work, Label, Lent)> = Vec::new();
        for (act, at, what) in acts {
            let (it, label) = (work(&(at % 3).to_string(), &what.to_string()), [what; 32]);
            let is_asked = waiting.iter().any(|(_, other, _)| *other == Some(label));
            match act {
                0 => {
                    // One asks for what several want.
                    let label = (at < 4 && !is_asked).then_some(label);
                    if let Ok(place) = slots.ask(it.clone(), label) {
                        waiting.push((it, label, place));
                    }
                }
                1 if !running.is_empty() => drop(running.remove(at % running.len())),
                2 if !waiting.is_empty() => drop(waiting.remove(at % waiting.len())),
                3 => {
                    let turn = slots.lend(it.clone(), label);
                    prop_assert_eq!(turn.is_some(), is_asked);
                    lent.extend(turn.map(|turn| (it, label, turn)));
                }
                4 if !lent.is_empty() => drop(lent.remove(at % lent.len())),
                _ => {}
            }
            let mut still = Vec::new();
            for (it, label, mut place) in waiting {
                match now(&mut place) {
                    Some(slot) => running.push(slot),
                    None => still.push((it, label, place)),
                }
            }
            waiting = still;
            prop_assert_eq!(slots.counts(), (running.len(), waiting.len()));
            let of_key = |key: &str| running.iter().filter(|slot| slot.work.key == key).count();
            let of_repository = |name: &str| running.iter().filter(|slot| slot.work.repository == name).count();
            prop_assert!(running.iter().all(|slot| of_key(&slot.work.key) <= per_key));
            prop_assert!(running.iter().all(|slot| of_repository(&slot.work.repository) <= per_repository));
            prop_assert!(running.len() <= all);
            let cannot_go = |it: &Work| {
                running.len() == all || of_key(&it.key) == per_key || of_repository(&it.repository) == per_repository
            };
            prop_assert!(waiting.iter().all(|(it, ..)| cannot_go(it)));
            for (it, label, turn) in &lent {
                let asked = waiting.iter().find(|(_, other, _)| *other == Some(*label));
                // Whoever asked anew did not do so in the name of those who came before.
                let lends = slots.lock().of(turn.number).is_some();
                prop_assert!(asked.is_none() || !lends || cannot_go(it));
                prop_assert_eq!(turn.ahead().is_some(), asked.is_some());
            }
        }
        drop((waiting, running, lent));
        let queue = slots.lock();
        prop_assert!(queue.turns.is_empty() && queue.waiting.is_empty() && queue.keys_running.is_empty());
        prop_assert!(queue.repositories_running.is_empty() && queue.running == 0);
    }
}
