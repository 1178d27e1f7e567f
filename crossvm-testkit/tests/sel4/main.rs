//! The simulated seL4: what tests of backends build on.

mod capabilities;
mod mappings;
mod properties;
mod threads;
mod views;

use crossvm_sel4::kernel::{CPtr, Code, Kernel, KernelError, Object};
use crossvm_testkit::sel4::{Arch, SimKernel};

const ALL: [Arch; 3] = [Arch::X86_64_5_0_0, Arch::X86_64, Arch::Aarch64];

/// A kernel with 1 MiB of untyped memory, and a slot that is empty at each call.
fn machine(arch: Arch) -> (SimKernel, impl FnMut() -> CPtr) {
    let kernel = SimKernel::new(arch, [20]);
    let mut next = kernel.first_free();
    (kernel, move || {
        next = next.offset(1);
        next
    })
}

fn make(kernel: &SimKernel, object: Object, to: CPtr) -> CPtr {
    kernel.retype(SimKernel::UNTYPED, object, to).unwrap();
    to
}

fn code<T>(result: Result<T, KernelError>) -> Option<Code> {
    result.err().map(|error| error.code)
}
