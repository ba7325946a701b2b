//! What [russh] asks its runtime for, in the place of the crate of this name from the registry: the same few names, so that
//! `[patch.crates-io]` can put one where the other was.
//!
//! Written for the sake of [`runtime::spawn`]. The registry's wraps a session in a future that hands its result on, and such a
//! future has room for what it wraps twice: once for what it was given, once for what it awaits. That was 11.7 KiB for each
//! connection, for as long as it lasts, of 46 in all. Here the runtime's own handle hands the result on.
//!
//! Everything that russh 0.65.1 uses is here, and nothing else; another russh that asks for more does not compile.
//!
//! [russh]: https://docs.rs/russh/0.65.1

pub mod runtime;
pub mod time;
