//! The virtual GIC against the architecture: a simulated CPU interface works on the list registers as hardware does, and a plain model
//! says what the guest must see.

mod cpu;
mod delivery;
mod machine;
mod model;
mod races;
mod registers;
