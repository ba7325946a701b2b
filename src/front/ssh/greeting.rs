//! What somebody hears who opens a shell: who they are, what they may do, and that there is no shell.

use std::fmt::Write as _;

use crate::gate::Standing;
use crate::model::expiry::Expiry;
use crate::registry::record::Holder;

/// Grants that are listed before the rest is only counted.
const SHOWN: usize = 20;

/// The greeting, in lines.
pub(super) fn text(standing: &Standing, public_address: &str) -> String {
    let Standing { name, fingerprint, holder, expiry, grants } = standing;
    let account = &name.account;
    let mut text = format!("Hello {name} ({fingerprint}).\n");
    // Writing to a String cannot fail; the results are taken so that the lints see it.
    let mut line = |words: std::fmt::Arguments<'_>| {
        if text.write_fmt(words).is_ok() {
            text.push('\n');
        }
    };
    match holder {
        Holder::DeployKey => line(format_args!("You are logged in with a deploy key of account {account}.")),
        Holder::AccountKey => line(format_args!("You are logged in with an account key of {account}.")),
    }
    match expiry {
        Expiry::Never => line(format_args!("It does not expire.")),
        Expiry::At(_) => line(format_args!("It expires on {expiry}.")),
    }
    match (holder, grants.as_slice()) {
        (Holder::AccountKey, _) => line(format_args!("It may fetch every repository of {account}.")),
        (Holder::DeployKey, []) => {
            line(format_args!(
                "It may not fetch anything yet; an administrator of {account} can grant it repositories."
            ));
        }
        (Holder::DeployKey, grants) => {
            line(format_args!("It may fetch:"));
            for grant in grants.iter().take(SHOWN) {
                line(format_args!("  {grant}"));
            }
            if grants.len() > SHOWN {
                line(format_args!("  and {} more", grants.len() - SHOWN));
            }
        }
    }
    line(format_args!(
        "There is no shell here, and nothing can be written: git clone ssh://git@{public_address}/ACCOUNT/NAME.git"
    ));
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fingerprint::Fingerprint;
    use crate::model::grant::Grant;
    use crate::model::key_name::KeyName;

    #[test]
    fn a_greeting_says_who_until_when_and_what() {
        let mut standing = Standing {
            name: KeyName::parse("acme/ci").unwrap(),
            fingerprint: Fingerprint::of_blob(b"x"),
            holder: Holder::DeployKey,
            expiry: Expiry::At("2027-03-01T00:00:00Z".parse().unwrap()),
            grants: (0..25).map(|n| Grant::parse(&format!("acme/r{n:02}")).unwrap()).collect(),
        };
        let text = text(&standing, "localhost:2222");
        for part in [
            "acme/ci (SHA256:",
            "expires on 2027-03-01 00:00 UTC",
            "acme/r19",
            "and 5 more",
            "ssh://git@localhost:2222/",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("acme/r20"));
        standing.grants.clear();
        assert!(super::text(&standing, "h:1").contains("may not fetch anything yet"));
        standing.holder = Holder::AccountKey;
        assert!(super::text(&standing, "h:1").contains("every repository of acme"));
    }
}
