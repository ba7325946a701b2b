# What a person runs and what CI runs are the same recipes. `just` alone lists them.

_list:
    @just --list --unsorted

# Everything that has to be green before a merge; the quick checks first
ci: fmt clippy docs deny test

# Formatting, checked and not changed
fmt:
    cargo fmt --all --check

# Lints: those of Cargo.toml and clippy's own, as errors
clippy:
    cargo clippy --all-targets --all-features -- -D warnings

# Unit, integration and documentation tests
test:
    cargo test

# Every client against the gateway, as a table. A client that is not installed is ignored; PULLGATE_INTEROP=require fails
interop:
    cargo test --test interop

# The Python clients of the interop tests, in a folder of their own below target
interop-python:
    python3 -m pip install --quiet --upgrade --target target/ci/python -r tests/interop/requirements.txt
# Hostile repositories with and without a cell, and every forbidden act from inside one: as this user, and as an ordinary one
cell-test:
    .ci/cell-test

# Fuzz every parser of foreign bytes for so many minutes each (or for `SECONDS`); needs cargo-fuzz. No nightly compiler is
# needed: the sanitizers look for what safe Rust rules out
fuzz MINUTES="1" SECONDS="":
    .ci/fuzz "{{ if SECONDS == "" { MINUTES + "m" } else { SECONDS + "s" } }}"

# What the linker made of the release binary: position-independent, relocations read-only, stack not executable
hardened:
    .ci/hardened

# The documentation of every item, private ones too; a broken link is an error
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --all-features

# The dependency tree: bans, licences and sources always, advisories when their database can be had
deny: && advisories
    cargo deny check bans licenses sources

# Known vulnerabilities in the tree. Tries for two minutes to fetch the database, and says it loudly when it cannot
advisories:
    #!/usr/bin/env bash
    set -euo pipefail
    export GIT_TERMINAL_PROMPT=0
    if said=$(timeout -k 5 120 cargo deny fetch db 2>&1 </dev/null); then
        cargo deny check advisories
    else
        printf '%s\n' "$said" >&2
        echo "ADVISORIES WERE NOT CHECKED: their database cannot be fetched from here. Run 'just advisories' where it can." >&2
    fi
