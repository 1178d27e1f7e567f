//! Which vCPUs of a VM are on, and what becomes of the VM when it ends: PSCI's state machine (Arm DEN 0022).
//!
//! ```text
//!                CPU_ON             its CPU takes it
//!        off ─────────────▶ pending ────────────────▶ on      while the VM runs
//!         ▲                                           │
//!         └──────────── CPU_OFF ──────────────────────┘
//! ```
//!
//! A VM ends, by a call to the firmware or by a fault of its guest, in two steps: first every vCPU that is on is made to leave the guest and
//! comes to rest; the last one of them then does what is to be done, alone.

use core::fmt;

use crossvm_arm::{VcpuId, VcpuSet};
use heapless::Vec;

use crate::exit::{Affinity, PsciReturn};
use crate::map;
use crate::vcpu::Start;

/// AFFINITY_INFO (DEN 0022, §5.1.6): the vCPU is on, off, or about to start.
const AFFINITY_ON: u32 = 0;
const AFFINITY_OFF: u32 = 1;
const AFFINITY_ON_PENDING: u32 = 2;

/// Why a VM has ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// It switched itself off.
    PowerOff,
    /// It wanted to start again, and is not to.
    Reset,
    /// It switched its last vCPU off.
    CpuOff,
    /// It did something that cannot be served.
    Crash,
    /// It could not be started again.
    NoStart,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PowerOff => "power-off",
            Self::Reset => "reset",
            Self::CpuOff => "cpu-off",
            Self::Crash => "crash",
            Self::NoStart => "no-start",
        })
    }
}

/// How a VM ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// For good.
    Stop(StopReason),
    /// To start again.
    Reboot,
}

/// What the CPU of a vCPU does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It enters the guest.
    Enter,
    /// It brings the registers of the vCPU to what they are at a reset, and asks again.
    Start(Start),
    /// It waits until it is kicked, and asks again.
    Wait,
    /// No vCPU of the VM is in the guest any more: it does what the end of the VM asks for, and asks again.
    Finish(End),
}

/// One vCPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VcpuPower {
    Off,
    Pending(Start),
    On,
}

/// The VM as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// All vCPUs are to leave the guest.
    Ending(End),
    /// They have: nothing runs until the VM is started again.
    Ended,
}

/// The power of a VM's vCPUs.
#[derive(Debug)]
pub(super) struct Power {
    vcpus: Vec<VcpuPower, { map::VCPUS }>,
    phase: Phase,
    kicks: VcpuSet,
}

impl Power {
    /// `vcpus` vCPUs, all off: nothing runs yet.
    pub(super) fn new(vcpus: usize) -> Self {
        Self { vcpus: (0..vcpus.min(map::VCPUS)).map(|_| VcpuPower::Off).collect(), phase: Phase::Ended, kicks: VcpuSet::EMPTY }
    }

    /// Starts the VM with its first vCPU, all others off.
    pub(super) fn start(&mut self, start: Start) {
        self.phase = Phase::Running;
        self.vcpus.fill(VcpuPower::Off);
        if let (Some(power), Some(first)) = (self.vcpus.first_mut(), VcpuId::new(0)) {
            *power = VcpuPower::Pending(start);
            self.kicks = self.kicks.with(first);
        }
    }

    /// Whether the VM runs and is not about to end.
    pub(super) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// The vCPUs whose CPUs must ask what to do next.
    pub(super) const fn take_kicks(&mut self) -> VcpuSet {
        let kicks = self.kicks;
        self.kicks = VcpuSet::EMPTY;
        kicks
    }

