//! nmap's scripts for SSH: what a scanner sees, and what it gets.

use std::path::Path;
use std::process::Command;

use crate::Check;
use crate::exercise::missing;
use crate::harness::{Gateway, run, wait_until};
use crate::offer::row;

pub(crate) fn checks() -> Vec<Check> {
    let check = |name: &str, run: fn()| Check {
        name: name.to_owned(),
        missing: missing(&["nmap", "ssh-keygen"]),
        run: Box::new(run),
    };
    vec![
        check("nmap sees what the page says and nothing else", seen),
        check("nmap's ssh-hostkey sees the gateway's own key", host_key),
        check("nmap's ssh-brute and ssh-run come to nothing", intruders),
        check("nmap's ssh-publickey-acceptance is ended by the bound on guesses", guesses),
    ]
}

/// What these scripts print of this port. They are told to run whatever the port looks like.
fn scan(port: u16, scripts: &[&str], arguments: &str, options: &[&str]) -> String {
    let scripts = scripts.iter().map(|script| format!("+{script}")).collect::<Vec<_>>().join(",");
    let mut nmap = Command::new("nmap");
    nmap.args(["-n", "-Pn", "-sT", "-p", &port.to_string(), "--script", &scripts]).args(options);
    if !arguments.is_empty() {
        nmap.args(["--script-args", arguments]);
    }
    let report = run(nmap.arg("127.0.0.1")).ok();
    assert!(report.contains(&format!("{port}/tcp open")), "{report}");
    report
}

/// The lines below a heading such as `kex_algorithms: (9)`, as deep as the first of them.
fn below(report: &str, heading: &str) -> Vec<String> {
    let line = |line: &str| line.trim_start_matches(['|', '_', ' ']).to_owned();
    let depth = |text: &str| text.len() - line(text).len();
    let mut lines = report.lines().skip_while(|text| !line(text).starts_with(heading)).skip(1).peekable();
    let first = lines.peek().map_or(0, |text| depth(text));
    lines
        .take_while(|text| text.starts_with('|') && depth(text) == first)
        .map(|text| line(text).trim().to_owned())
        .collect()
}

fn seen() {
    let gateway = Gateway::start();
    let scripts = ["ssh2-enum-algos", "ssh-auth-methods", "sshv1"];
    let report = scan(gateway.port(), &scripts, "", &[]);
    let announced = ["ext-info-s", "kex-strict-s-v00@openssh.com"].map(str::to_owned);
    assert_eq!(below(&report, "kex_algorithms: "), [row("key exchange", 1), announced.to_vec()].concat(), "{report}");
    assert_eq!(below(&report, "server_host_key_algorithms: "), row("host keys", 1), "{report}");
    assert_eq!(below(&report, "encryption_algorithms: "), row("ciphers", 1), "{report}");
    assert_eq!(below(&report, "mac_algorithms: "), row("message codes", 1), "{report}");
    assert_eq!(below(&report, "compression_algorithms: "), ["none"], "{report}");
    assert_eq!(below(&report, "Supported authentication methods:"), ["publickey"], "{report}");
    assert!(!report.contains("SSHv1"), "{report}");
    // The script that finds nothing would find something: a server of SSH-1 says so.
    assert!(scan(ssh1(), &["sshv1"], "", &[]).contains("Server supports SSHv1"));
}

/// A server of SSH-1, as far as the script looks: its first packet is a host key.
fn ssh1() -> u16 {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                client.write_all(b"SSH-1.99-old\n").ok();
                if client.read(&mut [0; 64]).is_ok_and(|length| length > 0) {
                    client.write_all(&[&[0, 0, 1, 7, 0, 0, 0, 0, 0, 2][..], &[7; 32]].concat()).ok();
                }
            });
        }
    });
    port
}

/// The script's own SSH knows no message code better than SHA-1, with which it gets no further here than the first packet. With
/// one name more in its library, which it needs for no more than an agreement, it sees the key.
fn host_key() {
    let gateway = Gateway::start();
    let weak = scan(gateway.port(), &["ssh-hostkey"], "ssh_hostkey=full", &[]);
    let data = gateway.path("nmap");
    library_with(&data, "\"hmac-md5,hmac-sha1,", "\"hmac-sha2-256,hmac-md5,hmac-sha1,");
    let report = scan(gateway.port(), &["ssh-hostkey"], "ssh_hostkey=full", &["--datadir", data.to_str().unwrap()]);
    let own = gateway.pullgate(["known-hosts"]).ok();
    let own: Vec<&str> = own.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    let shown = |report: &str| -> Vec<String> {
        report.split_whitespace().filter(|word| word.starts_with("AAAA")).map(str::to_owned).collect()
    };
    assert_eq!(shown(&report), own, "{report}");
    // A later nmap may know more; it sees the same then.
    assert!(shown(&weak).is_empty() || shown(&weak) == own, "{weak}");
    assert!(!shown(&weak).is_empty() || gateway.log().contains("nothing in common"), "{}", gateway.log());
}

