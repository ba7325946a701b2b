//! The files of a cell, kept by Landlock (landlock(7)).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, PathBeneath,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};

use super::NotRun;
use super::profile::{Allow, Profile};

/// What cannot be done without. What later versions add (moving files, truncation, TCP, devices, signals) is refused by the
/// list of system calls as well, so an older kernel makes a whole cell too.
const LEAST: ABI = ABI::V1;
/// What is used where the kernel has it.
const MOST: ABI = ABI::V7;

const PLACE: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Confines this process to the files of a profile. Returns the version of Landlock that is used, `None` where there is
/// none and it is not required.
///
/// # Errors
/// When something that the profile names cannot be opened; when it is required and the kernel cannot.
pub(super) fn confine(profile: &Profile, required: bool) -> Result<Option<u32>, NotRun> {
    // Opened before anything is in force; what is opened is what is allowed.
    let mut opened = Vec::new();
    for allow in profile.allowed() {
        opened.extend(opened_of(allow)?);
    }
    let level = if required { CompatLevel::HardRequirement } else { CompatLevel::BestEffort };
    let status = restrict(opened, level).map_err(|error| NotRun::because(format!("Landlock: {error}")))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) if required => Err(NotRun::because("Landlock: the kernel does not have it")),
        (RulesetStatus::NotEnforced, _) => Ok(None),
        (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced, status) => match status {
            LandlockStatus::Available { effective_abi, kernel_abi } => {
                Ok(Some(kernel_abi.and_then(|version| u32::try_from(version).ok()).unwrap_or(effective_abi as u32)))
            }
            LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => Ok(None),
        },
    }
}

fn restrict(
    opened: Vec<(OwnedFd, BitFlags<AccessFs>)>,
    level: CompatLevel,
) -> Result<landlock::RestrictionStatus, landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(level)
        .handle_access(AccessFs::from_all(LEAST))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(MOST))?
        .handle_access(AccessNet::from_all(MOST))?
        .scope(Scope::from_all(MOST))?
        .create()?;
    for (file, access) in opened {
        ruleset = ruleset.add_rule(PathBeneath::new(file.as_fd(), access))?;
    }
    ruleset.restrict_self()
}

fn opened_of(allow: &Allow) -> Result<Option<(OwnedFd, BitFlags<AccessFs>)>, NotRun> {
    let read = BitFlags::from(AccessFs::ReadFile);
    let beneath = AccessFs::ReadFile | AccessFs::ReadDir;
    let failed = |path: &Path, errno: rustix::io::Errno| NotRun::of(&path.display(), errno.into());
    let plain = |path: &Path| open(path, PLACE, Mode::empty()).map_err(|errno| failed(path, errno));
    let (file, access) = match allow {
        Allow::Execute(path) => (plain(path)?, AccessFs::Execute | AccessFs::ReadFile),
        Allow::Read(path) => match open(path, PLACE, Mode::empty()) {
            Ok(file) => (file, read),
            // A library that another version has replaced, or a file that not every system has.
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(path, errno)),
        },
        Allow::Beneath(path) => {
            let flags = PLACE.union(OFlags::DIRECTORY);
            let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
                .map_err(|errno| failed(path, errno))?;
            (file, beneath)
        }
        Allow::Here => {
            let here = Path::new(".");
            let file =
                open(here, PLACE.union(OFlags::DIRECTORY), Mode::empty()).map_err(|errno| failed(here, errno))?;
            (file, beneath)
        }
        Allow::Device(path) => (plain(path)?, AccessFs::ReadFile | AccessFs::WriteFile),
    };
    Ok(Some((file, access)))
}
