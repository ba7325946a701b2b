//! The system calls of a cell: a list, and everything else is answered as a kernel answers that does not have it (ENOSYS).
//!
//! So programs fall back where they can: glibc from `clone3`, whose flags a filter cannot see, to `clone`, whose flags it
//! can. What is not here and why: anything that makes, moves, removes or changes files or their attributes; sockets of any
//! kind; signals to anybody, oneself included; tracing; namespaces, mounts and privileges; other sessions and process
//! groups, in which a child would outlive its fetch; memory files, io_uring and bpf.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Allowed whatever their arguments are.
const ALWAYS: &[c_long] = &[
    // Files: to open, where Landlock looks at what, and to read, list and look.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_preadv,
    libc::SYS_lseek,
    libc::SYS_getdents64,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_umask,
    // Pipes.
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pipe2,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // Memory. From files only what Landlock lets be read is mapped; what a child writes and executes itself stands within the
    // same walls as its program.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Programs and threads; Landlock looks at which programs.
    libc::SYS_execve,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    // Handlers for signals; none can be sent.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // The clock, for progress.
    libc::SYS_setitimer,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    // Who am I and what is this.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_getrusage,
    libc::SYS_getrlimit,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrandom,
];

/// Older spellings that only this architecture has.
#[cfg(target_arch = "x86_64")]
const SPELLINGS: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_getpgrp,
    libc::SYS_alarm,
    libc::SYS_time,
    // The thread's own segment registers.
    libc::SYS_arch_prctl,
];

#[cfg(not(target_arch = "x86_64"))]
const SPELLINGS: &[c_long] = &[];

/// Flags of `clone` that make a namespace, or a child that somebody else traces or waits for.
const CLONE_REFUSED: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PTRACE
    | libc::CLONE_PARENT;

/// Commands of `fcntl`: descriptors and their flags, pipes' sizes. Not the owner of a descriptor, to whom signals go.
const FCNTL: [libc::c_int; 8] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETPIPE_SZ,
    libc::F_SETPIPE_SZ,
];

/// The list as the kernel takes it.
#[derive(Debug)]
pub(super) struct Filter(Result<BpfProgram, String>);

impl Filter {
    pub(super) fn new() -> Self {
        Self(program().map_err(|error| format!("seccomp: {error}")))
    }

    /// From here on this thread and what it starts can make only listed calls.
    ///
    /// # Errors
    /// When the kernel has no seccomp.
    pub(super) fn confine(&self) -> Result<(), String> {
        let program = self.0.as_ref().map_err(Clone::clone)?;
        seccompiler::apply_filter(program).map_err(|error| format!("seccomp: {error}"))
    }
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    use SeccompCmpOp::{Eq, MaskedEq};
    let is = |argument, value: libc::c_int| SeccompCondition::new(argument, Dword, Eq, u64::from(value.unsigned_abs()));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALWAYS.iter().chain(SPELLINGS).map(|call| (*call, Vec::new())).collect();
    let no_new = MaskedEq(u64::from(CLONE_REFUSED.unsigned_abs()));
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![SeccompCondition::new(0, Dword, no_new, 0)?])?]);
    let mut fcntl = Vec::new();
    for command in FCNTL {
        fcntl.push(SeccompRule::new(vec![is(1, command)?])?);
    }
    rules.insert(libc::SYS_fcntl, fcntl);
    // Is this a terminal?
    rules.insert(libc::SYS_ioctl, vec![SeccompRule::new(vec![SeccompCondition::new(1, Dword, Eq, libc::TCGETS)?])?]);
    // One's own limits, to read and not to set: root could raise them.
    let own = SeccompCondition::new(0, Dword, Eq, 0)?;
    let no_new_limit = SeccompCondition::new(2, Qword, Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![own, no_new_limit])?]);
    let refuse = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, ARCHITECTURE)?;
    filter.try_into()
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_fits_a_filter() {
        let program = program().unwrap();
        // The kernel takes 4096 instructions (BPF_MAXINSNS), and each costs time at every call.
        assert!(program.len() < 600, "{} instructions", program.len());
    }

    #[test]
    fn nothing_that_writes_or_reaches_out_is_listed() {
        for call in [
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_kill,
            libc::SYS_tgkill,
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_clone3,
            libc::SYS_setsid,
            libc::SYS_setpgid,
            libc::SYS_unlinkat,
            libc::SYS_renameat2,
            libc::SYS_fchmodat,
            libc::SYS_memfd_create,
            libc::SYS_execveat,
            libc::SYS_io_uring_setup,
            libc::SYS_bpf,
            libc::SYS_prctl,
            libc::SYS_setuid,
        ] {
            assert!(!ALWAYS.contains(&call) && !SPELLINGS.contains(&call), "{call}");
        }
    }
}
