use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::refusal::Reason;
use super::*;
use crate::model::expiry::Expiry;
use crate::model::grant::Grant;
use crate::model::key_name::KeyName;
use crate::model::name::{AccountName, GroupName, Label};
use crate::model::protocol::GitProtocol;
use crate::model::repo_path::RepoPath;
use crate::model::text::Note;
use crate::registry::Amend;
use crate::registry::change::Change;
use crate::registry::record::{Holder, Suspension};
use crate::store::{Settings, sample};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

struct House {
    gate: Gate,
    amend: Amend,
    dir: tempfile::TempDir,
}

fn house(grants: &[&str], holder: Holder) -> House {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    for name in ["acme/app.git", "acme/base.git", "other/app.git"] {
        sample::create(&root.join(name)).unwrap();
    }
    let (lookup, amend) = crate::registry::open(&dir.path().join("registry")).unwrap();
    let add = Change::KeyAdd {
        key: key(),
        name: KeyName::parse("acme/ci").unwrap(),
        holder,
        note: Default::default(),
        expiry: Expiry::Never,
        sources: Vec::new(),
        grants: grants.iter().map(|g| Grant::parse(g).unwrap()).collect(),
    };
    amend.commit("test", &[Change::AccountAdd { account: AccountName::parse("acme").unwrap() }, add]).unwrap();
    let store = Store::new(&Settings { root, owners: Vec::new() }).unwrap();
    let audit = Audit::open(&dir.path().join("audit.jsonl")).unwrap();
    House { gate: Gate::new(lookup, store, audit), amend, dir }
}

fn key() -> PublicKey {
    PublicKey::parse(KEY).unwrap()
}

fn principal(house: &House) -> Principal {
    let record = house.gate.current(&key()).unwrap().unwrap();
    let subject = Subject {
        key: Some(record.name),
        fingerprint: Some(key().fingerprint()),
        address: Some("192.0.2.7".parse().unwrap()),
        client: None,
    };
    Principal { key: key(), subject }
}

fn ask(house: &House, who: &Principal, repo: &str) -> Result<Fetch, Refusal> {
    let repo = RepoPath::parse(repo).unwrap();
    house.gate.authorize(who, Ask { repo, protocol: GitProtocol::V2 })
}

fn audit(house: &House) -> String {
    house.gate.audit.flush();
    std::fs::read_to_string(house.dir.path().join("audit.jsonl")).unwrap()
}

/// Security rule 28: the words do not tell whether it exists, and differ by nothing but the id.
#[test]
fn absent_and_not_granted_are_told_alike() {
    let house = house(&["acme/app", "acme/nothing"], Holder::DeployKey);
    let who = principal(&house);
    let text = |repo: &str| {
        let refusal = ask(&house, &who, repo).unwrap_err().to_string();
        refusal.replace(repo, "REPO").split(" (id").next().unwrap().to_owned()
    };
    let absent = text("acme/nothing");
    assert_eq!(absent, text("acme/base"));
    assert_eq!(absent, text("other/app"));
    assert_eq!(absent, text("nobody/none"));
    assert_eq!(
        absent,
        format!("REPO: repository not found, or not granted to key acme/ci ({}) [not-granted]", key().fingerprint())
    );
}

#[test]
fn a_grant_opens_exactly_what_it_says() {
    let house = house(&["acme/app"], Holder::DeployKey);
    let who = principal(&house);
    let fetch = ask(&house, &who, "acme/app").unwrap();
    assert_eq!(fetch.repo().name().as_str(), "acme/app");
    fetch.finish(crate::audit::Ended::Served, 10, 5);
    assert!(audit(&house).contains("\"event\":\"fetch\"") && audit(&house).contains("\"bytes_out\":10"));
}

#[test]
fn an_account_key_reads_its_account_and_no_other() {
    let house = house(&[], Holder::AccountKey);
    let who = principal(&house);
    assert!(ask(&house, &who, "acme/base").is_ok());
    assert_eq!(ask(&house, &who, "other/app").unwrap_err().code(), Code::NotGranted);
}

#[test]
fn the_key_is_read_again_at_every_request() {
    let house = house(&["acme/app"], Holder::DeployKey);
    let who = principal(&house);
    assert!(ask(&house, &who, "acme/app").is_ok());
    house
        .amend
        .commit(
            "test",
            &[Change::KeyUngrant { key: key().fingerprint(), grants: vec![Grant::parse("acme/app").unwrap()] }],
        )
        .unwrap();
    assert_eq!(ask(&house, &who, "acme/app").unwrap_err().code(), Code::NotGranted);
    house.amend.commit("test", &[Change::KeyRemove { key: key().fingerprint() }]).unwrap();
    assert_eq!(ask(&house, &who, "acme/app").unwrap_err().code(), Code::Removed);
    assert_eq!(house.gate.standing(&who).unwrap_err().code(), Code::Removed);
    assert_eq!(house.gate.knows(&key()), Ok(false));
}

