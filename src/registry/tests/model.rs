//! Random changes against a naive model, with reopening at random points.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What a key is, as far as the model is concerned.
type Plain = (String, String, Vec<String>);

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    accounts: Vec<String>,
    /// Key number: name, note, grants.
    keys: BTreeMap<u32, Plain>,
}

#[derive(Debug, Clone)]
enum Step {
    AddAccount(usize),
    RemoveAccount(usize),
    Add(u32, usize, usize, Vec<usize>),
    Remove(u32),
    Rename(u32, usize),
    Note(u32, usize),
    Grant(u32, Vec<usize>),
    Ungrant(u32, Vec<usize>),
}

const ACCOUNTS: [&str; 3] = ["a", "a-b", "b"];
const LABELS: [&str; 3] = ["x", "y", "x.y"];
const GRANTS: [&str; 4] = ["a/r", "a/*", "a-b/r", "b/@g"];

impl Model {
    fn account_of(name: &str) -> &str {
        name.split('/').next().unwrap()
    }

    /// `None`: a conflict.
    fn apply(&mut self, step: &Step) -> Option<bool> {
        let before = self.clone();
        let named = |keys: &BTreeMap<u32, Plain>, wanted: &str| keys.values().any(|(name, _, _)| name == wanted);
        match step {
            Step::AddAccount(a) => {
                if !self.accounts.contains(&ACCOUNTS[*a].to_owned()) {
                    self.accounts.push(ACCOUNTS[*a].to_owned());
                    self.accounts.sort();
                }
            }
            Step::RemoveAccount(a) => {
                self.accounts.iter().find(|name| *name == ACCOUNTS[*a])?;
                self.accounts.retain(|name| name != ACCOUNTS[*a]);
                self.keys.retain(|_, (name, _, _)| Self::account_of(name) != ACCOUNTS[*a]);
                for (_, _, grants) in self.keys.values_mut() {
                    grants.retain(|grant| Self::account_of(grant) != ACCOUNTS[*a]);
                }
            }
            Step::Add(number, a, l, granted) => {
                let wanted = format!("{}/{}", ACCOUNTS[*a], LABELS[*l]);
                if self.keys.contains_key(number)
                    || !self.accounts.contains(&ACCOUNTS[*a].to_owned())
                    || named(&self.keys, &wanted)
                {
                    return None;
                }
                self.keys.insert(*number, (wanted, String::new(), Vec::new()));
                self.apply(&Step::Grant(*number, granted.clone()));
            }
            Step::Remove(number) => drop(self.keys.remove(number)?),
            Step::Rename(number, l) => {
                let old = self.keys.get(number)?.0.clone();
                let wanted = format!("{}/{}", Self::account_of(&old), LABELS[*l]);
                if wanted != old && named(&self.keys, &wanted) {
                    return None;
                }
                self.keys.get_mut(number)?.0 = wanted;
            }
            Step::Note(number, l) => self.keys.get_mut(number)?.1 = LABELS[*l].to_owned(),
            Step::Grant(number, granted) => {
                let have = &mut self.keys.get_mut(number)?.2;
                have.extend(granted.iter().map(|g| GRANTS[*g].to_owned()));
                have.sort();
                have.dedup();
            }
            Step::Ungrant(number, granted) => {
                self.keys.get_mut(number)?.2.retain(|have| !granted.iter().any(|g| GRANTS[*g] == have));
            }
        }
        Some(*self != before)
    }

    fn of(lookup: &Lookup) -> Self {
        let (accounts, keys) = everything(lookup);
        let keys = keys.into_iter().map(|record| {
            let number = (0..6).find(|number| key(*number) == record.key).unwrap();
            let mut grants: Vec<String> = record.grants.iter().map(ToString::to_string).collect();
            grants.sort();
            (number, (record.name.to_string(), record.note.to_string(), grants))
        });
        Self { keys: keys.collect(), accounts: accounts.into_iter().map(|record| record.name.to_string()).collect() }
    }
}

