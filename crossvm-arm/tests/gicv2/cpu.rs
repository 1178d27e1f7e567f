//! A physical CPU with virtualization extensions as hardware has it (IHI 0048 §5): the frame `GICH`, and the frame `GICV` as the guest
//! uses it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use crossvm_arm::GichFrame;

/// The physical interrupts that are active: PPIs with their CPU, SPIs with none.
pub(crate) type Physical = Rc<RefCell<BTreeSet<(Option<usize>, u32)>>>;

/// The key of `Physical` for physical interrupt `intid`, seen from CPU `cpu`.
pub(crate) fn physical_key(cpu: usize, intid: u32) -> (Option<usize>, u32) {
    ((intid < 32).then_some(cpu), intid)
}

// GICH_HCR (§5.3.1).
const EN: u32 = 1;
const UIE: u32 = 1 << 1;
const LRENPIE: u32 = 1 << 2;
const NPIE: u32 = 1 << 3;
const GROUP_ENABLED: [u32; 2] = [1 << 4, 1 << 6];
const GROUP_DISABLED: [u32; 2] = [1 << 5, 1 << 7];
const EOI_COUNT: u32 = 1 << 27;

// GICH_LR<n> (§5.3.8).
const PENDING: u32 = 1 << 28;
const ACTIVE: u32 = 1 << 29;
const GROUP1: u32 = 1 << 30;
const HARDWARE: u32 = 1 << 31;
const EOI: u32 = 1 << 19;

// GICH_VMCR (§5.3.3), and where GICV_CTLR has the same.
const ENABLE_GROUP: [u32; 2] = [1, 2];
const ACK_CTL: u32 = 4;
const EOI_MODE: u32 = 1 << 9;

/// What `GICV_IAR` gives where there is nothing, and where it is a group 1 interrupt that it may not acknowledge.
const SPURIOUS: u32 = 1023;
const OTHER_GROUP: u32 = 1022;

/// One physical CPU.
#[derive(Debug)]
pub(crate) struct Cpu {
    index: usize,
    hcr: u32,
    vmcr: u32,
    /// One bit for each of 32 preemption levels.
    apr: u32,
    lr: Vec<u32>,
    physical: Physical,
}

fn id(lr: u32) -> u32 {
    lr & 0x3ff
}

fn physical_id(lr: u32) -> u32 {
    lr >> 10 & 0x3ff
}

fn priority(lr: u32) -> u32 {
    lr >> 23 & 0x1f
}

fn group(lr: u32) -> usize {
    usize::from(lr & GROUP1 != 0)
}

fn valid(lr: u32) -> bool {
    lr & (PENDING | ACTIVE) != 0
}

impl Cpu {
    pub(crate) fn new(index: usize, registers: usize, physical: Physical) -> Self {
        Self { index, hcr: 0, vmcr: 0, apr: 0, lr: vec![0; registers], physical }
    }

    /// What the guest finds at power-on. Physical interrupts stay.
    pub(crate) fn reset(&mut self, separate_deactivation: bool) {
        (self.vmcr, self.apr) = (if separate_deactivation { EOI_MODE } else { 0 }, 0);
        self.set_priority_mask(0xff);
    }

    /// The guest writes the group enables and `AckCtl` of `GICV_CTLR`.
    pub(crate) fn set_control(&mut self, groups: [bool; 2], common_acknowledge: bool) {
        let set = |on, bit| if on { bit } else { 0 };
        self.vmcr = self.vmcr & !7 | set(groups[0], ENABLE_GROUP[0]) | set(groups[1], ENABLE_GROUP[1]) | set(common_acknowledge, ACK_CTL);
    }

    /// The guest writes `GICV_PMR`.
    pub(crate) fn set_priority_mask(&mut self, mask: u8) {
        self.vmcr = self.vmcr & !(0x1f << 27) | u32::from(mask >> 3) << 27;
    }

    /// The guest writes `GICV_BPR`: 2 to 7. It has the common one in use (`CBPR` is set).
    pub(crate) fn set_binary_point(&mut self, point: u32) {
        self.vmcr = self.vmcr & !(7 << 21) | point << 21 | 1 << 4;
    }

    pub(crate) fn separate_deactivation(&self) -> bool {
        self.vmcr & EOI_MODE != 0
    }

    /// The bits of a 5-bit priority that preemption looks at (§3.3.3): `GICV_BPR` counts from the bottom of 8 bits, 2 keeps all five.
    fn preemption(&self, priority: u32) -> u32 {
        let point = (self.vmcr >> 21 & 7).max(2);
        priority & !((1 << (point - 2)) - 1)
    }

    /// Whether an interrupt of this priority (8 bits) would be taken: `GICV_PMR`, `GICV_RPR`.
    pub(crate) fn takes(&self, priority: u8) -> bool {
        let priority = u32::from(priority >> 3);
        let running = if self.apr == 0 { 32 } else { self.apr.trailing_zeros() };
        priority < self.vmcr >> 27 && self.preemption(priority) < running
    }

    /// The list register of the highest priority pending interrupt of a group that is enabled.
    fn highest(&self) -> Option<usize> {
        let pending = |lr: u32| lr & (PENDING | ACTIVE) == PENDING && self.vmcr & ENABLE_GROUP[group(lr)] != 0;
        (0..self.lr.len()).filter(|index| pending(self.lr[*index])).min_by_key(|index| priority(self.lr[*index]))
    }

