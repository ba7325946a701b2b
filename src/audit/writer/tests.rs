use std::sync::{Arc, Mutex};

use super::super::chain::tests::{Site, changed};
use super::*;
use crate::audit::strangers::Settings;

fn nobody() -> Arc<Strangers> {
    Arc::new(Strangers::new(Settings::default()))
}

/// A disk that stands still, is full after some bytes, and keeps what it was given.
#[derive(Clone, Default)]
struct Disk {
    stands: Arc<Mutex<()>>,
    room: Arc<Mutex<Option<usize>>>,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _moving = self.stands.lock().unwrap();
        let mut room = self.room.lock().unwrap();
        let size = room.map_or(bytes.len(), |room| room.min(bytes.len()));
        if size == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        *room = room.map(|room| room - size);
        self.kept.lock().unwrap().extend(&bytes[..size]);
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl super::Disk for Disk {
    fn place(&self) -> Option<crate::audit::chain::Place> {
        None
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_torn(&self) -> bool {
        false
    }
}

impl Disk {
    fn text(&self) -> String {
        String::from_utf8(self.kept.lock().unwrap().clone()).unwrap()
    }
}

fn opens(disk: &Disk) -> impl Fn() -> io::Result<Disk> + Send + 'static {
    let disk = disk.clone();
    move || Ok(disk.clone())
}

#[test]
fn a_file_that_was_moved_away_is_left_and_none_of_its_records_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("audit.jsonl"), dir.path().join("audit.jsonl.1"));
    let writer = Writer::open(&path, nobody(), Counters::default()).unwrap();
    (0..100).for_each(|number| writer.put(number.to_string()));
    std::fs::rename(&path, &moved).unwrap();
    (100..200).for_each(|number| writer.put(number.to_string()));
    writer.reopen().unwrap();
    (200..300).for_each(|number| writer.put(number.to_string()));
    writer.flush();
    let lines = |range: std::ops::Range<u32>| range.map(|number| format!("{number}\n")).collect::<String>();
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), lines(0..200));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), lines(200..300));
    // Where there can be no new one, the old one goes on.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(writer.reopen().is_err());
    writer.put("more".to_owned());
    writer.flush();
}

#[test]
fn all_is_written_in_order_before_the_end() {
    let disk = Disk::default();
    let writer = Writer::over(opens(&disk), nobody(), 8, Duration::from_secs(60), Counters::default()).unwrap();
    (0..1000).for_each(|number| writer.put(number.to_string()));
    drop(writer);
    let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
    assert_eq!(disk.text(), expected);
}

#[test]
fn a_disk_that_stands_still_costs_a_moment_and_no_record_in_silence() {
    let disk = Disk::default();
    let writer = Writer::over(opens(&disk), nobody(), 4, Duration::from_millis(20), Counters::default()).unwrap();
    let stands = disk.stands.lock().unwrap();
    let start = Instant::now();
    let refused: Vec<_> = (10..50)
        .filter_map(|number: u32| writer.offer(Item::Line(number.to_string()), Duration::from_millis(20)))
        .collect();
    assert!(start.elapsed() < Duration::from_secs(10), "nobody hangs");
    // A few are in the thread's hands, four are queued; who got no place has the record to tell it elsewhere.
    assert!(refused.len() > 10, "{refused:?}");
    drop(stands);
    writer.flush();
    let mut all: Vec<String> = disk.text().lines().map(str::to_owned).chain(refused).collect();
    all.sort();
    assert_eq!(all, (10..50).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn who_waits_for_a_disk_holds_nobody_else_up() {
    let disk = Disk::default();
    let patience = Duration::from_secs(600);
    let writer = Writer::over(opens(&disk), nobody(), 1, patience, Counters::default()).unwrap();
    let writer = Arc::new(writer);
    let stands = disk.stands.lock().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (began, begun) = mpsc::channel();
    for number in 0..6 {
        let (writer, began) = (Arc::clone(&writer), began.clone());
        drop(runtime.spawn(async move {
            began.send(()).unwrap();
            writer.put(number.to_string());
        }));
    }
    let soon = Duration::from_secs(20);
    let waits = (0..6).all(|_| begun.recv_timeout(soon).is_ok());
    let (served, serves) = mpsc::channel();
    drop(runtime.spawn(async move { served.send(()).unwrap() }));
    let heard = serves.recv_timeout(soon);
    drop(stands);
    assert!(waits, "each has its thread to wait on");
    heard.expect("somebody without a record is served");
    runtime.shutdown_timeout(soon);
    writer.flush();
    assert_eq!(disk.text().lines().count(), 6);
}

#[test]
fn a_crowd_that_waits_has_not_all_threads() {
    let disk = Disk::default();
    let writer = Writer::over(opens(&disk), nobody(), 1, Duration::from_secs(600), Counters::default()).unwrap();
    let stands = disk.stands.lock().unwrap();
    let all = writer.waiters.try_acquire_many(u32::try_from(WAITERS).unwrap()).unwrap();
    // Some are in the thread's hands, and one is queued.
    let refused = (0..100).filter_map(|number| writer.offer(Item::Line(number.to_string()), writer.patience)).count();
    assert!(refused > 50, "{refused}");
    drop((all, stands));
    assert_eq!(writer.offer(Item::Line("after".to_owned()), writer.patience), None);
    writer.flush();
    assert_eq!(disk.text().lines().count(), 101 - refused);
}

#[test]
fn a_line_that_was_cut_does_not_swallow_the_next() {
    let disk = Disk::default();
    let writer = Writer::over(opens(&disk), nobody(), 8, Duration::from_secs(60), Counters::default()).unwrap();
    writer.put("whole".to_owned());
    writer.flush();
    *disk.room.lock().unwrap() = Some(3);
    writer.put("broken".to_owned());
    writer.flush();
    *disk.room.lock().unwrap() = None;
    writer.put("after".to_owned());
    writer.flush();
    assert_eq!(disk.text(), "whole\nbro\nafter\n");
}

/// Whoever asked for these changes was told that they are done.
#[test]
fn links_that_a_full_disk_did_not_take_are_written_when_there_is_room() {
    let (site, disk) = (Site::new(), Disk::default());
    let writer = Writer::over(opens(&disk), nobody(), 8, Duration::from_secs(60), Counters::default()).unwrap();
    assert!(writer.chain(Chain::open(&site.settings(), &site.at("audit.jsonl"), Some(0)).unwrap()));
    let link = |seq| {
        let (time, id, event) = (jiff::Timestamp::now(), crate::audit::new_id(), changed(seq));
        writer.link(Record { v: crate::audit::SCHEMA, time, id, event, link: None });
        writer.flush();
    };
    link(1);
    *disk.room.lock().unwrap() = Some(10);
    link(2);
    link(3);
    writer.checkpoint();
    writer.flush();
    assert_eq!(disk.text().lines().count(), 2, "one, and a piece: {}", disk.text());
    *disk.room.lock().unwrap() = None;
    // Whatever finds room shows that there is some.
    writer.put("a fetch".to_owned());
    writer.flush();
    assert_eq!(disk.text().lines().skip(2).count(), 3, "{}", disk.text());
    link(4);
    drop(writer);
    std::fs::write(site.at("audit.jsonl"), disk.text().replace("a fetch\n", "")).unwrap();
    let verdict = site.verify(Some(4));
    assert!(verdict.good && verdict.changes == 4 && verdict.signed_up_to == Some(verdict.links), "{verdict:?}");
}
