//! What is in memory, and what goes on in a file.

use super::*;

/// So many pieces of 100 bytes, from this one on.
async fn write(writer: &mut Writer, pieces: std::ops::Range<u8>) {
    for n in pieces {
        writer.write(Bytes::from(vec![n; 100])).await.unwrap();
    }
}

fn bytes(pieces: std::ops::Range<u8>) -> Vec<u8> {
    pieces.flat_map(|n| [n; 100]).collect()
}

#[tokio::test(start_paused = true)]
async fn what_fits_into_memory_has_no_file() {
    let (cache, dir) = cache(|settings| settings.memory = 1000);
    // Nobody misses a folder that is not used.
    std::fs::remove_dir(dir.path().join("cache")).unwrap();
    let (mut writer, first) = missing(&cache, 1);
    let first = tokio::spawn(all(first));
    write(&mut writer, 0..3).await;
    let Found::Growing(second) = cache.get(key(1)) else { panic!() };
    let second = tokio::spawn(all(second));
    write(&mut writer, 3..10).await;
    writer.finish();
    let Found::Kept(third) = cache.get(key(1)) else { panic!() };
    assert!(!third.has_file());
    for reader in [first, second, tokio::spawn(all(third))] {
        assert!(reader.await.unwrap().unwrap() == bytes(0..10));
    }
    assert_eq!(used(&cache), (1000, 0));
    assert!(!dir.path().join("cache").exists(), "a file was made");
    assert_eq!(cache.kept(), Contents { entries: 1, bytes: 1000, memory_bytes: 1000 });
}

#[tokio::test(start_paused = true)]
async fn what_outgrows_memory_goes_on_in_its_file() {
    let (cache, _dir) = cache(|settings| settings.memory = 350);
    let (mut writer, first) = missing(&cache, 1);
    let first = tokio::spawn(all(first));
    write(&mut writer, 0..2).await;
    let Found::Growing(mut second) = cache.get(key(1)) else { panic!() };
    assert!(!second.has_file());
    assert_eq!(second.next().await.unwrap().unwrap(), bytes(0..1), "pieces are as they were written");
    write(&mut writer, 2..5).await;
    assert!(second.has_file());
    // What would fit into the rest of the memory comes after what did not.
    writer.write(Bytes::from_static(&[5; 50])).await.unwrap();
    assert_eq!(used(&cache), (300, 250));
    let Found::Growing(third) = cache.get(key(1)) else { panic!() };
    let (second, third) = (tokio::spawn(all(second)), tokio::spawn(all(third)));
    writer.write(Bytes::from_static(&[5; 50])).await.unwrap();
    write(&mut writer, 6..20).await;
    writer.finish();
    let Found::Kept(last) = cache.get(key(1)) else { panic!() };
    assert!(second.await.unwrap().unwrap() == bytes(1..20));
    for reader in [first, third, tokio::spawn(all(last))] {
        assert!(reader.await.unwrap().unwrap() == bytes(0..20));
    }
    assert_eq!(used(&cache), (300, 1700));
}

#[tokio::test(start_paused = true)]
async fn memory_is_given_back_when_the_entry_goes() {
    let (cache, _dir) = cache(|settings| settings.memory = 500);
    let (mut writer, _) = missing(&cache, 1);
    write(&mut writer, 0..5).await;
    writer.finish();
    // Nothing goes for memory's sake.
    let (mut writer, reads) = missing(&cache, 2);
    write(&mut writer, 0..5).await;
    writer.finish();
    assert_eq!(used(&cache), (500, 500));
    drop(reads);
    advance(Duration::from_secs(21)).await;
    // Asking for anything lets go what is over.
    let (mut writer, reads) = missing(&cache, 3);
    assert_eq!(used(&cache), (0, 0));
    write(&mut writer, 0..5).await;
    writer.finish();
    assert_eq!(used(&cache), (500, 0));
    cache.clear();
    assert_eq!(used(&cache), (500, 0), "somebody reads it");
    assert!(all(reads).await.unwrap() == bytes(0..5));
    assert_eq!(used(&cache), (0, 0));
    let (mut writer, reads) = missing(&cache, 4);
    write(&mut writer, 0..3).await;
    drop((writer, reads));
    assert_eq!(used(&cache), (0, 0), "an entry that broke");
}