    /// The guest acknowledges: reads `GICV_IAR`, and `GICV_AIAR` where it is told to. Gives the interrupt and who sent it.
    pub(crate) fn acknowledge(&mut self) -> Option<(u32, usize)> {
        let mut answer = self.read_iar(false);
        if answer & 0x3ff == OTHER_GROUP {
            answer = self.read_iar(true);
        }
        (answer & 0x3ff < 1020).then_some((answer & 0x3ff, (answer >> 10 & 7) as usize))
    }

    fn read_iar(&mut self, alias: bool) -> u32 {
        let Some(index) = self.highest().filter(|_| self.hcr & EN != 0) else { return SPURIOUS };
        let lr = self.lr[index];
        if !self.takes(u8::try_from(priority(lr) << 3).unwrap()) {
            return SPURIOUS;
        }
        match (alias, group(lr)) {
            (false, 1) if self.vmcr & ACK_CTL == 0 => return OTHER_GROUP,
            (true, 0) => return SPURIOUS,
            _ => {}
        }
        self.lr[index] = lr & !PENDING | ACTIVE;
        self.apr |= 1 << self.preemption(priority(lr));
        let source = if id(lr) < 16 { physical_id(lr) & 7 } else { 0 };
        id(lr) | source << 10
    }

    /// The guest ends interrupt `intid`, the last one that it acknowledged and did not end: writes `GICV_EOIR` or `GICV_AEOIR`.
    pub(crate) fn end(&mut self, intid: u32) {
        let dropped = self.apr != 0;
        self.apr &= self.apr.wrapping_sub(1);
        if !self.separate_deactivation() {
            self.deactivate(intid, dropped);
        }
    }

    fn deactivate(&mut self, intid: u32, counts: bool) {
        match self.lr.iter_mut().find(|lr| id(**lr) == intid && **lr & ACTIVE != 0) {
            Some(lr) => {
                *lr &= !ACTIVE;
                if *lr & HARDWARE != 0 {
                    let key = physical_key(self.index, physical_id(*lr));
                    assert!(self.physical.borrow_mut().remove(&key), "the guest's deactivation of {intid} found physical {key:?} inactive");
                }
            }
            None if counts => self.hcr = self.hcr.wrapping_add(EOI_COUNT),
            None => {}
        }
    }

    /// Whether the maintenance interrupt is asserted (`GICH_MISR`, `GICH_EISR`).
    pub(crate) fn maintenance(&self) -> bool {
        let asked = |bit| self.hcr & bit != 0;
        let ended = |lr: &u32| !valid(*lr) && lr & HARDWARE == 0 && lr & EOI != 0;
        let pending = |lr: &u32| lr & (PENDING | ACTIVE) == PENDING;
        let groups = (0..2).any(|group| {
            let enabled = self.vmcr & ENABLE_GROUP[group] != 0;
            asked(GROUP_ENABLED[group]) && enabled || asked(GROUP_DISABLED[group]) && !enabled
        });
        asked(EN)
            && (self.lr.iter().any(ended)
                || asked(UIE) && self.lr.iter().filter(|lr| valid(**lr)).count() < 2
                || asked(LRENPIE) && self.hcr >= EOI_COUNT
                || asked(NPIE) && !self.lr.iter().any(pending)
                || groups)
    }

    /// How many list registers there are.
    pub(crate) fn registers(&self) -> usize {
        self.lr.len()
    }

    /// Interrupts in the list registers.
    pub(crate) fn holds(&self) -> BTreeSet<u32> {
        self.lr.iter().filter(|lr| valid(**lr)).map(|lr| id(*lr)).collect()
    }

    /// What the architecture demands of the list registers (§5.3.8).
    pub(crate) fn check(&self) {
        let valid: Vec<_> = self.lr.iter().copied().filter(|lr| valid(*lr)).collect();
        assert_eq!(valid.len(), self.holds().len(), "an interrupt is in two list registers: {valid:x?}");
        for lr in valid {
            assert!(id(lr) < 1020 && lr & 0x0070_0000 == 0, "{lr:#x}");
            if lr & HARDWARE != 0 {
                assert!(id(lr) >= 16, "an SGI with a link: {lr:#x}");
                assert_ne!(lr & (PENDING | ACTIVE), PENDING | ACTIVE, "pending and active with a link: {lr:#x}");
                let key = physical_key(self.index, physical_id(lr));
                assert!(self.physical.borrow().contains(&key), "the link is dead: {lr:#x}");
            } else {
                let source = if id(lr) < 16 { 7 } else { 0 };
                assert_eq!(physical_id(lr) & !(1 << 9 | source), 0, "{lr:#x}");
            }
        }
    }
}

impl GichFrame for Cpu {
    fn read(&self, offset: u32) -> u32 {
        match offset {
            0x000 => self.hcr,
            0x004 => 4 << 29 | 4 << 26 | (u32::try_from(self.lr.len()).unwrap() - 1),
            0x008 => self.vmcr,
            0x0f0 => self.apr,
            _ => self.lr[(offset as usize - 0x100) / 4],
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        match offset {
            0x000 => {
                assert_eq!(value & !0xf800_00ff, 0, "reserved bits of GICH_HCR");
                self.hcr = value;
            }
            0x008 => self.vmcr = value,
            0x0f0 => self.apr = value,
            _ => self.lr[(offset as usize - 0x100) / 4] = value,
        }
    }
}
