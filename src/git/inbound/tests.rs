use super::*;

const SMALL: Budget = Budget { unread: 8192, total: 20_000 };

fn anybody() -> Party {
    Pool::new(Pool::DEFAULT).party()
}

fn taken(pool: &Pool) -> isize {
    pool.0.taken.0.load(Ordering::Acquire)
}

#[tokio::test]
async fn bytes_come_out_as_they_went_in() {
    let (mut feed, mut inbound) = channel(SMALL, &anybody());
    feed.push(b"one").unwrap();
    feed.push(b"two").unwrap();
    drop(feed);
    assert_eq!(inbound.next().await.as_deref(), Some(b"one".as_slice()));
    assert_eq!(inbound.next().await.as_deref(), Some(b"two".as_slice()));
    assert_eq!(inbound.next().await, None);
    assert!(!inbound.watch().flooded());
}

#[tokio::test]
async fn unread_bytes_are_bounded() {
    let (mut feed, inbound) = channel(SMALL, &anybody());
    feed.push(&[0; 8192]).unwrap();
    assert_eq!(feed.push(&[0]), Err(Flooded::Unread));
    assert!(inbound.watch().flooded());
}

#[tokio::test]
async fn tiny_pieces_are_bounded_in_number() {
    let (mut feed, _inbound) = channel(SMALL, &anybody());
    let taken = (0..10_000).take_while(|_| feed.push(&[0]).is_ok()).count();
    assert_eq!(taken, SMALL.unread / PIECE);
}

#[tokio::test]
async fn the_total_is_bounded_however_fast_git_reads() {
    let (mut feed, mut inbound) = channel(SMALL, &anybody());
    for _ in 0..20 {
        feed.push(&[0; 1000]).unwrap();
        inbound.next().await.unwrap();
    }
    assert_eq!(feed.push(&[0]), Err(Flooded::Sent));
}

/// Those who have much unread are cut when all have too much; who has little is not, and what was read or given up is free.
#[tokio::test]
async fn what_all_have_unread_is_bounded() {
    let (large, pool) = (Budget::default(), Pool::new(1 << 20));
    let piece = [0; 32 << 10];
    let mut ways: Vec<_> = (0..8).map(|_| channel(large, &pool.party())).collect();
    let mut cut = 0;
    for _ in 0..32 {
        for (feed, inbound) in &mut ways {
            if !inbound.watch().flooded() && feed.push(&piece).is_err() {
                cut += 1;
            }
        }
    }
    assert_eq!(cut, 8, "8 MiB do not go into one");
    assert!(taken(&pool) <= signed((1 << 20) + 8 * piece.len()));
    let (mut feed, mut inbound) = channel(large, &pool.party());
    let took = (0..32).take_while(|_| feed.push(&piece).is_ok()).count();
    assert!((2..8).contains(&took), "{took} pieces: its share, and what little is left");
    while inbound.receiver.try_recv().is_ok() {}
    drop((feed, inbound, ways));
    assert_eq!(taken(&pool), 0);
    let (mut feed, mut inbound) = channel(large, &pool.party());
    for _ in 0..100 {
        feed.push(&piece).unwrap();
        feed.push(&piece).unwrap();
        feed.push(&piece).unwrap();
        for _ in 0..3 {
            inbound.next().await.unwrap();
        }
    }
    assert_eq!(taken(&pool), 0);
}

/// As OpenSSH sends them. None is read before the last is here, which is what a git on a slow disk comes to.
#[tokio::test]
async fn the_wants_of_a_large_mirror_fit() {
    let (mut feed, _inbound) = channel(Budget::default(), &anybody());
    let wants = format!("0032want {:040}\n", 0).repeat(600_000);
    assert!(wants.as_bytes().chunks(32 << 10).all(|piece| feed.push(piece).is_ok()));
}