    /// CPU_ON.
    pub(super) fn cpu_on(&mut self, target: Affinity, start: Start) -> PsciReturn {
        let Some(target) = self.named(target) else { return PsciReturn::InvalidParameters };
        // Of a VM that ends, the caller never learns the answer.
        let power = self.vcpus.get_mut(target.index()).filter(|_| self.phase == Phase::Running);
        let Some(power) = power else { return PsciReturn::InvalidParameters };
        match power {
            VcpuPower::On => PsciReturn::AlreadyOn,
            VcpuPower::Pending(_) => PsciReturn::OnPending,
            VcpuPower::Off => {
                *power = VcpuPower::Pending(start);
                self.kicks = self.kicks.with(target);
                PsciReturn::Success
            }
        }
    }

    /// CPU_OFF of the calling vCPU. Where it is the last one, the VM has ended: nobody is left to switch one on.
    pub(super) fn cpu_off(&mut self, vcpu: VcpuId) {
        let last = !(0..).zip(&self.vcpus).any(|(index, power)| index != vcpu.index() && *power != VcpuPower::Off);
        if last {
            self.end(End::Stop(StopReason::CpuOff));
        } else if let Some(power) = self.vcpus.get_mut(vcpu.index()) {
            *power = VcpuPower::Off;
        }
    }

    /// AFFINITY_INFO. Above level 0, all vCPUs are in one node, which is on: a vCPU of it asks.
    pub(super) fn affinity_info(&self, target: Affinity, lowest_level: u64) -> PsciReturn {
        let below = match lowest_level {
            0 => {
                let power = self.named(target).and_then(|vcpu| self.vcpus.get(vcpu.index()));
                return power.map_or(PsciReturn::InvalidParameters, |power| {
                    PsciReturn::Value(match power {
                        VcpuPower::On => AFFINITY_ON,
                        VcpuPower::Off => AFFINITY_OFF,
                        VcpuPower::Pending(_) => AFFINITY_ON_PENDING,
                    })
                });
            }
            1 => 0xff,
            2 => 0xffff,
            3 => 0xff_ffff,
            _ => return PsciReturn::InvalidParameters,
        };
        if target.0 & !below == 0 { PsciReturn::Value(AFFINITY_ON) } else { PsciReturn::InvalidParameters }
    }

