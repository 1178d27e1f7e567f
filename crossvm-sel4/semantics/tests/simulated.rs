//! The cases on the simulated kernel.

use crossvm_sel4::kernel::Space;
use crossvm_sel4_semantics::{AARCH64_16_0_0_DEV, Probe, Resources, X86_64_5_0_0, X86_64_16_0_0_DEV, run};
use crossvm_testkit::sel4::{Arch, SimKernel};

/// The VMM's address space as the simulated kernel has it.
struct Simulated(SimKernel);

const OWN: Space = Space::Virtual(SimKernel::VSPACE);

impl Probe for Simulated {
    fn load(&mut self, at: u64) -> Option<u32> {
        let bytes = self.0.load(OWN, at, 4).ok()?;
        Some(u32::from_le_bytes(bytes.try_into().unwrap()))
    }

    fn store(&mut self, at: u64, value: u32) -> bool {
        self.0.store(OWN, at, &value.to_le_bytes()).is_ok()
    }
}

fn outcomes(arch: Arch) -> String {
    let kernel = SimKernel::new(arch, [23]);
    let resources = Resources {
        untyped: SimKernel::UNTYPED,
        slots: kernel.first_free(),
        thread: SimKernel::THREAD,
        cspace: SimKernel::CSPACE,
        guard_bits: 52,
        asid_pool: SimKernel::ASID_POOL,
        vspace: SimKernel::VSPACE,
        window: 3 << 39,
    };
    let before = kernel.account();
    let mut lines = String::new();
    run(&kernel, &resources, &mut Simulated(kernel.clone()), |name, outcome| {
        assert_eq!(kernel.account(), before, "'{name}' left something behind");
        assert!(!outcome.contains("stopped") && outcome.len() < 280, "'{name}': {outcome}");
        lines += &format!("{name}\t{outcome}\n");
    });
    assert!(kernel.mappings(OWN).is_empty());
    lines
}

#[track_caller]
fn answers_as(arch: Arch, recorded: &str) {
    let found = outcomes(arch);
    let different: Vec<_> = found.lines().zip(recorded.lines()).filter(|(found, recorded)| found != recorded).collect();
    assert!(different.is_empty(), "(simulated, recorded): {different:#?}");
    assert_eq!(found.lines().count(), recorded.lines().count());
}

#[test]
fn the_simulated_5_0_0_answers_as_the_real_one() {
    answers_as(Arch::X86_64_5_0_0, X86_64_5_0_0);
}

#[test]
fn the_simulated_kernel_for_x86_64_answers_as_a_real_one() {
    answers_as(Arch::X86_64, X86_64_16_0_0_DEV);
}

#[test]
fn the_simulated_kernel_for_aarch64_answers_as_a_real_one() {
    answers_as(Arch::Aarch64, AARCH64_16_0_0_DEV);
}

#[test]
fn names_differ() {
    let mut names: Vec<&str> = X86_64_5_0_0.lines().filter_map(|line| line.split('\t').next()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() == count && count >= 40, "{count} cases, {} names", names.len());
}
