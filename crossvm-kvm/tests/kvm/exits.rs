//! Guests run, and stop for what is the VMM's.

use crate::machine::{DONE, Exit, Machine, WINDOW, usable};
use crate::program::{Bytes, Program};

#[test]
fn ports_and_addresses_without_memory_are_exits() {
    if !usable("exits") {
        return;
    }
    let mut machine = Machine::new();
    let program = Program::new()
        .out(0x3f, 7)
        .store(WINDOW, Bytes::Four, 0x1234_5678)
        .load(WINDOW + 0x1004)
        .out_word(0x3e)
        .store(0x3_0000, Bytes::Eight, 0x55)
        .load(0x3_0000)
        .out_word(0x3d)
        .out(DONE, 0);
    let expected = [
        Exit::Out(0x3f, 7),
        Exit::Store(WINDOW, vec![0x78, 0x56, 0x34, 0x12]),
        Exit::Load(WINDOW + 0x1004, 4),
        Exit::Out(0x3e, u32::MAX),
        Exit::Out(0x3d, 0x55),
    ];
    assert_eq!(machine.exits_of(&program), expected);
}
