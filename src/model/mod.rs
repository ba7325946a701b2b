//! Floor 0: the words of the gateway, without I/O.
//!
//! Foreign text becomes one of these types at the edge, once; from there on the type is the proof that the text was
//! checked. Nothing here opens a file, asks a clock or knows that there is a registry.

pub mod details;
pub mod expiry;
pub mod fingerprint;
pub mod grant;
pub mod hash;
pub mod key_name;
pub mod name;
pub mod network;
pub mod protocol;
pub mod public_key;
pub mod repo_path;
pub mod text;
