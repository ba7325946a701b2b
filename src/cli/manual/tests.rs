use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory as _};

use crate::cli::{Cli, Io, run};

fn pullgate(args: &[&str]) -> (u8, String, String) {
    let args = ["pullgate"].iter().chain(args).map(OsString::from);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(
        args,
        &mut Io { input: &mut std::io::empty(), out: &mut out, err: &mut err, interactive: false, out_is_open: false },
    );
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// The help of one command and of all below it. `command` was built, so that each knows its whole name.
fn chapter(command: &mut Command, depth: usize, text: &mut String) {
    let help = command.render_long_help().to_string();
    let name = command.get_bin_name().unwrap_or("pullgate").to_owned();
    // The exit codes are below each help text; here once is enough.
    let help = help.split("\nExit codes:").next().unwrap().trim_end();
    write!(text, "{} {name}\n\n```text\n{help}\n```\n\n", "#".repeat(depth)).unwrap();
    for below in command.get_subcommands_mut().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        chapter(below, depth + 1, text);
    }
}

#[test]
fn the_command_reference_is_what_the_program_says() {
    let codes = crate::cli::exit::HELP.trim();
    let mut text = format!(
        "# The command\n\nWhat `--help` says of each verb. A test holds this page to it; `PULLGATE_WRITE=1 cargo test --lib \
         manual` writes it anew.\n\n```text\n{codes}\n```\n\n"
    );
    // Of one width, whatever the terminal that the test runs in.
    let mut command = Cli::command().term_width(110);
    command.build();
    chapter(&mut command, 2, &mut text);
    let text = format!("{}\n", text.trim_end());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/commands.md");
    if std::env::var_os("PULLGATE_WRITE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == text, "docs/commands.md is stale: write it anew with PULLGATE_WRITE=1");
}

#[test]
fn every_shell_gets_a_script_that_knows_the_verbs() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, err) = pullgate(&["completions", shell]);
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        for verb in ["known-hosts", "suspend", "account-key"] {
            assert!(out.contains(verb), "{shell} does not know {verb}");
        }
    }
    let (code, _, err) = pullgate(&["completions", "csh"]);
    assert_eq!(code, 2);
    assert!(err.contains("bash"), "{err}");
}

#[test]
fn bash_reads_its_script() {
    let (_, script, _) = pullgate(&["completions", "bash"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pullgate");
    std::fs::write(&file, script).unwrap();
    let complete = format!(
        ". {}; COMP_WORDS=(pullgate key su); COMP_CWORD=2; _pullgate pullgate su key; echo \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    let output = std::process::Command::new("bash").args(["--norc", "-c", &complete]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "suspend", "{output:?}");
}

#[test]
fn the_manual_has_a_page_for_each_verb() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = pullgate(&["man", dir.path().to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for page in ["pullgate.1", "pullgate-key.1", "pullgate-key-rotate.1"] {
        let page = std::fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(page.contains(".SH NAME") && page.contains("pullgate"), "{page}");
    }
    let (code, _, err) = pullgate(&["man", "/nonexistent/folder"]);
    assert_eq!(code, 3);
    assert!(err.contains("hint: name a folder"), "{err}");
}

/// The commands that a page shows: lines of code blocks, and inline code, that start with `pullgate`.
fn commands(page: &str) -> Vec<String> {
    let (mut found, mut code) = (Vec::new(), false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if code {
            let line = line.trim_start().trim_start_matches("$ ").trim_start_matches("sudo ");
            found.extend(line.starts_with("pullgate ").then(|| line.to_owned()));
        } else {
            let inline = line.split('`').skip(1).step_by(2);
            found.extend(inline.filter(|text| text.starts_with("pullgate ")).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_command_on_a_page_is_one_that_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("SECURITY.md"), root.join("keys/README.md")];
    for folder in ["docs", "docs/ci", "docs/decisions"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(
            files.filter(|file| file.extension().is_some_and(|end| end == "md") && !file.ends_with("commands.md")),
        );
    }
    let (mut tried, mut wrong) = (0, Vec::new());
    for page in pages {
        for line in commands(&std::fs::read_to_string(&page).unwrap()) {
            // What a shell does with it is not ours to judge; `…` and `VERB|VERB` are ways of speaking.
            let words = line.split(['#', '>', ';', '&', '(']).next().unwrap();
            let words = words.split(" | ").next().unwrap();
            if words.contains(['…', '|']) {
                continue;
            }
            let words = words.split('"').enumerate().flat_map(|(n, part)| match n % 2 {
                0 => part.split_whitespace().map(|word| word.trim_matches(['\'', '[', ']'])).collect(),
                _ => vec![part],
            });
            tried += 1;
            // A verb that is spoken of comes without its arguments.
            let spoken = |error: &clap::Error| {
                use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument};
                matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingRequiredArgument)
            };
            match <Cli as clap::Parser>::try_parse_from(words) {
                Err(error) if error.use_stderr() && !spoken(&error) => {
                    wrong.push(format!("{}: {line}\n{error}", page.display()));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 60, "{tried} commands were found");
}

#[test]
fn the_version_says_what_it_was_built_from() {
    let (code, out, _) = pullgate(&["--version"]);
    let start = format!("pullgate {} (", env!("CARGO_PKG_VERSION"));
    assert!(code == 0 && out.starts_with(&start) && out.ends_with(")\n"), "{out}");
}