/// What has nothing on the disk stays when there is no room there: it would make none.
#[tokio::test(start_paused = true)]
async fn what_is_in_memory_alone_does_not_go_for_the_disk() {
    let (cache, _dir) = cache(|settings| (settings.memory, settings.total) = (200, 500));
    for n in [1, 2, 3] {
        let (mut writer, _reader) = missing(&cache, n);
        write(&mut writer, 0..if n == 1 { 2 } else { 4 }).await;
        writer.finish();
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(used(&cache), (200, 400));
    assert!(matches!(cache.get(key(1)), Found::Kept(_)) && matches!(cache.get(key(3)), Found::Kept(_)));
    // The third took the place of the second; a fourth that is larger than the disk gets finds none to take.
    let (mut writer, reader) = missing(&cache, 4);
    let reader = tokio::spawn(all(reader));
    write(&mut writer, 0..6).await;
    writer.finish();
    assert!(reader.await.unwrap().unwrap() == bytes(0..6));
    assert!(matches!(cache.get(key(1)), Found::Kept(_)));
    drop(missing(&cache, 3));
}

/// A piece that is held does not hold the buffer that it was cut from.
#[tokio::test(start_paused = true)]
async fn pieces_are_in_memory_of_their_own() {
    let (cache, _dir) = cache(|settings| settings.memory = 500);
    let (mut writer, mut reader) = missing(&cache, 1);
    let large = Bytes::from(vec![7; 1 << 20]);
    writer.write(large.slice(1000..1100)).await.unwrap();
    assert!(large.is_unique());
    let first = reader.next().await.unwrap().unwrap();
    let Found::Growing(mut other) = cache.get(key(1)) else { panic!() };
    let second = other.next().await.unwrap().unwrap();
    assert!(first == [7; 100].as_slice() && first.as_ptr() == second.as_ptr(), "readers share it");
}

#[tokio::test(start_paused = true)]
async fn an_entry_is_bounded_in_memory_and_file_together() {
    for memory in [0, 300, 1000] {
        let (cache, _dir) = cache(|settings| (settings.memory, settings.entry) = (memory, 600));
        let (mut writer, reader) = missing(&cache, 1);
        write(&mut writer, 0..6).await;
        assert!(matches!(cache.get(key(1)), Found::Growing(_)));
        assert_eq!(used(&cache), (memory.min(600), 600 - memory.min(600)));
        let reader = tokio::spawn(all(reader));
        write(&mut writer, 6..9).await;
        drop(missing(&cache, 1));
        writer.finish();
        assert!(reader.await.unwrap().unwrap() == bytes(0..9), "of {memory}");
        assert_eq!(used(&cache), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_outgrows_memory_without_a_folder_is_passed_on() {
    let (cache, dir) = cache(|settings| settings.memory = 350);
    let folder = dir.path().join("cache");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "a file in its place").unwrap();
    passes(&cache, "the first piece does not fit").await;
    let (mut writer, first) = missing(&cache, 1);
    write(&mut writer, 0..2).await;
    let Found::Growing(second) = cache.get(key(1)) else { panic!() };
    let (first, second) = (tokio::spawn(all(first)), tokio::spawn(all(second)));
    write(&mut writer, 2..9).await;
    assert_eq!(used(&cache), (300, 0));
    drop(missing(&cache, 1));
    writer.finish();
    for reader in [first, second] {
        assert!(reader.await.unwrap().unwrap() == bytes(0..9));
    }
    assert_eq!(used(&cache), (0, 0));
}

/// What was set aside for a write that nobody waited for comes back.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_dropped_half_way_takes_no_room() {
    let (cache, _dir) = cache(|_| {});
    let (mut writer, reader) = missing(&cache, 1);
    {
        let mut write = std::pin::pin!(writer.write(Bytes::from_static(b"half")));
        // Asked once, and not again.
        std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context).is_ready())).await;
    }
    drop(writer);
    assert_eq!(all(reader).await, Err(Lost));
    assert_eq!(used(&cache), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_given_back_without_being_asked_for() {
    let (cache, _dir) = cache(|settings| settings.memory = 250);
    let (mut writer, reader) = missing(&cache, 1);
    write(&mut writer, 0..5).await;
    writer.finish();
    drop(reader);
    cache.tidy();
    assert_eq!(used(&cache), (200, 300), "it may still be found");
    advance(Duration::from_secs(21)).await;
    cache.tidy();
    assert_eq!((used(&cache), cache.kept().entries), ((0, 0), 0));
}
