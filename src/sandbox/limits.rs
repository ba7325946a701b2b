//! Limits of a process: bounds that the kernel keeps, and descriptors that must not come along.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use super::profile::{Limits, User};

/// No core file of this process, whose memory holds the host keys' private halves; nor may another process of the same user
/// look into it.
///
/// # Errors
/// The kernel's.
pub fn no_core_dumps() -> rustix::io::Result<()> {
    lower(Resource::Core, 0)?;
    // A limit of zero does not hold where a program takes the dumps (core(5)); this does.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// The bounds of a child: all that can be set, whichever cannot.
///
/// # Errors
/// The first that cannot.
pub(super) fn set(limits: &Limits) -> rustix::io::Result<()> {
    let bounds = [
        (Resource::Core, 0),
        (Resource::Data, limits.memory),
        (Resource::Cpu, limits.cpu),
        // It writes to pipes and to nothing else. (Its output must not be a regular file, then.)
        (Resource::Fsize, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Nofile, 4096),
    ];
    bounds.into_iter().map(|(resource, value)| lower(resource, value)).fold(Ok(()), rustix::io::Result::and)
}

/// Never raises what somebody else has set lower.
fn lower(resource: Resource, value: u64) -> rustix::io::Result<()> {
    let now = getrlimit(resource);
    let value = [now.current, now.maximum].into_iter().flatten().fold(value, u64::min);
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
}

/// Closes every descriptor above the standard three. The gateway lets none of its own through; this is for what the
/// gateway itself was started with.
pub(super) fn close_others() -> std::io::Result<()> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) {
            open.push(number);
        }
    }
    for number in open.into_iter().filter(|number| *number > 2) {
        match nix::unistd::close(number) {
            // The one by which the list was read is closed already.
            Ok(()) | Err(nix::errno::Errno::EBADF) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Becomes another user, with its one group and no other; who is that user already stays as they are, groups included. The
/// process has one thread here.
pub(super) fn become_user(user: User) -> rustix::io::Result<()> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let (uid, gid) = (rustix::process::Uid::from_raw(user.uid), rustix::process::Gid::from_raw(user.gid));
    let me = rustix::process::geteuid();
    if me == uid {
        return Ok(());
    }
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}
