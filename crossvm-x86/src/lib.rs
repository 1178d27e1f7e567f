//! Interrupt controllers of PCs: IOAPIC, a pair of 8259, messages; and ACPI tables.
#![no_std]
#![forbid(unsafe_code)]
