//! Looking at a registry without changing it: is the journal whole, and does the index hold what it says.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::change::Unavailable;
use super::journal::bounded::Bounded;
use super::journal::replay::replay;
use super::journal::walk::{self, End, Fault};
use super::journal::{NAME, known};
use super::open::{OpenError, Settings, open_with};
use super::rules::View as _;

/// How often a journal that somebody appends to is looked at again, and how long to wait before.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// What a journal was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The last entry.
    pub seq: u64,
    /// The entry up to which all is in a snapshot; 0 when there is none.
    pub snapshot: u64,
    /// How many bytes are in use.
    pub bytes: u64,
    /// Whether it ends in a write that was not finished, or just is not finished yet.
    pub torn: bool,
}

/// Reads the whole journal of the registry in `dir`, every checksum and the whole chain, also while a daemon appends to it.
///
/// # Errors
/// [`OpenError`], which says where it is broken.
pub fn verify(dir: &Path) -> Result<Verified, OpenError> {
    let (_, end) = walk_live(&dir.join(NAME))?;
    if let Some(known) = known::read(dir)?.filter(|known| *known > end.seq) {
        // The daemon may have gone on since the journal was read.
        let (_, again) = walk_live(&dir.join(NAME))?;
        if again.seq < known {
            return Err(Fault::Short { seq: again.seq, known }.into());
        }
    }
    Ok(Verified { seq: end.seq, snapshot: end.base, bytes: end.offset, torn: end.torn })
}

/// The journals that compaction left behind, by name, and what each was found to be.
///
/// # Errors
/// The directory cannot be read.
pub fn archives(dir: &Path) -> io::Result<Vec<(String, Result<Verified, OpenError>)>> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir)? {
        let name = item?.file_name().to_string_lossy().into_owned();
        let range =
            name.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.split_once('-'));
        let Some((Ok(_), Ok(last))) = range.map(|(first, last)| (first.parse::<u64>(), last.parse::<u64>())) else {
            continue;
        };
        let whole = walk_live(&dir.join(&name)).map_err(OpenError::from).and_then(|(_, end)| match end.seq == last {
            true => Ok(Verified { seq: end.seq, snapshot: end.base, bytes: end.offset, torn: end.torn }),
            false => Err(Fault::Short { seq: end.seq, known: last }.into()),
        });
        found.push((name, whole));
    }
    found.sort_by_key(|(name, _)| name.clone());
    Ok(found)
}

/// Walks over a journal that may be appended to meanwhile: bytes that were half written when they were read, and behind
/// which more was when the rest was searched, look like damage. Damage is there the next time too.
pub(super) fn walk_live(path: &Path) -> Result<(File, End), Fault> {
    let mut tries = TRIES;
    loop {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        match walk::walk(Bounded::new(file.try_clone()?, length), |_| Ok(())) {
            Ok(end) => return Ok((file, end)),
            Err(Fault::Damaged { .. }) if tries > 1 => tries -= 1,
            Err(fault) => return Err(fault),
        }
        std::thread::sleep(PAUSE);
    }
}

/// What a comparison of the index with the journal found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Whether the index answered from the beginning to the end. If not, the journal was compared with itself.
    pub indexed: bool,
    /// Every difference, in words.
    pub wrong: Vec<String>,
}

impl Compared {
    /// Whether the index answered, and nothing else than what the journal says.
    #[must_use]
    pub fn equal(&self) -> bool {
        self.indexed && self.wrong.is_empty()
    }
}

/// Opens the registry in `dir` and compares every record in its index with what the journal comes to. An index that is not
/// there, or is not to be used, is not waited for.
///
/// # Errors
/// [`OpenError`]
pub fn compare(dir: &Path) -> Result<Compared, OpenError> {
    let (lookup, amend) = open_with(dir, Settings::default())?;
    let before = lookup.indexed();
    let (file, end) = walk_live(&dir.join(NAME))?;
    let (state, _) = replay(Bounded::new(file, end.offset))?;
    let mut wrong = Vec::new();
    let mut differ = || -> Result<(), Unavailable> {
        if lookup.accounts()? != state.accounts().cloned().collect::<Vec<_>>() {
            wrong.push("the index has other accounts than the journal".to_owned());
        }
        let listed = lookup.keys(None, None, usize::MAX)?;
        let expected: Vec<_> = state.keys().listed(None, None).collect::<Result<_, _>>()?;
        if listed != expected {
            wrong.push(format!("the index lists {} keys, the journal has {}, or others", listed.len(), expected.len()));
        }
        for record in expected {
            let name = &record.name;
            if lookup.key(&record.fingerprint())?.as_ref() != Some(&record) {
                wrong.push(format!("{name} is another one in the index"));
            }
        }
        if lookup.0.ask(|index| index.groups(None), |state| state.groups(None))? != state.groups(None)? {
            wrong.push("the index has other groups than the journal".to_owned());
        }
        if lookup.0.ask(|index| index.publics(None), |state| state.publics(None))? != state.publics(None)? {
            wrong.push("the index has other public repositories than the journal".to_owned());
        }
        for tomb in state.tombs_after(None) {
            let found = lookup.0.ask(|index| index.tomb(&tomb.key), |state| Ok(state.tomb(&tomb.key).cloned()))?;
            if found.as_ref() != Some(tomb) {
                wrong.push(format!("what is left of the removed key {} is another thing in the index", tomb.name));
            }
        }
        for account in state.accounts() {
            for grant in state.keys().grants_into(&account.name) {
                let found = lookup.0.ask(|index| index.granted(&grant), |state| state.granted(&grant))?;
                if found != state.granted(&grant)? {
                    wrong.push(format!("in the index, other keys hold {grant}"));
                }
            }
            if lookup.people(&account.name)? != state.keys().people(&account.name) {
                wrong.push(format!("in the index, {} has other account keys", account.name));
            }
            if lookup.0.reaching(&account.name)? != state.reaching(&account.name)? {
                wrong.push(format!("in the index, other keys reach into {}", account.name));
            }
        }
        Ok(())
    };
    if let Err(error) = differ() {
        wrong.push(error.to_string());
    }
    let indexed = before && lookup.indexed();
    drop(amend);
    Ok(Compared { indexed, wrong })
}
