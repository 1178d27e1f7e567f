//! x86 with the local APICs in the kernel, and the IOAPIC and the 8259 pair here.
//!
//! ```text
//!   set_level ─▶ IOAPIC pin ──▶ KVM_SIGNAL_MSI ─▶ local APICs        guest's end of interrupt ──▶ KVM_EXIT_IOAPIC_EOI ──▶ end_of_interrupt
//!            └▶ 8259 input ──▶ INTR ── before_run ── KVM_INTERRUPT ─▶ vCPU 0
//!   guest's store to the IOAPIC ──▶ ioapic_write ──▶ KVM_SET_GSI_ROUTING: so that KVM knows of which vectors it shall tell the end
//! ```

use std::fmt;
use std::sync::Arc;

use crossvm_core::{Bdf, ErrorType, InterruptController, Irq, Level, Message, Width};
use crossvm_x86::spec::DeliveryMode;
use crossvm_x86::{ApicMessage, Chipset, ChipsetError, IoApic, LocalApics, Pin, Routing, Trigger};
use kvm_bindings::{KVM_CAP_SPLIT_IRQCHIP, kvm_enable_cap};
use kvm_ioctls::{VcpuFd, VmFd};
use rustix::io::Errno;

use super::kernel::as_edge;
use super::{GsiRoutes, InterruptError, Route, signal_msi};
use crate::error::{Call, CallError};
use crate::raw;

/// Whom the messages of IOAPICs are said to come from: KVM does not look at it on x86.
const IOAPIC: Bdf = Bdf::from_requester_id(0);

/// The local APICs in the kernel.
pub struct KvmApics {
    vm: Arc<VmFd>,
    /// KVM does not know yet of which vectors it shall tell the end.
    held: bool,
}

impl fmt::Debug for KvmApics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmApics").field("held", &self.held).finish_non_exhaustive()
    }
}

impl ErrorType for KvmApics {
    type Error = CallError;
}

impl LocalApics for KvmApics {
    fn deliver(&mut self, message: ApicMessage) -> Result<(), CallError> {
        if self.held {
            return Err(CallError::new(Call::SetGsiRouting, Errno::AGAIN));
        }
        let has_vector = matches!(message.mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        if has_vector && message.vector < 16 {
            return Ok(());
        }
        signal_msi(&self.vm, IOAPIC, message.into(), false)
    }
}

/// The interrupt controllers of a VM with `KVM_CAP_SPLIT_IRQCHIP`: an IOAPIC with `PINS` pins and the 8259 pair of `crossvm-x86` in this process.
///
/// As an [`InterruptController`], it is a [`Chipset`]. What a vCPU loop does besides, under the VM's lock:
///
/// | when | call |
/// | --- | --- |
/// | before each `KVM_RUN` of vCPU 0 | [`before_run`](Self::before_run): only this vCPU takes interrupts of the 8259 pair |
/// | `KVM_EXIT_MMIO` at the IOAPIC | [`ioapic_read`](Self::ioapic_read), [`ioapic_write`](Self::ioapic_write) |
/// | `KVM_EXIT_IO` of one byte | [`pic_read`](Self::pic_read), [`pic_write`](Self::pic_write) |
/// | `KVM_EXIT_IOAPIC_EOI` | [`end_of_interrupt`](Self::end_of_interrupt) |
/// | `KVM_EXIT_IRQ_WINDOW_OPEN` | nothing but the next `before_run` |
/// | after a call from another thread than vCPU 0's | [`take_kick`](Self::take_kick): whether vCPU 0 must be broken out of `KVM_RUN` |
///
/// Eventfds of GSIs below `PINS` would pass the IOAPIC by: use GSIs from `PINS` on, with messages, for [`IrqFd`](crate::IrqFd)s.
#[derive(Debug)]
pub struct SplitInterrupts<const PINS: usize = 24> {
    chipset: Chipset<KvmApics, PINS>,
    routes: GsiRoutes,
    /// vCPU 0 knows that the 8259 pair asserts INTR, or is on its way to know.
    told: bool,
}

impl<const PINS: usize> SplitInterrupts<PINS> {
    /// Makes them, before the first vCPU.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn create(vm: Arc<VmFd>, ioapic: IoApic<PINS>, routing: Routing) -> Result<Self, CallError> {
        let mut request = kvm_enable_cap { cap: KVM_CAP_SPLIT_IRQCHIP, ..Default::default() };
        if let Some(pins) = request.args.first_mut() {
            *pins = PINS as u64;
        }
        vm.enable_cap(&request).map_err(CallError::of_ioctl(Call::EnableCap))?;
        let apics = KvmApics { vm: Arc::clone(&vm), held: false };
        Ok(Self { chipset: Chipset::new(ioapic, routing, apics), routes: GsiRoutes::new(vm), told: false })
    }

    /// The controllers as they are.
    #[must_use]
    pub const fn chipset(&self) -> &Chipset<KvmApics, PINS> {
        &self.chipset
    }

    /// The routes of the VM's GSIs, to add some from `PINS` on. Those below are the IOAPIC's pins.
    #[must_use]
    pub const fn routes(&mut self) -> &mut GsiRoutes {
        &mut self.routes
    }

