//! The machine's serial port, and the one console on it.

use core::fmt::Write as _;
use core::ptr::{NonNull, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

use spin::Mutex;
use vmm_common::console::{Console, Focus, Lines, Sink, Typed, Writer};
use vmm_common::host::HostRange;
use vmm_common::platform::Text;
use vmm_common::uart::spec::{self, Flags};
use volatile::VolatilePtr;

static FOCUS: Mutex<Focus> = Mutex::new(Focus::new());
static CONSOLE: Mutex<Console<Port>> = Mutex::new(Console::new(Port));
/// Where the port's registers are; 0 before they are mapped.
static PORT: AtomicUsize = AtomicUsize::new(0);

/// The serial port.
#[derive(Debug)]
struct Port;

/// A register of a device, by its address.
fn register(address: usize) -> Option<VolatilePtr<'static, u32>> {
    // SAFETY: the addresses given are those of registers that `open` was promised to be mapped: they stay so, and no store to a serial port or
    // a clock touches memory.
    NonNull::new(with_exposed_provenance_mut(address)).map(|register| unsafe { VolatilePtr::new(register) })
}

fn port(offset: u64) -> Option<VolatilePtr<'static, u32>> {
    let base = PORT.load(Ordering::Relaxed);
    if base == 0 { None } else { register(base + (offset & 0xfff) as usize) }
}

impl Sink for Port {
    fn put(&mut self, byte: u8) {
        let (Some(flags), Some(data)) = (port(spec::FR), port(spec::DR)) else {
            let _ = sel4_vmm::task::console::Console.write_char(char::from(byte));
            return;
        };
        loop {
            let [low, high, ..] = flags.read().to_le_bytes();
            if !Flags::from_bits(u16::from_le_bytes([low, high])).transmit_full() {
                break;
            }
        }
        data.write(byte.into());
    }
}

/// Uses the serial port at `range` from now on. The kernel has it ready, for its own messages.
///
/// # Safety
///
/// The registers are mapped there, and stay so.
pub(super) unsafe fn open(range: HostRange) {
    PORT.store(range.start().pointer().addr(), Ordering::Relaxed);
}

/// Prints.
pub(super) fn print(text: Text<'_>, vm: impl FnOnce(&str) -> u8) {
    let mut console = CONSOLE.lock();
    match text {
        Text::Vmm(line) => {
            let mut lines = Lines { console: &mut console, writer: Writer::Vmm, name: "vmm" };
            // Writing to the port cannot fail.
            let _ = lines.write_fmt(line);
            let _ = lines.write_str("\n");
        }
        Text::Guest { name, text } => console.write(Writer::Vm(vm(name)), name, text),
    }
}

/// What somebody has typed, and what it means, given that there are `vms` VMs. Nothing interrupts the root task for it: it looks from time to time.
pub(super) fn typed(vms: u8) -> Option<Typed> {
    let (flags, data) = (port(spec::FR)?, port(spec::DR)?);
    let [low, high, ..] = flags.read().to_le_bytes();
    if Flags::from_bits(u16::from_le_bytes([low, high])).receive_empty() {
        return None;
    }
    let [byte, ..] = data.read().to_le_bytes();
    Some(FOCUS.lock().typed(byte, vms))
}

/// A clock that counts seconds: a PL031, whose first register is the count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(usize);

impl Clock {
    /// The clock at `range`.
    ///
    /// # Safety
    ///
    /// As for [`open`].
    pub(super) unsafe fn new(range: HostRange) -> Self {
        Self(range.start().pointer().addr())
    }

    /// The seconds.
    pub(super) fn seconds(self) -> u64 {
        register(self.0).map_or(0, |count| count.read().into())
    }
}
