//! The virtual GIC of version 2 against the architecture (Arm IHI 0048B.b): a simulated physical CPU has the frames `GICH` and `GICV` and works
//! on them as hardware does, and a plain model says what the guest must see. Nothing of the crate's own register layouts is used here.

mod cpu;
mod delivery;
mod machine;
mod model;
mod races;
mod registers;
