//! What vmm-common's library asks of the machine below it: here, of the kernel.

use core::sync::atomic::{Ordering, fence};

use crossvm_core::Notifier as _;
use crossvm_sel4::libsel4::Libsel4;
use crossvm_sel4::{Frame, FrameDataport, NotificationNotifier};
use vmm_common::host::{CpuId, HostRange};
use vmm_common::platform::{Platform, Text};

use super::compose::System;
use super::console;
use super::space::GuestPhysical;

/// The kernel, by way of what was composed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task(pub(super) &'static System);

// SAFETY: the root task has one thread.
unsafe impl Send for Task {}

impl Platform for Task {
    type Memory = GuestPhysical;
    type Dataport = FrameDataport<&'static [Frame]>;

    /// Of RAM and dataports, whose frames the root task has mapped.
    fn clean(&self, range: HostRange) {
        for (frame, _, kind) in self.0.memory.borrow().frames_in(range) {
            // A kernel refuses memory that is beyond what it maps itself; there, caches are not maintained.
            let _ = self.0.kernel.clean_frame(frame, kind.size().bytes());
        }
    }

    fn clean_and_invalidate(&self, range: HostRange) {
        self.clean(range);
    }

    /// No guest runs while the root task does.
    fn barrier(&self) {
        fence(Ordering::SeqCst);
    }

    /// The root task's own notification, with a badge for each vCPU: it looks at the mail once it has served what it is at.
    fn kick(&self, cpu: CpuId) {
        if let Some(kick) = self.0.kicks.get(usize::from(cpu.get())) {
            // A signal cannot fail.
            let _ = NotificationNotifier::<Libsel4>::notify(kick);
        }
    }

    fn print(&self, text: Text<'_>) {
        console::print(text, |name| self.0.number_of(name));
    }

    fn uptime_ms(&self) -> u64 {
        self.0.uptime_ms()
    }
}