#[test]
fn borrowed_objects_need_a_grant_of_their_own() {
    let house = house(&["acme/app"], Holder::DeployKey);
    let info = house.dir.path().join("root/acme/app.git/objects/info");
    std::fs::create_dir_all(&info).unwrap();
    std::fs::write(info.join("alternates"), "../../base.git/objects\n").unwrap();
    let who = principal(&house);
    let refusal = ask(&house, &who, "acme/app").unwrap_err();
    assert_eq!(refusal.code(), Code::SharedObjects);
    assert!(!refusal.to_string().contains("acme/base"), "the other one is not named: {refusal}");
    house
        .amend
        .commit(
            "test",
            &[Change::KeyGrant { key: key().fingerprint(), grants: vec![Grant::parse("acme/base").unwrap()] }],
        )
        .unwrap();
    assert!(ask(&house, &who, "acme/app").is_ok());
}

#[test]
fn a_permission_that_stands_is_asked_for_again() {
    let house = house(&["acme/app", "acme/base"], Holder::DeployKey);
    let info = house.dir.path().join("root/acme/app.git/objects/info");
    std::fs::create_dir_all(&info).unwrap();
    std::fs::write(info.join("alternates"), "../../base.git/objects\n").unwrap();
    let mut fetch = ask(&house, &principal(&house), "acme/app").unwrap();
    let mut after = |change| {
        commit(&house, &[change]);
        fetch.recheck().map_err(|withdrawn| fetch.unserved(Unserved::Withdrawn(withdrawn)).code())
    };
    let (print, base) = (key().fingerprint(), || vec![Grant::parse("acme/base").unwrap()]);
    let (ungrant, grant) =
        (Change::KeyUngrant { key: print, grants: base() }, Change::KeyGrant { key: print, grants: base() });
    assert_eq!(after(ungrant), Err(Code::SharedObjects));
    assert_eq!(after(grant), Ok(()));
    let at = Timestamp::now().checked_sub(SignedDuration::from_secs(1)).unwrap();
    assert_eq!(after(Change::KeyExpire { key: print, expiry: Expiry::At(at) }), Err(Code::Expired));
    assert_eq!(after(Change::KeyRemove { key: print }), Err(Code::Removed));
}

#[test]
fn a_broken_repository_is_refused_without_its_place() {
    let house = house(&["acme/app"], Holder::DeployKey);
    std::fs::remove_file(house.dir.path().join("root/acme/app.git/HEAD")).unwrap();
    let refusal = ask(&house, &principal(&house), "acme/app").unwrap_err();
    assert_eq!(refusal.code(), Code::Repository);
    assert!(!refusal.to_string().contains(house.dir.path().to_str().unwrap()));
    assert!(audit(&house).contains("there is no HEAD file"));
}

#[test]
fn the_refusals_id_is_in_its_record() {
    let house = house(&[], Holder::DeployKey);
    let refusal = ask(&house, &principal(&house), "acme/app").unwrap_err().to_string();
    let id = refusal.split("(id ").nth(1).unwrap().trim_end_matches(')');
    assert!(audit(&house).contains(&format!("\"id\":\"{id}\"")));
}

#[test]
fn expiry_suspension_and_source_stand_before_grants() {
    let house = house(&["acme/app"], Holder::DeployKey);
    let mut record = house.gate.current(&key()).unwrap().unwrap();
    let repo = RepoPath::parse("acme/app").unwrap();
    let now = Timestamp::now();
    let from = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let decide = |record: &KeyRecord, from| {
        decide::may_fetch(record, &repo, from, now, &house.gate.lookup).unwrap().decide().map(drop)
    };
    assert!(decide(&record, None).is_ok());
    record.sources = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    assert!(decide(&record, from("10.9.9.9")).is_ok());
    assert!(decide(&record, from("::ffff:10.9.9.9")).is_ok(), "a mapped address is the address");
    assert!(decide(&record, from("2001:db8::1")).is_ok());
    assert!(matches!(decide(&record, from("11.0.0.1")), Err(Reason::SourceAddress { .. })));
    assert!(matches!(decide(&record, None), Err(Reason::SourceAddress { from: None })));
    record.expiry = Expiry::At(now);
    assert!(matches!(decide(&record, from("11.0.0.1")), Err(Reason::Expired { .. })));
    record.expiry = Expiry::At(now + SignedDuration::from_secs(1));
    assert!(decide(&record, from("10.0.0.1")).is_ok());
    record.suspended = Some(Suspension { at: now, by: "test".to_owned(), reason: Note::default() });
    assert!(matches!(decide(&record, from("10.0.0.1")), Err(Reason::Suspended { .. })));
}

