//! All that is unsafe: kicks by signals, memory of dataports for components, guest RAM that becomes zero again, and a call of KVM.

use std::cell::Cell;
use std::os::raw::c_int;
use std::ptr;

use kvm_ioctls::VcpuFd;
use vm_memory::{GuestMemoryRegion, GuestRegionMmap};
use vmm_common::host::{HostAddr, HostRange, PhysicalMemory};
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

thread_local! {
    /// `kvm_run.immediate_exit` of the vCPU that this thread runs.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// The signal that makes a vCPU thread leave its guest.
fn kick_signal() -> c_int {
    SIGRTMIN()
}

extern "C" fn on_kick(_signal: c_int, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    IMMEDIATE_EXIT.with(|place| {
        let flag = place.get();
        if !flag.is_null() {
            // SAFETY: it points into the `kvm_run` of this thread's vCPU from `KickTarget::new` until `KickTarget` is dropped, and nothing else in this
            // process writes it at the same time: the handler interrupts the only thread that does.
            unsafe { ptr::write_volatile(flag, 1) };
        }
    });
}

/// Makes kicks of threads possible. To be called before the first of them.
///
/// # Errors
/// Where the kernel does not take the handler.
pub(crate) fn install_kicks() -> Result<(), vmm_sys_util::errno::Error> {
    register_signal_handler(kick_signal(), on_kick)
}

/// A thread that can be kicked out of its guest, or just before it enters it. To be dropped by the thread itself, before its vCPU.
#[derive(Debug)]
pub(crate) struct KickTarget {
    /// What KVM and this thread share of the vCPU; not to be sent to another thread.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "keeps the value in its thread"))]
    run: *mut kvm_bindings::kvm_run,
}

impl KickTarget {
    /// This thread runs `vcpu` from now on. A kick makes `vcpu.run` end with `EINTR`, at once where it comes before; whoever has seen that calls
    /// `vcpu.set_kvm_immediate_exit(0)`.
    pub(crate) fn new(vcpu: &mut VcpuFd) -> Self {
        let run: *mut kvm_bindings::kvm_run = vcpu.get_kvm_run();
        // SAFETY: it points to the whole `kvm_run`; no reference is made.
        let flag = unsafe { &raw mut (*run).immediate_exit };
        IMMEDIATE_EXIT.with(|place| place.set(flag));
        Self { run }
    }

    /// Of an exit for a port: bytes of one access. kvm-ioctls gives all that a repeated instruction transfers, in one piece.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn port_width(&self) -> u8 {
        // SAFETY: `kvm_run` is mapped as long as the vCPU, which outlives this value; KVM writes it during `KVM_RUN` only, which this thread is not in. It lies in
        // front of the data that an exit lends.
        unsafe { ptr::read_volatile(&raw const (*self.run).__bindgen_anon_1.io.size) }
    }
}

impl Drop for KickTarget {
    fn drop(&mut self) {
        IMMEDIATE_EXIT.with(|place| place.set(ptr::null_mut()));
    }
}

/// A thread to kick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThreadId(i32);

impl ThreadId {
    /// This thread.
    pub(crate) fn current() -> Self {
        // SAFETY: has no arguments and cannot fail.
        Self(unsafe { libc::gettid() })
    }

    /// Kicks it. One that is gone is not missed.
    pub(crate) fn kick(self) {
        // SAFETY: by numbers alone. A thread of this process has the number, or none has: then the call fails. All that can happen to another
        // thread of this process is a signal whose handler does nothing there.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.0, kick_signal()) };
    }
}

