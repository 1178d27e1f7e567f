//! vCPUs: power-on, registers, and accesses that the hardware does not describe.

use crossvm_core::GuestAccess;
use kvm_bindings::{
    KVM_ARM_VCPU_POWER_OFF, KVM_ARM_VCPU_PSCI_0_2, KVM_REG_ARM_CORE, KVM_REG_ARM64, KVM_REG_SIZE_U64, kvm_vcpu_init, user_pt_regs,
};
use kvm_ioctls::{VcpuFd, VmFd};
use vmm_common::exit::spec::{CLASS_DATA_ABORT_LOWER, Syndrome};
use vmm_common::exit::{self, Exit};
use vmm_common::vcpu::{Registers, Start};

use crate::sys::{self, NoSyndrome};

type Result<T> = std::result::Result<T, kvm_ioctls::Error>;

/// How the vCPUs of a VM are reset: KVM wants to be told the same each time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model(kvm_vcpu_init);

impl Model {
    /// The one that this host's KVM prefers, with PSCI in KVM.
    ///
    /// # Errors
    /// `KVM_ARM_PREFERRED_TARGET`.
    pub(crate) fn preferred(vm: &VmFd) -> Result<Self> {
        let mut init = kvm_vcpu_init::default();
        vm.get_preferred_target(&mut init)?;
        let [features, ..] = &mut init.features;
        *features |= 1 << KVM_ARM_VCPU_PSCI_0_2;
        Ok(Self(init))
    }

    /// Brings vCPU `id`, which is not in the guest, to power-on, for the first time and again. All but the first one are off until the guest switches them on.
    ///
    /// # Errors
    /// `KVM_ARM_VCPU_INIT`.
    pub(crate) fn reset(&self, vcpu: &VcpuFd, id: u8) -> Result<()> {
        let mut init = self.0;
        if id != 0 {
            let [features, ..] = &mut init.features;
            *features |= 1 << KVM_ARM_VCPU_POWER_OFF;
        }
        vcpu.vcpu_init(&init)
    }
}

/// Number of a core register of 64 bits, by its offset in bytes in `kvm_regs`, which begins with `user_pt_regs` (Linux, `Documentation/virt/kvm/api.rst`,
/// `KVM_SET_ONE_REG`).
const fn core(offset: usize) -> u64 {
    KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE as u64 | (offset as u64 / 4)
}

const X0: u64 = core(std::mem::offset_of!(user_pt_regs, regs));
const PC: u64 = core(std::mem::offset_of!(user_pt_regs, pc));
const PSTATE: u64 = core(std::mem::offset_of!(user_pt_regs, pstate));
/// From one register of 64 bits to the next.
const NEXT: u64 = 2;

