//! What the portable part of the VMM asks of the hardware below it.

use core::fmt::Debug;

use crossvm_core::{Dataport, GuestMemory};

use crate::host::{CpuId, HostRange};
use crate::space::GuestSpace;

/// The CPU and its companions, as far as the portable part needs them. A handle: cheap to copy, the same for all VMs.
///
/// # Contract
///
/// 1. `clean` and `clean_and_invalidate` write the range's cache lines back to where accesses with other attributes see them; the
///    second one lets the next load see what such an access has stored.
/// 2. `kick` never blocks. If the CPU runs a guest, the guest is interrupted soon, if not, the call has no effect; everything stored
///    before the call is visible to that CPU then.
/// 3. `print` writes the text to the console, undivided. It may wait for another CPU's `print`, for no guest.
pub trait Platform: Copy + Debug + Send {
    /// A guest's physical address space.
    type Memory: GuestSpace + Debug;

    /// Memory that can be shared with a guest.
    type Dataport: Dataport<Frame = <Self::Memory as GuestMemory>::Frame> + Debug;

    /// Writes a range back from the caches.
    fn clean(&self, range: HostRange);

    /// Writes a range back from the caches and drops it from them.
    fn clean_and_invalidate(&self, range: HostRange);

    /// Orders all earlier accesses of this CPU, its guest's included, before all later ones.
    fn barrier(&self);

    /// Makes a CPU leave its guest to look at its mailbox.
    fn kick(&self, cpu: CpuId);

    /// Prints.
    fn print(&self, text: Text<'_>);

    /// Milliseconds since the machine was started.
    fn uptime_ms(&self) -> u64;
}

/// The caches, as far as native components need them: guests may have memory mapped past them.
pub trait Caches: Copy {
    /// Writes a range back from the caches.
    fn clean(&self, range: HostRange);

    /// Writes a range back from the caches and drops it from them.
    fn clean_and_invalidate(&self, range: HostRange);
}

impl<P: Platform> Caches for P {
    fn clean(&self, range: HostRange) {
        Platform::clean(self, range);
    }

    fn clean_and_invalidate(&self, range: HostRange) {
        Platform::clean_and_invalidate(self, range);
    }
}

/// Caches that need no care: where the hypervisor below sees to it that all who map memory agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coherent;

impl Caches for Coherent {
    fn clean(&self, _range: HostRange) {}

    fn clean_and_invalidate(&self, _range: HostRange) {}
}

/// Something to print.
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    /// A line of the VMM itself.
    Vmm(core::fmt::Arguments<'a>),
    /// What a guest has written, see [`crate::console`].
    Guest {
        /// Name of the VM.
        name: &'a str,
        /// Whole lines, or the piece of a line that is to be shown at once.
        text: &'a [u8],
    },
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dataport::SharedMemory;
    use crate::translation::{Stage2, TranslationCaches};
    use crossvm_core::GuestRange;
    use std::boxed::Box;
    use std::string::{String, ToString};
    use std::sync::Mutex;
    use std::vec::Vec;

    /// What was asked of a [`Recorder`].
    #[derive(Debug, Default)]
    struct Asked {
        invalidated: Vec<GuestRange>,
        kicked: Vec<CpuId>,
        printed: Vec<String>,
        guest: Vec<u8>,
        /// Milliseconds that have passed.
        passed: u64,
    }

    /// A platform of which only the memory of what it was asked for remains.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Recorder(&'static Mutex<Asked>);

    impl Recorder {
        pub(crate) fn new() -> Self {
            Self(Box::leak(Box::default()))
        }

        pub(crate) fn kicks(&self) -> Vec<CpuId> {
            self.0.lock().unwrap().kicked.clone()
        }

        pub(crate) fn invalidated(&self) -> Vec<GuestRange> {
            self.0.lock().unwrap().invalidated.clone()
        }

        /// The VMM's own lines.
        pub(crate) fn printed(&self) -> Vec<String> {
            self.0.lock().unwrap().printed.clone()
        }

        /// Forgets kicks and lines.
        pub(crate) fn forget(&self) {
            let mut asked = self.0.lock().unwrap();
            asked.kicked.clear();
            asked.printed.clear();
        }

        /// Lets time pass.
        pub(crate) fn advance(&self, ms: u64) {
            self.0.lock().unwrap().passed += ms;
        }

        /// What guests have written.
        pub(crate) fn guest_text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().unwrap().guest).to_string()
        }
    }

    impl TranslationCaches for Recorder {
        fn invalidate_stage2(&self, range: GuestRange) {
            self.0.lock().unwrap().invalidated.push(range);
        }

        fn publish_tables(&self) {}
    }

    impl Platform for Recorder {
        type Memory = Stage2<Self>;
        type Dataport = &'static SharedMemory;

        fn clean(&self, _range: HostRange) {}

        fn clean_and_invalidate(&self, _range: HostRange) {}

        fn barrier(&self) {}

        fn kick(&self, cpu: CpuId) {
            self.0.lock().unwrap().kicked.push(cpu);
        }

        fn print(&self, text: Text<'_>) {
            let mut asked = self.0.lock().unwrap();
            match text {
                Text::Vmm(line) => asked.printed.push(line.to_string()),
                Text::Guest { text, .. } => asked.guest.extend_from_slice(text),
            }
        }

        fn uptime_ms(&self) -> u64 {
            1234 + self.0.lock().unwrap().passed
        }
    }
}
