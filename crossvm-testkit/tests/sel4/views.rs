//! Mappings of small frames against a plain model of them.

use crossvm_sel4::kernel::{Attributes, CPtr, CapRights, Code, Kernel, Object, Space};
use crossvm_testkit::sel4::{Arch, SimKernel};
use proptest::prelude::*;

use super::{ALL, code, make};

/// Frames; each has two capabilities, the second of which can only read.
const FRAMES: usize = 3;
const PAGES: usize = 4;
const SPACE: Space = Space::Virtual(SimKernel::VSPACE);

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A capability maps at a page, with these rights.
    Map(usize, usize, CapRights),
    Unmap(usize),
    /// The second capability of a frame is deleted, and copied again.
    Renew(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let rights = prop::sample::select(vec![CapRights::READ_WRITE, CapRights::READ, CapRights::WRITE]);
    prop_oneof![
        5 => (0..2 * FRAMES, 0..PAGES, rights).prop_map(|(capability, page, rights)| Step::Map(capability, page, rights)),
        3 => (0..2 * FRAMES).prop_map(Step::Unmap),
        1 => (0..FRAMES).prop_map(Step::Renew),
    ]
}

/// What a page shows: a frame, and whether it can be loaded and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct View {
    frame: usize,
    load: bool,
    store: bool,
}

#[derive(Debug)]
struct Model {
    arch: Arch,
    /// Where each capability has mapped its frame.
    mapped: [Option<usize>; 2 * FRAMES],
    pages: [Option<View>; PAGES],
}

impl Model {
    fn map(&mut self, capability: usize, page: usize, rights: CapRights) -> Option<Code> {
        let strict = self.arch == Arch::X86_64_5_0_0;
        match self.mapped[capability] {
            Some(_) if strict => return Some(Code::InvalidCapability),
            Some(at) if at != page => return Some(Code::InvalidArgument),
            _ if strict && self.pages[page].is_some() => return Some(Code::DeleteFirst),
            _ => {}
        }
        self.mapped[capability] = Some(page);
        let store = rights.read && rights.write && capability.is_multiple_of(2);
        self.pages[page] = Some(View { frame: capability / 2, load: rights.read, store });
        None
    }

    fn unmap(&mut self, capability: usize) -> Option<Code> {
        match self.mapped[capability].take() {
            Some(page) => {
                self.pages[page].take_if(|view| view.frame == capability / 2);
                None
            }
            None => (self.arch == Arch::X86_64_5_0_0).then_some(Code::IllegalOperation),
        }
    }

    fn renew(&mut self, frame: usize) {
        let capability = 2 * frame + 1;
        if self.arch == Arch::X86_64_5_0_0 {
            // What it has mapped stays.
            self.mapped[capability] = None;
        } else {
            self.unmap(capability);
        }
    }
}

fn at(page: usize) -> u64 {
    (page as u64) << 12
}

/// The machine: all tables, and frames that hold their number plus one.
fn machine(arch: Arch) -> (SimKernel, Vec<CPtr>) {
    let kernel = SimKernel::new(arch, [16]);
    let mut slots = (0..).map(|number| kernel.first_free().offset(number));
    let mut next = || slots.next().unwrap();
    for bits in [39, 30, 21] {
        let table = make(&kernel, Object::Table(bits), next());
        kernel.map_table(table, bits, SPACE, 0).unwrap();
    }
    let mut capabilities = Vec::new();
    for frame in 0..FRAMES {
        let (all, reader) = (make(&kernel, Object::SmallFrame, next()), next());
        kernel.map_frame(all, SPACE, 0, CapRights::READ_WRITE, Attributes::Memory).unwrap();
        kernel.store(SPACE, 0, &[u8::try_from(frame + 1).unwrap()]).unwrap();
        kernel.unmap_frame(all).unwrap();
        kernel.copy(all, reader, CapRights::READ).unwrap();
        capabilities.extend([all, reader]);
    }
    (kernel, capabilities)
}

proptest! {
    #[test]
    fn pages_show_what_the_model_says(arch in prop::sample::select(ALL.to_vec()), steps in prop::collection::vec(step(), 1..60)) {
        let (kernel, capabilities) = machine(arch);
        let mut model = Model { arch, mapped: [None; 2 * FRAMES], pages: [None; PAGES] };
        for step in steps {
            match step {
                Step::Map(capability, page, rights) => {
                    let mapped = kernel.map_frame(capabilities[capability], SPACE, at(page), rights, Attributes::Memory);
                    prop_assert_eq!(code(mapped), model.map(capability, page, rights), "{:?}", step);
                }
                Step::Unmap(capability) => {
                    prop_assert_eq!(code(kernel.unmap_frame(capabilities[capability])), model.unmap(capability), "{:?}", step);
                }
                Step::Renew(frame) => {
                    kernel.delete(capabilities[2 * frame + 1]).unwrap();
                    kernel.copy(capabilities[2 * frame], capabilities[2 * frame + 1], CapRights::READ).unwrap();
                    model.renew(frame);
                }
            }
            for (page, view) in model.pages.iter().enumerate() {
                let expected = view.filter(|view| view.load).map(|view| vec![u8::try_from(view.frame + 1).unwrap()]);
                prop_assert_eq!(kernel.load(SPACE, at(page), 1).ok(), expected, "page {} after {:?}", page, step);
                prop_assert_eq!(kernel.store(SPACE, at(page) + 1, &[1]).is_ok(), view.is_some_and(|view| view.store), "page {} after {:?}", page, step);
            }
        }
    }
}
