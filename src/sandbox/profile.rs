//! What a child may touch, and what holds for all children of a worker; and how both are written.
//!
//! Both are our own program's words; no byte of a client is among them. They are parsed strictly all the same: a worker that
//! does not understand its order must not run anything.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// One thing that is allowed; everything else is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// To read and to execute this file. Links are followed, and it has to be there.
    Execute(PathBuf),
    /// To read this file, if it is there when the child starts. Links are followed.
    Read(PathBuf),
    /// To read and list this folder and everything beneath it. No symbolic link may be on the way to it.
    Beneath(PathBuf),
    /// To read and list the working directory, as it is when the child starts, and everything beneath it.
    Here,
    /// To read and write this device.
    Device(PathBuf),
}

/// What a child may touch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile(Vec<Allow>);

impl Profile {
    /// Nothing but these.
    #[must_use]
    pub fn new(allowed: Vec<Allow>) -> Self {
        Self(allowed)
    }

    /// This profile and more.
    #[must_use]
    pub fn and(&self, more: impl IntoIterator<Item = Allow>) -> Self {
        Self(self.0.iter().cloned().chain(more).collect())
    }

    /// What is allowed.
    #[must_use]
    pub fn allowed(&self) -> &[Allow] {
        &self.0
    }

    pub(super) fn write(&self, into: &mut Vec<OsString>) {
        for allow in &self.0 {
            let (word, path) = match allow {
                Allow::Execute(path) => ("execute", path),
                Allow::Read(path) => ("read", path),
                Allow::Beneath(path) => ("beneath", path),
                Allow::Device(path) => ("device", path),
                Allow::Here => {
                    into.push("here".into());
                    continue;
                }
            };
            into.push(word.into());
            into.push(path.into());
        }
    }
}

/// Bounds of one child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory that is its own (`RLIMIT_DATA`: heap and private writable mappings; not the files that it maps), in bytes.
    pub memory: u64,
    /// Processor time of all its threads together, in seconds.
    pub cpu: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // A full clone of 324 MB without a bitmap was seen to take 532 MB. Far more is a repository made to hurt.
        Self { memory: 4 << 30, cpu: 3600 }
    }
}

/// A user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What holds for all cells that a worker makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// Every part has to hold, or nothing is run.
    pub(super) required: bool,
    pub(super) limits: Limits,
    pub(super) user: Option<User>,
}

impl Order {
    pub(super) fn write(&self, into: &mut Vec<OsString>) {
        into.push(if self.required { "require" } else { "prefer" }.into());
        into.extend(["memory".into(), self.limits.memory.to_string().into()]);
        into.extend(["cpu".into(), self.limits.cpu.to_string().into()]);
        if let Some(User { uid, gid }) = self.user {
            into.extend(["user".into(), uid.to_string().into(), gid.to_string().into()]);
        }
    }
}

/// What `word` and those behind it allow, as [`Profile::write`] writes it; `None` for another word.
pub(super) fn allow_of<'a>(word: &str, words: &mut impl Iterator<Item = &'a OsString>) -> Option<Allow> {
    Some(match word {
        "here" => Allow::Here,
        "execute" => Allow::Execute(words.next()?.into()),
        "read" => Allow::Read(words.next()?.into()),
        "beneath" => Allow::Beneath(words.next()?.into()),
        "device" => Allow::Device(words.next()?.into()),
        _ => return None,
    })
}

impl Order {
    /// Reads the words behind a worker's own: an order as [`Order::write`] writes it, and nothing more.
    pub(super) fn read(words: &[OsString]) -> Option<Self> {
        let mut words = words.iter();
        let required = match words.next()?.to_str()? {
            "require" => true,
            "prefer" => false,
            _ => return None,
        };
        let (mut memory, mut cpu, mut user) = (None, None, None);
        while let Some(word) = words.next() {
            match word.to_str()? {
                "memory" => memory = Some(number(words.next()?)?),
                "cpu" => cpu = Some(number(words.next()?)?),
                "user" => user = Some(User { uid: number(words.next()?)?, gid: number(words.next()?)? }),
                _ => return None,
            }
        }
        Some(Self { required, limits: Limits { memory: memory?, cpu: cpu? }, user })
    }
}

fn number<T: std::str::FromStr>(word: &OsStr) -> Option<T> {
    word.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_of_a_worker_reads_back(
            required: bool,
            (memory, cpu) in any::<(u64, u64)>(),
            user in any::<Option<(u32, u32)>>(),
        ) {
            let user = user.map(|(uid, gid)| User { uid, gid });
            let order = Order { required, limits: Limits { memory, cpu }, user };
            let mut words = Vec::new();
            order.write(&mut words);
            prop_assert_eq!(Order::read(&words), Some(order));
            // One that is cut short, or goes on, is none.
            prop_assert_eq!(Order::read(&words[..words.len() - 1]), None);
            words.push("--".into());
            prop_assert_eq!(Order::read(&words), None);
        }

        #[test]
        fn other_words_are_no_order(words in prop::collection::vec("[a-z-]{0,8}", 0..8)) {
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            prop_assert_eq!(Order::read(&words), None);
        }
    }
}
