//! A VM with one vCPU in long mode, and the first 2 MiB of memory mapped as RAM.

use std::io::Write;
use std::sync::{Arc, Once};
use std::time::Duration;

use crossvm_core::{GuestAddr, GuestRange};
use crossvm_kvm::{GuestSpace, payload, probe};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::{GuestAddress, GuestRegionMmap};

use crate::program::Program;

pub(crate) const RAM: u64 = 2 << 20;
/// Where the tests put connections: 1 GiB, so that nothing is near it.
pub(crate) const WINDOW: u64 = 1 << 30;

/// Port of the end of a program.
pub(crate) const DONE: u8 = 0x10;

pub(crate) struct Machine {
    pub(crate) vm: Arc<VmFd>,
    pub(crate) vcpu: VcpuFd,
    pub(crate) space: GuestSpace,
    pub(crate) ram: Arc<GuestRegionMmap>,
}

/// What a guest did that stopped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    Out(u16, u32),
    /// Answered with zero.
    In(u16),
    /// Answered with ones.
    Load(u64, usize),
    Store(u64, Vec<u8>),
    Halt,
    EndOfInterrupt(u8),
    WindowOpen,
    Other(String),
}

/// Whether the tests can run; says so where they cannot.
pub(crate) fn usable(test: &str) -> bool {
    static WATCHDOG: Once = Once::new();
    WATCHDOG.call_once(|| {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(300));
            let _ = writeln!(std::io::stderr(), "a guest does not stop: the tests end after 300 s");
            std::process::exit(101);
        });
    });
    let report = probe();
    if !report.is_usable() {
        // Not by `eprintln!`, which the test harness keeps to itself when a test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {report}");
    }
    report.is_usable()
}

/// A VM without interrupt controllers in the kernel, and no vCPU yet.
pub(crate) fn vm() -> Arc<VmFd> {
    Arc::new(Kvm::new().unwrap().create_vm().unwrap())
}

pub(crate) fn at(address: u64) -> GuestAddr {
    GuestAddr::new(address)
}

pub(crate) fn range(start: u64, size: u64) -> GuestRange {
    GuestRange::new(at(start), size).unwrap()
}

/// Completes the access that the last exit was about.
pub(crate) fn finish_exit(vcpu: &mut VcpuFd) {
    vcpu.set_kvm_immediate_exit(1);
    assert_eq!(vcpu.run().unwrap_err().errno(), libc::EINTR);
    vcpu.set_kvm_immediate_exit(0);
}

/// Runs to the next exit.
pub(crate) fn run(vcpu: &mut VcpuFd) -> Exit {
    loop {
        match vcpu.run() {
            Ok(VcpuExit::IoOut(port, data)) => {
                let mut value = [0; 4];
                value[..data.len()].copy_from_slice(data);
                return Exit::Out(port, u32::from_le_bytes(value));
            }
            Ok(VcpuExit::IoIn(port, data)) => {
                data.fill(0);
                return Exit::In(port);
            }
            Ok(VcpuExit::MmioRead(address, data)) => {
                data.fill(0xff);
                return Exit::Load(address, data.len());
            }
            Ok(VcpuExit::MmioWrite(address, data)) => return Exit::Store(address, data.to_vec()),
            Ok(VcpuExit::Hlt) => return Exit::Halt,
            Ok(VcpuExit::IoapicEoi(vector)) => return Exit::EndOfInterrupt(vector),
            Ok(VcpuExit::IrqWindowOpen) => return Exit::WindowOpen,
            Ok(VcpuExit::Intr) => {}
            Ok(other) => {
                let other = format!("{other:?}");
                let regs = vcpu.get_regs();
                return Exit::Other(format!("{other}, {regs:x?}"));
            }
            Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {}
            Err(error) => return Exit::Other(error.to_string()),
        }
    }
}

impl Machine {
    /// A machine on a fresh VM.
    pub(crate) fn new() -> Self {
        Self::on(vm())
    }

    pub(crate) fn on(vm: Arc<VmFd>) -> Self {
        let mut space = GuestSpace::new(Arc::clone(&vm)).unwrap();
        let ram = Arc::new(GuestRegionMmap::from_range(GuestAddress(0), usize::try_from(RAM).unwrap(), None).unwrap());
        space.add_ram(Arc::clone(&ram)).unwrap();
        let vcpu = vm.create_vcpu(0).unwrap();
        payload::long_mode(&Kvm::new().unwrap(), &vcpu, &ram).unwrap();
        Self { vm, vcpu, space, ram }
    }

    /// Puts the program in place, and the vCPU at its start. What an exit left unfinished is finished before.
    pub(crate) fn start(&mut self, program: &Program) {
        finish_exit(&mut self.vcpu);
        payload::start(&self.vcpu, &self.ram, program.code()).unwrap();
    }

    /// Runs to the next exit.
    pub(crate) fn run(&mut self) -> Exit {
        run(&mut self.vcpu)
    }

    /// Runs the program to its end, and gives the exits before it.
    pub(crate) fn exits_of(&mut self, program: &Program) -> Vec<Exit> {
        self.start(program);
        let mut exits = Vec::new();
        loop {
            match self.run() {
                Exit::Out(port, _) if port == u16::from(DONE) => return exits,
                exit @ (Exit::Other(_) | Exit::Halt) => panic!("the guest stopped: {exit:?} behind {exits:?}"),
                exit => exits.push(exit),
            }
        }
    }
}
