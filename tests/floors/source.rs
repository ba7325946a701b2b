//! Source files: where they stand and which module they are.

use std::fs;
use std::path::Path;

/// One source file.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// From the package's root, with forward slashes: `src/gate/mod.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The file's module in the library; `None` for the binary and for what is not below `src`.
    pub(crate) fn module(&self) -> Option<Vec<String>> {
        if self.path == "src/main.rs" {
            return None;
        }
        let inner = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let mut module: Vec<String> = inner.split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod") || inner == "lib" {
            module.pop();
        }
        Some(module)
    }

    /// Whether the whole file is test code: by custom `tests.rs`, or below a folder of that name, inside `src`.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }
}

/// Every `.rs` file below `folders` of the package, sorted by path.
pub(crate) fn load(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}
