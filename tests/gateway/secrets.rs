//! Where private keys are, after a day with the gateway: in their own files, and in no log, record, journal or dump.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::KeypairData;

use crate::harness::Gateway;

/// One private key, in every spelling in which it could get somewhere.
struct Secret {
    name: String,
    /// The number that is the secret.
    raw: Vec<u8>,
    /// The lines of its file.
    lines: Vec<String>,
}

impl Secret {
    fn of(name: &str, text: &str) -> Self {
        let key = PrivateKey::from_openssh(text).unwrap();
        let raw = if let KeypairData::Ed25519(pair) = key.key_data() {
            pair.private.to_bytes().to_vec()
        } else if let KeypairData::Ecdsa(pair) = key.key_data() {
            pair.private_key_bytes().to_vec()
        } else {
            panic!("{name}: {}", key.algorithm())
        };
        // The lines that hold a part of it: some of the others are public.
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let at = memmem::find(&STANDARD.decode(lines.concat()).unwrap(), &raw).unwrap();
        let (first, last) = (at * 4 / 3 / lines[0].len(), (at + 31) * 4 / 3 / lines[0].len());
        let lines = lines[first..=last].iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(raw.len(), 32);
        Self { name: name.to_owned(), raw, lines }
    }

    fn spellings(&self) -> Vec<(&'static str, Vec<u8>)> {
        let hex: String = self.raw.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut all = vec![
            ("itself", self.raw.clone()),
            ("hexadecimal", hex.clone().into_bytes()),
            ("hexadecimal, upper case", hex.to_uppercase().into_bytes()),
            // As Rust prints bytes.
            ("debug", format!("{:?}", self.raw).trim_matches(['[', ']']).to_owned().into_bytes()),
        ];
        // Wherever it starts in groups of three: without the digits that its neighbours share.
        for shift in 0..3 {
            let padded = [vec![0; shift], self.raw.clone()].concat();
            let digits = STANDARD.encode(padded);
            all.push(("base64", digits.as_bytes()[if shift == 0 { 0 } else { 4 }..40].to_vec()));
        }
        all.extend(self.lines.iter().map(|line| ("a line of its file", line.clone().into_bytes())));
        all
    }

    /// Where any spelling of it is in these bytes.
    fn found_in(&self, bytes: &[u8]) -> Vec<String> {
        let found = |(what, needle): (&'static str, Vec<u8>)| {
            memmem::find(bytes, &needle).map(|at| format!("{}: {what} at byte {at}", self.name))
        };
        self.spellings().into_iter().filter_map(found).collect()
    }
}

fn files_below(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            files_below(&path, into);
        } else if path.is_file() {
            into.push(path);
        }
    }
}

/// A day: keys made in every way, used, replaced and refused; host keys made, prepared and put to use. Returns the secrets.
fn a_day(gateway: &mut Gateway) -> Vec<Secret> {
    gateway.repo("acme/app");
    let url = gateway.url("acme/app");
    let grants = ["--grant", "acme/app"];
    let to_file = gateway.path("generated");
    gateway
        .pullgate(["key", "generate", "acme", "file", "--out", to_file.to_str().unwrap()].iter().chain(&grants))
        .ok();
    let shown = gateway.pullgate(["key", "generate", "acme", "shown"].iter().chain(&grants)).ok();
    let own = gateway.key("own", &["acme/app"]);
    gateway.git(&to_file, &["clone", "-q", &url, "work"]).ok();
    let said = gateway.git(&own, &["-C", "work", "push", "-q", &url, "HEAD:other"]).failed();
    assert!(said.contains("[read-only]"), "{said}");
    // A private key where a public one belongs.
    let private = own.to_str().unwrap();
    gateway.pullgate(["key", "add", "acme", "wrong", "--key", private]).failed();
    gateway.pullgate(["whereis", private]).failed();
    gateway
        .pullgate([
            "key",
            "rotate",
            "acme/own",
            "--key",
            gateway.keygen("new", &["ed25519"]).with_extension("pub").to_str().unwrap(),
        ])
        .ok();
    gateway.pullgate(["key", "suspend", "acme/file"]).ok();
    gateway.git(&to_file, &["ls-remote", &url]).failed();
    gateway.pullgate(["key", "remove", "acme/file"]).ok();
    gateway.git(&to_file, &["ls-remote", &url]).failed();
    gateway.pullgate(["host-key", "next"]).ok();
    gateway.pullgate(["host-key", "list"]).ok();
    gateway.pullgate(["backup", gateway.path("backup").to_str().unwrap()]).ok();
    let mut secrets = Vec::new();
    let mut keys = Vec::new();
    files_below(&gateway.path("keys"), &mut keys);
    for path in keys.iter().chain(&[to_file, own, gateway.path("new")]) {
        let text = std::fs::read_to_string(path).unwrap();
        if text.contains("PRIVATE KEY") {
            secrets.push(Secret::of(&path.file_name().unwrap().to_string_lossy(), &text));
        }
    }
    secrets.push(Secret::of("shown", &shown));
    gateway.pullgate(["host-key", "promote"]).ok();
    gateway.stop();
    gateway.resume();
    gateway.stop();
    secrets
}

