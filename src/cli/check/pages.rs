//! Listings of any length, looked at for a bounded time: a registry may have a million keys.

use std::time::{Duration, Instant};

use crate::admin::view::KeyView;
use crate::cli::Session;
use crate::cli::session::unexpected;
use crate::front::control::client::CallError;
use crate::front::control::protocol::{Answer, KeyFilter, Request};

/// How long a listing is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget(Duration);

impl Budget {
    /// A release build was seen to look at 300,000 keys in less than ten seconds, on two busy cores.
    pub(super) const USUAL: Self = Self(Duration::from_secs(20));

    #[cfg(test)]
    pub(super) const NONE: Self = Self(Duration::ZERO);
}

/// Looks at the keys that fit, in the order of their names. Says whether it ended before they did.
pub(super) fn keys(
    session: &Session,
    filter: &KeyFilter,
    budget: Budget,
    mut look: impl FnMut(&KeyView),
) -> Result<bool, CallError> {
    let (begin, mut after) = (Instant::now(), None);
    loop {
        let answer = session.call(Request::KeyList { account: None, after, filter: filter.clone() })?;
        let Answer::Keys(page) = answer else { return Err(CallError::Refused(unexpected(&answer).into())) };
        page.items.iter().for_each(&mut look);
        match page.next {
            None => return Ok(false),
            Some(_) if begin.elapsed() >= budget.0 => return Ok(true),
            next => after = next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::config::Config;
    use crate::model::key_name::KeyName;
    use crate::model::name::AccountName;
    use crate::model::public_key::PublicKey;
    use crate::registry::change::Change;
    use crate::registry::record::Holder;

    /// The `n`th of many keys: an ed25519 key may be any 32 bytes.
    fn key(n: u8, m: u8) -> Change {
        use base64::Engine as _;
        let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        blob.extend([[n, m]; 16].concat());
        let line = format!("ssh-ed25519 {}", base64::engine::general_purpose::STANDARD.encode(blob));
        Change::KeyAdd {
            key: PublicKey::parse(&line).unwrap(),
            name: KeyName::parse(&format!("acme/k{n:03}-{m:03}")).unwrap(),
            holder: Holder::DeployKey,
            note: Default::default(),
            expiry: Default::default(),
            sources: Vec::new(),
            grants: Vec::new(),
        }
    }

    #[test]
    fn a_listing_that_takes_long_is_cut_and_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let session = Session::open(&Config::parse("", &dir.path().join("config.toml")).unwrap()).unwrap();
        let account = Change::AccountAdd { account: AccountName::parse("acme").unwrap() };
        let keys = (0..6).flat_map(|n| (0..200).map(move |m| key(n, m)));
        session.apply(std::iter::once(account).chain(keys).collect(), false, |_| ()).unwrap();
        let look = |budget| {
            let mut seen = 0;
            let cut = super::keys(&session, &KeyFilter::default(), budget, |_| seen += 1).unwrap();
            (cut, seen)
        };
        assert_eq!(look(Budget::USUAL), (false, 1200));
        let (cut, seen) = look(Budget::NONE);
        assert!(cut && (1..1200).contains(&seen), "{seen}");
    }
}
