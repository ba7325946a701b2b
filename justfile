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

# Unit, integration and documentation tests, two for each core at a time: most of a test with a real gateway is waiting
test:
    RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}" cargo test

# Every client against the gateway, as a table. A client that is not installed is ignored; PULLGATE_INTEROP=require fails,
# and needs `just interop-python` before
interop:
    RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}" cargo test --test interop

# The Python clients of the interop tests, in a folder of their own below target
interop-python:
    python3 -m pip install --quiet --upgrade --target target/ci/python -r tests/interop/requirements.txt

# Hostile repositories with and without a cell, and every forbidden act from inside one: as this user, and as an ordinary one
cell-test:
    .ci/cell-test

# A repository with ten million refs, listed over real ssh in versions 2 and 0. A short form is in `test`
refs-test refs="10000000":
    PULLGATE_REFS={{refs}} cargo test --test gateway -- --nocapture many_refs

# Fuzz every parser of foreign bytes for so many minutes each (or for SECONDS); needs cargo-fuzz, but no nightly compiler
fuzz MINUTES="1" SECONDS="":
    .ci/fuzz "{{ if SECONDS == "" { MINUTES + "m" } else { SECONDS + "s" } }}"

# What the cell costs a fetch, and what a start costs in a process of 2 GiB, as a table; a quiet machine, please
bench-cell fetches="200":
    PULLGATE_FETCHES={{fetches}} cargo bench --bench cell

# What the linker made of the release binary: position-independent, relocations read-only, stack not executable
hardened:
    .ci/hardened

# The Debian package, in target/debian; needs cargo-deb
package:
    .ci/package

# Installs it on a fresh Debian 12: first clone, upgrade, removal, purge; needs root, debootstrap and cargo-deb
package-test:
    .ci/package-test

# The documentation of every item, private ones too; a broken link is an error
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --all-features

# The dependency tree: bans, licences and sources always, advisories when their database can be had
deny: && advisories
    cargo deny check bans licenses sources

# Known vulnerabilities in the tree. Says it when their database cannot be had; PULLGATE_ADVISORIES=require fails then
advisories:
    .ci/advisories

# 300 times kill -9 and 150 power cuts under four writers; the cuts need root and a loop device. A short form is in `test`
crash-test kills="300" cuts="150":
    PULLGATE_KILLS={{kills}} PULLGATE_CUTS={{cuts}} cargo test --test storage -- --nocapture --test-threads 1 crash:: large::

# The power cuts have to catch a journal that is never synced: such a program is built for this alone; needs root
crash-fault:
    PULLGATE_CUTS=10 cargo test --target-dir target/fault --features fault-unsynced-journal --test storage -- --nocapture a_power_cut

# Every file of the registry flipped, zeroed, cut and deleted in more than 200 places. A short form is in `test`
damage-test factor="2":
    PULLGATE_DAMAGE={{factor}} cargo test --test storage -- --nocapture damage::

# 16 processes at a time want the same key, 200 rounds. A short form is in `test`
race-test rounds="200":
    PULLGATE_ROUNDS={{rounds}} cargo test --test storage -- --nocapture race::

# 10,000 polls, clones, refusals, clients that leave and gits that are killed; then the daemon's files, processes and memory, as
# a table. A short form is in `test`
leak-test requests="10000":
    PULLGATE_LEAK_REQUESTS={{requests}} cargo test --test gateway -- --nocapture leaks::

# How well the time of a refusal tells what exists: so many refusals of each kind in random order, as a table; a quiet machine, please.
# A short form, which sees only what is gross, is in `test`
timing-test refusals="20000":
    PULLGATE_TIMING={{refusals}} cargo test --release --test gateway -- --nocapture timing::

# What clients see of trouble with what is kept: gits killed, readers that stall or leave, its folder removed, its disk full; so many
# rounds of each, as tables. A short form is in `test`
fault-test rounds="20":
    PULLGATE_FAULT_ROUNDS={{rounds}} cargo test --test gateway -- --nocapture --test-threads 1 faults:: kills::

# So many sessions of all outcomes; then the audit file, the metrics and the log have to agree. A short form is in `test`
hour sessions="1000":
    PULLGATE_HOUR={{sessions}} cargo test --test gateway -- --nocapture books::

# The registry at a million keys, as a table; takes minutes. docs/benchmarks.md has one with its machine
bench-registry keys="1000000":
    PULLGATE_KEYS={{keys}} cargo bench --bench registry

# The gateway beside OpenSSH with git-shell and gitolite: processor time, wall time and memory, as a table; below 15 minutes.
# `--help` says more: another repository, `--quick`, some works only. docs/benchmarks.md has a table with its machine
bench-peers *ARGS:
    cargo bench --bench peers -- {{ARGS}}

# What a connection and a byte cost, and how fast a clone is over 50 ms (as root), beside OpenSSH's sshd, as tables; below 10 minutes
bench-transport *ARGS:
    cargo bench --bench transport -- {{ARGS}}

# Clients that lie, floods of all kinds, and 10,000 broken conversations against the real daemon, as tables; then ssh-audit and nmap's
# scripts, where they are installed. A short form is in `test`
hostile:
    PULLGATE_HOSTILE=long cargo test --test gateway -- --nocapture --test-threads 1 hostile:: hostile_clients:: stalls:: door:: strangers::
    cargo test --test interop -- ssh-audit
    cargo test --test interop -- nmap

# So many connections that do nothing, a tenth as many half-done handshakes and a fifth as many logins: what each costs, and
# what a clone takes beside them. A short form is in `test`
idle-test connections="5000":
    PULLGATE_CROWD={{connections}} cargo test --release --test gateway -- --nocapture hostile::crowd

# So many clients that stop reading in the middle of a clone: memory, clones beside them, and their end. A short form is in `test`
stall-test readers="1000":
    PULLGATE_READERS={{readers}} cargo test --release --test gateway -- --nocapture hostile::readers

# A repository under fire for so many minutes while clients of every version read it. A short form is in `test`
storm-test minutes="10":
    PULLGATE_STORM_SECONDS=$(({{minutes}} * 60)) cargo test --test gateway -- --nocapture fire::

# The fire has to catch a gateway that trusts time stamps which are too young: such a one is built for this alone
storm-fault:
    cargo test --target-dir target/fault --features fault-racy-stamps --test gateway -- --nocapture fire::
