//! The git wire protocol version a client asks for.

/// The protocol version, as git's `protocol-v2` documentation numbers them.
///
/// Promise: no client text reaches a child process. What a client sends in `GIT_PROTOCOL` ends here; what a child gets is
/// one of three constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum GitProtocol {
    /// The original protocol; also what a client speaks that sends no `GIT_PROTOCOL`.
    #[default]
    V0,
    /// Version 0 with a version line in front.
    V1,
    /// Command based; what git has sent since 2.26.
    V2,
}

/// The longest `GIT_PROTOCOL` value that is looked at, in bytes.
pub const MAX_VALUE: usize = 64;

impl GitProtocol {
    /// The version asked for by a `GIT_PROTOCOL` value: a colon-separated list in which the highest known version counts
    /// (git's `determine_protocol_version_server`). `None` when the value is not such a list.
    #[must_use]
    pub fn from_env(value: &str) -> Option<Self> {
        if value.len() > MAX_VALUE {
            return None;
        }
        let mut highest = None;
        for part in value.split(':') {
            let version = match part {
                "version=0" => Self::V0,
                "version=1" => Self::V1,
                "version=2" => Self::V2,
                _ => return None,
            };
            highest = highest.max(Some(version));
        }
        highest
    }

    /// What a child process gets as `GIT_PROTOCOL`.
    #[must_use]
    pub fn env_value(self) -> &'static str {
        match self {
            Self::V0 => "version=0",
            Self::V1 => "version=1",
            Self::V2 => "version=2",
        }
    }

    /// The number alone, for records.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_versions_are_understood() {
        assert_eq!(GitProtocol::from_env("version=2"), Some(GitProtocol::V2));
        assert_eq!(GitProtocol::from_env("version=2:version=1"), Some(GitProtocol::V2));
        assert_eq!(GitProtocol::from_env("version=0"), Some(GitProtocol::V0));
        for bad in ["", "2", "version=3", "version=2\n", "version=2 ", "version=2:", "version=2;id", "--split-string=x"]
        {
            assert_eq!(GitProtocol::from_env(bad), None, "{bad:?}");
        }
        assert_eq!(GitProtocol::from_env(&"version=2:".repeat(40)), None);
    }

    proptest! {
        #[test]
        fn a_child_gets_one_of_three_constants(value in "(version=[0-9]:?){0,8}|\\PC{0,80}") {
            if let Some(version) = GitProtocol::from_env(&value) {
                prop_assert!(["version=0", "version=1", "version=2"].contains(&version.env_value()));
            }
        }
    }
}
