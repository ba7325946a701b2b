use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::{advance, timeout};

use super::*;

mod memory;

/// Nothing in memory: files are the part of an entry where something can go wrong.
fn settings(folder: &std::path::Path) -> Settings {
    Settings {
        folder: folder.join("cache"),
        memory: 0,
        total: 1 << 30,
        entry: 1 << 29,
        entries: 100,
        free: 0,
        life: Duration::from_secs(100),
        single_life: Duration::from_secs(20),
        grace: Duration::from_secs(5),
        stall: Duration::from_secs(30),
        small: SmallSettings { total: 1 << 20, life: Duration::from_secs(60) },
    }
}

fn cache(edit: impl FnOnce(&mut Settings)) -> (Cache, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    edit(&mut settings);
    (Cache::open(settings).unwrap(), dir)
}

/// Bytes in memory and on disk.
fn used(cache: &Cache) -> (u64, u64) {
    let Contents { bytes, memory_bytes, .. } = cache.kept();
    (memory_bytes, bytes - memory_bytes)
}

fn key(n: u8) -> Key {
    Key::new([n; 32])
}

fn missing(cache: &Cache, n: u8) -> (Writer, Reader) {
    match cache.get(key(n)) {
        Found::Missing(writer, reader) => (writer, reader),
        other @ (Found::Kept(_) | Found::Growing(_) | Found::Bypass(_)) => panic!("{other:?}"),
    }
}

async fn all(mut reader: Reader) -> Result<Vec<u8>, Lost> {
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Waits long enough for everything that can happen without time passing.
async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
    timeout(Duration::from_millis(1), future).await.ok()
}

#[tokio::test(start_paused = true)]
async fn one_writes_and_many_read() {
    let (cache, _dir) = cache(|_| {});
    let (mut writer, first) = missing(&cache, 1);
    writer.write(Bytes::from_static(b"one ")).await.unwrap();
    let Found::Growing(second) = cache.get(key(1)) else { panic!() };
    let (first, second) = (tokio::spawn(all(first)), tokio::spawn(all(second)));
    writer.write(Bytes::from_static(b"two")).await.unwrap();
    writer.finish();
    let Found::Kept(third) = cache.get(key(1)) else { panic!() };
    for reader in [first, second, tokio::spawn(all(third))] {
        assert_eq!(reader.await.unwrap().unwrap(), b"one two");
    }
    assert_eq!(std::fs::read_dir(_dir.path().join("cache")).unwrap().count(), 0, "files have no names");
}