/// Memory of a dataport, as components use it.
///
/// # Panics
/// Never for memory of at least a page that is mapped.
pub(crate) fn component_memory(bytes: &'static [std::sync::atomic::AtomicU8]) -> Option<&'static PhysicalMemory> {
    let range = HostRange::new(HostAddr::new(bytes.as_ptr() as u64), bytes.len() as u64)?;
    // SAFETY: the addresses are those of this process, at which the bytes are for ever, to be reached by atomics only, as `bytes` says itself; what
    // the value gives out are slices of atomics too.
    Some(Box::leak(Box::new(unsafe { PhysicalMemory::new(range) })))
}

/// Makes all of a guest's RAM zero again. Its vCPUs do not run.
///
/// # Errors
/// What the kernel reports.
pub(crate) fn clear(region: &GuestRegionMmap) -> rustix::io::Result<()> {
    let length = usize::try_from(region.len()).unwrap_or(usize::MAX);
    // SAFETY: the memory is anonymous and private, so that it reads as zero afterwards; it is reached as volatile memory only, which may change at any
    // time.
    unsafe { rustix::mm::madvise(region.as_ptr().cast(), length, rustix::mm::Advice::LinuxDontNeed) }
}

/// Sets the extended state of a vCPU to one that this VMM has read from it before.
///
/// # Errors
/// What KVM reports.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set_xsave(vcpu: &VcpuFd, state: &kvm_bindings::kvm_xsave) -> Result<(), kvm_ioctls::Error> {
    // SAFETY: KVM reads as much as it has written for `KVM_GET_XSAVE`: 4096 bytes, as this process has asked for no larger state (`arch_prctl`).
    unsafe { vcpu.set_xsave(state) }
}

/// What KVM tells of an access that the hardware does not describe.
#[cfg(target_arch = "aarch64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSyndrome {
    /// The bits of the data abort's syndrome that are valid.
    pub(crate) iss: u32,
    /// The guest-physical address.
    pub(crate) at: u64,
}

/// What the last exit of `vcpu` tells, where it was of this kind (`KVM_EXIT_ARM_NISV`), which kvm-ioctls does not know.
#[cfg(target_arch = "aarch64")]
pub(crate) fn no_syndrome(vcpu: &mut VcpuFd) -> Option<NoSyndrome> {
    let run = vcpu.get_kvm_run();
    if run.exit_reason != kvm_bindings::KVM_EXIT_ARM_NISV {
        return None;
    }
    // SAFETY: for this exit reason the kernel has filled in the union as `arm_nisv`, and every value of its fields is valid.
    let told = unsafe { run.__bindgen_anon_1.arm_nisv };
    Some(NoSyndrome { iss: u32::try_from(told.esr_iss & 0x1ff_ffff).unwrap_or_default(), at: told.fault_ipa })
}

/// How components keep dataports in step with guests that have them mapped past the caches. Caches of x86 are coherent whatever a guest does.
#[cfg(target_arch = "x86_64")]
pub(crate) use vmm_common::platform::Coherent as DataportCaches;

/// How components keep dataports in step with guests that have them mapped past the caches: KVM leaves that to the guest, unless the processor has FEAT_S2FWB.
#[cfg(target_arch = "aarch64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataportCaches;

#[cfg(target_arch = "aarch64")]
impl vmm_common::platform::Caches for DataportCaches {
    fn clean(&self, range: HostRange) {
        for line in lines(range) {
            // SAFETY: the caller's range is mapped memory of this process; cleaning a line of it changes no value that anyone reads.
            unsafe { std::arch::asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
        barrier();
    }

    fn clean_and_invalidate(&self, range: HostRange) {
        for line in lines(range) {
            // SAFETY: as above; the line is written back before it is dropped, so that no value is lost.
            unsafe { std::arch::asm!("dc civac, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
        barrier();
    }
}

/// Cache lines of `range` (CTR_EL0.DminLine: the logarithm of the smallest line's words, bits 19:16).
#[cfg(target_arch = "aarch64")]
fn lines(range: HostRange) -> impl Iterator<Item = u64> {
    let types: u64;
    // SAFETY: Linux lets programs read this register, which says what caches there are.
    unsafe { std::arch::asm!("mrs {}, ctr_el0", out(reg) types, options(nomem, nostack, preserves_flags)) };
    let line = 4u64 << (types >> 16 & 0xf);
    (range.start().get() & !(line - 1)..=range.last().get()).step_by(usize::try_from(line).unwrap_or(usize::MAX))
}

/// Completes all that was written back before anything later.
#[cfg(target_arch = "aarch64")]
fn barrier() {
    // SAFETY: a barrier changes nothing.
    unsafe { std::arch::asm!("dsb sy", options(nostack, preserves_flags)) };
}
