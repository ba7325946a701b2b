//! `pullgate explain`

use super::Context;
use super::io::Stop;
use super::session::unexpected;
use crate::front::control::protocol::{Answer, Request};

/// Explain why a key may or may not fetch a repository: each rule in order, and the one that decides
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// account/label, or a fingerprint
    key: String,
    /// account/name
    repo: String,
    /// The address from which the key would come
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let Self { key, repo, from, json } = self;
        let answer = context.session()?.call(Request::Explain { key, repo, from })?;
        let Answer::Explained(explained) = answer else { return Err(unexpected(&answer).into()) };
        if json {
            return context.io.json(&explained);
        }
        let from = explained.from.map(|from| format!(" from {from}")).unwrap_or_default();
        let verdict = match (explained.allowed, &explained.code) {
            (true, _) => "yes".to_owned(),
            (false, Some(code)) => format!("no [{code}]"),
            (false, None) => "no".to_owned(),
        };
        let (key, repo) = (&explained.key, &explained.repository);
        context.io.say(format_args!("may {key} fetch {repo}{from}? {verdict}"))?;
        for rule in &explained.rules {
            let mark = if rule.passes { "pass" } else { "STOP" };
            let decided = if rule.decided { "   <- decides" } else { "" };
            context.io.say(format_args!("  {mark}  {:14}  {}{decided}", rule.rule, rule.found))?;
        }
        match explained.remedy.as_str() {
            "" => Ok(()),
            remedy => context.io.say(format_args!("what would change it: {remedy}")),
        }
    }
}
