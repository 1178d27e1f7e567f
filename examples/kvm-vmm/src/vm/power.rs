//! Whether a VM runs, and how all its vCPUs stop and start together.
//!
//! ```text
//!             end                      all parked                    all restored
//!   Running ───────▶ Ending(reboot) ─────────────▶ Restoring ─────────────────────▶ Running
//!             end                      all parked
//!   Running ───────▶ Ending(stop) ───────────────▶ Ended
//! ```
//!
//! vCPU threads ask [`Power::next`] before they enter the guest; the VM's event thread does what is to be done while all are parked.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Why a VM stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The guest has switched itself off.
    PowerOff,
    /// The guest has reset itself, and is not to start again.
    Reset,
    /// A vCPU cannot go on, or the VMM cannot serve it.
    Crash,
    /// A payload has ended itself by the exit port, with this value.
    #[cfg(target_arch = "x86_64")]
    Exit(u8),
    /// The VMM was told to end.
    Terminated,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff => f.write_str("power-off"),
            Self::Reset => f.write_str("reset"),
            Self::Crash => f.write_str("crash"),
            #[cfg(target_arch = "x86_64")]
            Self::Exit(value) => write!(f, "exit-{value}"),
            Self::Terminated => f.write_str("terminated"),
        }
    }
}

/// How a guest has reset itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResetCause {
    /// By a register that is made for it.
    #[cfg(target_arch = "x86_64")]
    Register,
    /// By a call of firmware that is made for it.
    Firmware,
    /// By faults that it cannot handle: on purpose, or since it has crashed.
    TripleFault,
}

impl fmt::Display for ResetCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(target_arch = "x86_64")]
            Self::Register => "reset-register",
            Self::Firmware => "firmware",
            Self::TripleFault => "triple-fault",
        })
    }
}

/// What becomes of a VM whose vCPUs stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It stops.
    Stop(StopReason),
    /// It starts again.
    Reboot(ResetCause),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Ending(End),
    Restoring,
    Ended,
}

#[derive(Debug)]
struct Inner {
    phase: Phase,
    /// vCPU threads that are not in the guest, and wait.
    parked: usize,
    /// vCPU threads that have brought their vCPU back, or failed to.
    restored: usize,
    failed: bool,
    /// How often the VM was reset.
    resets: u64,
}

/// What a vCPU thread does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// It enters the guest.
    Run,
    /// It brings its vCPU back to power-on, says so to [`Power::restored`], and asks again.
    Restore,
    /// It ends.
    Exit,
}

/// What a vCPU thread remembers from one [`Power::next`] to the other.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    resets: u64,
    parked: bool,
}

/// The power of a VM with so many vCPU threads.
#[derive(Debug)]
pub(crate) struct Power {
    threads: usize,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Whether vCPU threads must look: not [`Phase::Running`].
    look: AtomicBool,
}

impl Power {
    /// On, with so many vCPU threads.
    pub(crate) fn new(threads: usize) -> Self {
        let inner = Inner { phase: Phase::Running, parked: 0, restored: 0, failed: false, resets: 0 };
        Self { threads, inner: Mutex::new(inner), changed: Condvar::new(), look: AtomicBool::new(false) }
    }

    /// What there is to know is consistent at any time: a thread that has panicked has left it so.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The VM is to end as `end` says; whether this is news. What comes first counts, but that a VM that is about to boot again can be stopped. The
    /// caller kicks the vCPU threads and wakes the event thread.
    pub(crate) fn end(&self, end: End) -> bool {
        let mut inner = self.lock();
        let news = match inner.phase {
            Phase::Running | Phase::Restoring => true,
            Phase::Ending(End::Reboot(_)) => matches!(end, End::Stop(_)),
            Phase::Ending(End::Stop(_)) | Phase::Ended => false,
        };
        if news {
            inner.phase = Phase::Ending(end);
            self.look.store(true, Ordering::Release);
            self.changed.notify_all();
        }
        news
    }

    /// Whether the VM runs, and is not about to end.
    pub(crate) fn is_running(&self) -> bool {
        !self.look.load(Ordering::Acquire)
    }

