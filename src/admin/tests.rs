use std::sync::Arc;

use tempfile::TempDir;

use super::fault::Kind;
use super::key::{Filter, NewKey, NewRotation};
use super::operator::Operator;
use super::repo::{RepoSource, RepoView};
use super::*;
use crate::audit::Record;
use crate::model::expiry::Expiry;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, Label};
use crate::model::public_key::PublicKey;
use crate::model::repo_path::RepoPath;
use crate::model::text::Note;
use crate::registry;
use crate::registry::record::Holder;

mod accounts;
mod ends;

struct House {
    dir: TempDir,
    admin: Admin,
    by: Operator,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (lookup, amend) = registry::open(&dir.path().join("registry")).unwrap();
        let audit = Audit::open(&dir.path().join("audit.jsonl")).unwrap();
        let house = Self { admin: Admin::new(lookup, amend, audit), by: Operator::local(dir.path()).unwrap(), dir };
        for name in ["acme", "beta"] {
            house.admin.account_add(&house.by, &account(name)).unwrap();
        }
        house
    }

    fn records(&self) -> Vec<Event> {
        self.admin.audit.flush();
        let text = std::fs::read_to_string(self.dir.path().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str::<Record>(line).unwrap().event).collect()
    }

    fn add(&self, name: &str, seed: u8, grants: &[&str]) -> Result<Done, Faults> {
        self.admin.key_add(&self.by, new(name, seed, grants))
    }

    fn grant(&self, key: &str, grants: &[&str]) -> Result<Done, Faults> {
        self.admin.key_grant(&self.by, &KeyRef::parse(key).unwrap(), &parsed(grants))
    }
}

fn account(name: &str) -> AccountName {
    AccountName::parse(name).unwrap()
}

fn parsed(grants: &[&str]) -> Vec<Grant> {
    grants.iter().map(|grant| Grant::parse(grant).unwrap()).collect()
}

fn new(name: &str, seed: u8, grants: &[&str]) -> NewKey {
    use russh::keys::ssh_key::private::Ed25519Keypair;
    let pair = Ed25519Keypair::from_seed(&[seed; 32]);
    let key = russh::keys::ssh_key::PublicKey::from(pair.public);
    NewKey {
        key: PublicKey::from_peer(&key).unwrap(),
        name: KeyName::parse(name).unwrap(),
        note: Note::default(),
        expiry: Some(Expiry::Never),
        sources: Vec::new(),
        grants: parsed(grants),
    }
}

fn told(result: Result<Done, Faults>) -> (Kind, String, String) {
    let faults = result.unwrap_err();
    let [fault] = faults.list() else { panic!("{faults:?}") };
    (fault.kind, fault.fact.clone(), fault.hint.clone().unwrap_or_default())
}

#[test]
fn every_change_is_recorded_and_nothing_else_is() {
    let house = House::new();
    house.add("acme/ci", 1, &["acme/app"]).unwrap();
    house.add("acme/ci", 1, &["acme/app"]).unwrap();
    house.add("acme/ci", 2, &[]).unwrap_err();
    house.grant("acme/ci", &["acme/app"]).unwrap();
    house.grant("acme/ci", &["acme/lib"]).unwrap();
    let records = house.records();
    let what = |event: &Event| {
        let Event::Changed { by, what, .. } = event else { panic!("{event:?}") };
        assert_eq!(by, house.by.name());
        what.clone()
    };
    let fingerprint = new("acme/ci", 1, &[]).key.fingerprint();
    assert_eq!(
        records.iter().map(what).collect::<Vec<_>>(),
        [
            "added account acme".to_owned(),
            "added account beta".to_owned(),
            format!("added key acme/ci ({fingerprint}), which may fetch acme/app"),
            "acme/ci may now fetch acme/lib".to_owned(),
        ]
    );
}

#[test]
fn the_same_key_again_names_its_holder_and_the_way_out() {
    let house = House::new();
    house.add("acme/ci", 1, &["acme/secret"]).unwrap();
    let (kind, fact, hint) = told(house.add("acme/other", 1, &["acme/app", "acme/lib"]));
    assert_eq!((kind, fact.as_str()), (Kind::Conflict, "this public key is already registered as acme/ci"));
    assert!(hint.ends_with("pullgate key grant acme/ci acme/app acme/lib"), "{hint}");
    let (_, _, hint) = told(house.add("acme/other", 1, &["acme/*"]));
    assert!(hint.ends_with("pullgate key grant acme/ci 'acme/*'"), "{hint}");
    let (_, _, hint) = told(house.add("acme/ci", 1, &[]));
    assert!(hint.ends_with("pullgate key grant acme/ci REPO"), "{hint}");
}

