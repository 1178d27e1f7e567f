//! Futures on both ends: two threads, each with an executor that sleeps until its waker is called.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use crossvm_channel::{Broken, Channel, Config, Doorbell, RecvError, RingFailed, Shared, Side, Signal};

struct Unpark {
    thread: Thread,
    awake: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.awake.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Arc::new(Unpark { thread: thread::current(), awake: AtomicBool::new(false) });
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&Arc::clone(&waker).into())) {
            return output;
        }
        while !waker.awake.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

struct Bell<'a>(&'a Signal);

impl Doorbell for Bell<'_> {
    fn ring(&self) -> Result<(), RingFailed> {
        self.0.notify();
        Ok(())
    }
}

const MESSAGES: u32 = 20_000;

#[test]
fn futures_sleep_for_messages_and_for_room_and_miss_neither() {
    let words: Vec<_> = (0..512).map(|_| AtomicU64::new(0)).collect();
    let (at_a, at_b) = (Signal::new(), Signal::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut a = Channel::open(Shared::of(&words), Bell(&at_b), Config::new(Side::A)).unwrap();
            block_on(async {
                a.connect_async(&at_a).await.unwrap();
                for number in 0..MESSAGES {
                    let message = vec![number.to_le_bytes()[0]; number as usize % 700];
                    a.send_async(&message, &at_a).await.unwrap();
                    if number.is_multiple_of(100) {
                        assert_eq!(a.recv_async(&mut [0; 4], &at_a).await, Ok(4));
                    }
                }
            });
        });
        let mut b = Channel::open(Shared::of(&words), Bell(&at_a), Config::new(Side::B)).unwrap();
        block_on(async {
            b.connect_async(&at_b).await.unwrap();
            let mut buffer = vec![0; b.max_message()];
            for number in 0..MESSAGES {
                let length = b.recv_async(&mut buffer, &at_b).await.unwrap();
                assert_eq!(length, number as usize % 700);
                assert!(buffer[..length].iter().all(|byte| *byte == number.to_le_bytes()[0]));
                if number.is_multiple_of(100) {
                    b.send_async(&number.to_le_bytes(), &at_b).await.unwrap();
                }
            }
            assert_eq!(b.recv_async(&mut buffer, &at_b).await, Err(RecvError::Broken(Broken::Closed)));
        });
    });
}
