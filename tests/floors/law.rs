//! The law as data: which room is on which floor, and which word may stand where. A new room is a new row here.

/// Where each room is. The longest row that a module's path starts with is its room; a room names only itself and rooms
/// with a smaller number. There are no exceptions: rooms with the same number do not name each other.
pub(crate) const FLOORS: &[(u8, &str)] = &[
    (0, "model"),
    (1, "registry"),
    (1, "store"),
    (1, "audit"),
    (1, "usage"),
    (1, "cache"),
    (1, "sandbox"),
    (2, "gate"),
    (2, "admin"),
    (3, "git"),
    // The corridor declares the doors and names neither; the doors name neither the corridor nor each other.
    (4, "front"),
    (4, "front::ssh"),
    (4, "front::control"),
    (4, "front::metrics"),
    (5, "daemon"),
    (6, "cli"),
];

/// What the binary may name of the library: it turns arguments into an exit code, and `cli` does the rest.
pub(crate) const MAIN_MAY_NAME: &[&str] = &["cli"];

/// The most lines of one source file.
pub(crate) const MAX_LINES: usize = 400;

/// The file in which a proven key is made, out of what the SSH library verified.
pub(crate) const PROVEN_KEY_MAKER: &str = "src/front/ssh/handler.rs";

/// The file that defines a proven key, by the library's type that only the library can make.
pub(crate) const PROOF_TAKER: &str = "src/gate/admit.rs";

/// What is confined.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// An identifier, wherever it stands in a path.
    Word(&'static str),
    /// A path and everything below it.
    Path(&'static [&'static str]),
    /// A path and everything below it, but for one branch.
    PathBut(&'static [&'static str], &'static str),
    /// A macro, with its exclamation mark.
    Macro(&'static str),
}

/// One thing and the places where it may stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confined {
    pub(crate) what: What,
    /// A file; or, with a star at the end, everything that starts so. Each has its reason beside it.
    pub(crate) may: &'static [&'static str],
    /// Whether at most one file (test files aside) may have it.
    pub(crate) one_file: bool,
    /// Whether test code may have it anywhere: it does no harm where it is not shipped.
    pub(crate) tests_may: bool,
    /// What to do instead.
    pub(crate) remedy: &'static str,
}

const STARTS_A_PROCESS: Confined = Confined {
    what: What::Word(""),
    may: &[
        // The one place that starts git for a client.
        "src/git/child.rs",
        // Wraps such a child; cannot do so without naming it.
        "src/sandbox*",
        // Shows a person a real clone, with the git that they have.
        "src/cli/quickstart*",
        // Starts this same program, to take its own place.
        "src/daemon/upgrade/next.rs",
        // Asks `git --version` before anything is served.
        "src/cli/check*",
    ],
    one_file: false,
    tests_may: true,
    remedy: "only src/git/child.rs starts git, behind src/sandbox; hand it a gate::Fetch",
};

const READS_THE_ENVIRONMENT: Confined = Confined {
    what: What::Word(""),
    may: &[
        // The command line's own variables.
        "src/cli*",
        // The one file that knows where values come from.
        "src/daemon/config*",
    ],
    one_file: false,
    tests_may: true,
    remedy: "take the value as a setting; only src/cli and src/daemon/config know where values come from",
};

const PRINTS: Confined = Confined {
    what: What::Word(""),
    may: &[],
    one_file: false,
    tests_may: true,
    remedy: "the command line writes through a handle, everything else says it with tracing",
};

const UNFINISHED: Confined = Confined { tests_may: false, remedy: "finish it: no half-done code is kept", ..PRINTS };

const CONFINES: Confined = Confined {
    what: What::Word(""),
    may: &["src/sandbox*"],
    one_file: false,
    tests_may: false,
    remedy: "only src/sandbox confines; hand it a Profile",
};

const MANAGED: Confined = Confined {
    what: What::Word(""),
    may: &["src/daemon/service.rs"],
    one_file: true,
    tests_may: false,
    remedy: "only src/daemon/service.rs talks to the service manager, whose words are in the environment",
};

