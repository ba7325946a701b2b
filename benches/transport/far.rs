//! Clones over a path of 50 ms, from the same servers again, started in the near one of two network namespaces.
//!
//! What a client sees there is what is in flight: at most the smaller one of the windows that it and the kernels grant, each
//! 50 ms. `ssh` grants 2 MiB, which is 42 MB/s; a client that grants more shows what the server's side holds back.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use russh::cipher;

use super::client::{Client, Fault, Wish};
use super::median;
use super::path::{DELAY, Link, NEAR};
use super::repos::Repo;
use super::servers::{self, Server};
use super::transfer::{LIMIT, Seen, by_ssh, watch};

/// What the client that grants more than `ssh` grants.
const WIDE: u32 = 32 << 20;
/// How many bytes the plain stream has.
const PLAIN: u64 = 256 << 20;

/// A client that grants more than ssh does.
fn wide(server: &Server, repo: &Repo, wish: &[u8]) -> Result<Seen, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let start = Instant::now();
        let client = Client::connect_wide(&server.door, WIDE).await?;
        let mut talk = client.upload_pack(&server.path(&repo.name), 2).await?;
        talk.capabilities().await?;
        let first = Instant::now();
        let pack = tokio::time::timeout(3 * LIMIT, talk.fetch(wish.to_vec())).await;
        let pack = pack.map_err(|_| format!("{}: not done in {:?}", server.name, 3 * LIMIT))??;
        let rest = first.elapsed();
        if pack.bytes < repo.pack_bytes * 9 / 10 {
            return Err(format!("{}: {} bytes of {}", server.name, pack.bytes, repo.pack_bytes));
        }
        talk.end().await?;
        client.close().await;
        Ok(Seen { bytes: pack.bytes, first: first - start, rest, whole: true })
    })
}

/// Sends to whoever comes: first a byte for each of theirs, then all of a plain stream.
fn plain_server(listener: &TcpListener) -> std::io::Result<()> {
    let (mut socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    let mut byte = [0; 1];
    for _ in 0..TRIPS {
        socket.read_exact(&mut byte)?;
        socket.write_all(&byte)?;
    }
    let piece = vec![7; 256 << 10];
    for _ in 0..PLAIN / piece.len() as u64 {
        socket.write_all(&piece)?;
    }
    Ok(())
}

const TRIPS: usize = 15;

/// The time of a round trip in milliseconds, and a plain stream of TCP: what the path itself carries.
fn plain(link: &Link) -> Result<(f64, Seen), Fault> {
    let told = |e: std::io::Error| format!("the plain stream: {e}");
    let listener = link.server.within(|| TcpListener::bind((NEAR, 0))).map_err(told)?;
    let address = listener.local_addr().map_err(told)?;
    let sender = std::thread::spawn(move || plain_server(&listener));
    let seen = link.client.within(|| {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(LIMIT))?;
        let (mut byte, mut trips) = ([1; 1], Vec::new());
        for _ in 0..TRIPS {
            let start = Instant::now();
            socket.write_all(&byte)?;
            socket.read_exact(&mut byte)?;
            trips.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        Ok((median(trips), watch(&mut socket, Instant::now())))
    });
    let (trip, seen) = seen.map_err(told)?;
    let seen = seen?;
    if seen.whole {
        sender.join().expect("a thread that does not panic").map_err(told)?;
    }
    Ok((trip, seen))
}

/// The rows of one client: sshd, the gateway from git, the gateway from what is kept.
#[derive(Default)]
struct Rows(Vec<Vec<Seen>>);

impl Rows {
    fn add(&mut self, row: usize, seen: Seen) {
        self.0.resize_with(self.0.len().max(row + 1), Vec::new);
        self.0[row].push(seen);
    }

    fn of(&self, row: usize, what: impl Fn(&Seen) -> f64) -> f64 {
        median(self.0[row].iter().map(what).collect())
    }

    /// A row for each server; the first one is the measure of the others.
    fn print(&self, client: &str, names: &[&str]) {
        let rate = |seen: &Seen| seen.bytes as f64 / 1e6 / seen.rest.as_secs_f64();
        for (row, name) in names.iter().enumerate() {
            let (own, base) = (self.of(row, rate), self.of(0, rate));
            let all: Vec<String> = self.0[row].iter().map(|seen| format!("{:.1}", rate(seen))).collect();
            let times = if names.len() > 1 { format!("{:.2}", own / base) } else { String::new() };
            let cut = if self.0[row].iter().all(|seen| seen.whole) { "" } else { ", cut short" };
            println!(
                "| {client} | {name} | {:.2} | {own:.1} ({}{cut}) | {times} |",
                self.of(row, |seen| seen.first.as_secs_f64()),
                all.join(", ")
            );
        }
    }
}

/// Prints the table, or why there is none.
pub(crate) fn far(dir: &Path, store: &Path, repo: &Repo, rounds: usize, control: Option<&str>) -> Result<(), Fault> {
    let link = match Link::new() {
        Ok(link) => link,
        Err(why) => {
            println!("\nA path of {} ms was not measured: {why}.", 2 * DELAY.as_millis());
            return Ok(());
        }
    };
    if let Some(control) = control {
        link.server.set_control(control)?;
    }
    let dir = dir.join("far");
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let servers = link.server.within(|| {
        Ok::<_, Fault>([
            servers::git_shell(&dir, store, NEAR)?,
            servers::gateway(&dir, store, NEAR, false)?,
            servers::gateway(&dir, store, NEAR, true)?,
        ])
    })?;
    println!("\nThe path: {}. Congestion control {}.", link.how(), link.server.control()?);
    let wish = Wish { wants: repo.all.clone(), ..Wish::default() }.v2();
    // The first finds cold files, and keeps what the others find; it has no need of the long way.
    let clone = |server| by_ssh(server, &repo.name, &wish, cipher::AES_128_GCM.as_ref(), repo.pack_bytes);
    for server in &servers {
        link.server.within(|| clone(server))?;
    }
    let (mut trips, mut floor, mut narrow, mut broad) = (Vec::new(), Rows::default(), Rows::default(), Rows::default());
    for _ in 0..rounds {
        let (trip, seen) = plain(&link)?;
        trips.push(trip);
        floor.add(0, seen);
        for (row, server) in servers.iter().enumerate() {
            narrow.add(row, link.client.within(|| clone(server))?);
        }
        for (row, server) in servers.iter().enumerate() {
            broad.add(row, link.client.within(|| wide(server, repo, &wish))?);
        }
    }
    let trip = median(trips);
    println!(
        "\n| a clone over {trip:.1} ms | server | to the first byte, s | MB/s from there on (of each round) | times sshd's |\n| --- | --- | --- | --- | --- |"
    );
    let names = ["sshd + git-shell", "pullgate, from git", "pullgate, from what is kept"];
    narrow.print("ssh, window of 2 MiB", &names);
    broad.print(&format!("russh, window of {} MiB", WIDE >> 20), &names);
    floor.print("no SSH", &["a plain stream of TCP"]);
    println!("\n{}.", link.losses());
    let meant = 2.0 * DELAY.as_secs_f64() * 1000.0;
    match (meant..meant * 1.1).contains(&trip) {
        true => Ok(()),
        false => Err(format!("a round trip took {trip:.1} ms, not {meant:.0}: this is no measurement of such a path")),
    }
}
