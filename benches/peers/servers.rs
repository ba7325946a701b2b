//! The servers: each on a port of its own, on loopback or on an address of a network namespace of the bench's own, with its
//! own folder for keys and configuration, watched by a meter.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::client::Door;
use super::meter::Tree;
use super::repos;

/// One server under the meter.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) tree: Tree,
    pub(crate) door: Door,
    /// What stands before `NAME.git` in a path for this server.
    pub(crate) prefix: String,
    /// The private key, for the real ssh.
    pub(crate) key: PathBuf,
    /// The gateway's, with which its cache can be emptied.
    pub(crate) config: Option<PathBuf>,
}

impl Server {
    pub(crate) fn path(&self, repo: &str) -> String {
        format!("{}{repo}.git", self.prefix)
    }

    /// Forgets what is kept, so that the next request is a first one. Says whether there is anything that keeps.
    pub(crate) fn forget(&self) -> bool {
        self.config.as_ref().is_some_and(|config| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pullgate"));
            command.args(["cache", "clear", "--config"]).arg(config);
            said(&mut command).is_ok()
        })
    }
}

/// The first of these that is there.
fn program(name: &str, places: &[&str]) -> Result<PathBuf, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut all = places.iter().map(PathBuf::from).chain(path.split(':').map(|dir| Path::new(dir).join(name)));
    all.find(|place| place.is_file()).ok_or_else(|| format!("{name} is not installed"))
}

pub(crate) fn said(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn port(host: Ipv4Addr) -> u16 {
    TcpListener::bind((host, 0)).and_then(|socket| socket.local_addr()).expect("a free port").port()
}

fn keygen(path: &Path) -> Result<String, String> {
    said(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(path))?;
    fs::read_to_string(path.with_extension("pub")).map_err(|e| e.to_string())
}

fn door(address: SocketAddrV4, user: &str, key: &Path) -> Result<Door, String> {
    let key = russh::keys::load_secret_key(key, None).map_err(|e| e.to_string())?;
    Ok(Door { address: address.into(), user: user.to_owned(), key: Arc::new(key) })
}

/// Waits until something is listening.
fn ready(tree: &mut Tree, address: SocketAddrV4, log: &Path) -> Result<(), String> {
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        if tree.ended() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("does not start: {}", fs::read_to_string(log).unwrap_or_default().trim()))
}

/// The gateway that was built with this program, listening on an address of this host's or this thread's namespace.
pub(crate) fn gateway(dir: &Path, store: &Path, host: Ipv4Addr, cache: bool) -> Result<Server, String> {
    gateway_of(if cache { "gateway" } else { "gateway-without-cache" }, dir, store, host, cache, None)
}

/// The same without its cache, and with what is called git in this folder.
#[allow(dead_code, reason = "only the benchmark of the SSH door needs it")]
pub(crate) fn gateway_with(dir: &Path, store: &Path, git: &Path) -> Result<Server, String> {
    gateway_of("gateway-with-a-writer", dir, store, Ipv4Addr::LOCALHOST, false, Some(git))
}

fn gateway_of(
    name: &str,
    dir: &Path,
    store: &Path,
    host: Ipv4Addr,
    cache: bool,
    git: Option<&Path>,
) -> Result<Server, String> {
    let home = dir.join(name);
    let program = env!("CARGO_BIN_EXE_pullgate");
    said(Command::new(program).arg("init").arg(&home))?;
    let (config, key) = (home.join("config.toml"), home.join("client"));
    let address = SocketAddrV4::new(host, port(host));
    let text = fs::read_to_string(&config).map_err(|e| e.to_string())?;
    let text = text
        .replace("127.0.0.1:2222", &address.to_string())
        .replace("root = \"repositories\"", &format!("root = {:?}", store.display().to_string()))
        .replace("startups = 200", "startups = 1000")
        // Bulk is measured with a clone of 256 MB that is kept in memory, and the default is 256 MiB for all that is kept.
        .replace("memory_mib = 256", "memory_mib = 1024");
    let text = text.replace("enabled = true", &format!("enabled = {cache}"));
    fs::write(&config, text).map_err(|e| e.to_string())?;
    let log = home.join("log");
    // Its log, as sshd's, is a file.
    let script = "exec \"$0\" serve --config \"$1\" 2> \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, program]).arg(&config).arg(&log);
    if let Some(folder) = git {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders).map_err(|e| e.to_string())?);
    }
    let mut tree = Tree::start(&format!("{name}-{address}"), &mut command)?;
    ready(&mut tree, address, &log)?;
    keygen(&key)?;
    let run = |args: &[&str]| said(Command::new(program).args(args).arg("--config").arg(&config));
    run(&["account", "add", "acme"])?;
    let public = key.with_extension("pub");
    run(&["key", "add", "acme", "bench", "--key", public.to_str().ok_or("no text")?, "--grant", "acme/*"])?;
    let door = door(address, "git", &key)?;
    Ok(Server { name: "pullgate", tree, door, prefix: "acme/".to_owned(), key, config: Some(config) })
}

