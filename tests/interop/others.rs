//! What is no client of git: an auditor of the SSH server, and git-lfs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Check;
use crate::exercise::{Site, missing};
use crate::harness::{Gateway, Said, plain_git, run};

pub(crate) fn checks() -> Vec<Check> {
    vec![
        Check { name: "ssh-audit finds no failure".to_owned(), missing: missing(&["ssh-audit"]), run: Box::new(audit) },
        Check {
            name: "git-lfs is told clearly".to_owned(),
            missing: missing(&["git-lfs"]),
            run: Box::new(lfs_is_told),
        },
        Check {
            name: "git-lfs pulls from elsewhere".to_owned(),
            missing: missing(&["git-lfs"]),
            run: Box::new(lfs_is_elsewhere),
        },
    ]
}

/// Nothing of what is offered by default is faulted, nor is an RSA host key. The NIST curves are: they are off by default, and
/// on for the clients that have nothing else (JSch knows no other host keys but those with SHA-1).
fn audit() {
    let report = |edit: fn(String) -> String| {
        let gateway = Gateway::start_with(edit);
        let args = ["--no-colors", "-p", &gateway.port().to_string(), "127.0.0.1"];
        let report = run(Command::new("ssh-audit").args(args)).out;
        // It talked to us and knew what it saw.
        assert!(report.contains("(key) ssh-ed25519") && report.contains("(kex) curve25519-sha256"), "{report}");
        report
    };
    let failures = |report: &str| -> Vec<String> {
        report.lines().filter(|line| line.contains("[fail]")).map(str::to_owned).collect()
    };
    let default = report(|config| config);
    assert_eq!(failures(&default), [""; 0], "{default}");
    let rsa = report(|config| config.replace("rsa_host_key = false", "rsa_host_key = true"));
    assert!(rsa.contains("(key) rsa-sha2-512"), "{rsa}");
    assert_eq!(failures(&rsa), [""; 0], "{rsa}");
    let nist = failures(&report(|config| config.replace("nist_curves = false", "nist_curves = true")));
    assert!(!nist.is_empty() && nist.iter().all(|line| line.contains("-sha2-nistp")), "{nist:#?}");
}

/// A repository with one large file, as a pointer; a clone of it through the gateway; and git for that clone.
struct Large {
    site: Site,
    work: PathBuf,
}

impl Large {
    /// Whose file has this content, and whose server is named by `.lfsconfig`, if it is.
    fn new(content: &[u8], server: Option<&str>) -> Self {
        let site = Site::new(&["ed25519"]);
        let (edit, work) = (site.gateway.path("edit"), site.gateway.path("work"));
        run(plain_git(&site.gateway.path("")).args(["clone", "-q", site.bare.to_str().unwrap(), "edit"])).ok();
        let (oid, size) = (oid(content), content.len());
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n");
        std::fs::write(edit.join("big.bin"), pointer).unwrap();
        std::fs::write(edit.join(".gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n").unwrap();
        if let Some(server) = server {
            std::fs::write(edit.join(".lfsconfig"), format!("[lfs]\n\turl = {server}\n")).unwrap();
        }
        for args in [&["add", "."][..], &["commit", "-q", "-m", "Large"], &["push", "-q", "origin", "HEAD:main"]] {
            run(plain_git(&edit).args(args)).ok();
        }
        let large = Self { site, work };
        large.git(&large.site.gateway.path(""), &["clone", "-q", &large.site.url("acme/app.git"), "work"]).ok();
        // Without its filter, which a distribution configures for everybody, git-lfs fetches and leaves the pointers.
        large.git(&large.work, &["lfs", "install", "--local"]).ok();
        large
    }

    fn git(&self, dir: &Path, args: &[&str]) -> Said {
        let home = self.site.gateway.path("home");
        let ssh = format!(
            "ssh -F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={} -i {}",
            home.join(".ssh/known_hosts").display(),
            self.site.key.display()
        );
        let mut git = plain_git(dir);
        git.env("HOME", &home).env("GIT_SSH_COMMAND", &ssh).env("GIT_LFS_SKIP_SMUDGE", "1").env("GIT_TRACE", "1");
        run(git.args(args))
    }

    fn pull(&self) -> Said {
        self.git(&self.work, &["lfs", "pull", "origin"])
    }

    fn file(&self) -> Vec<u8> {
        std::fs::read(self.work.join("big.bin")).unwrap()
    }
}

/// What git-lfs calls a file: the SHA-256 of its content.
fn oid(content: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// git-lfs asks over SSH where the files are, twice: for its own protocol, and for an address. Both end with 127 and a sentence
/// that it shows as it is.
fn lfs_is_told() {
    let large = Large::new(b"never seen", None);
    let pulled = large.pull();
    assert_ne!(pulled.code, Some(0));
    let shown: Vec<&str> = pulled.err.lines().filter(|line| !line.contains(" trace ")).collect();
    assert!(shown.contains(&"batch request: git-lfs-authenticate: not found: exit status 127"), "{}", pulled.err);
    assert!(pulled.err.contains("attempting pure SSH protocol connection"), "{}", pulled.err);
    // The checkout itself is good all the same, with pointers in place of the files.
    assert!(large.file().starts_with(b"version https://git-lfs"));
}

/// A repository that says where its files are: they come from there, and the gateway is not asked.
fn lfs_is_elsewhere() {
    let content = b"a large file\n".repeat(10_000);
    let server = format!("http://127.0.0.1:{}/acme/app", lfs_server(content.clone()));
    let large = Large::new(&content, Some(&server));
    let logins = || large.site.gateway.audit().matches("\"event\":\"login\"").count();
    let before = logins();
    assert!(large.file().starts_with(b"version https://git-lfs"));
    large.pull().ok();
    assert!(large.file() == content, "not the file");
    assert_eq!(logins(), before, "the gateway was asked for what it does not have");
}

/// Another place, with one file: as much of git-lfs' batch API as a download takes (git-lfs docs/api/batch.md).
fn lfs_server(content: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let (mut request, mut line, mut length) = (String::new(), String::new(), 0);
            while reader.read_line(&mut line).unwrap() > 2 {
                if request.is_empty() {
                    request.clone_from(&line);
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut asked = vec![0; length];
            reader.read_exact(&mut asked).unwrap();
            let oid = oid(&content);
            let (kind, body) = if request.starts_with("POST /acme/app/objects/batch ") {
                assert!(String::from_utf8(asked).unwrap().contains(&oid));
                let size = content.len();
                let href = format!("http://127.0.0.1:{port}/files/{oid}");
                let object = serde_json::json!({"oid": oid, "size": size, "authenticated": true,
                    "actions": {"download": {"href": href}}});
                let answer = serde_json::json!({"transfer": "basic", "objects": [object]});
                ("application/vnd.git-lfs+json", answer.to_string().into_bytes())
            } else {
                assert!(request.starts_with(&format!("GET /files/{oid} ")), "{request}");
                ("application/octet-stream", content.clone())
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            client.write_all(&[head.into_bytes(), body].concat()).unwrap();
        }
    });
    port
}