#[tokio::test(start_paused = true)]
async fn a_broken_entry_is_told_after_what_did_come_and_not_found_again() {
    let (cache, _dir) = cache(|_| {});
    let (mut writer, mut reader) = missing(&cache, 1);
    writer.write(Bytes::from_static(b"half")).await.unwrap();
    drop(writer);
    assert_eq!(reader.next().await.unwrap().unwrap(), "half");
    assert_eq!(reader.next().await, Err(Lost));
    drop(missing(&cache, 1));
    drop(reader);
    assert_eq!(used(&cache), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn lives_end_and_that_of_a_single_reader_sooner() {
    let (cache, _dir) = cache(|_| {});
    for n in [1, 2] {
        let (mut writer, _reader) = missing(&cache, n);
        writer.write(Bytes::from_static(b"x")).await.unwrap();
        writer.finish();
    }
    assert!(matches!(cache.get(key(2)), Found::Kept(_)));
    advance(Duration::from_secs(21)).await;
    drop(missing(&cache, 1));
    assert!(matches!(cache.get(key(2)), Found::Kept(_)));
    // However often it is asked for.
    advance(Duration::from_secs(80)).await;
    drop(missing(&cache, 2));
    assert_eq!(used(&cache), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_asked_for_goes_first() {
    let (cache, _dir) = cache(|settings| settings.total = 30);
    for n in [1, 2, 3] {
        let (mut writer, _reader) = missing(&cache, n);
        writer.write(Bytes::from_static(b"0123456789")).await.unwrap();
        writer.finish();
        advance(Duration::from_secs(1)).await;
    }
    assert!(matches!(cache.get(key(1)), Found::Kept(_)));
    advance(Duration::from_secs(1)).await;
    let (mut writer, _reader) = missing(&cache, 4);
    writer.write(Bytes::from_static(b"0123456789")).await.unwrap();
    writer.finish();
    assert_eq!(used(&cache), (0, 30));
    assert!(matches!(cache.get(key(1)), Found::Kept(_)) && matches!(cache.get(key(3)), Found::Kept(_)));
    drop(missing(&cache, 2));
}

/// The folder is gone and cannot be made again; the entry is too large; the disk has no room: all the same for readers.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_passed_on() {
    let edits: [fn(&mut Settings); 3] = [|s| s.entry = 5, |s| s.total = 5, |s| s.free = u64::MAX];
    for (n, edit) in edits.into_iter().enumerate() {
        let (cache, _dir) = cache(edit);
        passes(&cache, &format!("edit {n}")).await;
    }
    let (cache, dir) = cache(|_| {});
    let folder = dir.path().join("cache");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "a file in its place").unwrap();
    passes(&cache, "no folder").await;
}

async fn passes(cache: &Cache, case: &str) {
    let (mut writer, first) = missing(cache, 1);
    let Found::Growing(second) = cache.get(key(1)) else { panic!("{case}") };
    let (first, second) = (tokio::spawn(all(first)), tokio::spawn(all(second)));
    let mut expected = Vec::new();
    for n in 0..40u8 {
        // More than the window holds.
        let piece = Bytes::from(vec![n; 60_000]);
        expected.extend_from_slice(&piece);
        writer.write(piece).await.unwrap();
    }
    drop(missing(cache, 1));
    writer.finish();
    for reader in [first, second] {
        assert!(reader.await.unwrap().unwrap() == expected, "{case}");
    }
    assert_eq!(used(cache), (0, 0), "{case}");
}

#[tokio::test(start_paused = true)]
async fn a_removed_folder_is_made_again() {
    let (cache, dir) = cache(|_| {});
    std::fs::remove_dir(dir.path().join("cache")).unwrap();
    let (mut writer, reader) = missing(&cache, 1);
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    writer.finish();
    assert_eq!(all(reader).await.unwrap(), b"x");
    assert!(matches!(cache.get(key(1)), Found::Kept(_)));
}

#[tokio::test(start_paused = true)]
async fn who_stalls_does_not_hold_the_others_up_for_ever() {
    let (cache, _dir) = cache(|settings| settings.total = 1);
    let (mut writer, mut stalls) = missing(&cache, 1);
    let Found::Growing(reads) = cache.get(key(1)) else { panic!() };
    let reads = tokio::spawn(all(reads));
    for _ in 0..40 {
        writer.write(Bytes::from(vec![7; 60_000])).await.unwrap();
    }
    writer.finish();
    assert_eq!(reads.await.unwrap().unwrap().len(), 40 * 60_000);
    assert_eq!(stalls.next().await, Err(Lost));
}

/// An answer that is too large to be kept is not thrown away under those who read it, as long as nobody else needs the disk.
#[tokio::test(start_paused = true)]
async fn who_is_slow_holds_nobody_up_where_the_disk_has_room() {
    let (cache, _dir) = cache(|settings| settings.entry = 1);
    let (mut writer, slow) = missing(&cache, 1);
    let Found::Growing(fast) = cache.get(key(1)) else { panic!() };
    let fast = tokio::spawn(all(fast));
    let piece = || Bytes::from(vec![7; 60_000]);
    for _ in 0..40 {
        soon(writer.write(piece())).await.expect("it waits for nobody").unwrap();
    }
    drop(missing(&cache, 1));
    assert_eq!(used(&cache), (0, 40 * 60_000));
    // Who is alone sets the pace, and nothing more is written down for it.
    fast.abort();
    assert!(fast.await.unwrap_err().is_cancelled());
    let written = async {
        for _ in 0..40 {
            writer.write(piece()).await.unwrap();
        }
        writer.finish();
    };
    let (bytes, ()) = tokio::join!(all(slow), written);
    assert_eq!((bytes.unwrap().len(), used(&cache)), (80 * 60_000, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_writer_without_readers_has_the_time_of_grace() {
    let (cache, _dir) = cache(|_| {});
    let (writer, reader) = missing(&cache, 1);
    assert!(soon(writer.abandoned()).await.is_none());
    drop(reader);
    assert!(timeout(Duration::from_secs(4), writer.abandoned()).await.is_err());
    let Found::Growing(reader) = cache.get(key(1)) else { panic!() };
    assert!(timeout(Duration::from_secs(60), writer.abandoned()).await.is_err());
    drop(reader);
    timeout(Duration::from_secs(6), writer.abandoned()).await.unwrap();
    // Not found any more, though its writer is still there.
    drop(missing(&cache, 1));
}

#[tokio::test(start_paused = true)]
async fn entries_are_bounded_in_number() {
    let (cache, _dir) = cache(|settings| settings.entries = 2);
    let held = [missing(&cache, 1), missing(&cache, 2)];
    assert!(matches!(cache.get(key(3)), Found::Bypass("full")));
    for (writer, _) in held {
        writer.finish();
    }
    drop(missing(&cache, 3));
}

#[test]
fn off_keeps_nothing() {
    assert!(!Cache::off().is_on());
    assert!(matches!(Cache::off().get(key(1)), Found::Bypass("off")));
}

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Read(usize),
    Leave(usize),
    Write(usize, usize),
    Finish(usize),
    Fail(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..3).prop_map(Step::Get),
        6 => (0usize..8).prop_map(Step::Read),
        1 => (0usize..8).prop_map(Step::Leave),
        6 => (0usize..4, 1usize..900).prop_map(|(at, length)| Step::Write(at, length)),
        1 => (0usize..4).prop_map(Step::Finish),
        1 => (0usize..4).prop_map(Step::Fail),
        1 => (1u64..40).prop_map(Step::Wait),
    ]
}

/// What the model knows of an entry: which bytes it has is decided by its number and the offset alone.
#[derive(Debug, Default)]
struct Known {
    written: usize,
    whole: bool,
    broken: bool,
    made: u64,
}

fn content(entry: usize, from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|at| u8::try_from((entry * 31 + at * 7 + (at >> 8)) % 251).unwrap()).collect()
}

const ENTRY: usize = 1500;

async fn walk(steps: Vec<Step>, total: u64, memory: u64) {
    let (cache, _dir) = cache(|settings| {
        (settings.memory, settings.total) = (memory, total);
        (settings.entry, settings.entries) = (ENTRY as u64, 3);
    });
    let mut entries: Vec<Known> = Vec::new();
    let mut current: HashMap<u8, usize> = HashMap::new();
    let mut writers: Vec<(usize, Writer)> = Vec::new();
    let mut readers: Vec<(usize, usize, Reader)> = Vec::new();
    let mut clock = 0;
    for step in steps {
        match step {
            Step::Get(n) => match cache.get(key(n)) {
                Found::Missing(writer, reader) => {
                    if let Some(old) = current.get(&n).map(|at| &entries[*at])
                        && total > 100_000
                    {
                        let growing = !old.whole && !old.broken && old.written <= ENTRY;
                        let young = old.whole && old.written <= ENTRY && clock - old.made < 20;
                        assert!(!growing, "two writers under one key");
                        assert!(!young || entries.len() > 3, "a whole, young entry was not found");
                    }
                    let at = entries.len();
                    entries.push(Known { made: clock, ..Known::default() });
                    current.insert(n, at);
                    writers.push((at, writer));
                    readers.push((at, 0, reader));
                }
                Found::Growing(reader) => {
                    let at = current[&n];
                    assert!(!entries[at].whole && !entries[at].broken && entries[at].written <= ENTRY);
                    readers.push((at, 0, reader));
                }
                Found::Kept(reader) => {
                    let at = current[&n];
                    assert!(entries[at].whole && entries[at].written <= ENTRY && clock - entries[at].made < 100);
                    readers.push((at, 0, reader));
                }
                Found::Bypass(why) => assert!(why == "full" && (writers.len() + readers.len()) >= 3),
            },
            Step::Read(n) if !readers.is_empty() => {
                let n = n % readers.len();
                let (at, offset, reader) = &mut readers[n];
                let known = &entries[*at];
                match soon(reader.next()).await {
                    None => assert!(*offset == known.written && !known.whole && !known.broken),
                    Some(Ok(None)) => assert!(*offset == known.written && known.whole),
                    Some(Err(Lost)) => assert!(*offset == known.written && known.broken),
                    Some(Ok(Some(bytes))) => {
                        assert!(*offset + bytes.len() <= known.written);
                        assert_eq!(&bytes[..], content(*at, *offset, bytes.len()));
                        *offset += bytes.len();
                    }
                }
            }
            Step::Leave(n) if !readers.is_empty() => drop(readers.swap_remove(n % readers.len())),
            Step::Write(n, length) if !writers.is_empty() => {
                let n = n % writers.len();
                let (at, writer) = &mut writers[n];
                let bytes = content(*at, entries[*at].written, length);
                match writer.write(Bytes::from(bytes)).await {
                    Ok(()) => entries[*at].written += length,
                    Err(Abandoned) => {
                        assert!(!readers.iter().any(|(of, ..)| of == at), "somebody reads it");
                        let (at, writer) = writers.swap_remove(n);
                        drop(writer);
                        entries[at].broken = true;
                    }
                }
            }
            Step::Finish(n) if !writers.is_empty() => {
                let (at, writer) = writers.swap_remove(n % writers.len());
                writer.finish();
                entries[at].whole = true;
            }
            Step::Fail(n) if !writers.is_empty() => {
                let (at, writer) = writers.swap_remove(n % writers.len());
                drop(writer);
                entries[at].broken = true;
            }
            Step::Wait(seconds) => {
                advance(Duration::from_secs(seconds)).await;
                clock += seconds;
            }
            Step::Read(_) | Step::Leave(_) | Step::Write(..) | Step::Finish(_) | Step::Fail(_) => {}
        }
        let (in_memory, on_disk) = used(&cache);
        assert!(in_memory <= memory && on_disk <= total);
    }
    drop((readers, writers));
    advance(Duration::from_secs(1000)).await;
    drop(cache.get(key(200)));
    assert_eq!(used(&cache), (0, 0), "something is still held");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_writers_and_readers_do(
        steps in prop::collection::vec(step(), 1..80), small in any::<bool>(),
        memory in prop_oneof![Just(0), 1u64..2500, Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(walk(steps, if small { 3000 } else { 1 << 20 }, memory));
    }
}
