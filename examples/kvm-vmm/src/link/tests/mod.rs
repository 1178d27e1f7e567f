//! Processes that join each other, die and come back: real ones, and some that mean harm.

mod child;
mod deaths;
mod hostile;
mod meeting;
mod process;