    /// What a vCPU thread does next. Waits as long as there is nothing to do.
    pub(crate) fn next(&self, seen: &mut Seen) -> Next {
        if !seen.parked && self.is_running() {
            return Next::Run;
        }
        let mut inner = self.lock();
        if !std::mem::replace(&mut seen.parked, true) {
            inner.parked = inner.parked.saturating_add(1);
            self.changed.notify_all();
        }
        loop {
            match inner.phase {
                Phase::Running => {
                    inner.parked = inner.parked.saturating_sub(1);
                    seen.parked = false;
                    return Next::Run;
                }
                Phase::Restoring if seen.resets != inner.resets => {
                    seen.resets = inner.resets;
                    return Next::Restore;
                }
                Phase::Ended => return Next::Exit,
                Phase::Ending(_) | Phase::Restoring => {
                    inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// A vCPU thread has brought its vCPU back to power-on, or failed to. The last one starts the VM. Gives whether the VM ends instead: the caller
    /// wakes the event thread then.
    pub(crate) fn restored(&self, well: bool) -> bool {
        let mut inner = self.lock();
        inner.restored = inner.restored.saturating_add(1);
        inner.failed |= !well;
        if inner.restored < self.threads || inner.phase != Phase::Restoring {
            return false;
        }
        inner.phase = if inner.failed { Phase::Ending(End::Stop(StopReason::Crash)) } else { Phase::Running };
        if !inner.failed {
            self.look.store(false, Ordering::Release);
        }
        self.changed.notify_all();
        inner.failed
    }

    /// What the VM is to end as, for the event thread.
    pub(crate) fn ending(&self) -> Option<End> {
        match self.lock().phase {
            Phase::Ending(end) => Some(end),
            _ => None,
        }
    }

    /// Waits until no vCPU thread is in the guest. `kick` is called again and again meanwhile.
    pub(crate) fn wait_parked(&self, kick: impl Fn()) {
        const AGAIN: Duration = Duration::from_millis(20);
        let mut inner = self.lock();
        while inner.parked < self.threads {
            kick();
            inner = self.changed.wait_timeout(inner, AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All is as at power-on but the vCPUs, which their threads bring back now. Nothing where the VM was told to stop meanwhile.
    pub(crate) fn restore(&self) {
        let mut inner = self.lock();
        if matches!(inner.phase, Phase::Ending(End::Reboot(_))) {
            inner.phase = Phase::Restoring;
            (inner.restored, inner.failed) = (0, false);
            inner.resets = inner.resets.saturating_add(1);
            self.changed.notify_all();
        }
    }

    /// The VM is off for good.
    pub(crate) fn ended(&self) {
        self.lock().phase = Phase::Ended;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    /// vCPU threads that only count, and the event thread's side.
    fn play(threads: usize, script: impl FnOnce(&Power, &AtomicUsize)) -> usize {
        let (power, restored) = (Arc::new(Power::new(threads)), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut seen = Seen::default();
                    loop {
                        match power.next(&mut seen) {
                            Next::Run => std::thread::yield_now(),
                            Next::Restore => {
                                restored.fetch_add(1, Ordering::Relaxed);
                                power.restored(true);
                            }
                            Next::Exit => break,
                        }
                    }
                });
            }
            script(&power, &restored);
            power.end(End::Stop(StopReason::PowerOff));
            power.wait_parked(|| {});
            power.ended();
        });
        restored.into_inner()
    }

    #[test]
    fn at_each_reset_every_vcpu_is_restored_once_before_any_runs() {
        let restored = play(3, |power, restored| {
            for round in 1..=20 {
                assert!(power.end(End::Reboot(ResetCause::Firmware)));
                assert!(!power.end(End::Reboot(ResetCause::TripleFault)), "what came first counts");
                power.wait_parked(|| {});
                assert_eq!(restored.load(Ordering::Relaxed), 3 * (round - 1));
                power.restore();
                while !power.is_running() {
                    std::thread::yield_now();
                }
                assert_eq!(restored.load(Ordering::Relaxed), 3 * round);
            }
        });
        assert_eq!(restored, 60);
    }

    #[test]
    fn a_vm_that_boots_again_can_be_stopped() {
        let power = Power::new(0);
        assert!(power.end(End::Reboot(ResetCause::Firmware)));
        assert!(power.end(End::Stop(StopReason::Terminated)));
        assert!(!power.end(End::Stop(StopReason::PowerOff)));
        power.restore();
        assert_eq!(power.ending(), Some(End::Stop(StopReason::Terminated)), "it does not boot");
    }

    #[test]
    fn a_vcpu_that_cannot_be_restored_ends_its_vm() {
        let power = Power::new(2);
        power.end(End::Reboot(ResetCause::Firmware));
        power.restore();
        assert!(!power.restored(false));
        assert!(power.restored(true));
        assert_eq!(power.ending(), Some(End::Stop(StopReason::Crash)));
    }
}
