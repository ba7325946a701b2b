//! From what was typed to what `admin` does. All faults of a request are reported at once.

mod parse;

use super::protocol::{Answer, Request};
use crate::admin::fault::{Fault, Kind};
use crate::admin::key::NewRotation;
use crate::admin::operator::Operator;
use crate::admin::{Admin, Faults};
use crate::model::key_name::KeyName;
use crate::model::name::AccountName;
use crate::model::repo_path::RepoPath;
use crate::model::text::Note;
use crate::registry::record::Holder;
use parse::Parse;

/// Does what is asked for. Blocks while the registry writes.
///
/// # Errors
/// Every fault of the request, or why it was not done.
pub fn handle(admin: &Admin, by: &Operator, request: Request) -> Result<Answer, Faults> {
    let mut parse = Parse::default();
    match request {
        Request::AccountAdd { account } => {
            let account = parse.account(&account);
            parse.done()?;
            with(account, |account| admin.account_add(by, &account).map(Answer::Done))
        }
        Request::AccountList { after } => {
            let after = parse.optional(after, |parse, text| parse.cursor(&text, AccountName::parse));
            parse.done()?;
            admin.account_list(by, after.as_ref()).map(Answer::Accounts)
        }
        Request::AccountRemove { account, with_keys } => {
            let account = parse.account(&account);
            parse.done()?;
            with(account, |account| admin.account_remove(by, &account, with_keys).map(Answer::Done))
        }
        Request::KeyAdd(add) => {
            let new = parse.new_key(add);
            parse.done()?;
            with(new, |new| admin.key_add(by, new).map(Answer::Done))
        }
        Request::AccountKeyAdd(add) => {
            let new = parse.new_person(add);
            parse.done()?;
            with(new, |new| admin.account_key_add(by, new).map(Answer::Done))
        }
        Request::KeyList { account, after, filter } => {
            let account = parse.optional(account, |parse, text| parse.account(&text));
            let after = parse.optional(after, |parse, text| parse.cursor(&text, KeyName::parse));
            let filter = parse.filter(filter);
            parse.done()?;
            with(filter, |filter| admin.key_list(by, account.as_ref(), after.as_ref(), &filter).map(Answer::Keys))
        }
        Request::KeyExpire { key, expires } => {
            let both = both(parse.key_ref(&key), parse.expiry(&expires));
            parse.done()?;
            with(both, |(key, expiry)| admin.key_expire(by, &key, expiry).map(Answer::Done))
        }
        Request::KeySuspend { key, reason } => {
            let reason = reason.map_or(Some(Note::default()), |text| parse.note("reason", &text));
            let both = both(parse.key_ref(&key), reason);
            parse.done()?;
            with(both, |(key, reason)| admin.key_suspend(by, &key, &reason).map(Answer::Done))
        }
        Request::KeyResume { key } => {
            let key = parse.key_ref(&key);
            parse.done()?;
            with(key, |key| admin.key_resume(by, &key).map(Answer::Done))
        }
        Request::KeySources { key, sources } => {
            let both = both(parse.key_ref(&key), parse.sources(&sources));
            parse.done()?;
            with(both, |(key, sources)| admin.key_sources(by, &key, &sources).map(Answer::Done))
        }
        Request::KeyRotate { old, key, label, overlap, expires } => {
            let old = parse.key_ref(&old);
            let key = parse.public_key(&key);
            let label = parse.optional(label, |parse, text| parse.label(&text));
            let overlap = parse.optional(overlap, |parse, text| parse.span("overlap", &text));
            let expiry = parse.optional(expires, |parse, text| parse.expiry(&text));
            parse.done()?;
            with(both(old, key), |(old, key)| {
                admin.key_rotate(by, &old, NewRotation { key, label, overlap, expiry }).map(Answer::Done)
            })
        }
        Request::GroupList { account, after } => {
            let account = parse.optional(account, |parse, text| parse.account(&text));
            let after = parse.optional(after, |parse, text| parse.group(&text));
            parse.done()?;
            admin.group_list(by, account.as_ref(), after.as_ref()).map(Answer::Groups)
        }
        Request::GroupAdd { group, repos } => {
            let all = both(parse.group(&group), parse.repos(&repos));
            parse.done()?;
            with(all, |((account, group), repos)| admin.group_add(by, &account, &group, &repos).map(Answer::Done))
        }
        Request::GroupDrop { group, repos } => {
            let all = both(parse.group(&group), parse.repos(&repos));
            parse.done()?;
            with(all, |((account, group), repos)| admin.group_drop(by, &account, &group, &repos).map(Answer::Done))
        }
        Request::GroupRemove { group, with_grants } => {
            let group = parse.group(&group);
            parse.done()?;
            with(group, |(account, group)| admin.group_remove(by, &account, &group, with_grants).map(Answer::Done))
        }
        // What came before in parts is in it: see `listener`.
        Request::Apply { changes, more: _, dry_run: true } => admin.apply_dry(by, &changes).map(Answer::Done),
        Request::Apply { changes, more: _, dry_run: false } => admin.apply(by, changes).map(Answer::Done),
        Request::PublicList { after } => {
            let after = parse.optional(after, |parse, text| parse.cursor(&text, RepoPath::parse));
            parse.done()?;
            admin.public_list(by, after.as_ref()).map(Answer::Public)
        }
        Request::CacheShow {} => admin.cache_show(by).map(|view| Answer::Cache(Box::new(view))),
        Request::CacheClear {} => admin.cache_clear(by).map(Answer::Done),
        Request::Upgrade {} => admin.upgrade(by).map(Answer::Done),
        Request::Explain { key, repo, from } => {
            let all = both(parse.key_ref(&key), parse.repo(&repo));
            let from = parse.optional(from, |parse, text| parse.address(&text));
            parse.done()?;
            with(all, |(key, repo)| {
                admin.explain(by, &key, &repo, from).map(|explained| Answer::Explained(Box::new(explained)))
            })
        }
        Request::KeyShow { key } => {
            let key = parse.key_ref(&key);
            parse.done()?;
            with(key, |key| admin.key_show(by, &key).map(|view| Answer::Key(Box::new(view))))
        }
        Request::KeyRename { key, label } => {
            let both = both(parse.key_ref(&key), parse.label(&label));
            parse.done()?;
            with(both, |(key, label)| admin.key_rename(by, &key, &label).map(Answer::Done))
        }
        Request::KeyNote { key, note } => {
            let both = both(parse.key_ref(&key), parse.note("note", &note));
            parse.done()?;
            with(both, |(key, note)| admin.key_note(by, &key, &note).map(Answer::Done))
        }
        Request::KeyGrant { key, grants } => {
            let both = both(parse.key_ref(&key), parse.grants(&grants, true));
            parse.done()?;
            with(both, |(key, grants)| admin.key_grant(by, &key, &grants).map(Answer::Done))
        }
        Request::KeyUngrant { key, grants } => {
            let both = both(parse.key_ref(&key), parse.grants(&grants, true));
            parse.done()?;
            with(both, |(key, grants)| admin.key_ungrant(by, &key, &grants).map(Answer::Done))
        }
        Request::KeyRemove { key } => {
            let key = parse.key_ref(&key);
            parse.done()?;
            with(key, |key| admin.key_remove(by, &key, Holder::DeployKey).map(Answer::Done))
        }
        Request::AccountKeyRemove { key } => {
            let key = parse.key_ref(&key);
            parse.done()?;
            with(key, |key| admin.key_remove(by, &key, Holder::AccountKey).map(Answer::Done))
        }
        Request::WhereIs { fingerprint, key } => {
            let fingerprint = parse.fingerprint(fingerprint, key);
            parse.done()?;
            with(fingerprint, |wanted| admin.whereis(by, &wanted).map(|view| Answer::Key(Box::new(view))))
        }
        Request::RepoList { account, after } => {
            let account = parse.optional(account, |parse, text| parse.account(&text));
            let after = parse.optional(after, |parse, text| parse.cursor(&text, RepoPath::parse));
            parse.done()?;
            admin.repo_list(by, account.as_ref(), after.as_ref()).map(Answer::Repos)
        }
        Request::RepoShow { repo } => {
            let repo = parse.repo(&repo);
            parse.done()?;
            with(repo, |repo| admin.repo_show(by, &repo).map(Answer::Repo))
        }
        Request::RepoPublish { repo } => {
            let repo = parse.repo(&repo);
            parse.done()?;
            with(repo, |repo| admin.repo_publish(by, &repo).map(Answer::Done))
        }
        Request::RepoUnpublish { repo } => {
            let repo = parse.repo(&repo);
            parse.done()?;
            with(repo, |repo| admin.repo_unpublish(by, &repo).map(Answer::Done))
        }
        Request::RepoRemove { repo, with_grants } => {
            let repo = parse.repo(&repo);
            parse.done()?;
            with(repo, |repo| admin.repo_remove(by, &repo, with_grants).map(Answer::Done))
        }
    }
}

/// What was parsed, once there were no faults. That it is missing without a fault would be a fault of ours.
fn with<T>(parsed: Option<T>, verb: impl FnOnce(T) -> Result<Answer, Faults>) -> Result<Answer, Faults> {
    verb(parsed.ok_or_else(|| Fault::new(Kind::Internal, "a field was refused without a reason"))?)
}

fn both<A, B>(a: Option<A>, b: Option<B>) -> Option<(A, B)> {
    a.zip(b)
}

#[cfg(test)]
mod tests;