fn commit(house: &House, changes: &[Change]) {
    house.amend.commit("test", changes).unwrap();
}

#[test]
fn groups_and_publication_count_when_it_is_asked() {
    let house = house(&["acme/@core"], Holder::DeployKey);
    let who = principal(&house);
    let (account, group) = (AccountName::parse("acme").unwrap(), GroupName::parse("core").unwrap());
    let repo = |text| RepoPath::parse(text).unwrap();
    assert_eq!(ask(&house, &who, "acme/app").unwrap_err().code(), Code::NotGranted);
    let repos = vec![repo("acme/app")];
    commit(&house, &[Change::GroupAdd { account: account.clone(), group: group.clone(), repos: repos.clone() }]);
    assert!(ask(&house, &who, "acme/app").is_ok());
    assert_eq!(ask(&house, &who, "acme/base").unwrap_err().code(), Code::NotGranted);
    commit(&house, &[Change::GroupDrop { account, group, repos }, Change::RepoPublish { repo: repo("acme/base") }]);
    assert_eq!(ask(&house, &who, "acme/app").unwrap_err().code(), Code::NotGranted);
    assert!(ask(&house, &who, "acme/base").is_ok());
    commit(&house, &[Change::RepoUnpublish { repo: repo("acme/base") }]);
    assert_eq!(ask(&house, &who, "acme/base").unwrap_err().code(), Code::NotGranted);
}

/// One commit suspends the key and publishes a repository, the next one takes both back: the repository is never to be had.
/// Who read the key before such a commit and the rest after it would let it pass.
#[test]
fn half_of_a_change_permits_nothing() {
    let house = house(&[], Holder::DeployKey);
    let who = principal(&house);
    let (key, repo) = (key().fingerprint(), RepoPath::parse("acme/base").unwrap());
    let shut = [Change::KeySuspend { key, reason: Note::default() }, Change::RepoPublish { repo: repo.clone() }];
    let open = [Change::RepoUnpublish { repo }, Change::KeyResume { key }];
    let done = std::sync::atomic::AtomicBool::new(false);
    // Readers who have met both refusals.
    let seen = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let asking = || {
            let (mut suspended, mut not_granted, mut met) = (0, 0, false);
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                match ask(&house, &who, "acme/base").map_err(|refusal| refusal.code()) {
                    Err(Code::Suspended) => suspended += 1,
                    Err(Code::NotGranted) => not_granted += 1,
                    other => {
                        seen.store(2, std::sync::atomic::Ordering::Release);
                        return Err(format!("{:?}, after {suspended} and {not_granted}", other.map(drop)));
                    }
                }
                if suspended > 0 && not_granted > 0 && !std::mem::replace(&mut met, true) {
                    seen.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
                }
            }
            Ok((suspended, not_granted))
        };
        let asking = [scope.spawn(asking), scope.spawn(asking)];
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
        for round in 0.. {
            commit(&house, &shut);
            commit(&house, &open);
            let both = seen.load(std::sync::atomic::Ordering::Acquire) >= 2;
            if round >= 200 && (both || std::time::Instant::now() > patience) {
                break;
            }
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        for asked in asking {
            let (suspended, not_granted) = asked.join().unwrap().unwrap();
            assert!(suspended > 0 && not_granted > 0, "{suspended}, {not_granted}");
        }
    });
}

#[test]
fn a_replaced_key_ends_with_its_overlap_and_names_the_new_one() {
    let house = house(&["acme/app"], Holder::DeployKey);
    let who = principal(&house);
    let mut blob = KEY.replacen("ILM+rvN", "ILM+rvM", 1);
    blob.push('\n');
    let until = Timestamp::now() + SignedDuration::from_millis(800);
    let rotate = Change::KeyRotate {
        old: key().fingerprint(),
        new: PublicKey::parse(&blob).unwrap(),
        label: Label::parse("ci-2").unwrap(),
        expiry: Expiry::Never,
        until,
    };
    commit(&house, &[rotate]);
    assert!(ask(&house, &who, "acme/app").is_ok());
    std::thread::sleep(std::time::Duration::from_millis(900));
    let refusal = ask(&house, &who, "acme/app").unwrap_err();
    assert_eq!(refusal.code(), Code::Rotated);
    let date = until.strftime("%Y-%m-%d").to_string();
    assert!(refusal.to_string().contains("acme/ci-2") && refusal.to_string().contains(&date), "{refusal}");
    assert_eq!(house.gate.standing(&who).unwrap_err().code(), Code::Rotated);
}

