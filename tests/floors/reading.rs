//! What a source file names. Read from its tokens, so that comments do not count and the bodies of macros do.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::{ItemUse, UseTree, Visibility};

use super::source::Source;

/// How a path is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// In an expression, a type, an attribute.
    Used,
    /// By a macro call: `path!(…)`.
    Called,
    /// `use path;`
    Imported,
    /// `use path as other;`, or `pub use path;`: from here on it goes by a name that cannot be followed.
    Renamed,
    /// `use path::*;`
    Glob,
}

/// A path somewhere in a file.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) how: How,
    /// The name that an import gives it in this file.
    pub(crate) local: Option<String>,
    /// The module in which it stands, modules inside the file included.
    pub(crate) module: Vec<String>,
    pub(crate) in_test: bool,
    pub(crate) line: usize,
}

/// Everything in a file that a check may want.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) names: Vec<Named>,
    /// Literals, as written: line, text, whether in test code.
    pub(crate) literals: Vec<(usize, String, bool)>,
    /// What would blind the check: line and fact.
    pub(crate) unreadable: Vec<(usize, String)>,
    /// Lines with `pub use`.
    pub(crate) exports: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Place<'a> {
    module: &'a [String],
    in_test: bool,
}

/// Reads one file.
pub(crate) fn read(source: &Source) -> Reading {
    let mut reading = Reading::default();
    let module = source.module().unwrap_or_default();
    match source.text.parse::<TokenStream>() {
        Ok(tokens) => reading.walk(tokens, Place { module: &module, in_test: source.is_test() }),
        Err(error) => reading.unreadable.push((error.span().start().line, error.to_string())),
    }
    reading
}

