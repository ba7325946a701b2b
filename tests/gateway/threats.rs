//! What broke other git servers, tried here with OpenSSH's client and with raw bytes. docs/threats.md says which is which.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{Gateway, plain_git, run, wait_until};

/// CVE-2026-24058: whoever offered an administrator's public key became that administrator.
#[test]
fn an_offered_key_is_nobody_until_it_signs() {
    let gateway = Gateway::start();
    for name in ["acme/victim", "acme/own"] {
        gateway.repo(name);
    }
    gateway.key("victim", &["acme/victim"]);
    let own = gateway.key("thief", &["acme/own"]);
    // A public key alone can be offered, and is accepted as one that might sign; it cannot.
    let bait = gateway.path("bait");
    std::fs::copy(gateway.path("victim.pub"), &bait).unwrap();
    std::fs::set_permissions(&bait, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let line = gateway.ssh_line(&own);
    for line in
        [line.replacen(" -i ", &format!(" -i {} -i ", bait.display()), 1), format!("{line} -i {}", bait.display())]
    {
        let with = |args: &[&str]| run(plain_git(&gateway.path("")).env("GIT_SSH_COMMAND", &line).args(args));
        with(&["ls-remote", &gateway.url("acme/own")]).ok();
        assert!(with(&["ls-remote", &gateway.url("acme/victim")]).failed().contains("[not-granted]"));
    }
    // Offered alone, it opens nothing at all.
    let alone = run(plain_git(&gateway.path(""))
        .env("GIT_SSH_COMMAND", gateway.ssh_line(&bait))
        .args(["ls-remote", &gateway.url("acme/victim")]));
    assert!(alone.failed().contains("Permission denied"));
}

#[test]
fn the_user_name_means_nothing() {
    let gateway = Gateway::start();
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    for user in ["root", "acme", "victim", "admin"] {
        let said = gateway.ssh(&key, &["-T", "-l", user], &[]);
        assert!(said.err.contains("Hello acme/ci"), "{user}: {said:?}");
    }
}

/// An SSH packet as it is before keys are exchanged: length, padding, one message.
fn packet(message: &[u8]) -> Vec<u8> {
    let padding = 16 - (message.len() + 5) % 8;
    let length = u32::try_from(message.len() + padding + 1).unwrap();
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.push(u8::try_from(padding).unwrap());
    bytes.extend_from_slice(message);
    bytes.extend(std::iter::repeat_n(0, padding));
    bytes
}

/// CVE-2018-10933: a client that said "you are logged in" was.
#[test]
fn messages_out_of_turn_end_the_connection() {
    let gateway = Gateway::start();
    for (what, message) in [
        ("login success", &[52u8][..]),
        ("channel open", b"\x5a\0\0\0\x07session\0\0\0\0\0\x10\0\0\0\0\x80\0"),
        ("channel request", b"\x62\0\0\0\0\0\0\0\x04exec\x01\0\0\0\x02id"),
        ("login request", b"\x32\0\0\0\x03git\0\0\0\x0essh-connection\0\0\0\x04none"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"SSH-2.0-raw\r\n").unwrap();
        stream.write_all(&packet(message)).unwrap();
        let mut said = Vec::new();
        // The end of the connection, and not the timeout.
        let ended = stream.read_to_end(&mut said);
        assert!(!matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{what}: it goes on");
        // Neither "success" (52) nor "channel open confirmation" (91), which would be the sixth byte of a packet.
        assert!(said.starts_with(b"SSH-2.0-"), "{what}: {said:?}");
        assert!(!gateway.audit().contains("\"event\":\"login\""), "{what}");
    }
}

#[test]
fn no_compression_no_other_method_and_strict_order() {
    let gateway = Gateway::start();
    let key = gateway.key("ci", &[]);
    let said = gateway.ssh(&key, &["-vvv", "-T", "-o", "Compression=yes"], &[]);
    assert!(said.err.contains("Hello acme/ci"), "{}", said.err);
    assert!(!said.err.contains("compression: zlib") && said.err.contains("compression: none"), "{}", said.err);
    // Terrapin (CVE-2023-48795): both sides count from zero again after the keys are exchanged.
    let strict = said.err.contains("strict KEX") || said.err.contains("kex-strict-s-v00@openssh.com");
    assert!(strict, "{}", said.err);
    let stranger = gateway.keygen("stranger", &["ed25519"]);
    let said = gateway.ssh(&stranger, &["-v"], &[]);
    assert!(
        said.err.contains("Authentications that can continue: publickey\r\n")
            || said.err.contains("Authentications that can continue: publickey\n"),
        "{}",
        said.err
    );
}

#[test]
fn a_certificate_is_no_key() {
    let gateway = Gateway::start();
    let ca = gateway.key("ca", &[]);
    let key = gateway.keygen("certified", &["ed25519"]);
    run(Command::new("ssh-keygen")
        .args(["-q", "-s"])
        .arg(&ca)
        .args(["-I", "id", "-n", "git,root"])
        .arg(key.with_extension("pub")))
    .ok();
    let certificate = format!("CertificateFile={}-cert.pub", key.display());
    let said = gateway.ssh(&key, &["-T", "-o", &certificate], &[]);
    assert!(said.code == Some(255) && said.err.contains("Permission denied"), "{said:?}");
}

#[test]
fn a_client_may_try_so_many_keys_and_no_more() {
    let gateway = Gateway::start_with(|config| config.replace("keys_per_connection = 32", "keys_per_connection = 4"));
    gateway.repo("acme/app");
    let right = gateway.key("right", &["acme/app"]);
    let mut line = gateway.ssh_line(&gateway.keygen("stray0", &["ed25519"]));
    for n in 1..6 {
        line.push_str(&format!(" -i {}", gateway.keygen(&format!("stray{n}"), &["ed25519"]).display()));
    }
    line.push_str(&format!(" -i {}", right.display()));
    let said =
        run(plain_git(&gateway.path("")).env("GIT_SSH_COMMAND", line).args(["ls-remote", &gateway.url("acme/app")]));
    said.failed();
    gateway.git(&right, &["ls-remote", &gateway.url("acme/app")]).ok();
}

#[test]
fn connections_that_say_nothing_are_dropped_and_bounded() {
    let gateway = Gateway::start_with(|config| {
        config.replace("banner_seconds = 10", "banner_seconds = 2").replace("startups = 1000", "startups = 50")
    });
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    let count: usize = std::env::var("PULLGATE_IDLE").map_or(300, |count| count.parse().unwrap());
    let start = Instant::now();
    let idle: Vec<_> = (0..count).filter_map(|_| TcpStream::connect(("127.0.0.1", gateway.port())).ok()).collect();
    wait_until("all of them are dropped", || {
        idle.iter().all(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            let mut buffer = [0u8; 256];
            // End of file or reset; a banner of ours may come before.
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(error) => {
                        return !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                    }
                }
            }
        })
    });
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
    gateway.git(&key, &["ls-remote", &gateway.url("acme/app")]).ok();
}

/// The memory of the daemon holds private keys: no dump of it, and no other process of the user looks into it.
#[test]
fn the_daemon_leaves_no_core() {
    let gateway = Gateway::start();
    let me = std::process::id();
    let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = gateway.config().display().to_string();
        let ours = status.contains(&format!("PPid:\t{me}\n")) && String::from_utf8_lossy(&line).contains(&config);
        ours.then_some(pid)
    });
    let pid = children.into_iter().next().expect("the daemon is a child of this test");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    // What is not dumpable belongs to root there, whoever it runs as; root itself cannot see the difference.
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{pid}/limits")).unwrap());
    assert_eq!(owner, 0);
}
