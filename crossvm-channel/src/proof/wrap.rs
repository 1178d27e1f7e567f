//! Positions that wrap.

use super::{Bell, meet, open, words};
use crate::{Broken, RecvError, Side};

/// Rings whose length is no power of two, so that positions wrap in the midst of them.
const SIZE: usize = 1024 + 2 * 384;

#[test]
fn a_successor_is_not_taken_for_a_writer_that_wraps() {
    let (words, bells) = (words(SIZE), [Bell::default(), Bell::default()]);
    let mut ends = [open(&words, &bells[0], Side::A), open(&words, &bells[1], Side::B)];
    meet(&mut ends, 0_u32.wrapping_sub(704));
    let [mut a, mut b] = ends;
    // More than a lap: 64 bytes before positions wrap, there is an old message in the ring.
    for number in 0..40_u8 {
        a.try_send(&[number; 8]).unwrap();
        assert_eq!(b.try_recv(&mut [0; 8]), Ok(8));
    }
    core::mem::forget(a);
    let _a = open(&words, &bells[0], Side::A);
    assert_eq!(b.try_recv(&mut [0; 8]), Err(RecvError::Broken(Broken::Restarted)));
}

#[test]
fn a_writer_that_wraps_to_zero_is_read() {
    let (words, bells) = (words(SIZE), [Bell::default(), Bell::default()]);
    let mut ends = [open(&words, &bells[0], Side::A), open(&words, &bells[1], Side::B)];
    meet(&mut ends, 0_u32.wrapping_sub(16));
    let [mut a, mut b] = ends;
    a.try_send(&[7; 8]).unwrap();
    a.close();
    assert_eq!(b.try_recv(&mut [0; 8]), Ok(8));
    assert_eq!(b.try_recv(&mut [0; 8]), Err(RecvError::Broken(Broken::Closed)));
}