impl Reading {
    fn walk(&mut self, tokens: TokenStream, mut place: Place<'_>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut here = place;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let rest = tokens.get(at + 1..).unwrap_or_default();
            at += 1;
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let bang = usize::from(rest.first().is_some_and(|next| is_punct(next, '!')));
                    if let Some(TokenTree::Group(group)) = rest.get(bang) {
                        at += bang + 1;
                        here.in_test |= self.attribute(group.stream(), here);
                        // `#![…]` speaks of everything that follows.
                        place.in_test |= bang == 1 && here.in_test;
                    }
                }
                // A lifetime's name is no word.
                TokenTree::Punct(punct) if punct.as_char() == '\'' => at += 1,
                // The end of an item: what its attributes said of it does not hold for the next.
                TokenTree::Punct(punct) if punct.as_char() == ';' => here = place,
                TokenTree::Punct(_) => {}
                TokenTree::Literal(literal) => {
                    self.literals.push((literal.span().start().line, literal.to_string(), here.in_test));
                }
                TokenTree::Group(group) => {
                    self.walk(group.stream(), here);
                    if group.delimiter() == Delimiter::Brace {
                        here = place;
                    }
                }
                TokenTree::Ident(ident) if ident == "mod" => {
                    if !here.in_test && rest.first().is_some_and(|name| plain(name) == "tests") {
                        let line = ident.span().start().line;
                        self.unreadable
                            .push((line, "a module called tests is test code: it wants #[cfg(test)]".to_owned()));
                    }
                    if let [TokenTree::Ident(name), TokenTree::Group(group), ..] = rest {
                        let inner = [here.module, &[name.to_string()]].concat();
                        self.walk(group.stream(), Place { module: &inner, in_test: here.in_test });
                        at += 2;
                        here = place;
                    }
                }
                // `impl Trait + use<'a>` is no import.
                TokenTree::Ident(ident) if ident == "use" && !rest.first().is_some_and(|next| is_punct(next, '<')) => {
                    let length = rest.iter().take_while(|token| !is_punct(token, ';')).count();
                    let exported = at >= 2 && tokens.get(..at - 1).is_some_and(ends_in_visibility);
                    self.import(tokens.get(at - 1..=at + length).unwrap_or_default(), exported, here);
                    at += length;
                }
                TokenTree::Ident(_) => at += self.path(token, rest, here),
            }
        }
    }

    /// Reads the inside of an attribute; says whether it makes its item test code.
    fn attribute(&mut self, tokens: TokenStream, place: Place<'_>) -> bool {
        let text = tokens.to_string().replace(' ', "");
        let Some(TokenTree::Ident(name)) = tokens.clone().into_iter().next() else { return false };
        if name == "doc" {
            return false;
        }
        let line = name.span().start().line;
        if name == "path" {
            self.unreadable.push((line, "#[path] puts a module where its file is not".to_owned()));
        }
        // Attributes name paths in strings too: `#[serde(with = "crate::…")]`.
        let quoted = self.literals.len();
        self.walk(tokens, place);
        for (_, literal, _) in self.literals.get(quoted..).unwrap_or_default().to_vec() {
            if let Ok(inner) = literal.trim_matches('"').parse::<TokenStream>()
                && literal.contains("::")
            {
                let known = self.names.len();
                self.walk(inner, place);
                self.names.iter_mut().skip(known).for_each(|named| named.line = line);
            }
        }
        text == "cfg(test)"
    }

    /// Reads a path that starts with `first`; returns how many of the following tokens belong to it.
    fn path(&mut self, first: &TokenTree, rest: &[TokenTree], place: Place<'_>) -> usize {
        let mut segments = vec![plain(first)];
        let mut taken = 0;
        while let Some([a, b, next @ TokenTree::Ident(_)]) = rest.get(taken..taken + 3)
            && is_punct(a, ':')
            && is_punct(b, ':')
        {
            segments.push(plain(next));
            taken += 3;
        }
        let called = matches!(
            rest.get(taken..taken + 2),
            Some([TokenTree::Punct(bang), TokenTree::Group(_)]) if bang.as_char() == '!' && bang.spacing() == Spacing::Alone
        );
        let how = if called { How::Called } else { How::Used };
        self.push(segments, how, None, first.span().start().line, place);
        taken
    }

    fn import(&mut self, tokens: &[TokenTree], exported: bool, place: Place<'_>) {
        let line = tokens.first().map_or(0, |token| token.span().start().line);
        if exported {
            self.exports.push(line);
        }
        match syn::parse2::<ItemUse>(tokens.iter().cloned().collect()) {
            Ok(ItemUse { vis: Visibility::Inherited, tree, .. }) => self.tree(&tree, &mut Vec::new(), exported, place),
            Ok(_) | Err(_) => self.unreadable.push((line, "an import that this check cannot read".to_owned())),
        }
    }

    fn tree(&mut self, tree: &UseTree, before: &mut Vec<String>, exported: bool, place: Place<'_>) {
        let plainly = if exported { How::Renamed } else { How::Imported };
        let whole = |ident: &proc_macro2::Ident| {
            let mut whole = before.clone();
            // `use a::{self}` is `use a`.
            if ident != "self" || whole.is_empty() {
                whole.push(ident.to_string().trim_start_matches("r#").to_owned());
            }
            whole
        };
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string().trim_start_matches("r#").to_owned());
                self.tree(&path.tree, before, exported, place);
                before.pop();
            }
            UseTree::Name(name) => {
                let whole = whole(&name.ident);
                let local = whole.last().cloned();
                self.push(whole, plainly, local, name.ident.span().start().line, place);
            }
            // `as _` brings in a trait's methods and no name.
            UseTree::Rename(rename) => {
                let how = if rename.rename == "_" { plainly } else { How::Renamed };
                let local = Some(rename.rename.to_string());
                self.push(whole(&rename.ident), how, local, rename.ident.span().start().line, place);
            }
            UseTree::Glob(star) => {
                self.push(before.clone(), How::Glob, None, star.star_token.span.start().line, place);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, before, exported, place);
                }
            }
        }
    }

    fn push(&mut self, segments: Vec<String>, how: How, local: Option<String>, line: usize, place: Place<'_>) {
        self.names.push(Named { segments, how, local, module: place.module.to_vec(), in_test: place.in_test, line });
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn plain(ident: &TokenTree) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

/// Whether the tokens before a `use` end in `pub` or `pub(…)`.
fn ends_in_visibility(before: &[TokenTree]) -> bool {
    let is_pub = |token: &TokenTree| matches!(token, TokenTree::Ident(ident) if ident == "pub");
    match before {
        [.., word] if is_pub(word) => true,
        [.., word, TokenTree::Group(group)] => is_pub(word) && group.delimiter() == Delimiter::Parenthesis,
        _ => false,
    }
}