#[test]
fn another_account_hears_who_holds_the_key_and_not_what_it_may_fetch() {
    let house = House::new();
    house.add("acme/ci", 1, &["acme/secret"]).unwrap();
    let faults = house.add("beta/ci", 1, &["beta/app"]).unwrap_err();
    let text = format!("{faults:?}");
    assert!(text.contains("registered as acme/ci") && !text.contains("secret"), "{text}");
    assert!(text.contains("pullgate key generate beta ci"), "{text}");
}

#[test]
fn exactly_the_same_again_is_so_already_and_any_difference_is_a_conflict() {
    let house = House::new();
    assert!(house.add("acme/ci", 1, &["acme/b", "acme/a"]).unwrap().changed);
    let again = house.add("acme/ci", 1, &["acme/a", "acme/b", "acme/a"]).unwrap();
    assert!(!again.changed && again.message.ends_with("is registered already"), "{again:?}");
    let mut noted = new("acme/ci", 1, &["acme/a", "acme/b"]);
    noted.note = Note::parse("x").unwrap();
    assert_eq!(told(house.admin.key_add(&house.by, noted)).0, Kind::Conflict);
}

#[test]
fn what_is_missing_or_taken_is_told_with_a_remedy() {
    let house = House::new();
    house.add("acme/ci", 1, &[]).unwrap();
    let (kind, fact, hint) = told(house.add("acme/ci", 2, &[]));
    assert_eq!(kind, Kind::Conflict);
    assert!(fact.contains("acme/ci is taken") && hint.contains("pullgate key show acme/ci"), "{fact} {hint}");
    let (kind, fact, hint) = told(house.add("nobody/ci", 2, &[]));
    assert_eq!((kind, fact.as_str()), (Kind::NotFound, "there is no account nobody"));
    assert!(hint.contains("pullgate account add nobody"), "{hint}");
    assert_eq!(told(house.grant("acme/none", &["acme/app"])).0, Kind::NotFound);
    assert_eq!(told(house.grant("acme/ci", &["acme/@backend"])).0, Kind::NotFound);
    let faults = house.grant("acme/ci", &["nobody/a", "nobody2/a"]).unwrap_err();
    assert_eq!(faults.list().len(), 2, "{faults:?}");
}

#[test]
fn a_grant_across_accounts_is_said() {
    let house = House::new();
    let done = house.add("acme/ci", 1, &["acme/app", "beta/*"]).unwrap();
    assert_eq!(done.warnings.len(), 1);
    assert!(done.warnings[0].starts_with("beta/* is outside the key's own account acme"), "{done:?}");
}

#[test]
fn a_grant_that_still_covers_is_said_when_another_goes() {
    let house = House::new();
    house.add("acme/ci", 1, &["acme/app", "acme/a*"]).unwrap();
    let key = KeyRef::parse("acme/ci").unwrap();
    let done = house.admin.key_ungrant(&house.by, &key, &parsed(&["acme/app"])).unwrap();
    assert_eq!(done.warnings, ["acme/app can still be fetched, through the grant acme/a*"]);
    let done = house.admin.key_ungrant(&house.by, &key, &parsed(&["acme/a*"])).unwrap();
    assert!(done.changed && done.warnings.is_empty(), "{done:?}");
    let done = house.admin.key_ungrant(&house.by, &key, &parsed(&["acme/a*"])).unwrap();
    assert!(!done.changed && done.message == "not granted to acme/ci: acme/a*", "{done:?}");
}

#[test]
fn a_removed_key_is_free_at_once_and_a_renamed_one_keeps_everything() {
    let house = House::new();
    house.add("acme/ci", 1, &["acme/app"]).unwrap();
    let key = KeyRef::parse("acme/ci").unwrap();
    let done = house.admin.key_rename(&house.by, &key, &Label::parse("cd").unwrap()).unwrap();
    assert_eq!(done.message, "renamed key acme/ci to acme/cd");
    let key = KeyRef::parse("acme/cd").unwrap();
    assert_eq!(house.admin.key_show(&house.by, &key).unwrap().grants, ["acme/app"]);
    assert!(!house.admin.key_rename(&house.by, &key, &Label::parse("cd").unwrap()).unwrap().changed);
    house.admin.key_remove(&house.by, &key, Holder::DeployKey).unwrap();
    house.add("beta/ci", 1, &[]).unwrap();
    assert_eq!(told(house.admin.key_remove(&house.by, &key, Holder::DeployKey)).0, Kind::NotFound);
}