/// One sshd with one forced command.
fn sshd(name: &'static str, dir: &Path, host: Ipv4Addr, forced: &str, prefix: String) -> Result<Server, String> {
    let program = program("sshd", &["/usr/sbin/sshd"])?;
    let home = dir.join(name.replace(' ', "-"));
    // A shell that sshd starts reads the user's own start-up files, which are no part of what is compared.
    fs::create_dir_all(home.join("empty")).map_err(|e| e.to_string())?;
    let (key, address) = (home.join("client"), SocketAddrV4::new(host, port(host)));
    keygen(&home.join("host"))?;
    let public = keygen(&key)?;
    let forced = forced.replace('"', "\\\"");
    fs::write(home.join("authorized_keys"), format!("command=\"{forced}\",restrict {public}"))
        .map_err(|e| e.to_string())?;
    if rustix::process::geteuid().is_root() {
        // Where it locks itself in before a login; the distribution makes it when the service starts.
        fs::create_dir_all("/run/sshd").ok();
    }
    let at = home.display();
    let config = format!(
        "ListenAddress {address}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized_keys\nPidFile none\n\
         UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPubkeyAuthentication yes\n\
         PermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\nSetEnv HOME={at}/empty\nCiphers aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com\nUseDNS no\n\
         MaxStartups 2000\nMaxSessions 100\nLoginGraceTime 600\nPrintMotd no\nPrintLastLog no\nLogLevel ERROR\n"
    );
    fs::write(home.join("config"), config).map_err(|e| e.to_string())?;
    let log = home.join("log");
    let mut command = Command::new(program);
    command.arg("-D").arg("-f").arg(home.join("config")).arg("-E").arg(&log);
    let mut tree = Tree::start(&format!("{}-{address}", name.replace(' ', "-")), &mut command)?;
    ready(&mut tree, address, &log)?;
    let user = said(Command::new("id").arg("-un"))?;
    let door = door(address, &user, &key)?;
    Ok(Server { name, tree, door, prefix, key, config: None })
}

/// OpenSSH with git-shell, as git's own book sets it up.
pub(crate) fn git_shell(dir: &Path, store: &Path, host: Ipv4Addr) -> Result<Server, String> {
    let shell = program("git-shell", &[])?;
    let forced = format!("{} -c \"$SSH_ORIGINAL_COMMAND\"", shell.display());
    sshd("sshd + git-shell", dir, host, &forced, format!("{}/acme/", store.display()))
}

/// OpenSSH with what is called git in this place.
#[allow(dead_code, reason = "only the benchmark of the SSH door needs it")]
pub(crate) fn sshd_with(dir: &Path, git: &Path) -> Result<Server, String> {
    let forced = format!("{} upload-pack", git.display());
    sshd("sshd with a writer", dir, Ipv4Addr::LOCALHOST, &forced, String::new())
}

/// OpenSSH with gitolite, on copies: it writes into its repositories.
pub(crate) fn gitolite(dir: &Path, store: &Path) -> Result<Server, String> {
    let gitolite = program("gitolite", &[])?;
    let shell = program("gitolite-shell", &["/usr/share/gitolite3/gitolite-shell"])?;
    let home = dir.join("gitolite-home");
    fs::create_dir_all(&home).map_err(|e| e.to_string())?;
    let run = |args: &[&str]| {
        said(
            Command::new(&gitolite)
                .args(args)
                .env("HOME", &home)
                .env("USER", "bench")
                .current_dir(&home)
                .env("GIT_CONFIG_NOSYSTEM", "1"),
        )
    };
    let pair = home.join("bench");
    keygen(&pair)?;
    run(&["setup", "-pk", "bench.pub"])?;
    repos::copies(store, &home.join("repositories"))?;
    let entries = fs::read_dir(store.join("acme")).map_err(|e| e.to_string())?;
    let mut conf = String::new();
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let name = name.trim_end_matches(".git");
        conf.push_str(&format!("repo acme/{name}\n    R = bench\n"));
    }
    let file = home.join(".gitolite/conf/gitolite.conf");
    fs::write(&file, conf).map_err(|e| e.to_string())?;
    run(&["compile"])?;
    let forced = format!("HOME={} {} bench", home.display(), shell.display());
    sshd("sshd + gitolite", dir, Ipv4Addr::LOCALHOST, &forced, "acme/".to_owned())
}

/// The versions of what takes part, for the head of the table.
pub(crate) fn versions() -> String {
    let one = |program: &str, args: &[&str]| {
        said(Command::new(program).args(args)).ok().and_then(|text| text.lines().next().map(str::to_owned))
    };
    let sshd = program("sshd", &["/usr/sbin/sshd"]).ok().and_then(|sshd| {
        // Old ones know no -V, and say their version with the complaint.
        let output = Command::new(sshd).arg("-V").output().ok()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        text.lines().find(|line| line.starts_with("OpenSSH")).map(str::to_owned)
    });
    let gitolite = one("dpkg-query", &["-W", "-f", "gitolite3 ${Version}", "gitolite3"]);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("").trim_matches([':', ' ', '\t']);
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let parts = [
        Some(format!("{threads} × {model}")),
        one("uname", &["-sr"]),
        one(env!("CARGO_BIN_EXE_pullgate"), &["--version"]),
        one("git", &["--version"]),
        sshd,
        gitolite,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
