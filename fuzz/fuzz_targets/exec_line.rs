//! The command line of a client.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::front::ssh::exec_line::{ExecLine, parse};
use pullgate::model::repo_path::RepoPath;

fuzz_target!(|line: &[u8]| match parse(line) {
    ExecLine::UploadPack(path) | ExecLine::Push(path) | ExecLine::Archive(path) => {
        // What comes out is one word of text, which is parsed next.
        if let Ok(path) = RepoPath::parse(&path) {
            // Two dots inside of a name are two dots (`a..b`); a component of them would climb.
            assert!(path.components().all(|part| part != ".."), "{path}");
        }
    }
    ExecLine::Lfs(_) | ExecLine::Other(_) | ExecLine::Malformed => {}
});