#[tokio::test]
async fn who_takes_all_that_there_is_leaves_half_of_it() {
    let (greedy, pool) = (Budget { unread: usize::MAX >> 20, total: usize::MAX }, Pool::new(1 << 20));
    let (mut feed, inbound) = channel(greedy, &pool.party());
    let took = (0..64).take_while(|_| feed.push(&[0; 32 << 10]).is_ok()).count();
    assert!((15..=18).contains(&took) && inbound.watch().flooded(), "{took} pieces, half a MiB and a share");
    let (mut other, _inbound) = channel(greedy, &pool.party());
    for _ in 0..6 {
        assert_eq!(other.push(&[0; 32 << 10]), Ok(()), "what others have done is not its fault");
    }
}

#[tokio::test]
async fn who_comes_on_many_channels_has_no_more_than_on_one() {
    let pool = Pool::new(1 << 20);
    let (greedy, other) = (pool.party(), pool.party());
    let mut ways: Vec<_> = (0..20).map(|_| channel(Budget::default(), &greedy)).collect();
    for _ in 0..8 {
        for (feed, _inbound) in &mut ways {
            // Those that are cut take no more, whatever the answer is.
            let _cut = feed.push(&[0; 32 << 10]);
        }
    }
    assert!(ways.iter().any(|(_, inbound)| inbound.watch().flooded()));
    let (mut feed, _inbound) = channel(Budget::default(), &other);
    for _ in 0..8 {
        assert_eq!(feed.push(&[0; 32 << 10]), Ok(()), "what others have done is not its fault");
    }
    // With one piece more than is allowed, whoever sends it.
    let (mut feed, _inbound) = channel(Budget::default(), &greedy);
    assert_eq!([0; 3].map(|_| feed.push(&[0; 32 << 10])), [Ok(()), Ok(()), Err(Flooded::Crowded)]);
    pool.resize(8 << 20);
    assert_eq!(feed.push(&[0; 32 << 10]), Ok(()));
}

#[tokio::test]
async fn who_waits_for_something_else_is_told_that_its_client_is_cut() {
    let (mut feed, inbound) = channel(SMALL, &anybody());
    let watch = inbound.watch();
    let waits = tokio::spawn(async move { watch.cut().await });
    tokio::task::yield_now().await;
    assert!(!waits.is_finished());
    feed.push(&[0; 9000]).unwrap_err();
    waits.await.unwrap();
}

/// The other end stays for as long as the connection.
#[tokio::test]
async fn what_is_thrown_away_counts_for_nobody() {
    let pool = Pool::new(1 << 20);
    let (mut feed, mut inbound) = channel(Budget::default(), &pool.party());
    for _ in 0..16 {
        feed.push(&[7; 32 * 1024]).unwrap();
    }
    inbound.next().await.unwrap();
    assert!(taken(&pool) > 0);
    drop(inbound);
    assert_eq!(taken(&pool), 0);
    feed.push(&[7; 128 * 1024]).unwrap();
    assert_eq!(taken(&pool), 0);
}

/// Two threads count in two steps each: in between the pool may look emptier than empty, and nobody is cut for that.
#[test]
fn who_takes_while_another_gives_cuts_nobody() {
    let pool = Pool::new(1 << 20);
    let (mut feed, mut inbound) = channel(Budget { unread: 1 << 20, total: usize::MAX }, &pool.party());
    let git = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { while inbound.next().await.is_some() {} });
    });
    for n in 0..300_000 {
        // Around the share, where each step counts in the pool.
        while feed.shared.unread.load(Ordering::Acquire) > 2 * SHARE {
            std::thread::yield_now();
        }
        assert_eq!(feed.push(&[7; 4096]), Ok(()), "piece {n}");
    }
    drop(feed);
    git.join().unwrap();
    assert_eq!(taken(&pool), 0);
}

#[test]
fn after_the_end_bytes_are_dropped() {
    let (mut feed, inbound) = channel(SMALL, &anybody());
    drop(inbound);
    for _ in 0..10 {
        assert_eq!(feed.push(&[0; 8192]), Ok(()), "nobody counts what nobody reads");
    }
}
