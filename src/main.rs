//! The pullgate program: arguments in, exit code out.

fn main() {}
