//! The pullgate program: arguments in, exit code out.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use pullgate::cli::{Io, run};

// Two hundred clients that fill what they may hold and leave would cost their memory for good with the system's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
    let (mut input, mut out, mut err) = (io::stdin(), io::stdout(), io::stderr());
    let out_is_open = pullgate::cli::is_open_to_others(&out);
    let mut io = Io { input: &mut input, out: &mut out, err: &mut err, interactive, out_is_open };
    ExitCode::from(run(std::env::args_os(), &mut io))
}