fn change(step: &Step) -> Change {
    let granted = |list: &[usize]| list.iter().map(|g| Grant::parse(GRANTS[*g]).unwrap()).collect();
    let print = |number: &u32| key(*number).fingerprint();
    match step {
        Step::AddAccount(a) => account_add(ACCOUNTS[*a]),
        Step::RemoveAccount(a) => Change::AccountRemove { account: account(ACCOUNTS[*a]) },
        Step::Add(number, a, l, list) => {
            let texts: Vec<&str> = list.iter().map(|g| GRANTS[*g]).collect();
            key_add(*number, &format!("{}/{}", ACCOUNTS[*a], LABELS[*l]), &texts)
        }
        Step::Remove(number) => Change::KeyRemove { key: print(number) },
        Step::Rename(number, l) => Change::KeyRename { key: print(number), label: Label::parse(LABELS[*l]).unwrap() },
        Step::Note(number, l) => Change::KeyNote { key: print(number), note: Note::parse(LABELS[*l]).unwrap() },
        Step::Grant(number, list) => Change::KeyGrant { key: print(number), grants: granted(list) },
        Step::Ungrant(number, list) => Change::KeyUngrant { key: print(number), grants: granted(list) },
    }
}

fn step() -> impl Strategy<Value = Step> {
    let list = || proptest::collection::vec(0..GRANTS.len(), 0..3);
    prop_oneof![
        3 => (0..3usize).prop_map(Step::AddAccount),
        1 => (0..3usize).prop_map(Step::RemoveAccount),
        6 => (0..6u32, 0..3usize, 0..3usize, list()).prop_map(|(n, a, l, g)| Step::Add(n, a, l, g)),
        1 => (0..6u32).prop_map(Step::Remove),
        3 => (0..6u32, 0..3usize).prop_map(|(n, l)| Step::Rename(n, l)),
        1 => (0..6u32, 0..3usize).prop_map(|(n, l)| Step::Note(n, l)),
        2 => (0..6u32, list()).prop_map(|(n, g)| Step::Grant(n, g)),
        2 => (0..6u32, list()).prop_map(|(n, g)| Step::Ungrant(n, g)),
    ]
}

/// What happens after a commit.
#[derive(Debug, Clone, Copy)]
enum Between {
    Nothing,
    Settle,
    Reopen,
    /// Reopen without the clean mark, so that the index is compared with the journal.
    Compare,
    /// Reopen without the index, so that it is built from the journal.
    Rebuild,
}

fn between() -> impl Strategy<Value = Between> {
    prop_oneof![
        12 => Just(Between::Nothing),
        2 => Just(Between::Settle),
        1 => Just(Between::Reopen),
        1 => Just(Between::Compare),
        1 => Just(Between::Rebuild),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_registry_is_its_model(
        commits in proptest::collection::vec((proptest::collection::vec(step(), 1..4), between()), 1..40)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        let (mut lookup, mut amend) = open(dir.path()).unwrap();
        let mut seq = 0;
        for (steps, between) in commits {
            let mut next = model.clone();
            let outcome: Option<Vec<bool>> = steps.iter().map(|step| next.apply(step)).collect();
            let changes: Vec<Change> = steps.iter().map(change).collect();
            let answer = amend.commit("tester", &changes);
            match outcome {
                Some(changed) => {
                    let changed = changed.contains(&true);
                    seq += u64::from(changed);
                    prop_assert_eq!(answer.unwrap(), Committed { first: seq, seq, changed });
                    model = next;
                }
                None => prop_assert!(matches!(answer, Err(CommitError::Conflict(_))), "{:?}", answer),
            }
            match between {
                Between::Nothing => {}
                Between::Settle => settle(&lookup),
                Between::Reopen | Between::Compare | Between::Rebuild => {
                    drop((lookup, amend));
                    if matches!(between, Between::Compare) {
                        drop(std::fs::remove_file(dir.path().join("index.clean")));
                    } else if matches!(between, Between::Rebuild) {
                        lose_index(dir.path());
                    }
                    (lookup, amend) = open(dir.path()).unwrap();
                }
            }
            prop_assert_eq!(&Model::of(&lookup), &model);
        }
    }
}
