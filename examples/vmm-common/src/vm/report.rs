//! What is printed about a VM: records for the program that reads the console, in a bounded number.

use core::fmt;

use crossvm_core::{Backend, BarIndex, Bdf, CrossVm, Dataport, GuestAddr, Status};
use crossvm_manifest::MAX_CONNECTIONS;

use super::{StopReason, Trap, Vm};
use crate::exit::El1Registers;
use crate::host::CpuId;
use crate::platform::{Platform, Text};
use crate::vcpu::Vcpu;

/// A number of lines that a guest may cause, so that it cannot flood the console.
#[derive(Debug)]
pub struct Limited {
    left: u32,
}

impl Limited {
    /// At most `lines` lines.
    #[must_use]
    pub const fn new(lines: u32) -> Self {
        Self { left: lines }
    }

    /// Prints `line`, or once that no more `what` of `vm` are shown, or nothing.
    pub fn print<P: Platform>(&mut self, platform: P, vm: &str, what: &str, line: fmt::Arguments<'_>) {
        match self.admit() {
            Admission::Nothing => {}
            Admission::Last => platform.print(Text::Vmm(format_args!("{vm}: more {what} of this VM are not shown"))),
            Admission::Line => platform.print(Text::Vmm(line)),
        }
    }

    /// Counts a line: what is to be printed.
    pub const fn admit(&mut self) -> Admission {
        let admission = match self.left {
            0 => Admission::Nothing,
            1 => Admission::Last,
            _ => Admission::Line,
        };
        self.left = self.left.saturating_sub(1);
        admission
    }
}

/// What becomes of a line that a guest has caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a line that is counted is to be printed"]
pub enum Admission {
    /// It is printed.
    Line,
    /// In its place is printed that no more are shown.
    Last,
    /// Nothing is printed.
    Nothing,
}

/// BARs of a connection: event registers and dataports.
const BARS: usize = crossvm_core::device::MAX_DATAPORTS + 1;

/// Where each BAR was mapped last.
#[derive(Debug)]
pub struct BarTable {
    last: [[Option<GuestAddr>; BARS]; MAX_CONNECTIONS],
}

/// A BAR is mapped elsewhere than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarMove {
    /// The function.
    pub bdf: Bdf,
    /// Its BAR.
    pub bar: BarIndex,
    /// Where it was.
    pub from: GuestAddr,
    /// Where it is.
    pub to: GuestAddr,
}

/// `bdf=00:01.0 bar=1 from=0x10000000 to=0x10100000`
impl fmt::Display for BarMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bdf, bar, from, to } = self;
        write!(f, "bdf={bdf} bar={} from={from:#x} to={to:#x}", bar.get())
    }
}

impl Default for BarTable {
    fn default() -> Self {
        Self::new()
    }
}

impl BarTable {
    /// None was mapped yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: [[None; BARS]; MAX_CONNECTIONS] }
    }

    /// Compares with where the BARs are now. A BAR that is not mapped has not moved: guests unmap BARs to size and move them.
    pub fn update<B: Backend, D: Dataport, K, const N: usize>(
        &mut self,
        connections: &CrossVm<B, D, K, N>,
        mut moved: impl FnMut(BarMove),
    ) {
        for id in connections.connections() {
            let (Some(Status { bdf, bars, .. }), Some(last)) = (connections.status(id), self.last.get_mut(id.index())) else { continue };
            for (bar, last) in bars.iter().zip(last) {
                let Some(to) = bar.mapped_at else { continue };
                if let Some(from) = last.replace(to)
                    && from != to
                {
                    moved(BarMove { bdf, bar: bar.bar, from, to });
                }
            }
        }
    }
}

impl<P: Platform> Vm<P> {
    /// Prints that the VM starts.
    pub(super) fn report_start(&self, ram: u64) {
        let (name, ms) = (&self.name, self.platform.uptime_ms());
        let (vcpus, cpu) = (self.cpus.len(), self.cpus.first().copied().unwrap_or(CpuId::BOOT));
        self.platform.print(Text::Vmm(format_args!("record=vm-start vm={name} cpu={cpu} vcpus={vcpus} memory={ram} ms={ms}")));
    }