/// Every confined thing.
pub(crate) const CONFINED: &[Confined] = &[
    Confined {
        what: What::Word("sled"),
        may: &["src/registry*"],
        one_file: true,
        tests_may: false,
        remedy: "the index is one file in src/registry: ask the registry's Lookup or Amend",
    },
    Confined {
        what: What::Word("git2"),
        // It obeys a repository's configuration, outside of any cell: for what it makes itself, and nothing that it finds.
        may: &["src/store/sample.rs"],
        one_file: false,
        tests_may: false,
        remedy: "look at files as src/store does, or ask git in its cell",
    },
    Confined {
        // The key types are words of the whole house; the protocol is one door's business.
        what: What::PathBut(&["russh"], "keys"),
        // And the gate takes over the library's proof of a signature, which no type of ours can stand for.
        may: &["src/front/ssh/*", PROOF_TAKER],
        one_file: false,
        tests_may: false,
        remedy: "only src/front/ssh speaks SSH; elsewhere name russh::keys, or better a type of src/model",
    },
    Confined {
        what: What::Word("VerifiedPublicKey"),
        may: &[PROVEN_KEY_MAKER, PROOF_TAKER],
        one_file: false,
        tests_may: false,
        remedy: "only the SSH handler's auth_publickey turns a verified key into a ProvenKey; take the ProvenKey",
    },
    Confined { what: What::Word("listenfd"), ..MANAGED },
    Confined { what: What::Word("sd_notify"), ..MANAGED },
    Confined {
        what: What::Word("prometheus_client"),
        // One file of each room has the names, meanings and labels of what is counted there, so that they can be read in one go.
        may: &[
            "src/audit/counters.rs",
            "src/registry/meter.rs",
            "src/git/meter.rs",
            "src/front/ssh/meter.rs",
            "src/front/metrics/*",
            "src/daemon/meter.rs",
        ],
        one_file: false,
        tests_may: false,
        remedy: "count through the room's own meter.rs, or counters.rs of the audit",
    },
    Confined {
        what: What::Word("hyper"),
        may: &["src/front/metrics/*"],
        one_file: false,
        tests_may: true,
        remedy: "only src/front/metrics speaks HTTP",
    },
    Confined { what: What::Word("landlock"), ..CONFINES },
    Confined { what: What::Word("seccompiler"), ..CONFINES },
    // Closes descriptors by number: a tool that can pull the floor from under anybody's feet.
    Confined { what: What::Word("nix"), ..CONFINES },
    Confined {
        what: What::Word("anyhow"),
        may: &["src/main.rs"],
        one_file: false,
        tests_may: false,
        remedy: "the library's errors are enums with kind, fact and hint (thiserror); anyhow is for the binary",
    },
    Confined { what: What::Path(&["std", "process", "Command"]), ..STARTS_A_PROCESS },
    Confined { what: What::Path(&["tokio", "process"]), ..STARTS_A_PROCESS },
    Confined { what: What::Path(&["std", "env", "var"]), ..READS_THE_ENVIRONMENT },
    Confined { what: What::Path(&["std", "env", "vars"]), ..READS_THE_ENVIRONMENT },
    Confined { what: What::Path(&["std", "env", "var_os"]), ..READS_THE_ENVIRONMENT },
    Confined { what: What::Path(&["std", "env", "vars_os"]), ..READS_THE_ENVIRONMENT },
    Confined { what: What::Macro("print"), ..PRINTS },
    Confined { what: What::Macro("println"), ..PRINTS },
    Confined { what: What::Macro("eprint"), ..PRINTS },
    Confined { what: What::Macro("eprintln"), ..PRINTS },
    Confined { what: What::Macro("dbg"), ..UNFINISHED },
    Confined { what: What::Macro("todo"), ..UNFINISHED },
    Confined { what: What::Macro("unimplemented"), ..UNFINISHED },
];

/// Where the name of git's receiving program may stand, test code aside. Nowhere near a process.
pub(crate) const MAY_SAY_RECEIVE_PACK: &[&str] = &[
    // Recognises a push, to tell it from nonsense.
    "src/front/ssh/exec_line.rs",
    // Says that there is no such thing here.
    "src/gate/refusal.rs",
];

/// Whether `path` is what one row of a list of places means.
pub(crate) fn allows(row: &str, path: &str) -> bool {
    match row.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == row,
    }
}
