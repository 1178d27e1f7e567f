//! A VM with one vCPU that runs [`Program`]s, and 2 MiB of RAM at address 0.

use std::io::Write;
use std::sync::{Arc, Once};
use std::time::Duration;

use crossvm_core::{GuestAddr, GuestRange};
use crossvm_kvm::{GuestSpace, probe};
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
    /// A vCPU of arm64 cannot run before its first program is there.
    started: bool,
}

/// What a guest did that stopped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    Out(u16, u32),
    /// Answered with ones.
    Load(u64, usize),
    Store(u64, Vec<u8>),
    #[cfg(target_arch = "x86_64")]
    Halt,
    #[cfg(target_arch = "x86_64")]
    EndOfInterrupt(u8),
    #[cfg(target_arch = "x86_64")]
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
        // Not by `eprintln!`, which the test harness keeps to itself when a test passes; and in one piece.
        let _ = std::io::stderr().write_all(format!("SKIPPED: {test}: {report}\n").as_bytes());
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

/// What a program put out.
fn word(bytes: &[u8]) -> u32 {
    let mut value = [0; 4];
    value[..bytes.len()].copy_from_slice(bytes);
    u32::from_le_bytes(value)
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
            #[cfg(target_arch = "x86_64")]
            Ok(VcpuExit::IoOut(port, data)) => return Exit::Out(port, word(data)),
            #[cfg(target_arch = "aarch64")]
            Ok(VcpuExit::MmioWrite(address, data)) if address >> 16 == crate::program::PORTS >> 16 => {
                return Exit::Out(u16::try_from(address >> 4 & 0xff).unwrap(), word(data));
            }
            Ok(VcpuExit::MmioRead(address, data)) => {
                data.fill(0xff);
                return Exit::Load(address, data.len());
            }
            Ok(VcpuExit::MmioWrite(address, data)) => return Exit::Store(address, data.to_vec()),
            #[cfg(target_arch = "x86_64")]
            Ok(VcpuExit::Hlt) => return Exit::Halt,
            #[cfg(target_arch = "x86_64")]
            Ok(VcpuExit::IoapicEoi(vector)) => return Exit::EndOfInterrupt(vector),
            #[cfg(target_arch = "x86_64")]
            Ok(VcpuExit::IrqWindowOpen) => return Exit::WindowOpen,
            Ok(VcpuExit::Intr) => {}
            Ok(other) => return Exit::Other(format!("{other:?}")),
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
        arch::power_on(&vcpu, &ram);
        Self { vm, vcpu, space, ram, started: false }
    }

    /// Puts the program in place, and the vCPU at its start. What an exit left unfinished is finished before.
    pub(crate) fn start(&mut self, program: &Program) {
        if std::mem::replace(&mut self.started, true) {
            finish_exit(&mut self.vcpu);
        }
        arch::start(&self.vm, &self.vcpu, &self.ram, program.code());
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
                exit @ (Exit::Out(..) | Exit::Load(..) | Exit::Store(..)) => exits.push(exit),
                exit => panic!("the guest stopped: {exit:?} behind {exits:?}"),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use crossvm_kvm::payload;
    use kvm_ioctls::{Kvm, VcpuFd, VmFd};
    use vm_memory::GuestRegionMmap;

    pub(super) fn power_on(vcpu: &VcpuFd, ram: &GuestRegionMmap) {
        payload::long_mode(&Kvm::new().unwrap(), vcpu, ram).unwrap();
    }

    pub(super) fn start(_: &VmFd, vcpu: &VcpuFd, ram: &GuestRegionMmap, code: &[u8]) {
        payload::start(vcpu, ram, code).unwrap();
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use kvm_bindings::{KVM_REG_ARM_CORE, KVM_REG_ARM64, KVM_REG_SIZE_U64, kvm_regs, kvm_vcpu_init, user_pt_regs};
    use kvm_ioctls::{VcpuFd, VmFd};
    use vm_memory::{Bytes, GuestRegionMmap, MemoryRegionAddress};

    const CODE: u64 = 0x8000;

    pub(super) fn power_on(_: &VcpuFd, _: &GuestRegionMmap) {}

    /// At the program's start with the MMU and the caches off, and interrupts masked: as `KVM_ARM_VCPU_INIT` leaves a vCPU.
    pub(super) fn start(vm: &VmFd, vcpu: &VcpuFd, ram: &GuestRegionMmap, code: &[u8]) {
        ram.write_slice(code, MemoryRegionAddress(CODE)).unwrap();
        let mut init = kvm_vcpu_init::default();
        vm.get_preferred_target(&mut init).unwrap();
        vcpu.vcpu_init(&init).unwrap();
        // Core registers are numbered by where they are in `kvm_regs`, in words of 32 bits.
        let pc = (std::mem::offset_of!(kvm_regs, regs) + std::mem::offset_of!(user_pt_regs, pc)) as u64 / 4;
        vcpu.set_one_reg(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | u64::from(KVM_REG_ARM_CORE) | pc, &CODE.to_le_bytes()).unwrap();
    }
}