#[test]
fn listings_come_in_pages_that_miss_nothing() {
    let house = House::new();
    let grants: Vec<String> = (0..200).map(|n| format!("acme/{}-{n}", "g".repeat(90))).collect();
    let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
    for seed in 1..=60 {
        house.add(&format!("acme/k{seed:03}"), seed, &grants).unwrap();
    }
    let (mut names, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = house.admin.key_list(&house.by, Some(&account("acme")), after.as_ref(), &Filter::default()).unwrap();
        assert!(serde_json::to_vec(&page).unwrap().len() < 1024 * 1024);
        names.extend(page.items.into_iter().map(|key| key.name));
        pages += 1;
        match page.next {
            Some(next) => after = Some(KeyName::parse(&next).unwrap()),
            None => break,
        }
    }
    assert!(pages > 1 && names.len() == 60 && names.is_sorted(), "{pages} {names:?}");
    let accounts = house.admin.account_list(&house.by, None).unwrap();
    assert_eq!(
        accounts.items.iter().map(|a| (a.name.as_str(), a.keys)).collect::<Vec<_>>(),
        [("acme", 60), ("beta", 0)]
    );
}

#[derive(Debug)]
struct Shelf;

impl RepoSource for Shelf {
    fn list(&self, account: Option<&AccountName>) -> Result<Vec<RepoView>, String> {
        let account = account.map_or("all", AccountName::as_str);
        let view = |name: &str| RepoView { name: format!("{account}/{name}"), ..RepoView::default() };
        Ok(vec![view("app"), view("lib")])
    }

    fn look(&self, path: &RepoPath) -> Result<Option<RepoView>, String> {
        match path.as_str() {
            "acme/app" => Ok(Some(RepoView { name: path.to_string(), ..RepoView::default() })),
            "acme/broken" => Err("the disk is gone".to_owned()),
            _ => Ok(None),
        }
    }
}

