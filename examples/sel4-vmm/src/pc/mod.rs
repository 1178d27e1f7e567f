//! What root tasks on PCs share: their memory and objects, views of memory, programs, and components as threads of their own.

mod component;
mod memory;
mod program;
mod view;

pub use component::{Component, Wiring};
pub use memory::{Failure, Pool, SpaceMap, System};
pub use program::{Program, ProgramError, Segment};
pub use view::View;
