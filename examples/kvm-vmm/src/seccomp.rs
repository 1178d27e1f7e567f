//! What the thread of a vCPU may ask of the kernel: what its loop needs, and no more.
//!
//! Whoever finds a way to run code of his own in such a thread can neither open files nor start programs nor reach the network. A call that is not allowed ends
//! the whole process, with all its VMs: whatever called it is not to be trusted with anything any more. The kernel notes the call in its log (`audit:
//! type=1326`, with the number), and the process ends by SIGSYS.
//!
//! The other threads (events, components, input) are not confined: no guest's exit is decoded there.

use std::collections::BTreeMap;
use std::fmt;

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter};

/// Calls of the loop itself, and what each is for.
const CALLS: &[i64] = &[
    // KVM: running, interrupts, memory slots, ioeventfds, registers.
    libc::SYS_ioctl,
    // Bells of the other ends, and the console.
    libc::SYS_write,
    libc::SYS_writev,
    // The VM's lock and the console's.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // Kicks.
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_tgkill,
    libc::SYS_getpid,
    libc::SYS_gettid,
    // Memory: of slots that move with BARs, and the allocator's.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Memory slots that KVM does not give back: what they point to is made unreachable.
    libc::SYS_mprotect,
    // What is dropped.
    libc::SYS_close,
    // Time of records, where the kernel does not give it without a call.
    libc::SYS_clock_gettime,
    // The end of the thread, and of the process.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_restart_syscall,
];

/// Why a thread cannot be confined.
#[derive(Debug)]
pub(crate) enum ConfineError {
    /// There is no filter for this architecture.
    Filter(seccompiler::BackendError),
    /// The kernel does not take it.
    Apply(seccompiler::Error),
}

impl fmt::Display for ConfineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(error) => error.fmt(f),
            Self::Apply(error) => error.fmt(f),
        }
    }
}

fn filter() -> Result<BpfProgram, ConfineError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    // The standard library asks whether a descriptor is open before it closes it, in programs with debug assertions.
    let is_open = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, libc::F_GETFD.unsigned_abs().into());
    let is_open = is_open.and_then(|condition| SeccompRule::new(vec![condition])).map_err(ConfineError::Filter)?;
    rules.insert(libc::SYS_fcntl, vec![is_open]);
    let architecture = std::env::consts::ARCH.try_into().map_err(ConfineError::Filter)?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, architecture).map_err(ConfineError::Filter)?;
    filter.try_into().map_err(ConfineError::Filter)
}

/// Confines this thread, for as long as it lives.
///
/// # Errors
/// [`ConfineError`]; the thread is as free as before then.
pub(crate) fn confine() -> Result<(), ConfineError> {
    apply_filter(&filter()?).map_err(ConfineError::Apply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Says to a copy of this test program what to do in a confined thread.
    const ROLE: &str = "KVM_VMM_CONFINED";

    /// Not a test of its own: what the copy does.
    #[test]
    fn confined_copy() {
        let Ok(role) = std::env::var(ROLE) else { return };
        let worker = std::thread::spawn(move || {
            confine().unwrap();
            match role.as_str() {
                "allowed" => drop(vec![0u8; 1 << 20]),
                _ => drop(std::fs::File::open("/dev/null")),
            }
        });
        worker.join().unwrap();
    }

    fn copy(role: &str) -> std::process::ExitStatus {
        let program = std::env::current_exe().unwrap();
        let output = Command::new(program).args(["--exact", "seccomp::tests::confined_copy"]).env(ROLE, role).output().unwrap();
        output.status
    }

    #[test]
    fn a_vcpu_thread_that_opens_a_file_ends_the_process() {
        assert!(copy("allowed").success());
        assert_eq!(copy("open").signal(), Some(libc::SIGSYS));
    }
}