    /// Prints that the VM boots again.
    pub(super) fn report_reboot(&mut self) {
        let (platform, name, boot) = (self.platform, &self.name, self.boots);
        let line = format_args!("record=vm-reboot vm={name} boot={boot} ms={}", platform.uptime_ms());
        self.reboots.print(platform, name, "reboots", line);
    }

    /// Closes the VM's mailbox and prints what is to tell at its end. It must not be started again.
    pub fn stop(&mut self, reason: StopReason) {
        self.mailbox.close();
        self.end_line();
        let (platform, name) = (self.platform, &self.name);
        let print = |line: fmt::Arguments<'_>| platform.print(Text::Vmm(line));
        print(format_args!("record=vm-stop vm={name} reason={reason} ms={}", platform.uptime_ms()));
        print(format_args!("record=exits vm={name} {}", self.exits));
        for status in self.connections.connections().filter_map(|id| self.connections.status(id)) {
            let Status { name: connection, emitted, received, dropped, .. } = status;
            print(format_args!("record=connection vm={name} name={connection} emitted={emitted} received={received} dropped={dropped}"));
        }
    }

    /// Shows what the guest has written of a line that it does not end any more.
    pub(super) fn end_line(&mut self) {
        let (platform, name) = (self.platform, &self.name);
        self.line.write(b'\n', |text| {
            // Only a line that was begun is ended.
            if text != b"\n" {
                platform.print(Text::Guest { name, text });
            }
        });
    }

    /// Prints the registers of a vCPU that did something the VMM cannot serve.
    pub(super) fn dump(&self, vcpu: &Vcpu, trap: Trap, el1: &impl El1Registers, what: fmt::Arguments<'_>) {
        let (name, platform) = (&self.name, self.platform);
        let print = |line: fmt::Arguments<'_>| platform.print(Text::Vmm(format_args!("{name}: {line}")));
        let registers = &vcpu.registers;
        print(format_args!("vCPU {} has failed: {what}", vcpu.id));
        let syndrome = trap.syndrome.into_bits();
        print(format_args!("esr_el2={syndrome:#018x} far_el2={:#018x} hpfar_el2={:#018x}", trap.far, trap.hpfar));
        print(format_args!("pc={:#018x} pstate={:#010x}", registers.pc, registers.pstate));
        if let Some(pc) = vcpu.interrupted_at {
            print(format_args!("the last exception that the VMM gave it was at pc={pc:#018x}"));
        }
        for (row, first) in registers.x.chunks(4).zip((0u32..).step_by(4)) {
            print(format_args!("{}", Row { first, row }));
        }
        for row in el1.snapshot().chunks(3) {
            print(format_args!("{}", Named(row)));
        }
    }

    /// Prints the BARs that the guest has moved.
    pub(super) fn report_moves(&mut self) {
        let (platform, name, moves) = (self.platform, &self.name, &mut self.moves);
        self.bars.update(&self.connections, |moved| {
            moves.print(platform, name, "BAR moves", format_args!("record=bar-moved vm={name} {moved}"));
        });
    }
}

/// `x0=… x1=… x2=… x3=…`
struct Row<'a> {
    first: u32,
    row: &'a [u64],
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, value) in (self.first..).zip(self.row) {
            write!(f, "x{number}={value:#018x} ")?;
        }
        Ok(())
    }
}

/// `elr_el1=… esr_el1=… far_el1=…`
struct Named<'a>(&'a [(&'static str, u64)]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.0 {
            write!(f, "{name}={value:#018x} ")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::tests::Recorder;

    #[test]
    fn a_guest_cannot_flood_the_console() {
        let platform = Recorder::new();
        let mut limited = Limited::new(3);
        for round in 0..100 {
            limited.print(platform, "vm0", "things", format_args!("thing {round}"));
        }
        assert_eq!(platform.printed(), ["thing 0", "thing 1", "vm0: more things of this VM are not shown"]);
    }
}
