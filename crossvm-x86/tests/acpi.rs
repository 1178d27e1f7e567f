//! ACPI tables as guests find them, and as Intel's compiler reads them: `iasl` (Debian package acpica-tools) must take them apart and put them
//! together again without a word of complaint.
#![cfg(feature = "acpi")]

use std::io::ErrorKind as Io;
use std::path::Path;
use std::process::Command;

use crossvm_core::{Error, ErrorKind, GuestAddr, GuestRange};
use crossvm_pci::Ecam;
use crossvm_x86::acpi::{AcpiError, Machine, PowerPorts, ResetPort, Serial, Tables};
use crossvm_x86::{PciLine, PciLines, Routing};

const AT: GuestAddr = GuestAddr::new(0xe_0000);

fn range(start: u64, size: u64) -> GuestRange {
    GuestRange::new(GuestAddr::new(start), size).unwrap()
}

fn machine(windows: &[GuestRange]) -> Machine<'_> {
    Machine {
        vcpus: 2,
        ioapic: GuestAddr::new(0xfec0_0000),
        ecam: Ecam::new(GuestAddr::new(0xe000_0000), 1).unwrap(),
        windows,
        routing: Routing::PC,
        lines: PciLines::rotating(),
        power: PowerPorts { event: 0x600, control: 0x604 },
        reset: ResetPort { port: 0xcf9, value: 6 },
        serial: Serial::Com1,
    }
}

/// Machines that differ in whatever may differ.
fn machines<'a>(low: &'a [GuestRange], both: &'a [GuestRange]) -> [Machine<'a>; 4] {
    let plain = machine(low);
    let high = Ecam::new(GuestAddr::new(0x40_0000_0000), 256).unwrap();
    [
        Machine { vcpus: 254, windows: both, ecam: Ecam::new(GuestAddr::new(0xb000_0000), 256).unwrap(), ..plain },
        Machine { vcpus: 1, ecam: high, serial: Serial::None, windows: &[], ..plain },
        Machine { lines: PciLines::from_fn(|device| (device < 3).then_some(PciLine::ALL[2])), ..plain },
        plain,
    ]
}

fn low_and_both() -> ([GuestRange; 1], [GuestRange; 2]) {
    let low = range(0xc000_0000, 0x2000_0000);
    ([low], [low, range(0x100_0000_0000, 1 << 40)])
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn half(bytes: &[u8], at: usize) -> u64 {
    word(bytes, at) & 0xffff_ffff
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[test]
fn every_table_is_found_from_the_rsdp_with_its_length_and_checksum() {
    let (low, both) = low_and_both();
    for machine in machines(&low, &both) {
        let tables = Tables::build(&machine, AT).unwrap();
        let bytes = tables.bytes();
        let table = |address: u64| {
            let from = usize::try_from(address - AT.get()).unwrap();
            &bytes[from..from + usize::try_from(half(bytes, from + 4)).unwrap()]
        };
        assert_eq!((tables.rsdp(), &bytes[..8], sum(&bytes[..20]), sum(&bytes[..36])), (AT, &b"RSD PTR "[..], 0, 0));
        let xsdt = table(word(bytes, 24));
        assert_eq!((&xsdt[..4], sum(xsdt)), (&b"XSDT"[..], 0));
        let listed: Vec<_> = xsdt[36..].chunks(8).map(|entry| table(word(entry, 0))).collect();
        let signatures: Vec<_> = listed.iter().map(|table| &table[..4]).collect();
        assert_eq!(signatures, [b"FACP", b"APIC", b"MCFG"]);
        let (facs, dsdt) = (table(half(listed[0], 36)), table(word(listed[0], 140)));
        assert_eq!((&facs[..4], facs.len(), half(listed[0], 36) % 64), (&b"FACS"[..], 64, 0));
        assert_eq!((&dsdt[..4], half(listed[0], 40)), (&b"DSDT"[..], word(listed[0], 140)));
        assert!(listed.iter().chain([&dsdt]).all(|table| sum(table) == 0));
        assert_eq!(tables.tables().count(), 6);
        assert!(tables.tables().all(|(signature, bytes)| bytes.starts_with(&signature)));
        assert_eq!(tables.range().size(), bytes.len() as u64);
    }
}

#[test]
fn what_no_table_can_say_is_an_error() {
    let (low, _) = low_and_both();
    let plain = machine(&low);
    let build = |machine: &Machine<'_>, at| Tables::build(machine, GuestAddr::new(at)).unwrap_err();
    for vcpus in [0, 255] {
        assert_eq!(build(&Machine { vcpus, ..plain }, 0), AcpiError::Vcpus { vcpus });
    }
    let ioapic = GuestAddr::new(1 << 32);
    assert_eq!(build(&Machine { ioapic, ..plain }, 0), AcpiError::IoApicTooHigh { at: ioapic });
    let window = range(0, u64::MAX);
    assert!(Tables::build(&Machine { windows: &[window], ..plain }, AT).is_ok());
    assert_eq!(build(&plain, 0xe_0010).kind(), ErrorKind::Misaligned);
    for at in [1 << 32, 0xffff_ffc0, !63] {
        assert_eq!(build(&plain, at).kind(), ErrorKind::OutOfRange, "{at:#x}");
    }
    assert!(Tables::build(&plain, GuestAddr::new(0xfff0_0000)).is_ok());
}

/// Runs `iasl`; `None` where it is not installed. It tells what it thinks on both outputs.
fn iasl(folder: &Path, arguments: &[&str]) -> Option<String> {
    match Command::new("iasl").current_dir(folder).args(arguments).output() {
        Ok(output) => {
            let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "iasl {arguments:?}: {said}");
            Some(said)
        }
        Err(error) if error.kind() == Io::NotFound => None,
        Err(error) => panic!("iasl: {error}"),
    }
}

/// Writes the tables to a folder.
fn write(tables: &Tables) -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let names = tables.tables().map(|(signature, bytes)| {
        let name = String::from_utf8(signature.to_vec()).unwrap().to_lowercase();
        std::fs::write(folder.path().join(format!("{name}.aml")), bytes).unwrap();
        name
    });
    let names = names.collect();
    (folder, names)
}