/// What is explained is what is decided, for every state of a key that a test can make.
#[test]
fn explain_and_authorize_agree() {
    let house = house(&["acme/app", "acme/nothing"], Holder::DeployKey);
    let who = principal(&house);
    let print = key().fingerprint();
    let past = Expiry::At(Timestamp::now() - SignedDuration::from_hours(1));
    let agree = |expected: Option<Code>, repo: &str| {
        let path = RepoPath::parse(repo).unwrap();
        let record = house.gate.current(&key()).unwrap().unwrap();
        let explained = house.gate.explain(&record, &path, who.subject.address).unwrap();
        let decided = ask(&house, &who, repo).err().map(|refusal| refusal.code());
        assert_eq!(
            (decided, explained.code, explained.allowed),
            (expected, expected.map(Code::as_str), expected.is_none())
        );
        assert_eq!(explained.findings.iter().filter(|finding| finding.decided).count(), 1);
        assert_eq!(explained.remedy.is_empty(), explained.allowed);
        assert!(explained.findings.iter().any(|finding| finding.decided && finding.passes == explained.allowed));
    };
    agree(None, "acme/app");
    agree(Some(Code::NotGranted), "acme/base");
    agree(Some(Code::NotGranted), "acme/nothing");
    let networks = |text: &str| Change::KeySources { key: print, sources: vec![text.parse().unwrap()] };
    commit(&house, &[networks("192.0.2.0/24")]);
    agree(None, "acme/app");
    commit(&house, &[networks("10.0.0.0/8")]);
    agree(Some(Code::SourceAddress), "acme/app");
    commit(&house, &[Change::KeyExpire { key: print, expiry: past }]);
    agree(Some(Code::Expired), "acme/app");
    commit(&house, &[Change::KeySuspend { key: print, reason: Note::default() }]);
    agree(Some(Code::Suspended), "acme/app");
}

#[test]
fn an_allowed_fetch_is_noted_with_its_grant_and_a_refused_one_is_not() {
    let mut house = house(&["acme/*"], Holder::DeployKey);
    let usage = Usage::default();
    house.gate = house.gate.with_usage(usage.clone());
    let who = principal(&house);
    let of = || usage.of(&key().fingerprint(), Timestamp::UNIX_EPOCH);
    ask(&house, &who, "other/app").unwrap_err();
    assert_eq!(of(), None);
    ask(&house, &who, "acme/app").unwrap();
    let used = of().unwrap();
    assert_eq!((used.last.repository.as_str(), used.last.address), ("acme/app", who.subject.address));
    assert_eq!(used.grants.keys().collect::<Vec<_>>(), ["acme/*"]);
}

#[test]
fn refusals_echo_nothing_dangerous() {
    let house = house(&[], Holder::DeployKey);
    let hostile = "x\u{1b}[2J\n\u{202e}y".to_owned();
    for declined in [
        Declined::Push(hostile.clone()),
        Declined::NotServed(hostile.clone()),
        Declined::BadPath(hostile, "no".to_owned()),
    ] {
        let text = house.gate.decline(&Subject::default(), declined, None).to_string();
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
    }
}

#[test]
fn codes_are_distinct_words() {
    let words: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(words.len(), Code::ALL.len());
    assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')));
}

#[test]
fn each_code_has_its_entry_in_the_guide() {
    let guide = include_str!("../../docs/operations.md");
    for code in Code::ALL {
        let row = format!("| `[{}]` | ", code.as_str());
        assert_eq!(guide.matches(&row).count(), 1, "docs/operations.md: no row, or two, for {}", code.as_str());
    }
    assert_eq!(guide.matches("\n| `[").count(), Code::ALL.len(), "a row of a code that there is not");
}

/// Taken by value, which together with "not `Clone`" (the examples that must not compile) means: once.
#[test]
fn a_proof_and_a_permission_are_used_up() {
    let _: fn(&Gate, ProvenKey, Subject) -> Admission = Gate::admit;
    let _: fn(Fetch, crate::audit::Ended, u64, u64) = Fetch::finish;
}
