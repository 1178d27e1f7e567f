//! What a guest is told of its processor.

use kvm_bindings::{CpuId, kvm_cpuid_entry2};

/// Leaf 1, ECX: the processor is a virtual one. Without it, guests do not look for KVM's clock.
const HYPERVISOR: u32 = 1 << 31;
/// Leaf 1, ECX: the local APIC's timer takes deadlines of the time stamp counter.
const TSC_DEADLINE: u32 = 1 << 24;
/// Leaf 1, EDX: several logical processors in a package.
const MULTI_THREADED: u32 = 1 << 28;

/// Physical address bits of a processor that does not say.
const USUAL_BITS: u8 = 36;

/// How many bits the physical addresses of a processor with this CPUID have (leaf 0x8000_0008).
pub(crate) fn address_bits(supported: &CpuId) -> u8 {
    let leaf = supported.as_slice().iter().find(|entry| entry.function == 0x8000_0008);
    leaf.and_then(|entry| u8::try_from(entry.eax & 0xff).ok()).filter(|bits| *bits != 0).unwrap_or(USUAL_BITS)
}

/// What vCPU `id` of `vcpus` is told, out of what this KVM and processor can do.
pub(crate) fn for_vcpu(supported: &CpuId, id: u8, vcpus: u8, deadline_timer: bool) -> CpuId {
    let mut cpuid = supported.clone();
    for entry in cpuid.as_mut_slice() {
        adapt(entry, id, vcpus, deadline_timer);
    }
    cpuid
}

/// One socket with as many cores as there are vCPUs, and one thread in each.
fn adapt(entry: &mut kvm_cpuid_entry2, id: u8, vcpus: u8, deadline_timer: bool) {
    let (id, count) = (u32::from(id), u32::from(vcpus));
    // Bits of an APIC identifier that number the cores.
    let core_bits = count.next_power_of_two().trailing_zeros();
    match (entry.function, entry.index) {
        (0x1, _) => {
            entry.ecx |= HYPERVISOR;
            entry.ecx = if deadline_timer { entry.ecx | TSC_DEADLINE } else { entry.ecx & !TSC_DEADLINE };
            // Initial APIC identifier, how many there are in the package; the CLFLUSH line and brand stay.
            entry.ebx = entry.ebx & 0xffff | id << 24 | count.next_power_of_two() << 16;
            entry.edx = if count > 1 { entry.edx | MULTI_THREADED } else { entry.edx & !MULTI_THREADED };
        }
        // Deterministic cache parameters: what the host's cores and threads share means nothing here.
        (0x4, _) => {
            let level = entry.eax >> 5 & 7;
            let sharing = if level >= 3 { count.saturating_sub(1) } else { 0 };
            entry.eax = entry.eax & 0x3fff | (1u32 << core_bits).saturating_sub(1) << 26 | sharing << 14;
        }
        // Extended topology: level 0 is threads, level 1 cores.
        (0xb | 0x1f, index) => {
            (entry.eax, entry.ebx, entry.ecx) = match index {
                0 => (0, 1, 1 << 8),
                1 => (core_bits, count, 2 << 8 | 1),
                _ => (0, 0, index),
            };
            entry.edx = id;
        }
        // AMD: number of cores, and how many bits of the identifier number them.
        (0x8000_0008, _) => entry.ecx = entry.ecx & !0xf0ff | core_bits << 12 | count.saturating_sub(1),
        // AMD: extended APIC identifier, one thread in each core, one node.
        (0x8000_001e, _) => {
            entry.eax = id;
            entry.ebx = id;
            entry.ecx = 0;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(function: u32, index: u32) -> kvm_cpuid_entry2 {
        kvm_cpuid_entry2 { function, index, eax: u32::MAX, ebx: u32::MAX, ecx: u32::MAX, edx: u32::MAX, ..Default::default() }
    }

    fn told(function: u32, index: u32, id: u8, vcpus: u8) -> kvm_cpuid_entry2 {
        let supported = CpuId::from_entries(&[leaf(function, index)]).unwrap();
        for_vcpu(&supported, id, vcpus, false).as_slice()[0]
    }

    #[test]
    fn every_vcpu_has_the_identifier_that_its_local_apic_has() {
        for id in 0..8 {
            assert_eq!(told(0x1, 0, id, 8).ebx >> 24, u32::from(id));
            assert_eq!([told(0xb, 0, id, 8).edx, told(0xb, 1, id, 8).edx], [u32::from(id); 2]);
            assert_eq!(told(0x8000_001e, 0, id, 8).eax, u32::from(id));
        }
    }

    #[test]
    fn a_guest_sees_a_virtual_processor_and_no_timer_that_there_is_not() {
        let first = told(0x1, 0, 0, 1);
        assert_eq!(first.ecx & (HYPERVISOR | TSC_DEADLINE), HYPERVISOR);
        assert_eq!((first.edx & MULTI_THREADED, told(0x1, 0, 0, 2).edx & MULTI_THREADED), (0, MULTI_THREADED));
        let supported = CpuId::from_entries(&[leaf(0x1, 0)]).unwrap();
        assert_ne!(for_vcpu(&supported, 0, 1, true).as_slice()[0].ecx & TSC_DEADLINE, 0);
    }

    #[test]
    fn three_vcpus_are_three_cores_of_one_socket() {
        let cores = told(0xb, 1, 2, 3);
        assert_eq!((cores.eax, cores.ebx, cores.ecx), (2, 3, 0x201));
        let threads = told(0xb, 0, 2, 3);
        assert_eq!((threads.eax, threads.ebx, threads.ecx), (0, 1, 0x100));
        assert_eq!(told(0x8000_0008, 0, 0, 3).ecx & 0xf0ff, 0x2002);
    }

    #[test]
    fn addresses_have_as_many_bits_as_the_processor_says() {
        let with = |eax| CpuId::from_entries(&[kvm_cpuid_entry2 { function: 0x8000_0008, eax, ..Default::default() }]).unwrap();
        assert_eq!((address_bits(&with(0x3028)), address_bits(&with(0))), (40, 36));
        assert_eq!(address_bits(&CpuId::from_entries(&[leaf(1, 0)]).unwrap()), 36);
    }
}