#[test]
fn iasl_takes_the_tables_apart_and_puts_them_together_without_complaint() {
    let (low, both) = low_and_both();
    for machine in machines(&low, &both) {
        let (folder, names) = write(&Tables::build(&machine, AT).unwrap());
        for name in names {
            let Some(said) = iasl(folder.path(), &["-d", &format!("{name}.aml")]) else {
                eprintln!("SKIPPED: iasl is not installed (Debian package acpica-tools); nobody has read the tables");
                return;
            };
            let complaint =
                |said: &str| said.lines().any(|line| line.contains("Error") || line.contains("Warning") || line.contains("nvalid"));
            assert!(!complaint(&said), "{name}: {said}");
            let source = folder.path().join(format!("{name}.dsl"));
            let text = std::fs::read_to_string(&source).unwrap();
            assert!(!complaint(&text), "{name}: {text}");
            let said = iasl(folder.path(), &["-p", &format!("again-{name}"), &format!("{name}.dsl")]).unwrap();
            assert!(!complaint(&said.replace("0 Errors, 0 Warnings, 0 Remarks", "")), "{name}: {said}\n{text}");
        }
        // What was compiled again is what we made, but for who has compiled it.
        let [ours, again] = ["dsdt.aml", "again-dsdt.aml"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
        assert_eq!(ours[36..], again[36..]);
    }
}

#[test]
fn the_disassembled_tables_say_what_the_machine_is() {
    let (_, both) = low_and_both();
    let (folder, _) = write(&Tables::build(&machine(&both), AT).unwrap());
    let read = |name: &str| {
        iasl(folder.path(), &["-d", &format!("{name}.aml")])?;
        // Columns are for the eye.
        let text = std::fs::read_to_string(folder.path().join(format!("{name}.dsl"))).unwrap();
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let Some(dsdt) = read("dsdt") else {
        eprintln!("SKIPPED: iasl is not installed (Debian package acpica-tools); nobody has read the tables");
        return;
    };
    for said in [
        "Name (_HID, EisaId (\"PNP0A08\")",
        "Name (_CID, EisaId (\"PNP0A03\")",
        "0x0000, // Range Minimum 0x0000, // Range Maximum 0x0000, // Translation Offset 0x0001, // Length",
        "0xC0000000, // Range Minimum 0xDFFFFFFF, // Range Maximum",
        "0x0000010000000000, // Range Minimum 0x000001FFFFFFFFFF, // Range Maximum",
        "IO (Decode16, 0x0CF8, // Range Minimum 0x0CF8, // Range Maximum 0x01, // Alignment 0x08, // Length )",
        "Memory32Fixed (ReadWrite, 0xE0000000, // Address Base 0x00100000, // Address Length )",
        "Name (_S5, Package (0x04) // _S5_: S5 System State { 0x05, 0x05, Zero, Zero })",
        "If ((PICM == Zero)) { Return (PRTP)",
        // Device 1, in PIC mode and in APIC mode: line 1.
        "Package (0x04) { 0x0001FFFF, Zero, Zero, 0x0A }",
        "Package (0x04) { 0x0001FFFF, Zero, Zero, 0x11 }",
        "Package (0x04) { 0x001FFFFF, Zero, Zero, 0x17 }",
        "ToUUID (\"33db4d5b-1ff7-401c-9657-7441c03dd766\")",
        "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { 0x00000004, }",
    ] {
        assert!(dsdt.contains(said), "{said:?} is missing: {dsdt}");
    }
    let madt = read("apic").unwrap();
    assert_eq!(madt.matches("[Processor Local APIC]").count(), 2);
    for said in
        ["PC-AT Compatibility : 1", "Source : 00 [", "Interrupt : 00000002", "Source : 09 [", "Interrupt : 00000009", "Trigger Mode : 3"]
    {
        assert!(madt.contains(said), "{said:?} is missing: {madt}");
    }
    let fadt = read("facp").unwrap();
    for said in [
        "SCI Interrupt : 0009",
        "8042 Present on ports 60/64 (V2) : 0",
        "VGA Not Present (V4) : 1",
        "CMOS RTC Not Present (V5) : 1",
        "Value to cause reset : 06",
    ] {
        assert!(fadt.contains(said), "{said:?} is missing: {fadt}");
    }
    assert!(read("mcfg").unwrap().contains("Base Address : 00000000E0000000"));
}