#[test]
fn repositories_are_told_about_only_when_a_store_is_connected() {
    let house = House::new();
    let (app, none) = (RepoPath::parse("acme/app").unwrap(), RepoPath::parse("acme/none").unwrap());
    assert_eq!(house.admin.repo_show(&house.by, &app).unwrap_err().kind(), Kind::Unavailable);
    let admin = house.admin.clone().with_repos(Arc::new(Shelf));
    assert_eq!(admin.repo_show(&house.by, &app).unwrap().name, "acme/app");
    assert_eq!(admin.repo_show(&house.by, &none).unwrap_err().kind(), Kind::NotFound);
    let broken = RepoPath::parse("acme/broken").unwrap();
    assert_eq!(admin.repo_show(&house.by, &broken).unwrap_err().kind(), Kind::Unavailable);
    let rest = admin.repo_list(&house.by, Some(&account("acme")), Some(&app)).unwrap();
    assert_eq!(rest.items.iter().map(|repo| repo.name.as_str()).collect::<Vec<_>>(), ["acme/lib"]);
    assert_eq!(admin.repo_list(&house.by, Some(&account("nobody")), None).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_rotation_carries_the_expiry_rule_on_and_is_done_once() {
    let house = House::new();
    let mut old = new("acme/ci", 1, &["acme/app"]);
    let day = jiff::SignedDuration::from_hours(24);
    let now = jiff::Timestamp::now();
    old.expiry = Some(Expiry::At(now + 30 * day));
    house.admin.key_add(&house.by, old).unwrap();
    let key = KeyRef::parse("acme/ci").unwrap();
    let rotation = |seed| NewRotation { key: new("acme/x", seed, &[]).key, label: None, overlap: None, expiry: None };
    let done = house.admin.key_rotate(&house.by, &key, rotation(2)).unwrap();
    assert!(done.message.contains("key acme/ci-2 (") && done.message.contains("inherits 1 grant"), "{done:?}");
    let view = house.admin.key_show(&house.by, &KeyRef::parse("acme/ci-2").unwrap()).unwrap();
    let left = view.expires.unwrap().duration_since(now);
    assert!(left >= 30 * day - jiff::SignedDuration::from_secs(60) && left < 31 * day, "{left:?}");
    let link = view.replaces.unwrap();
    assert_eq!(link.until.duration_since(link.at).as_hours(), 7 * 24 - 1, "the overlap is a week, less a moment");
    assert!(!house.admin.key_rotate(&house.by, &key, rotation(2)).unwrap().changed);
    assert_eq!(told(house.admin.key_rotate(&house.by, &key, rotation(3))).0, Kind::Conflict);
    let third = house.admin.key_rotate(&house.by, &KeyRef::parse("acme/ci-2").unwrap(), rotation(3)).unwrap();
    assert!(third.message.contains("key acme/ci-3 ("), "{third:?}");
    // The eighth machine is another one.
    house.admin.key_add(&house.by, new("acme/agent-7", 4, &[])).unwrap();
    let seventh = house.admin.key_rotate(&house.by, &KeyRef::parse("acme/agent-7").unwrap(), rotation(5)).unwrap();
    assert!(seventh.message.contains("key acme/agent-7-2 ("), "{seventh:?}");
    let again = house.admin.key_rotate(&house.by, &KeyRef::parse("acme/agent-7-2").unwrap(), rotation(6)).unwrap();
    assert!(again.message.contains("key acme/agent-7-3 ("), "{again:?}");
}

#[test]
fn the_uses_of_a_removed_key_are_forgotten() {
    let house = House::new();
    let print = |seed| new("acme/x", seed, &[]).key.fingerprint();
    let used = crate::usage::Use {
        at: jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1),
        address: None,
        repository: RepoPath::parse("acme/app").unwrap(),
        client: None,
    };
    let known = |seed| house.admin.usage.of(&print(seed), jiff::Timestamp::UNIX_EPOCH).is_some();
    for seed in 1..=3 {
        house.add(&format!("acme/k{seed}"), seed, &[]).unwrap();
        house.admin.usage.note(print(seed), "acme/*", &used);
    }
    house.admin.key_remove(&house.by, &KeyRef::parse("acme/k1").unwrap(), Holder::DeployKey).unwrap();
    assert!(!known(1) && known(2));
    house.admin.apply(&house.by, vec![Change::KeyRemove { key: print(2) }]).unwrap();
    assert!(!known(2) && known(3));
    house.admin.account_remove(&house.by, &account("acme"), true).unwrap();
    assert!(!known(3));
}

#[test]
fn a_removed_key_is_remembered() {
    let house = House::new();
    house.add("acme/ci", 1, &[]).unwrap();
    let key = KeyRef::parse("acme/ci").unwrap();
    let print = new("acme/ci", 1, &[]).key.fingerprint();
    house.admin.key_remove(&house.by, &key, Holder::DeployKey).unwrap();
    for faults in [house.admin.key_show(&house.by, &key), house.admin.whereis(&house.by, &print)] {
        let fact = faults.unwrap_err().list()[0].fact.clone();
        assert!(fact.contains("it was acme/ci (SHA256:") && fact.contains("removed 20"), "{fact}");
    }
    house.add("beta/new", 1, &[]).unwrap();
    let view = house.admin.key_show(&house.by, &KeyRef::parse("beta/new").unwrap()).unwrap();
    assert!(view.before.unwrap().starts_with("it was acme/ci"));
}

/// All of it or nothing, also when only the registry's own rules stand against the last of the changes.
#[test]
fn an_application_that_fails_at_its_end_leaves_nothing_of_its_beginning() {
    let house = House::new();
    house.add("acme/ci", 1, &[]).unwrap();
    let add = |text: &str, seed| {
        let NewKey { key, name, note, sources, grants, .. } = new(text, seed, &[]);
        Change::KeyAdd { key, name, note, sources, grants, holder: Holder::DeployKey, expiry: Expiry::Never }
    };
    let first = || vec![Change::AccountAdd { account: account("new") }, add("new/a", 2)];
    let held = [first(), vec![add("new/b", 1)]].concat();
    let (kind, fact, _) = told(house.admin.apply(&house.by, held));
    assert!(kind == Kind::Conflict && fact.contains("acme/ci"), "{fact}");
    assert!(house.admin.lookup.account(&account("new")).unwrap().is_none());
    assert!(house.admin.whereis(&house.by, &new("new/a", 2, &[]).key.fingerprint()).is_err());
    assert!(house.admin.apply(&house.by, first()).unwrap().changed, "without the last one they are good");
}

/// What a verb says is what its change met, although many go on at once and nothing locks them.
#[test]
fn answers_are_true_under_concurrency() {
    let house = House::new();
    house.add("acme/ci", 1, &[]).unwrap();
    let answers: Vec<Done> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(|| house.grant("acme/ci", &["acme/app"]).unwrap())).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let changed: Vec<_> = answers.iter().filter(|done| done.changed).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].message, "acme/ci may now fetch acme/app");
    assert_eq!(answers.iter().filter(|done| done.message == "already granted to acme/ci: acme/app").count(), 7);
}
