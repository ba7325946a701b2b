//! The path of a repository: whatever parses cannot leave the store, and has one spelling.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pullgate::model::repo_path::RepoPath;

fuzz_target!(|text: &str| {
    if let Ok(path) = RepoPath::parse(text) {
        assert_eq!(RepoPath::parse(path.as_str()).as_ref(), Ok(&path));
        assert!(path.components().count() >= 2);
        for part in path.components() {
            assert!(!part.is_empty() && !part.starts_with(['.', '-']) && !part.contains(['/', '\0', '\\']), "{part}");
            assert!(!part.ends_with(".git"), "{part}");
        }
    }
});
