//! The kernel's configuration: one C header, which its own build and the programs on it read.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Variant;

/// Where the sources have theirs.
const PLACE: &str = "include/plat/pc99/autoconf.h";
/// Where the headers of a prefix have it.
pub(super) const NAME: &str = "autoconf.h";

/// What is on, with a value each.
const COMMON: [(&str, &str); 29] = [
    ("ARCH_X86", "1"),
    ("ARCH_X86_64", "1"),
    ("PLAT_PC99", "1"),
    ("WORD_SIZE", "64"),
    ("CACHE_LN_SZ", "64"),
    ("HUGE_PAGE", "1"),
    // Interrupts.
    ("XAPIC", "1"),
    ("IRQ_IOAPIC", "1"),
    ("MAX_NUM_IOAPIC", "1"),
    ("MAX_RMRR_ENTRIES", "32"),
    // Entry, floating point and segment bases that every emulator has.
    ("SYSCALL", "1"),
    ("FSGSBASE_MSR", "1"),
    ("HAVE_FPU", "1"),
    ("FXSAVE", "1"),
    ("XSAVE_SIZE", "512"),
    ("FPU_MAX_RESTORES_SINCE_SWITCH", "64"),
    // Sizes.
    ("MAX_NUM_NODES", "1"),
    ("KERNEL_STACK_BITS", "12"),
    ("NUM_DOMAINS", "1"),
    ("NUM_PRIORITIES", "256"),
    ("ROOT_CNODE_SIZE_BITS", "16"),
    ("MAX_NUM_BOOTINFO_UNTYPED_CAPS", "230"),
    ("RETYPE_FAN_OUT_LIMIT", "256"),
    ("MAX_NUM_WORK_UNITS_PER_PREEMPTION", "100"),
    ("TIME_SLICE", "5"),
    ("TIMER_TICK_MS", "2"),
    ("MULTIBOOT_GRAPHICS_MODE_NONE", "1"),
    ("FASTPATH", "1"),
    // A console, assertions, and questions about capabilities.
    ("PRINTING", "1"),
];
const VTX: [(&str, &str); 2] = [("VTX", "1"), ("MAX_VPIDS", "64")];

/// The header.
pub(super) fn text(variant: Variant) -> String {
    // The kernel's makefile gives this one on the command line as well.
    let mut text = "#pragma once\n#ifndef CONFIG_DEBUG_BUILD\n#define CONFIG_DEBUG_BUILD\n#endif\n".to_owned();
    for (name, value) in COMMON.iter().chain(VTX.iter().filter(|_| variant == Variant::Vtx)) {
        text.push_str(&format!("#define CONFIG_{name} {value}\n"));
    }
    text
}

/// Puts the header in the place of the sources' own.
pub(super) fn write(sources: &Path, variant: Variant) -> Result<()> {
    let path = sources.join(PLACE);
    fs::write(&path, text(variant)).with_context(|| format!("cannot write {}", path.display()))
}
