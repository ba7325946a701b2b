//! An agent that holds keys, for those who have no key in a file.

use std::path::Path;
use std::process::Command;

use crate::harness::{Gateway, run, wait_until};

/// An ssh-agent of the test's own.
pub(crate) struct Agent {
    pub(crate) socket: String,
    process: std::process::Child,
}

impl Agent {
    pub(crate) fn start(gateway: &Gateway) -> Self {
        let socket = gateway.path("agent");
        let process = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // A socket that is there is not yet one that somebody listens at; the status is 2 as long.
        let listens = || run(Command::new("ssh-add").arg("-l").env("SSH_AUTH_SOCK", &socket)).code != Some(2);
        wait_until("the agent", listens);
        Self { socket: socket.display().to_string(), process }
    }

    pub(crate) fn add(&self, key: &Path) {
        run(Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket)).ok();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // During a panic a second one would end everything.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
