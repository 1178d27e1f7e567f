//! Delivery through registers that are not given back: those of a hypervisor below that takes interrupts for a vCPU and tells when the guest has
//! ended them, and no more.
//!
//! ```text
//!            load                        the guest                       load, save
//!  pending ─────────▶ list register ── acknowledges, ends ──▶ inactive ───────────▶ deactivated, the next one takes its place
//!           active from now on
//! ```
//!
//! Nobody knows when the guest acknowledges. So an interrupt counts as acknowledged as soon as it is written: an edge that comes afterwards
//! makes it pending once more, and a line that is still high when the guest has ended it does. None is lost, and each edge interrupts once at most. What
//! the guest sees of it: an interrupt that it disables or takes back while a register holds it still comes, once.
//!
//! A register is busy until the guest has ended what is in it. What is more urgent waits then, as long as all of them are.
//!
//! A guest that deactivates by other means than the end of interrupt, with `EOImode` = 1 (`GICC_DIR`, `ICC_DIR_EL1`) or by a write to
//! `GICD_ICACTIVER`, may keep a register busy for ever: nobody can empty it. When all are, no more interrupts come to that vCPU. It hurts that guest alone.

use crate::delivery::ListRegisters;
use crate::delivery::queue::MOST_REGISTERS;
use crate::spec::{ListRegister, State};
use crate::{IntId, VcpuId, Vgic};

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    /// Deactivates what the guest has ended.
    pub(super) fn save_one_way(&mut self, vcpu: VcpuId, registers: &mut impl ListRegisters) {
        for index in 0..registers.count().min(MOST_REGISTERS) {
            let register = registers.read(index);
            if register.state() != State::Inactive || register == ListRegister::EMPTY {
                continue;
            }
            registers.write(index, ListRegister::EMPTY);
            let Some(id) = IntId::new(register.virtual_intid()) else { continue };
            // As in `fold`: an SPI that software has deactivated meanwhile may be another vCPU's, which has not ended it.
            if self.spi(id.word()).is_none_or(|spi| spi.held_by(vcpu) & id.bit() != 0) {
                self.end(vcpu, id);
            }
        }
        self.see_groups(vcpu, registers.machine_control());
    }

    /// Fills the registers that are free, the most urgent first.
    pub(super) fn load_one_way(&mut self, vcpu: VcpuId, registers: &mut impl ListRegisters) {
        self.save_one_way(vcpu, registers);
        let count = registers.count().min(MOST_REGISTERS);
        let (_, pendings) = self.candidates(vcpu, MOST_REGISTERS);
        // One that software has deactivated may be pending again while a register still holds it: it waits for its end.
        let held = |registers: &mut _, id: IntId| (0..count).any(|index| holds(&ListRegisters::read(registers, index), id));
        let mut index = 0;
        for candidate in pendings.first(MOST_REGISTERS) {
            if held(registers, candidate.intid) {
                continue;
            }
            let lent = self.lend(vcpu, candidate, false);
            let taken = loop {
                if index >= count {
                    break false;
                }
                let free = registers.read(index).state() == State::Inactive;
                if free {
                    registers.write(index, lent);
                }
                let taken = free && holds(&registers.read(index), candidate.intid);
                index = index.saturating_add(1);
                if taken {
                    break true;
                }
            };
            self.fold(vcpu, lent.with_state(if taken { State::Active } else { State::Pending }));
            if !taken {
                return;
            }
        }
    }
}

/// Whether a register holds `id`.
fn holds(register: &ListRegister, id: IntId) -> bool {
    register.state() != State::Inactive && register.virtual_intid() == id.number()
}
