//! One line of an `authorized_keys` file, as sshd(8) describes it: options, the key, a comment.

use ipnet::IpNet;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::model::expiry::Expiry;
use crate::model::network;

/// A line taken apart. Nothing in it is checked but its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// In the order of the file, as they stand there.
    pub(super) options: Vec<&'a str>,
    /// The type and the base64 text.
    pub(super) key: &'a str,
    /// What comes after that; may be empty.
    pub(super) comment: &'a str,
}

/// Takes a line apart. `None` when it has no key, or a quote that does not end.
pub(super) fn split(line: &str) -> Option<Line<'_>> {
    let line = line.trim();
    let (options, rest) = match is_key_type(first_word(line)) {
        true => (Vec::new(), line),
        false => {
            let end = unquoted(line, |c| c.is_ascii_whitespace())?;
            let (options, rest) = line.split_at_checked(end)?;
            (commas(options), rest.trim_start())
        }
    };
    let kind = first_word(rest);
    let data = first_word(rest.get(kind.len()..)?.trim_start());
    if !is_key_type(kind) || data.is_empty() {
        return None;
    }
    let end = rest.get(kind.len()..)?.find(data)? + kind.len() + data.len();
    let (key, comment) = rest.split_at_checked(end)?;
    Some(Line { options, key, comment: comment.trim() })
}

fn first_word(text: &str) -> &str {
    text.split_ascii_whitespace().next().unwrap_or_default()
}

/// Whether a word is a key's type, known here or not.
fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-", "rsa-", "webauthn-"].iter().any(|start| word.starts_with(start))
}

/// Where the first such character is that stands in no quotes. `\"` inside quotes is a quote of the value.
fn unquoted(text: &str, stop: impl Fn(char) -> bool) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if !quoted && stop(c) => return Some(at),
            _ => {}
        }
    }
    None
}

fn commas(mut text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while let Some(at) = unquoted(text, |c| c == ',') {
        let (part, rest) = text.split_at(at);
        parts.push(part);
        text = rest.strip_prefix(',').unwrap_or_default();
    }
    parts.push(text);
    parts
}

/// What the options mean for a key that can do nothing but fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) from: Vec<IpNet>,
    pub(super) expires: Option<Expiry>,
    /// Options that say nothing about a key without a shell, such as `no-pty`.
    pub(super) without_effect: Vec<String>,
}

/// The options of sshd(8) that allow or forbid what nobody can do here: to be dropped, and told of.
const WITHOUT_EFFECT: [&str; 17] = [
    "agent-forwarding",
    "command",
    "environment",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "pty",
    "restrict",
    "tunnel",
    "user-rc",
    "x11-forwarding",
];

/// Reads options. An option that limits the key and cannot be carried over is an error: to drop it would widen the key.
///
/// # Errors
/// Why the key cannot be taken with these options.
pub(super) fn meaning(options: &[&str]) -> Result<Meaning, String> {
    let mut meaning = Meaning::default();
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        match name.to_ascii_lowercase().as_str() {
            "from" => meaning.from = networks(value)?,
            "expiry-time" => {
                let end = time(value).ok_or_else(|| format!("its expiry-time {value:?} is none that sshd knows"))?;
                meaning.expires = Some(end);
            }
            "cert-authority" | "principals" => {
                return Err("it stands for certificates, which are not accepted here".to_owned());
            }
            "verify-required" => {
                return Err(
                    "its option verify-required asks for a PIN at each use, which cannot be carried over".to_owned()
                );
            }
            "" => return Err("its options have a comma too many".to_owned()),
            known if WITHOUT_EFFECT.contains(&known) => meaning.without_effect.push(name.to_owned()),
            _ => {
                return Err(format!(
                    "its option {name:?} is none that is known here, so it cannot be carried over, and sshd lets nobody in by a \
                     line with an option that it does not know: take it out of the line if the key is to come in without it"
                ));
            }
        }
    }
    Ok(meaning)
}

fn networks(value: &str) -> Result<Vec<IpNet>, String> {
    let parts = value.split(',').map(str::trim);
    parts
        .map(|part| match network::parse(part) {
            None => Err(format!(
                "its from= has {part:?}, a name or a pattern: only addresses and networks can be carried over"
            )),
            Some(_) => network::exact(part)
                .map_err(|why| format!("its from= has {part:?}, by which sshd lets nobody in: {why}")),
        })
        .collect()
}

/// `YYYYMMDD[HHMM[SS]][Z]`; without Z in the time zone of this machine, as sshd reads it. The day alone means its beginning.
fn time(text: &str) -> Option<Expiry> {
    let (digits, zone) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return None;
    }
    let number = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse::<i8>().ok());
    let date = Date::new(digits.get(..4)?.parse().ok()?, number(4, 6)?, number(6, 8)?).ok()?;
    let time = Time::new(number(8, 10)?, number(10, 12)?, number(12, 14)?, 0).ok()?;
    let moment = DateTime::from_parts(date, time).to_zoned(zone).ok()?;
    Some(Expiry::At(moment.timestamp()))
}

#[cfg(test)]
mod tests;
