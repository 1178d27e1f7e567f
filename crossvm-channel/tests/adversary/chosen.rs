//! Each control word, and the words of the first records, with each of the values that matter, before each access of a small conversation: once, and
//! from there on for good.

use crossvm_channel::{Interest, Side, spec};

use crate::honest::{Call, call, honest, make, peer};
use crate::memory::{Garbage, Script, Words};

/// Rings of two lines.
const SIZE: usize = spec::MIN_SIZE as usize + 256;

const VALUES: [u32; 21] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 24, 120, 121, 128, 248, 256, 264, spec::MAGIC, 1 << 31, 0xffff_fff8, u32::MAX];

/// What the honest end does, and what its peer (`true`), in order: it connects, sends, receives, sleeps for either, fills the ring, and closes.
const TALK: [(bool, Call); 32] = [
    (false, Call::PollConnect),
    (true, Call::PollConnect),
    (false, Call::PollConnect),
    (true, Call::PollConnect),
    (false, Call::Arm(Interest::Message)),
    (true, Call::TrySend(20)),
    (false, Call::Disarm),
    (false, Call::TryRecv(0)),
    (false, Call::TryRecv(200)),
    (false, Call::TryRecv(200)),
    (true, Call::TrySend(120)),
    (true, Call::TrySend(60)),
    (false, Call::Peek),
    (false, Call::Keep),
    // Past the ring's end.
    (true, Call::TrySend(80)),
    (false, Call::TryRecv(200)),
    (true, Call::TrySend(80)),
    (false, Call::Peek),
    (false, Call::Push(100)),
    (false, Call::Flush),
    (true, Call::TryRecv(200)),
    (false, Call::TrySend(120)),
    (false, Call::Grant(100)),
    (false, Call::TrySend(120)),
    (false, Call::Arm(Interest::Both)),
    (true, Call::TryRecv(200)),
    (true, Call::Flush),
    (false, Call::Disarm),
    (false, Call::Send(120)),
    (false, Call::Recv(200)),
    (false, Call::Connect),
    (false, Call::Close),
];

/// How many accesses the honest end made.
fn talk(side: Side, script: Script) -> u32 {
    let words = Words::new(SIZE);
    let mut other = peer(&words, side.peer());
    let mut end = honest(&words, side, script);
    for (by_peer, what) in TALK {
        if by_peer {
            let _ = make(&mut other, what);
        } else {
            let _ = call(&mut end, what);
        }
    }
    end.memory().time.get()
}

#[test]
fn each_word_with_each_value_at_each_step() {
    let words = (0..9).map(|word| 4 * word).chain([spec::OF_TAIL, spec::OF_HEAD, spec::OF_WAKE_READER, spec::OF_WAKE_WRITER]);
    let controls = words.flat_map(|word| [word, spec::SIDE + word]);
    let headers = [0, 4, 32, 36, 160, 164].into_iter().flat_map(|word| [spec::RINGS + word, spec::RINGS + 256 + word]);
    let offsets: Vec<usize> = controls.chain(headers).map(|offset| offset as usize).collect();
    for side in [Side::A, Side::B] {
        let accesses = talk(side, Script::Nothing);
        assert!(accesses > 100, "{accesses} accesses are no conversation");
        for when in 0..accesses {
            for &offset in &offsets {
                for value in VALUES {
                    let garbage = Garbage { offset, value };
                    talk(side, Script::Once(when, garbage));
                    talk(side, Script::From(when, garbage));
                }
            }
        }
    }
}