fn read(vcpu: &VcpuFd, register: u64) -> Result<u64> {
    let mut bytes = [0; 8];
    vcpu.get_one_reg(register, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn write(vcpu: &VcpuFd, register: u64, value: u64) -> Result<()> {
    vcpu.set_one_reg(register, &value.to_le_bytes()).map(|_| ())
}

/// Lets a vCPU that was just reset start there.
///
/// # Errors
/// `KVM_SET_ONE_REG`.
pub(crate) fn start(vcpu: &VcpuFd, start: Start) -> Result<()> {
    write(vcpu, PC, start.entry.get())?;
    write(vcpu, X0, start.context)
}

/// The access of the last exit, where it is one that the hardware does not describe: a store pair, vectors, `dc zva`. Nothing for other exits.
pub(crate) fn undecoded(vcpu: &mut VcpuFd) -> Option<GuestAccess> {
    sys::no_syndrome(vcpu).and_then(decode)
}

/// Decodes it as a hypervisor of our own does.
fn decode(told: NoSyndrome) -> Option<GuestAccess> {
    let syndrome = Syndrome::new().with_class(CLASS_DATA_ABORT_LOWER).with_long_instruction(true).with_iss(told.iss);
    match exit::decode(syndrome, told.at & 0xfff, (told.at >> 12) << 4) {
        Exit::DataAbort(abort) => abort.guest_access(&Registers::default()),
        _ => None,
    }
}

/// Goes on behind the instruction that has caused the last exit. What it does beyond its access is lost: its base register keeps its value, and what it loads
/// is not loaded.
///
/// KVM does not tell the instruction's length. It has four bytes but for some of AArch32 user space, which is not where our registers are used.
///
/// # Errors
/// `KVM_GET_ONE_REG` or `KVM_SET_ONE_REG`.
pub(crate) fn skip(vcpu: &VcpuFd) -> Result<()> {
    let mut registers = Registers { pc: read(vcpu, PC)?, pstate: read(vcpu, PSTATE)?, ..Registers::default() };
    registers.skip_instruction(true);
    write(vcpu, PC, registers.pc)?;
    write(vcpu, PSTATE, registers.pstate)
}

/// Registers as lines, for a vCPU that cannot go on: a dozen.
pub(crate) fn dump(vcpu: &VcpuFd) -> Vec<String> {
    let named = |name: &str, register: u64| match read(vcpu, register) {
        Ok(value) => format!("{name}={value:#018x}"),
        Err(error) => format!("{name}=({error})"),
    };
    let mut lines = vec![format!("{} {}", named("pc", PC), named("pstate", PSTATE))];
    let general: Vec<String> = (0..31).map(|number| named(&format!("x{number}"), X0 + NEXT * number)).collect();
    lines.extend(general.chunks(4).map(|row| row.join(" ")));
    let system: Vec<String> = SYSTEM.iter().map(|(name, register)| named(name, *register)).collect();
    lines.extend(system.chunks(3).map(|row| row.join(" ")));
    lines
}

/// Registers that say how it came to that. The exception link register of EL1 is one of the core registers of `kvm_regs`, behind SP_EL1.
const SYSTEM: [(&str, u64); 6] = [
    ("elr_el1", core(size_of::<user_pt_regs>() + 8)),
    ("esr_el1", system(5, 2, 0)),
    ("far_el1", system(6, 0, 0)),
    ("vbar_el1", system(12, 0, 0)),
    ("sctlr_el1", system(1, 0, 0)),
    ("tcr_el1", system(2, 0, 2)),
];

/// Number of a system register of EL1: op0 is 3 and op1 is 0.
const fn system(crn: u64, crm: u64, op2: u64) -> u64 {
    KVM_REG_ARM64 | KVM_REG_SIZE_U64 | kvm_bindings::KVM_REG_ARM64_SYSREG as u64 | 3 << 14 | crn << 7 | crm << 3 | op2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossvm_core::{GuestAddr, GuestRange};

    #[test]
    fn registers_have_the_numbers_of_the_documentation() {
        // api.rst: "0x6030 0000 0010 0000" and so on.
        assert_eq!(
            [X0, X0 + NEXT * 30, PC, PSTATE],
            [0x6030_0000_0010_0000, 0x6030_0000_0010_003c, 0x6030_0000_0010_0040, 0x6030_0000_0010_0042]
        );
        assert_eq!(SYSTEM[0].1, 0x6030_0000_0010_0046);
        assert_eq!(SYSTEM[1].1, 0x6030_0000_0013_c290);
    }

    #[test]
    fn what_is_not_described_is_a_range_that_ends_with_its_page() {
        let range = |start, size| GuestRange::new(GuestAddr::new(start), size).unwrap();
        // A write, translation fault of level 3; a read of the last bytes of a page; cache maintenance.
        let told = |iss, at| decode(NoSyndrome { iss, at });
        assert_eq!(told(0x47, 0x1000_0000), Some(GuestAccess::UndecodedWrite(range(0x1000_0000, 64))));
        assert_eq!(told(0x0f, 0x40_0000_0ff0), Some(GuestAccess::UndecodedRead(range(0x40_0000_0ff0, 16))));
        assert_eq!(told(0x147, 0x1000_0000), None);
    }
}
