//! What a configuration access costs on a bus of 40 connections with five BARs each, in instructions. One function for each access, called
//! [`TIMES`] times, for callgrind to count:
//!
//! ```sh
//! cargo build --release -p crossvm-testkit --example config_cost
//! for access in read bar_moves bar_sized decode_switched all_are_hidden; do
//!     valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect="config_cost::$access" target/release/examples/config_cost 2>&1 | grep Collected
//! done
//! ```

use std::hint::black_box;

use crossvm_core::{Bar, BarWidth, Bdf, ClassCode, ConfigAccess, FrameSize, Function, Irq, PciSpace, Width};
use crossvm_pci::{HostBridge, PciBus};
use crossvm_testkit::{WINDOW, range};

/// How often each access is made.
const TIMES: u32 = 100;
const CONNECTIONS: usize = 40;
/// The first function's BAR that has room for all others.
const LARGE: u16 = 1;

type Bus = PciBus<64>;

const COMMAND: ConfigAccess = ConfigAccess { offset: 0x04, width: Width::U16 };
const BAR0: ConfigAccess = ConfigAccess { offset: 0x10, width: Width::U32 };

/// Reads of a function's ids.
#[inline(never)]
fn read(bus: &Bus, bdf: Bdf) {
    for _ in 0..TIMES {
        black_box(bus.read(black_box(bdf), ConfigAccess { offset: 0, width: Width::U32 }));
    }
}

/// Moves of a BAR to and fro, with decoding on.
#[inline(never)]
fn bar_moves(bus: &mut Bus, bdf: Bdf, home: u32) {
    for round in 0..TIMES {
        let to = if round % 2 == 0 { 0x1000_0000 } else { home };
        black_box(bus.write(black_box(bdf), BAR0, black_box(to)));
    }
}

/// Writes of all ones and of the address, with decoding off.
#[inline(never)]
fn bar_sized(bus: &mut Bus, bdf: Bdf, home: u32) {
    for round in 0..TIMES {
        let to = if round % 2 == 0 { u32::MAX } else { home };
        black_box(bus.write(black_box(bdf), BAR0, black_box(to)));
    }
}

/// Decoding off and on: all of the function's BARs disappear and appear.
#[inline(never)]
fn decode_switched(bus: &mut Bus, bdf: Bdf) {
    for round in 0..TIMES {
        black_box(bus.write(black_box(bdf), COMMAND, black_box(if round % 2 == 0 { 0 } else { 2 })));
    }
}

/// The worst that a guest can do: a BAR moves over all others and away, and hides and uncovers each of them.
#[inline(never)]
fn all_are_hidden(bus: &mut Bus, bdf: Bdf) {
    let large = ConfigAccess { offset: 0x10 + 4 * LARGE, width: Width::U32 };
    for round in 0..TIMES {
        let to = if round % 2 == 0 { 0x1000_0000 } else { 0x1100_0000 };
        black_box(bus.write(black_box(bdf), large, black_box(to)));
    }
}

fn main() {
    let mut bus = Bus::new(HostBridge::default(), range(WINDOW));
    let bar = Some(Bar { size: FrameSize::KIB_4, width: BarWidth::Bits32, prefetchable: true, fixed: None });
    let large = Some(Bar {
        size: FrameSize::from_bytes(1 << 24).expect("a power of two"),
        width: BarWidth::Bits32,
        prefetchable: true,
        fixed: None,
    });
    let mut functions = Vec::new();
    for number in 0..CONNECTIONS {
        let function = Function {
            vendor: 0x1af4,
            device: 0xa111,
            revision: 1,
            class: ClassCode { base: 5, sub: 0, interface: 0 },
            subsystem_vendor: 0,
            subsystem: 0,
            interrupt: Some(Irq::new(32)),
            bars: [bar, if number == 0 { large } else { bar }, bar, bar, bar, None],
            vendor_specific: heapless::Vec::new(),
            msix: None,
        };
        functions.push(bus.insert(function).expect("room for 64"));
    }
    let first = functions.iter().copied().min().expect("there are some");
    let home = bus.read(first, BAR0) & !0xf;
    read(&bus, first);
    bar_moves(&mut bus, first, home);
    bus.write(first, COMMAND, 0);
    bar_sized(&mut bus, first, home);
    bus.write(first, COMMAND, 2);
    decode_switched(&mut bus, first);
    // Side by side, where the large BAR will come.
    let mut at = 0x1000_0000;
    for bdf in functions.into_iter().filter(|bdf| *bdf != first) {
        for register in 0..5 {
            bus.write(bdf, ConfigAccess { offset: 0x10 + 4 * register, width: Width::U32 }, at);
            at += 0x1000;
        }
    }
    all_are_hidden(&mut bus, first);
}