    /// The guest loads `width` at `offset` from the IOAPIC's first byte.
    #[must_use]
    pub fn ioapic_read(&self, offset: u32, width: Width) -> u64 {
        self.chipset.ioapic_read(offset, width)
    }

    /// The guest stores `width` at `offset` from the IOAPIC's first byte. KVM learns of the pin's vector before its interrupt is sent, so that no end is missed.
    ///
    /// # Errors
    /// What the kernel reports. The store is done all the same; what could not be told or sent is with the next call.
    pub fn ioapic_write(&mut self, offset: u32, width: Width, value: u64) -> Result<(), InterruptError> {
        let behind = std::mem::replace(&mut self.chipset.apics_mut().held, true);
        // What is due while messages are held is sent below.
        let changed = self.chipset.ioapic_write(offset, width, value).unwrap_or_else(|unsent| unsent.changed);
        if behind || changed.is_some() {
            return self.catch_up();
        }
        self.chipset.apics_mut().held = false;
        Ok(self.chipset.retry()?)
    }

    /// A vCPU has ended an interrupt with this vector.
    ///
    /// # Errors
    /// What the kernel reports; what could not be sent is with the next call.
    pub fn end_of_interrupt(&mut self, vector: u8) -> Result<(), InterruptError> {
        let result = self.chipset.end_of_interrupt(vector);
        if self.chipset.apics().held { self.catch_up() } else { Ok(result?) }
    }

    /// The guest reads a byte at `port`; `None` where the port is none of the 8259 pair's.
    #[must_use]
    pub fn pic_read(&mut self, port: u16) -> Option<u8> {
        self.chipset.pic_read(port)
    }

    /// The guest writes a byte at `port`; `false` where the port is none of the 8259 pair's.
    pub fn pic_write(&mut self, port: u16, value: u8) -> bool {
        self.chipset.pic_write(port, value)
    }

    /// Gives vCPU 0 the interrupt of the 8259 pair where it can take it now, and has it stop as soon as it can otherwise. KVM says what it can take: that depends
    /// on its interrupt flag, and on whether its local APIC lets the 8259 pair through (LINT0).
    ///
    /// # Errors
    /// What the kernel reports. The 8259 pair takes the interrupt for delivered then.
    pub fn before_run(&mut self, vcpu: &mut VcpuFd) -> Result<(), CallError> {
        let run = vcpu.get_kvm_run();
        let can_take = run.ready_for_interrupt_injection != 0 && run.if_flag != 0;
        let result = if can_take && self.chipset.interrupt_pending() {
            // KVM can hold one, which it has none of now: it says that it is ready. That is over with this one.
            run.ready_for_interrupt_injection = 0;
            raw::interrupt(vcpu, self.chipset.acknowledge())
        } else {
            Ok(())
        };
        self.told = self.chipset.interrupt_pending();
        vcpu.get_kvm_run().request_interrupt_window = self.told.into();
        result
    }

    /// Whether vCPU 0 must be broken out of `KVM_RUN` (or kept from entering it) for an interrupt of the 8259 pair: true once for each that it does not know of.
    /// Ask after calls from other threads than vCPU 0's, before the lock is given back.
    #[must_use]
    pub fn take_kick(&mut self) -> bool {
        let pending = self.chipset.interrupt_pending();
        !std::mem::replace(&mut self.told, pending) && pending
    }

    /// Back to power-on, for a reset of the VM. Lines keep their levels; the local APICs are the vCPUs'.
    ///
    /// # Errors
    /// What the kernel reports; what could not be told is with the next call.
    pub fn reset(&mut self) -> Result<(), InterruptError> {
        self.chipset.reset();
        self.catch_up()
    }

    /// Tells KVM of the pins' messages, and then sends what is due.
    fn catch_up(&mut self) -> Result<(), InterruptError> {
        self.chipset.apics_mut().held = true;
        let Self { chipset, routes, .. } = self;
        chipset.ioapic().pins().try_for_each(|pin| routes.set(Irq::new(pin.number().into()), route(chipset.ioapic(), pin).as_slice()))?;
        self.chipset.apics_mut().held = false;
        Ok(self.chipset.retry()?)
    }
}

/// What KVM must know of a pin: the message of one that is a level, masked or not, as an interrupt may end while its pin is masked.
fn route<const PINS: usize>(ioapic: &IoApic<PINS>, pin: Pin) -> Option<Route> {
    let route = ioapic.route(pin).filter(|route| route.trigger == Trigger::Level)?;
    Some(Route::Message { requester: IOAPIC, message: route.message })
}

impl<const PINS: usize> ErrorType for SplitInterrupts<PINS> {
    type Error = InterruptError;
}

impl<const PINS: usize> InterruptController for SplitInterrupts<PINS> {
    fn set_level(&mut self, irq: Irq, level: Level) -> Result<(), InterruptError> {
        if self.chipset.apics().held && level.is_high() {
            self.catch_up()?;
        }
        self.chipset.set_level(irq, level).map_err(|error| match error {
            ChipsetError::Apic(error) => error.into(),
            _ => InterruptError::NoLine(irq),
        })
    }

    fn deliver_msi(&mut self, requester: Bdf, message: Message) -> Result<(), InterruptError> {
        match as_edge(message) {
            Some(message) => Ok(signal_msi(&self.chipset.apics().vm, requester, message, false)?),
            None => Ok(()),
        }
    }
}
