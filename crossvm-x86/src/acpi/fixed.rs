//! FADT: the fixed hardware of ACPI (ACPI 6.5, §5.2.9).

use acpi_tables::fadt::{FADT, FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use crossvm_core::GuestRange;

use super::{AcpiError, Machine, OEM, OEM_REVISION, OEM_TABLE, Serial};
use crate::SCI;

/// `IAPC_BOOT_ARCH` (§5.2.9.3): there are devices on ISA.
const LEGACY_DEVICES: u16 = 1 << 0;
/// There is no VGA.
const VGA_NOT_PRESENT: u16 = 1 << 2;
/// There is no real-time clock at the CMOS ports.
const CMOS_RTC_NOT_PRESENT: u16 = 1 << 5;

/// A latency in microseconds that says that there is no such processor state.
const NO_STATE: u16 = 0xfff;

pub(super) fn table(machine: &Machine<'_>, facs: GuestRange, dsdt: GuestRange) -> Result<FADT, AcpiError> {
    let mut table = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        // No fixed buttons, no alarm.
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Headless);
    let low = |table: GuestRange| u32::try_from(table.start().get()).map_err(|_| AcpiError::TooHigh { at: table.start() });
    table.firmware_ctrl = low(facs)?.into();
    table.dsdt = low(dsdt)?.into();
    table.x_dsdt = dsdt.start().get().into();
    // There is no way out of ACPI mode and back: SMI_CMD is zero.
    table.sci_int = u16::try_from(SCI.number()).unwrap_or(0).into();
    table.pm1a_evt_blk = u32::from(machine.power.event).into();
    table.pm1a_cnt_blk = u32::from(machine.power.control).into();
    (table.pm1_evt_len, table.pm1_cnt_len) = (4, 2);
    table.x_pm1a_evt_blk = port(machine.power.event, 32, AccessSize::Undefined);
    table.x_pm1a_cnt_blk = port(machine.power.control, 16, AccessSize::Undefined);
    table.p_lvl2_lat = NO_STATE.into();
    table.p_lvl3_lat = NO_STATE.into();
    let devices = if machine.serial == Serial::Com1 { LEGACY_DEVICES } else { 0 };
    table.iapc_boot_arch = (devices | VGA_NOT_PRESENT | CMOS_RTC_NOT_PRESENT).into();
    table.reset_reg = port(machine.reset.port, 8, AccessSize::ByteAccess);
    table.reset_value = machine.reset.value;
    Ok(table.finalize())
}

fn port(port: u16, bits: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, bits, 0, access, u64::from(port))
}