    /// Ends the VM. What comes first counts.
    pub(super) fn end(&mut self, end: End) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Ending(end);
        for (index, power) in (0u8..).zip(&mut self.vcpus) {
            match power {
                VcpuPower::Off => {}
                // It has not begun.
                VcpuPower::Pending(_) => *power = VcpuPower::Off,
                VcpuPower::On => self.kicks = VcpuId::new(index).map_or(self.kicks, |vcpu| self.kicks.with(vcpu)),
            }
        }
    }

    /// What the CPU of `vcpu` does next. It is not in the guest.
    pub(super) fn next(&mut self, vcpu: VcpuId) -> Next {
        let Some(power) = self.vcpus.get_mut(vcpu.index()) else { return Next::Wait };
        match self.phase {
            Phase::Running => match *power {
                VcpuPower::Off => Next::Wait,
                VcpuPower::On => Next::Enter,
                VcpuPower::Pending(start) => {
                    *power = VcpuPower::On;
                    Next::Start(start)
                }
            },
            Phase::Ending(end) => {
                *power = VcpuPower::Off;
                if self.vcpus.contains(&VcpuPower::On) {
                    return Next::Wait;
                }
                self.phase = Phase::Ended;
                Next::Finish(end)
            }
            Phase::Ended => Next::Wait,
        }
    }

    /// The vCPU that an affinity names.
    fn named(&self, affinity: Affinity) -> Option<VcpuId> {
        let index = u8::try_from(affinity.0).ok().filter(|index| usize::from(*index) < self.vcpus.len())?;
        VcpuId::new(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossvm_core::GuestAddr;

    const SECOND: Affinity = Affinity(1);

    fn ids() -> [VcpuId; 3] {
        [0, 1, 2].map(|index| VcpuId::new(index).unwrap())
    }

    fn at(entry: u64) -> Start {
        Start { entry: GuestAddr::new(entry), context: entry + 1 }
    }

    /// Three vCPUs, the first of which runs.
    fn running() -> Power {
        let mut power = Power::new(3);
        power.start(at(1));
        assert_eq!(power.take_kicks(), VcpuSet::EMPTY.with(ids()[0]));
        assert_eq!([power.next(ids()[0]), power.next(ids()[0])], [Next::Start(at(1)), Next::Enter]);
        power
    }

    #[test]
    fn a_vcpu_is_switched_on_once_and_may_be_switched_on_again_after_it_was_off() {
        let mut power = running();
        let [_, second, third] = ids();
        assert_eq!(power.next(second), Next::Wait);
        assert_eq!(power.affinity_info(SECOND, 0), PsciReturn::Value(1));
        for entry in [10, 20] {
            assert_eq!(power.cpu_on(SECOND, at(entry)), PsciReturn::Success);
            assert_eq!(power.take_kicks(), VcpuSet::EMPTY.with(second));
            assert_eq!((power.cpu_on(SECOND, at(0)), power.affinity_info(SECOND, 0)), (PsciReturn::OnPending, PsciReturn::Value(2)));
            assert_eq!([power.next(second), power.next(second)], [Next::Start(at(entry)), Next::Enter]);
            assert_eq!((power.cpu_on(SECOND, at(0)), power.affinity_info(SECOND, 0)), (PsciReturn::AlreadyOn, PsciReturn::Value(0)));
            power.cpu_off(second);
            assert_eq!((power.next(second), power.affinity_info(SECOND, 0)), (Next::Wait, PsciReturn::Value(1)));
        }
        assert_eq!((power.next(third), power.is_running()), (Next::Wait, true));
    }

    #[test]
    fn affinities_that_name_no_vcpu_are_refused() {
        let mut power = running();
        for affinity in [3, 8, 0x100, 1 << 32, u64::MAX] {
            assert_eq!(power.cpu_on(Affinity(affinity), at(0)), PsciReturn::InvalidParameters, "{affinity:#x}");
            assert_eq!(power.affinity_info(Affinity(affinity), 0), PsciReturn::InvalidParameters, "{affinity:#x}");
        }
        assert_eq!(power.affinity_info(Affinity(0x7f), 1), PsciReturn::Value(0), "the node of all");
        assert_eq!(power.affinity_info(Affinity(0x100), 1), PsciReturn::InvalidParameters);
        assert_eq!(power.affinity_info(Affinity(0), 4), PsciReturn::InvalidParameters);
    }

    #[test]
    fn the_last_vcpu_to_leave_finishes_alone() {
        let [first, second, third] = ids();
        for end in [End::Reboot, End::Stop(StopReason::PowerOff)] {
            let mut power = running();
            power.cpu_on(SECOND, at(2));
            power.next(second);
            power.cpu_on(Affinity(2), at(3));
            let _ = power.take_kicks();
            power.end(end);
            power.end(End::Stop(StopReason::Crash));
            assert!(!power.is_running());
            assert_eq!(power.take_kicks(), VcpuSet::EMPTY.with(first).with(second), "the third has not begun");
            assert_eq!([power.next(third), power.next(first)], [Next::Wait; 2], "the second is still in the guest");
            assert_eq!(power.next(second), Next::Finish(end));
            assert_eq!(ids().map(|vcpu| power.next(vcpu)), [Next::Wait; 3]);
            power.start(at(9));
            assert_eq!(ids().map(|vcpu| power.next(vcpu)), [Next::Start(at(9)), Next::Wait, Next::Wait]);
        }
    }

    #[test]
    fn a_vm_without_a_vcpu_that_is_on_has_ended() {
        let mut power = running();
        power.cpu_on(SECOND, at(2));
        // One that is about to start counts.
        power.cpu_off(ids()[0]);
        assert!(power.is_running());
        power.next(ids()[1]);
        power.cpu_off(ids()[1]);
        assert_eq!(power.next(ids()[1]), Next::Finish(End::Stop(StopReason::CpuOff)));
    }
}
