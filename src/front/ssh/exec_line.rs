//! The command line of an `exec` request, as real clients write it, and nothing beyond.
//!
//! There is no shell behind it: the line is taken apart here, by the quoting rules that git uses (`sq_quote_buf` in git's
//! `quote.c`: single quotes, with `'` and `!` written as `\'` and `\!` outside of them), and whatever a shell would act on is
//! refused.

/// The longest line that is looked at, in bytes.
pub const MAX_LINE: usize = 4096;

/// What a line asks for. Paths are the client's text, not yet parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecLine {
    /// `git-upload-pack PATH`
    UploadPack(String),
    /// `git-receive-pack PATH`: a push.
    Push(String),
    /// `git-upload-archive PATH`, which speaks pkt-lines as well.
    Archive(String),
    /// `git-lfs-authenticate` or `git-lfs-transfer`: the command's name.
    Lfs(&'static str),
    /// A command that is none of these, or one of these with other arguments.
    Other(String),
    /// Nothing that can be taken apart.
    Malformed,
}

impl ExecLine {
    /// The path that it names.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::UploadPack(path) | Self::Push(path) | Self::Archive(path) => Some(path),
            Self::Lfs(_) | Self::Other(_) | Self::Malformed => None,
        }
    }
}

/// Takes a line apart.
#[must_use]
pub fn parse(line: &[u8]) -> ExecLine {
    let Some(mut words) = words(line) else {
        return ExecLine::Malformed;
    };
    // `git upload-pack` in two words: git for Windows 2.14, and `git clone -u 'git upload-pack'`.
    if let [first, second, ..] = words.as_slice()
        && first == "git"
    {
        let joined = format!("git-{second}");
        words.splice(..2, [joined]);
    }
    let mut words = words.into_iter();
    let Some(command) = words.next() else {
        return ExecLine::Malformed;
    };
    let arguments: Vec<String> = words.collect();
    match (command.as_str(), arguments.as_slice()) {
        ("git-upload-pack", [path]) => ExecLine::UploadPack(path.clone()),
        ("git-receive-pack", [path]) => ExecLine::Push(path.clone()),
        ("git-upload-archive", [path]) => ExecLine::Archive(path.clone()),
        ("git-lfs-authenticate", _) => ExecLine::Lfs("git-lfs-authenticate"),
        ("git-lfs-transfer", _) => ExecLine::Lfs("git-lfs-transfer"),
        _ => ExecLine::Other(command),
    }
}

/// The words of a line, or `None` for anything that a shell would do more with than split it.
fn words(line: &[u8]) -> Option<Vec<String>> {
    if line.len() > MAX_LINE {
        return None;
    }
    let line = std::str::from_utf8(line).ok()?;
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        // Whatever it is: a path with a control character is told what is wrong with it as any other path.
                        c => word.push(c),
                    }
                }
            }
            '\\' => {
                let escaped = chars.next().filter(|c| !c.is_control())?;
                word.get_or_insert_default().push(escaped);
            }
            c if c.is_alphanumeric() || "/._-~+:@,=%".contains(c) => word.get_or_insert_default().push(c),
            _ => return None,
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn upload(path: &str) -> ExecLine {
        ExecLine::UploadPack(path.to_owned())
    }

    /// The lines that git 2.47, JGit and git-lfs send for each form of URL.
    #[test]
    fn lines_of_real_clients() {
        for (line, wanted) in [
            ("git-upload-pack 'acme/app.git'", upload("acme/app.git")),
            ("git-upload-pack '/acme/app.git'", upload("/acme/app.git")),
            ("git-upload-pack '//acme/app.git'", upload("//acme/app.git")),
            ("git-upload-pack '/acme/app.git/'", upload("/acme/app.git/")),
            ("git-upload-pack '~bob/app.git'", upload("~bob/app.git")),
            ("git-upload-pack '/acme/a b.git'", upload("/acme/a b.git")),
            (r"git-upload-pack 'acme/it'\''s.git'", upload("acme/it's.git")),
            (r"git-upload-pack 'acme/bang'\!'.git'", upload("acme/bang!.git")),
            ("git upload-pack 'acme/app.git'", upload("acme/app.git")),
            ("git-upload-pack acme/app.git", upload("acme/app.git")),
            ("git-receive-pack 'acme/app.git'", ExecLine::Push("acme/app.git".to_owned())),
            ("git receive-pack 'acme/app.git'", ExecLine::Push("acme/app.git".to_owned())),
            ("git-upload-archive 'acme/app.git'", ExecLine::Archive("acme/app.git".to_owned())),
            ("git-lfs-authenticate acme/app.git download", ExecLine::Lfs("git-lfs-authenticate")),
            ("git-lfs-transfer /acme/app.git download", ExecLine::Lfs("git-lfs-transfer")),
        ] {
            assert_eq!(parse(line.as_bytes()), wanted, "{line}");
        }
    }

    #[test]
    fn nothing_that_a_shell_would_act_on() {
        for line in [
            "",
            " ",
            "git-upload-pack 'open",
            "git-upload-pack \"acme/app\"",
            "git-upload-pack $HOME",
            "git-upload-pack `id`",
            "git-upload-pack 'a'; id",
            "git-upload-pack 'a' | id",
            "git-upload-pack 'a' > x",
            "git-upload-pack 'a' & id",
            "git-upload-pack 'a'\nid",
            "git-upload-pack a*",
            "git-upload-pack (a)",
            "git-upload-pack 'a'\\",
            "git-upload-pack \\\n",
            "#git-upload-pack a",
        ] {
            assert_eq!(parse(line.as_bytes()), ExecLine::Malformed, "{line:?}");
        }
        // Inside of quotes it is text, which no repository is called; that is said in words.
        for path in ["a\nb", "a\0b", "\u{1b}[2J"] {
            assert_eq!(parse(format!("git-upload-pack '{path}'").as_bytes()), upload(path));
        }
        assert_eq!(parse(b"git-upload-pack '\xff'"), ExecLine::Malformed);
        assert_eq!(parse(&vec![b'a'; MAX_LINE + 1]), ExecLine::Malformed);
    }

    #[test]
    fn other_commands_and_other_arguments_are_not_upload_pack() {
        for line in [
            "git-upload-pack",
            "git-upload-pack '--help' 'x'",
            "git-upload-pack a b",
            "git",
            "git-shell",
            "scp -t /",
            "sh -c id",
            "git-upload-pack-x 'a'",
            "GIT-UPLOAD-PACK 'a'",
            "/usr/bin/git-upload-pack 'a'",
            "git --upload-pack=x a",
        ] {
            assert!(matches!(parse(line.as_bytes()), ExecLine::Other(_)), "{line}: {:?}", parse(line.as_bytes()));
        }
        // An option in the path's place is a path here; no repository has that name.
        assert_eq!(parse(b"git-upload-pack --help"), upload("--help"));
    }

    proptest! {
        #[test]
        fn what_git_quotes_comes_out_again(path in "(?s).{0,60}") {
            let quoted = path.replace('\'', r"'\''").replace('!', r"'\!'");
            prop_assert_eq!(parse(format!("git-upload-pack '{quoted}'").as_bytes()), upload(&path));
        }

        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&line));
        }
    }
}
