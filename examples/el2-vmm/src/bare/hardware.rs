//! The [`Platform`] of the portable part.

use core::sync::atomic::{AtomicU64, Ordering};

use crossvm_core::GuestRange;
use smccc::{Smc, psci};
use vmm_common::dataport::SharedMemory;
use vmm_common::host::{CpuId, HostRange, MAX_CPUS, Mpidr};
use vmm_common::platform::{Platform, Text};
use vmm_common::translation::{Stage2, TranslationCaches};

use super::registers::{read_register, write_register};
use super::system::SYSTEM;
use super::{cache, console, gic};

/// The physical machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hardware;

/// The affinity of each CPU that runs.
static AFFINITIES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Notes which CPU this is.
pub(super) fn set_current_cpu(cpu: CpuId, mpidr: Mpidr) {
    if let Some(affinity) = AFFINITIES.get(usize::from(cpu.get())) {
        affinity.store(mpidr.get(), Ordering::Release);
    }
    // SAFETY: nobody else uses the register.
    unsafe { write_register!("tpidr_el2", u64::from(cpu.get())) };
}

/// The affinity of a CPU that runs.
pub(super) fn affinity(cpu: CpuId) -> Mpidr {
    Mpidr::new(AFFINITIES.get(usize::from(cpu.get())).map_or(0, |affinity| affinity.load(Ordering::Acquire)))
}

/// The CPU that executes this.
pub(super) fn current_cpu() -> CpuId {
    CpuId::new(u8::try_from(read_register!("tpidr_el2")).unwrap_or(0))
}

/// Switches the machine off.
pub(super) fn power_off() -> ! {
    // The call does not return; where it does, there is nothing left to try.
    let _ = psci::system_off::<Smc>();
    loop {
        core::hint::spin_loop();
    }
}

impl TranslationCaches for Hardware {
    fn invalidate_stage2(&self, range: GuestRange) {
        cache::invalidate_stage2(range);
    }

    fn publish_tables(&self) {
        cache::publish_tables();
    }
}

impl Platform for Hardware {
    type Memory = Stage2<Self>;
    type Dataport = &'static SharedMemory;

    fn clean(&self, range: HostRange) {
        cache::clean(range);
    }

    fn clean_and_invalidate(&self, range: HostRange) {
        cache::clean_and_invalidate(range);
    }

    fn barrier(&self) {
        cache::barrier();
    }

    fn kick(&self, cpu: CpuId) {
        // This CPU is in the VMM and looks for mail before it enters its guest.
        if cpu != current_cpu() {
            gic::send_kick(cpu);
        }
    }

    fn print(&self, text: Text<'_>) {
        console::print(text, |name| SYSTEM.get().map_or(0, |system| system.number_of(name)));
    }

    fn uptime_ms(&self) -> u64 {
        let ticks = u128::from(read_register!("cntpct_el0"));
        let frequency = u128::from(read_register!("cntfrq_el0").max(1));
        u64::try_from(ticks * 1000 / frequency).unwrap_or(u64::MAX)
    }
}
