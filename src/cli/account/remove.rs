//! `pullgate account remove`

use crate::admin::fault::Kind;
use crate::cli::Context;
use crate::cli::io::Stop;
use crate::front::control::client::CallError;
use crate::front::control::protocol::Request;

/// Remove an account and its keys; its repositories stay on the disk
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Its name
    account: String,
    /// Remove its keys without asking
    #[arg(long)]
    yes: bool,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &mut Context<'_, '_>) -> Result<(), Stop> {
        let session = context.session()?;
        let request = |with_keys| Request::AccountRemove { account: self.account.clone(), with_keys };
        let done = match session.change(request(self.yes)) {
            Err(CallError::Refused(faults)) if faults.kind() == Kind::Conflict && context.io.interactive => {
                for fault in faults.list() {
                    context.io.tell(&fault.fact)?;
                }
                if !context.io.confirm("They stop working at once. Remove the account with them?")? {
                    context.io.tell("nothing was changed")?;
                    return Err(Stop::Said(Kind::Conflict));
                }
                session.change(request(true))?
            }
            other => other?,
        };
        context.io.done(&done)
    }
}
