//! The list registers of a vCPU, through the kernel.

use crossvm_arm::spec::{HypervisorControl, ListRegister, MachineControl, State};
use crossvm_arm::{IntId, ListRegisters, Ppi, VcpuId, Vgic};
use crossvm_core::Level;

use crate::kernel::{ArmVcpus, CPtr, KernelError, Label, Message, VirtualInterrupt};

/// Most list registers that are used.
const REGISTERS: usize = 16;

/// What a message was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Served {
    /// Not about interrupts of the vCPU.
    NotOurs,
    /// The guest has ended this one.
    Ended(IntId),
    /// A private interrupt has come.
    Private(Ppi),
    /// About no register and no interrupt that there is: nothing is to be done.
    Nothing,
}

/// The list registers of a vCPU: the [`ListRegisters`] of seL4. One for each vCPU object, from its creation on.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VcpuInjector<K> {
    kernel: K,
    vcpu: CPtr,
    registers: [ListRegister; REGISTERS],
    /// The private interrupts that the kernel holds back until the guest has ended them: a bit for each PPI.
    private: u32,
    failure: Option<KernelError>,
}

impl<K: ArmVcpus> VcpuInjector<K> {
    /// The registers of a vCPU that nothing was injected into yet.
    #[must_use]
    pub const fn new(kernel: K, vcpu: CPtr) -> Self {
        Self { kernel, vcpu, registers: [ListRegister::EMPTY; REGISTERS], private: 0, failure: None }
    }

    /// The vCPU.
    #[must_use]
    pub const fn vcpu(&self) -> CPtr {
        self.vcpu
    }

    /// How many interrupts the guest was given and has not ended. It may have to acknowledge them yet, so it must not be left waiting for an interrupt.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.registers.iter().filter(|register| register.state() == State::Active).count()
    }

    /// What the kernel refused since this was last asked, so that the VMM can complain. An injection that it refused is not lost: the [`Vgic`] has the
    /// interrupt, and tries again at the next load. The acknowledgement of a private interrupt is not tried again.
    pub const fn take_failure(&mut self) -> Option<KernelError> {
        self.failure.take()
    }

    /// Serves a message from the vCPU's fault endpoint, if it is about an interrupt, and loads: the next one takes the place of what the guest has ended. The VMM
    /// answers the message, so that the guest goes on, as it answers any other.
    ///
    /// A private interrupt is a line that the device holds until the guest has served it: it is high from the message on, and low when the guest has ended it;
    /// then the kernel lets it come again, and it does where the device still wants it.
    pub fn serve<const VCPUS: usize, const SPI_WORDS: usize>(
        &mut self,
        gic: &mut Vgic<VCPUS, SPI_WORDS>,
        vcpu: VcpuId,
        message: &Message,
    ) -> Served {
        let served = match message.label {
            Label::VgicMaintenance => self.ended(message.word(0)).map_or(Served::Nothing, Served::Ended),
            Label::VppiEvent => u32::try_from(message.word(0)).ok().and_then(Ppi::new).map_or(Served::Nothing, Served::Private),
            _ => return Served::NotOurs,
        };
        match served {
            Served::Private(ppi) => {
                self.private |= bit(ppi);
                set_private(gic, vcpu, ppi, Level::High);
            }
            Served::Ended(id) => {
                if let Some(ppi) = Ppi::new(id.number()).filter(|ppi| self.private & bit(*ppi) != 0) {
                    self.private &= !bit(ppi);
                    set_private(gic, vcpu, ppi, Level::Low);
                    self.note(self.kernel.acknowledge_private(self.vcpu, ppi.number().into()));
                }
            }
            Served::NotOurs | Served::Nothing => {}
        }
        gic.load(vcpu, self);
        served
    }

    /// The guest has ended what is in register `index`: gives the interrupt. A message without a register has an index that none has.
    fn ended(&mut self, index: u64) -> Option<IntId> {
        let register = usize::try_from(index).ok().and_then(|index| self.registers.get_mut(index))?;
        if register.state() == State::Inactive {
            return None;
        }
        register.set_state(State::Inactive);
        IntId::new(register.virtual_intid())
    }

    fn note(&mut self, result: Result<(), KernelError>) {
        if let Err(error) = result {
            self.failure = Some(error);
        }
    }
}

const fn bit(ppi: Ppi) -> u32 {
    1u32.wrapping_shl(ppi.number())
}

fn set_private<const VCPUS: usize, const SPI_WORDS: usize>(gic: &mut Vgic<VCPUS, SPI_WORDS>, vcpu: VcpuId, ppi: Ppi, level: Level) {
    // Fails for a vCPU that the Vgic does not have.
    let _ = gic.set_ppi_level(vcpu, ppi, level);
}

impl<K: ArmVcpus> ListRegisters for VcpuInjector<K> {
    fn count(&self) -> usize {
        self.kernel.list_registers().min(REGISTERS)
    }

    fn read(&self, index: usize) -> ListRegister {
        self.registers.get(index).copied().unwrap_or(ListRegister::EMPTY)
    }

    /// The kernel has no call to empty a register; there is nothing to be done for one that the guest has ended.
    fn write(&mut self, index: usize, value: ListRegister) {
        let Some(register) = self.registers.get_mut(index).filter(|register| register.state() == State::Inactive) else { return };
        let (Ok(intid), Ok(number)) = (u16::try_from(value.virtual_intid()), u8::try_from(index)) else { return };
        if value.state() == State::Inactive {
            *register = value;
            return;
        }
        // The kernel takes the five highest bits, as a GICv2's list registers do.
        let priority = value.priority().wrapping_shr(3);
        let interrupt = VirtualInterrupt { intid, priority, group: value.group() as u8, index: number };
        let result = self.kernel.inject(self.vcpu, interrupt);
        if result.is_ok() {
            *register = value.with_state(State::Active);
        }
        self.note(result);
    }

    fn control(&self) -> HypervisorControl {
        // The kernel's own: it enables the interface, and asks for maintenance at each end of interrupt.
        HypervisorControl::new().with_enable(true)
    }

    fn set_control(&mut self, _value: HypervisorControl) {}

    /// What the guest has enabled, the kernel does not tell.
    fn machine_control(&self) -> MachineControl {
        MachineControl::new().with_enable_group0(true).with_enable_group1(true)
    }

    fn one_way(&self) -> bool {
        true
    }
}