/// nmap's data, in a folder of its own, with something else in its library for SSH.
fn library_with(folder: &Path, from: &str, to: &str) {
    let nmap = ["/usr/share/nmap", "/usr/local/share/nmap"].map(Path::new);
    let nmap = nmap.into_iter().find(|folder| folder.is_dir()).expect("nmap's data");
    let link = |from: &Path, to: &Path, but: &str| {
        std::fs::create_dir(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != but) {
            std::os::unix::fs::symlink(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    link(nmap, folder, "nselib");
    link(&nmap.join("nselib"), &folder.join("nselib"), "ssh2.lua");
    let library = std::fs::read_to_string(nmap.join("nselib/ssh2.lua")).unwrap();
    let changed = if library.contains("hmac-sha2-256") { library } else { library.replace(from, to) };
    assert!(changed.contains("hmac-sha2-256"), "the library has another form by now");
    std::fs::write(folder.join("nselib/ssh2.lua"), changed).unwrap();
}

/// An RSA key in the form that nmap's scripts read.
const PEM: &[&str] = &["rsa", "-b", "3072", "-m", "PEM"];

fn intruders() {
    let gateway = Gateway::start();
    let key = gateway.keygen("pem", PEM);
    let public = key.with_extension("pub");
    gateway.pullgate(["key", "add", "acme", "pem", "--key", public.to_str().unwrap()]).ok();
    let report = scan(gateway.port(), &["ssh-brute"], "brute.guesses=5", &[]);
    assert!(report.contains("ssh-brute: Password authentication not allowed"), "{report}");
    let report = scan(gateway.port(), &["ssh-run"], "ssh-run.username=git,ssh-run.password=git,ssh-run.cmd=id", &[]);
    assert!(report.contains("Authentication Failed"), "{report}");
    let logins = || gateway.audit().matches(r#""event":"login""#).count();
    assert_eq!(logins(), 0, "nobody got in");
    // With a key that is registered it is in, with a signature of SHA-1; it wants a terminal, gets none, and asks for no more.
    let arguments = format!("ssh-run.username=git,ssh-run.privatekey={},ssh-run.cmd=id", key.display());
    let report = scan(gateway.port(), &["ssh-run"], &arguments, &[]);
    assert!(!report.contains("uid=") && !report.contains("Authentication Failed"), "{report}");
    assert_eq!(logins(), 1, "{report}");
    assert!(!gateway.audit().contains(r#""event":"allowed""#), "{report}");
}

fn guesses() {
    let bound = "guesses_per_network = 600";
    let gateway = Gateway::start_with(|config| {
        assert!(config.contains(bound), "{config}");
        config.replace(bound, "guesses_per_network = 3")
    });
    let known = gateway.keygen("known", PEM).with_extension("pub");
    let known = known.to_str().unwrap();
    // It asks whether a key would do, and proves none.
    let asks = |keys: &[String]| {
        let keys = keys.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(",");
        scan(
            gateway.port(),
            &["ssh-publickey-acceptance"],
            &format!("ssh.usernames={{'git'}},ssh.publickeys={{{keys}}}"),
            &[],
        )
    };
    gateway.pullgate(["key", "add", "acme", "known", "--key", known]).ok();
    assert!(
        asks(&[known.to_owned()]).contains("known.pub accepted for user git"),
        "who has a key learns that it is known"
    );
    let strays: Vec<String> = (0..12)
        .map(|number| {
            gateway.keygen(&format!("stray{number}"), &["ed25519"]).with_extension("pub").display().to_string()
        })
        .collect();
    let report = asks(&strays);
    assert!(!report.contains("accepted for user"), "{report}");
    let barred = || gateway.log().contains("limit=\"guesses_per_network\"");
    wait_until("it is turned away at the door", barred);
    let refused = gateway.audit().matches(r#""reason":"unknown-key""#).count();
    assert!((3..12).contains(&refused), "{refused} of 12 were answered");
}
