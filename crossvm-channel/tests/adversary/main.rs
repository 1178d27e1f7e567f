//! A peer that writes anything to any word at any moment. The honest end never panics, never leaves its ring or the memory, never writes the peer's
//! words, never gives a message that is longer than its buffer or than any, and no call goes on for ever. What is impossible breaks the channel,
//! and [`table`] says with what.

mod chosen;
mod honest;
mod memory;
mod random;
mod table;
