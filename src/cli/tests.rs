use std::ffi::OsString;
use std::path::Path;

use super::*;

/// One run with a person at the keyboard who types `input`.
fn typed(dir: &Path, args: &[&str], input: &str) -> (u8, String, String) {
    let config = dir.join("config.toml").into_os_string();
    let args = [OsString::from("pullgate")].into_iter().chain(args.iter().map(OsString::from));
    let args = args.chain([OsString::from("--config"), config]);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(
        args,
        &mut Io { input: &mut input.as_bytes(), out: &mut out, err: &mut err, interactive: true, out_is_open: false },
    );
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.toml"), "").unwrap();
    let state = dir.path().join("state");
    std::fs::DirBuilder::new().create(&state).unwrap();
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for args in [&["account", "add", "acme"][..], &["key", "generate", "acme", "ci"]] {
        assert_eq!(typed(dir.path(), args, "").0, 0);
    }
    dir
}

#[test]
fn an_account_with_keys_is_removed_after_a_yes_and_nothing_else() {
    let dir = site();
    for no in ["", "\n", "n\n", "yess\n", "no\ny\n"] {
        let (code, out, err) = typed(dir.path(), &["account", "remove", "acme"], no);
        assert_eq!((code, out.as_str()), (4, ""), "{no:?}");
        assert!(err.contains("holds 1 key: acme/ci") && err.contains("nothing was changed"), "{err}");
    }
    let (code, out, _) = typed(dir.path(), &["account", "remove", "acme"], "yes\n");
    assert_eq!((code, out.as_str()), (0, "removed account acme and its 1 key: acme/ci\n"));
}

#[test]
fn an_account_without_keys_is_removed_without_a_question() {
    let dir = site();
    assert_eq!(typed(dir.path(), &["key", "remove", "acme/ci"], "").0, 0);
    let (code, _, err) = typed(dir.path(), &["account", "remove", "acme"], "");
    assert_eq!((code, err.as_str()), (0, ""));
}

/// A terminal that is gone.
struct Gone;

impl std::io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_exit_code_is_said_even_when_nobody_reads_the_error() {
    let (mut out, mut err) = (Gone, Gone);
    let mut io =
        Io { input: &mut std::io::empty(), out: &mut out, err: &mut err, interactive: false, out_is_open: false };
    let args = ["pullgate", "--config", "/nonexistent/config.toml", "key", "list"].map(OsString::from);
    assert_eq!(run(args, &mut io), 6);
}