/// An ECDSA host key beside the one that is always there.
fn both_host_keys(config: String) -> String {
    assert!(config.contains("nist_curves = false"), "{config}");
    config.replace("nist_curves = false", "nist_curves = true")
}

#[test]
fn a_private_key_is_in_its_own_file_and_nowhere_else() {
    // Everything is said that can be said.
    let mut gateway =
        Gateway::start_with(|config| both_host_keys(config).replace("level = \"info\"", "level = \"trace\""));
    let secrets = a_day(&mut gateway);
    // Two in use and two to come, and four of clients.
    assert_eq!(secrets.len(), 8, "{:?}", secrets.iter().map(|secret| &secret.name).collect::<Vec<_>>());
    let mut files = Vec::new();
    files_below(&gateway.path(""), &mut files);
    let holds = |path: &Path, text: &str| path.ends_with(text);
    for must in ["log", "state/audit.jsonl", "state/usage.jsonl", "backup"] {
        assert!(files.iter().any(|path| holds(path, must)), "{must} is not there: {files:#?}");
    }
    assert!(gateway.log().contains("TRACE") && gateway.log().len() > 10_000, "the log does not say everything");
    let (mut looked, mut own) = (0, 0);
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        if bytes.starts_with(b"-----BEGIN OPENSSH PRIVATE KEY-----") {
            own += 1;
            continue;
        }
        let found: Vec<_> = secrets.iter().flat_map(|secret| secret.found_in(&bytes)).collect();
        assert!(found.is_empty(), "{}: {found:?}", path.display());
        looked += 1;
    }
    // All but the one that was only shown; and this can find them where they are.
    assert!(own >= 7 && looked > 20, "{own} and {looked}");
    let text = std::fs::read(gateway.path("own")).unwrap();
    let secret = secrets.iter().find(|secret| secret.name == "own").unwrap();
    assert!(!secret.found_in(&text).is_empty());
    assert!(!secret.found_in(&[b"key ".as_slice(), &secret.raw].concat()).is_empty());
}

/// Every byte that a process can write to and that is there.
fn memory_of(pid: u32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw") && !line.contains("[v")) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|number| u64::from_str_radix(number, 16).unwrap());
        memory.seek(SeekFrom::Start(start)).unwrap();
        // What went away meanwhile is not read.
        if let Err(error) = memory.by_ref().take(end - start).read_to_end(&mut all) {
            assert_eq!(error.raw_os_error(), Some(libc::EIO), "{line}: {error}");
        }
    }
    all
}

#[test]
fn of_its_host_keys_the_daemon_keeps_what_it_signs_with() {
    let mut gateway = Gateway::start_with(both_host_keys);
    gateway.repo("acme/app");
    let key = gateway.key("ci", &["acme/app"]);
    if !rustix::process::geteuid().is_root() {
        // The daemon is not dumpable: its own user cannot look into it.
        assert!(std::fs::File::open(format!("/proc/{}/mem", gateway.pid())).is_err());
        return;
    }
    let secrets = ["ssh_host_ed25519_key", "ssh_host_ecdsa_key"]
        .map(|name| Secret::of(name, &std::fs::read_to_string(gateway.path("keys").join(name)).unwrap()));
    let look = |gateway: &Gateway, when: &str| {
        let memory = memory_of(gateway.pid());
        for Secret { name, raw, lines } in &secrets {
            let spelled = lines.iter().filter(|line| memmem::find(&memory, line.as_bytes()).is_some()).count();
            assert_eq!(spelled, 0, "{name}, {when}: the text of its file is in memory");
            let copies = memmem::find_iter(&memory, raw).count();
            eprintln!("{name}, {when}: {copies} copies in {} MiB", memory.len() >> 20);
            // It is there, so the rest was looked for in the right place.
            assert!(copies >= 1, "{name}, {when}");
            // What signing leaves on the stacks is the libraries'; before that there is one copy, which signs. Of an ECDSA
            // key there may be more: the library holds it by value, and each move leaves the old place as it was.
            let is_moved = name.contains("ecdsa");
            assert!(copies == 1 || is_moved || when == "used", "{name}, {when}: {copies} copies");
        }
    };
    look(&gateway, "made");
    gateway.stop();
    gateway.resume();
    look(&gateway, "read");
    gateway.git(&key, &["clone", "-q", &gateway.url("acme/app"), "work"]).ok();
    look(&gateway, "used");
}
