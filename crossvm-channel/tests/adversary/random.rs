//! Anything, anywhere, at any time, while a peer's channel goes on.

use crossvm_channel::{Interest, Side, spec};
use proptest::collection::vec as many;
use proptest::prelude::*;

use crate::honest::{Call, call, honest, make, peer};
use crate::memory::{Garbage, Script, Words};

const SIZE: usize = 2048;

fn offsets() -> impl Strategy<Value = usize> {
    let lines = prop_oneof![
        (0_usize..9).prop_map(|word| 4 * word),
        Just(spec::OF_TAIL as usize),
        Just(spec::OF_HEAD as usize),
        Just(spec::OF_WAKE_READER as usize),
        Just(spec::OF_WAKE_WRITER as usize),
    ];
    prop_oneof![
        3 => (lines, 0_usize..2).prop_map(|(offset, side)| offset + side * spec::SIDE as usize),
        2 => (spec::RINGS as usize / 4..SIZE / 4).prop_map(|word| 4 * word),
        // What is written first, most often.
        1 => (0_usize..8, 0_usize..2).prop_map(|(word, ring)| 1024 + ring * 512 + 4 * word),
    ]
}

fn values() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => (0_u32..10).prop_map(|value| value),
        6 => (0_u32..80).prop_map(|units| 8 * units),
        2 => (0_u32..80).prop_map(|units| 0_u32.wrapping_sub(8 * units)),
        1 => Just(spec::MAGIC),
        1 => Just(u32::MAX),
        1 => Just(1 << 31),
        1 => any::<u32>(),
    ]
}

fn scripts() -> impl Strategy<Value = Script> {
    let garbage = (offsets(), values()).prop_map(|(offset, value)| Garbage { offset, value });
    many((0_u32..60, garbage), 0..60).prop_map(Script::Many)
}

fn calls() -> impl Strategy<Value = Call> {
    let length = || prop_oneof![0_usize..20, 0_usize..260];
    let interest = || prop_oneof![Just(Interest::Message), Just(Interest::Room), Just(Interest::Both)];
    prop_oneof![
        6 => Just(Call::PollConnect),
        2 => length().prop_map(Call::Push),
        4 => length().prop_map(Call::TrySend),
        2 => length().prop_map(Call::Grant),
        2 => Just(Call::Flush),
        4 => length().prop_map(Call::TryRecv),
        1 => Just(Call::Peek),
        1 => Just(Call::Keep),
        2 => interest().prop_map(Call::Arm),
        1 => Just(Call::Disarm),
        1 => Just(Call::Connect),
        2 => length().prop_map(Call::Send),
        2 => length().prop_map(Call::Recv),
        1 => interest().prop_map(Call::WaitFor),
        1 => Just(Call::Look),
    ]
}

/// Rarely: what ends a session.
fn all_calls() -> impl Strategy<Value = Call> {
    prop_oneof![20 => calls(), 1 => Just(Call::Close), 1 => Just(Call::Reopen)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_peer_writes_the_honest_end_stays_honest(
        side in prop_oneof![Just(Side::A), Just(Side::B)],
        script in scripts(),
        talk in many((any::<bool>(), all_calls()), 1..120),
    ) {
        let words = Words::new(SIZE);
        let mut other = peer(&words, side.peer());
        let mut end = honest(&words, side, script);
        for (by_peer, what) in talk {
            // Garbage may hurt the peer's channel too; then it begins anew.
            if by_peer {
                if make(&mut other, what).is_err() {
                    other.reopen();
                }
            } else if call(&mut end, what).is_err() {
                let _ = call(&mut end, Call::Reopen);
                // Neither may a channel be beyond repair.
                let _ = call(&mut end, Call::PollConnect);
            }
        }
    }
}
