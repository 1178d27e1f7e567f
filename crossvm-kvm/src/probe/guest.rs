//! Whether real kernels run in guests of this machine's KVM.
//!
//! Not every `/dev/kvm` has a processor's virtualization behind it: one that interprets a guest's kernel mode runs guests of a few instructions, and stops
//! at what a kernel does next. So ask it to do that.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use kvm_ioctls::{Kvm, VcpuExit};
use vm_memory::{GuestAddress, GuestRegionMmap};

use crate::error::{Call, CallError};
use crate::{GuestSpace, SpaceError, payload};

/// How long the guest may take for its ten instructions.
const PATIENCE: Duration = Duration::from_secs(10);

const PORT: u8 = 0x10;
const VECTOR: u8 = 0x40;
const HANDLER: u32 = 0x9000;

/// What the handler leaves, and what the SSE unit is to add to itself.
const MARK: u32 = 0x1234;
const SUMMAND: u32 = 0x0101_0203;

/// What [`probe_guest`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestReport {
    /// A guest's kernel mode works as on a processor.
    Sound,
    /// It does not: what the guest stopped with in place of what it should have done.
    Unsound {
        /// What it was about to do.
        doing: &'static str,
        /// What came of it.
        instead: String,
    },
    /// No guest could be made.
    Failed(SpaceError),
}

impl GuestReport {
    /// Whether real kernels can be expected to run.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        *self == Self::Sound
    }
}

impl fmt::Display for GuestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sound => f.write_str("guests run real kernels: interrupts and SSE work in kernel mode"),
            Self::Unsound { doing, instead } => {
                write!(f, "guests cannot run real kernels: {doing} in kernel mode gives {instead}")?;
                if !has_virtualization() {
                    f.write_str(" (the processor offers neither VMX nor SVM)")?;
                }
                Ok(())
            }
            Self::Failed(error) => write!(f, "no guest can be made: {error}"),
        }
    }
}

/// Whether the kernel says that the processor has VMX or SVM.
fn has_virtualization() -> bool {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines().filter(|line| line.starts_with("flags")).any(|line| line.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

/// Runs a guest of ten instructions that takes an interrupt and uses SSE, as every kernel does. Takes a few milliseconds, and ten seconds at most; a vCPU that
/// never stops keeps its thread.
#[must_use]
pub fn probe_guest() -> GuestReport {
    let (sender, receiver) = channel();
    // Whoever asked may have given up.
    std::thread::spawn(move || drop(sender.send(run())));
    match receiver.recv_timeout(PATIENCE) {
        Ok(report) => report,
        Err(RecvTimeoutError::Timeout) => unsound("a few instructions", "no end"),
        Err(RecvTimeoutError::Disconnected) => unsound("a few instructions", "a panic of the probe"),
    }
}

fn unsound(doing: &'static str, instead: impl Into<String>) -> GuestReport {
    GuestReport::Unsound { doing, instead: instead.into() }
}

fn run() -> GuestReport {
    try_run().unwrap_or_else(GuestReport::Failed)
}

fn try_run() -> Result<GuestReport, SpaceError> {
    let kvm = Kvm::new().map_err(CallError::of_ioctl(Call::OpenKvm))?;
    let vm = Arc::new(kvm.create_vm().map_err(CallError::of_ioctl(Call::CreateVm))?);
    let mut space = GuestSpace::new(Arc::clone(&vm))?;
    let no_memory = CallError::new(Call::Map, rustix::io::Errno::NOMEM);
    let ram = Arc::new(GuestRegionMmap::from_range(GuestAddress(0), payload::RAM, None).map_err(|_| no_memory)?);
    space.add_ram(Arc::clone(&ram))?;
    let mut vcpu = vm.create_vcpu(0).map_err(CallError::of_ioctl(Call::CreateVcpu))?;
    payload::long_mode(&kvm, &vcpu, &ram)?;
    payload::set_handler(&ram, VECTOR, HANDLER)?;
    payload::put(&ram, HANDLER.into(), &handler())?;
    payload::start(&vcpu, &ram, &program())?;
    for (doing, expected) in [("an interrupt", MARK), ("SSE", SUMMAND.wrapping_mul(2))] {
        match vcpu.run() {
            Ok(VcpuExit::IoOut(_, data)) if *data == expected.to_le_bytes() => {}
            Ok(VcpuExit::IoOut(_, data)) => return Ok(unsound(doing, format!("{data:x?} instead of {:x?}", expected.to_le_bytes()))),
            Ok(exit) => return Ok(unsound(doing, format!("the exit {exit:?}"))),
            Err(error) => return Ok(unsound(doing, CallError::of_ioctl(Call::Run)(error).to_string())),
        }
    }
    Ok(GuestReport::Sound)
}

/// `mov eax, MARK; iretq`
fn handler() -> Vec<u8> {
    [&[0xb8][..], &MARK.to_le_bytes(), &[0x48, 0xcf]].concat()
}

/// `int VECTOR; out PORT, eax; mov eax, SUMMAND; movd xmm0, eax; paddd xmm0, xmm0; movd eax, xmm0; out PORT, eax; hlt`
fn program() -> Vec<u8> {
    let sse = [0x66, 0x0f, 0x6e, 0xc0, 0x66, 0x0f, 0xfe, 0xc0, 0x66, 0x0f, 0x7e, 0xc0];
    [&[0xcd, VECTOR, 0xe7, PORT, 0xb8][..], &SUMMAND.to_le_bytes(), &sse, &[0xe7, PORT, 0xf4]].concat()
}
