//! The physical serial port, and the one console on it.

use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};

use spin::Once;
use spin::mutex::TicketMutex;
use vmm_common::console::{Console, Focus, Lines, Sink, Typed, Writer};
use vmm_common::host::{HostAddr, HostRange};
use vmm_common::platform::Text;
use vmm_common::uart::spec::{self, Flags, Interrupts, LineControl};

use super::mmio::Registers;
use super::system::System;

/// The serial port of QEMU's `virt` machine, until the device tree has been read. It is mapped from the start.
const EARLY: HostRange = match HostRange::new(HostAddr::new(0x0900_0000), spec::SIZE) {
    Some(range) => range,
    None => panic!("the range of a constant"),
};

/// Control: receiver, transmitter and UART enabled.
const CR_ENABLED: u32 = 0x301;
/// How often the panic handler looks whether the console is free.
const PATIENCE: u32 = 10_000_000;

/// First come, first served: no guest can keep another from the console.
static CONSOLE: TicketMutex<Console<Port>> = TicketMutex::new(Console::new(Port));
static FOCUS: TicketMutex<Focus> = TicketMutex::new(Focus::new());
static PORT: Once<Registers> = Once::new();
/// A CPU panics: the console belongs to it.
static PANICS: AtomicBool = AtomicBool::new(false);

/// The physical serial port.
#[derive(Debug)]
struct Port;

/// Offset of a register for the access to it.
const fn at(offset: u64) -> usize {
    // The register block has 4 KiB.
    (offset & 0xfff) as usize
}

fn port() -> Registers {
    // SAFETY: the boot map and the final map both map the range as Device memory, and a serial port touches no memory.
    *PORT.call_once(|| unsafe { Registers::new(EARLY) })
}

fn flags() -> Flags {
    let [low, high, ..] = port().read(at(spec::FR)).to_le_bytes();
    Flags::from_bits(u16::from_le_bytes([low, high]))
}

impl Sink for Port {
    fn put(&mut self, byte: u8) {
        while flags().transmit_full() {
            core::hint::spin_loop();
        }
        port().write(at(spec::DR), u32::from(byte));
    }
}

/// Uses the serial port at `range` from now on, and has it interrupt for what is typed.
///
/// # Safety
///
/// As for [`Registers::new`].
pub(super) unsafe fn open(range: HostRange) {
    // SAFETY: the caller's promise.
    PORT.call_once(|| unsafe { Registers::new(range) });
    let line = LineControl::new().with_length(3).with_fifos(true);
    port().write(at(spec::LCR_H), u32::from(line.into_bits()));
    port().write(at(spec::CR), CR_ENABLED);
    let receive = Interrupts::new().with_receive(true).with_receive_timeout(true);
    port().write(at(spec::IMSC), u32::from(receive.into_bits()));
}

/// Prints, undivided.
pub(super) fn print(text: Text<'_>, vm: impl FnOnce(&str) -> u8) {
    if PANICS.load(Ordering::Relaxed) {
        return;
    }
    let mut console = CONSOLE.lock();
    match text {
        Text::Vmm(line) => write_line(&mut console, line),
        Text::Guest { name, text } => console.write(Writer::Vm(vm(name)), name, text),
    }
}

/// Prints what made the VMM fail, even where a CPU holds the console and has gone down with it.
pub(super) fn print_last(line: core::fmt::Arguments<'_>) {
    let first = !PANICS.swap(true, Ordering::Relaxed);
    for _ in 0..PATIENCE {
        if let Some(mut console) = CONSOLE.try_lock() {
            write_line(&mut console, line);
            return;
        }
        core::hint::spin_loop();
    }
    if first {
        // SAFETY: the holder does not come back: it has panicked, or it stopped answering. It prints nothing any more, since `PANICS`
        // is set, and what it may have left half done is a line.
        unsafe { CONSOLE.force_unlock() };
        write_line(&mut CONSOLE.lock(), line);
    }
}

fn write_line(console: &mut Console<Port>, line: core::fmt::Arguments<'_>) {
    let mut lines = Lines { console, writer: Writer::Vmm, name: "vmm" };
    // Writing to the port cannot fail.
    let _ = lines.write_fmt(line);
    let _ = lines.write_str("\n");
}

/// Hands what was typed to the guest with the focus.
pub(super) fn receive(system: &System) {
    while !flags().receive_empty() {
        let [byte, ..] = port().read(at(spec::DR)).to_le_bytes();
        let typed = FOCUS.lock().typed(byte, system.vms());
        match typed {
            Typed::For { vm, byte } => system.typed(vm, byte),
            Typed::Moved(vm) => system.print_focus(vm),
            Typed::Nothing => {}
        }
    }
}
