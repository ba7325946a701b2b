//! Tells the program what it was built from: `pullgate --version` prints it, and `check` holds the clock against it.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let said = |name| std::env::var(name).unwrap_or_default();
    // A debug build would be built again after each commit, to no use.
    let from = match said("PROFILE") == "release" {
        true => commit().unwrap_or_else(|| "commit not known".to_owned()),
        false => "debug build".to_owned(),
    };
    println!("cargo::rustc-env=PULLGATE_COMMITTED={}", committed().unwrap_or_default());
    let (version, target) = (said("CARGO_PKG_VERSION"), said("TARGET"));
    println!("cargo::rustc-env=PULLGATE_VERSION={version} ({from}, {target}, {})", features());
}

/// What was built in that is not by default, as cargo says it to build scripts.
fn features() -> String {
    let named = |name: String| Some(name.strip_prefix("CARGO_FEATURE_")?.to_lowercase().replace('_', "-"));
    let mut features: Vec<_> = std::env::vars().filter_map(|(name, _)| named(name)).collect();
    features.sort();
    if features.is_empty() { "no optional features".to_owned() } else { format!("with {}", features.join(", ")) }
}

/// Twelve digits, with `-modified` when files that git knows were changed. None outside a checkout, as in an archive of
/// the sources: an operator who packages one sets `PULLGATE_COMMIT`.
fn commit() -> Option<String> {
    println!("cargo::rerun-if-env-changed=PULLGATE_COMMIT");
    if let Ok(given) = std::env::var("PULLGATE_COMMIT") {
        return given.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-').then_some(given);
    }
    // The sources lie at the top of a checkout of their own: not somewhere inside another project's.
    if !Path::new(".git").exists() {
        return None;
    }
    for file in ["HEAD", "logs/HEAD", "index"] {
        let file = git(&["rev-parse", "--git-path", file])?;
        println!("cargo::rerun-if-changed={file}");
    }
    git(&["describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=-modified"])
}

/// When that commit was made, in seconds since 1970: no clock of a machine that runs this program can be before it. Who
/// packages an archive of the sources says it with `SOURCE_DATE_EPOCH`, as packagers do. None in a debug build.
fn committed() -> Option<String> {
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    if std::env::var("PROFILE").ok()? != "release" {
        return None;
    }
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let from_git = || Path::new(".git").exists().then(|| git(&["log", "-1", "--format=%ct"])).flatten();
    given.or_else(from_git).filter(|seconds| !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit()))
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
