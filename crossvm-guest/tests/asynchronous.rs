//! Waiting under tokio, with real descriptors: FIFOs stand for the devices.
#![cfg(target_os = "linux")]

mod common;

use std::time::Duration;

use common::{Device, Stand, Tree};
use crossvm_guest::{AsyncWaiter, Endpoint, EventCount, spec};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

/// The next events, in good time.
async fn next(waiter: &mut AsyncWaiter<'_>) -> u32 {
    tokio::time::timeout(LONG, waiter.wait(EventCount::MAX)).await.expect("the event is slept through").unwrap().get()
}

/// Nothing comes.
async fn none(waiter: &mut AsyncWaiter<'_>) {
    tokio::time::timeout(SHORT, waiter.wait(EventCount::MAX)).await.expect_err("no event is there");
}

fn endpoint(tree: &Tree) -> Endpoint {
    tree.system().endpoint("ping").unwrap()
}

/// One thread that runs this task and, while it sleeps, `peer`.
fn beside(task: impl Future<Output = ()>, peer: impl FnOnce() + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let peer = std::thread::spawn(|| {
            std::thread::sleep(SHORT);
            peer();
        });
        task.await;
        peer.join().unwrap();
    });
}

fn own(tree: &Tree) -> Device {
    let device = tree.device("0000:00:01.0", &[4096]);
    tree.node(&device, "ping", &[], Stand::Fifo);
    device
}

#[test]
fn our_own_driver() {
    let tree = Tree::new();
    own(&tree);
    let (this, peer) = (endpoint(&tree), endpoint(&tree));
    beside(
        async {
            let mut waiter = AsyncWaiter::new(this.waiter().unwrap()).unwrap();
            assert_eq!(next(&mut waiter).await, 7, "what comes while it sleeps");
            none(&mut waiter).await;
            this.emit(EventCount::new(2)).unwrap();
            this.emit(EventCount::new(3)).unwrap();
            assert_eq!(next(&mut waiter).await, 2, "what is there before");
            assert_eq!(next(&mut waiter).await, 3, "what an edge-triggered watch does not tell again");
            none(&mut waiter).await;
            // A future that is dropped has taken nothing.
            tokio::select! {
                biased;
                () = std::future::ready(()) => this.emit(EventCount::ONE).unwrap(),
                _ = waiter.wait(EventCount::MAX) => unreachable!("the other is ready"),
            }
            assert_eq!(waiter.into_inner().take(EventCount::MAX).unwrap(), Some(EventCount::ONE));
        },
        move || peer.emit(EventCount::new(7)).unwrap(),
    );
}

#[test]
fn a_driver_that_answers_interrupts_itself() {
    let tree = Tree::new();
    let device = tree.reference_driver("0000:00:01.0", "ping", 1);
    let this = endpoint(&tree);
    device.becomes_fifo();
    let Device { folder, uio } = &device;
    let peer = Device { folder: folder.clone(), uio: uio.clone() };
    beside(
        async {
            let mut waiter = AsyncWaiter::new(this.waiter().unwrap()).unwrap();
            assert_eq!(next(&mut waiter).await, 4);
            // Told twice, counted once.
            device.report(4);
            none(&mut waiter).await;
            device.report(5);
            assert_eq!(next(&mut waiter).await, 1);
        },
        move || peer.report(4),
    );
}

#[test]
fn the_stock_driver() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[4096]);
    device.poke("config", 5, &[4]);
    let this = endpoint(&tree);
    let Device { folder, uio } = &device;
    let peer = Device { folder: folder.clone(), uio: uio.clone() };
    beside(
        async {
            let mut waiter = AsyncWaiter::new(this.waiter().unwrap()).unwrap();
            assert_eq!(next(&mut waiter).await, 2);
            assert_eq!(device.peek_u32(spec::ACK), 2);
            device.poke_u32(spec::COUNT, 0);
            // A shared line: it wakes, finds nothing, and lets the interrupt through again.
            device.interrupt();
            none(&mut waiter).await;
            assert!(!device.intx_disabled());
        },
        move || {
            let begin = std::time::Instant::now();
            while peer.intx_disabled() {
                assert!(begin.elapsed() < LONG, "who sleeps lets the interrupt through");
                std::thread::sleep(Duration::from_millis(1));
            }
            peer.poke_u32(spec::COUNT, 2);
            peer.interrupt();
        },
    );
}

#[test]
fn many_events_from_a_thread_are_all_taken() {
    const EVENTS: u32 = 2000;
    let tree = Tree::new();
    own(&tree);
    let (this, peer) = (endpoint(&tree), endpoint(&tree));
    beside(
        async {
            let mut waiter = AsyncWaiter::new(this.waiter().unwrap()).unwrap();
            let mut taken = 0;
            while taken < EVENTS {
                taken += next(&mut waiter).await;
            }
            assert_eq!(taken, EVENTS);
            none(&mut waiter).await;
        },
        move || (0..EVENTS).for_each(|_| peer.emit(EventCount::ONE).unwrap()),
    );
}
