//! What a commit of several changes did, one by one, as far as there is room on one line of a file.

use serde::{Deserialize, Serialize};

/// How much of the changes themselves is told, in bytes. A record with all of it is shorter than the 48 KiB at which systemd
/// cuts a line of a service's output.
pub const ROOM: usize = 24 * 1024;
/// How much is told of the accounts of the others, in bytes.
pub const ACCOUNTS_ROOM: usize = 8 * 1024;
/// What stands around a text in a list, in bytes.
const FRAME: usize = 3;
/// How often it is tried whether something shorter still fits.
const MISFITS: u64 = 100;

/// The changes of one commit. Empty when what was done is told elsewhere as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// A change each, in words, in at most [`ROOM`].
    #[serde(rename = "details", default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// How many changes there are beside them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// The accounts of those; none when they are too many for [`ACCOUNTS_ROOM`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Details that are being gathered.
#[derive(Debug, Default)]
pub struct Gathering {
    details: Details,
    told: usize,
    accounts: usize,
}

impl Gathering {
    /// One more change: its words, and the accounts that it is about. What does not fit as a whole is counted.
    pub fn put<'a>(&mut self, words: impl FnOnce() -> String, accounts: impl IntoIterator<Item = &'a str>) {
        if self.has_room() {
            let words = words();
            if self.told + words.len() + FRAME <= ROOM {
                self.told += words.len() + FRAME;
                self.details.told.push(words);
                return;
            }
        }
        self.details.left_out += 1;
        for account in accounts {
            self.account(account);
        }
    }

    /// Whether more may fit. Else nobody has to make words: there may be a million changes.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.told < ROOM && self.details.left_out < MISFITS
    }

    fn account(&mut self, account: &str) {
        if self.accounts > ACCOUNTS_ROOM {
            return;
        }
        // Changes of one account mostly come together.
        if self.details.accounts.last().is_some_and(|last| last == account) {
            return;
        }
        let Err(at) = self.sorted(account) else { return };
        self.accounts += account.len() + FRAME;
        self.details.accounts.insert(at, account.to_owned());
    }

    fn sorted(&self, account: &str) -> Result<usize, usize> {
        self.details.accounts.binary_search_by(|there| there.as_str().cmp(account))
    }

    /// All that there is.
    #[must_use]
    pub fn end(mut self) -> Details {
        if self.accounts > ACCOUNTS_ROOM {
            self.details.accounts.clear();
        }
        self.details
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(changes: usize, accounts: usize) -> Details {
        let mut all = Gathering::default();
        for n in 0..changes {
            let account = format!("account-{:04}", n * accounts / changes);
            all.put(|| format!("added key {account}/ci-{n}"), [account.as_str()]);
        }
        all.end()
    }

    #[test]
    fn what_fits_is_told_and_the_rest_is_counted() {
        assert_eq!(gathered(0, 1), Details::default());
        let few = gathered(3, 1);
        assert_eq!((few.told.len(), few.left_out, few.accounts.len()), (3, 0, 0));
        let many = gathered(100_000, 20);
        assert_eq!(many.told.len() as u64 + many.left_out, 100_000);
        assert!(many.told.len() > 500, "{}", many.told.len());
        assert_eq!(many.accounts.len(), 20);
        assert!(serde_json::to_string(&many).unwrap().len() < ROOM + ACCOUNTS_ROOM + 100);
    }

    #[test]
    fn of_too_many_accounts_none_is_told_rather_than_some() {
        let many = gathered(100_000, 5000);
        assert!(many.accounts.is_empty() && many.left_out > 90_000);
    }

    #[test]
    fn what_does_not_fit_is_no_reason_to_leave_out_the_rest() {
        let mut all = Gathering::default();
        for (words, account) in [("x".repeat(ROOM), "b"), ("y".to_owned(), "c"), ("z".repeat(ROOM), "a")] {
            all.put(|| words, [account, account]);
        }
        let details = all.end();
        assert_eq!((details.told, details.left_out), (vec!["y".to_owned()], 2));
        assert_eq!(details.accounts, ["a", "b"]);
    }
}
