//! Both ends of a channel, in memory whose every word may be anything at any time. Without futures: `AtomicWaker` unwraps what it
//! knows to be there, and the optimizer does not.

use core::hint::black_box;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;

use crossvm_channel::{
    Channel, Config, Doorbell, Interest, Memory, Message, Protocol, Receiver, RingFailed, Sender, Shared, Side, View, Wait, Wake,
    WriteGrant,
};

/// Anything, whatever was written.
struct Anything;

impl Memory for Anything {
    fn len(&self) -> usize {
        black_box(4096)
    }
    fn load(&self, offset: usize) -> u32 {
        black_box(offset);
        black_box(0)
    }
    fn load_acquire(&self, offset: usize) -> u32 {
        self.load(offset)
    }
    fn store(&self, offset: usize, value: u32) {
        black_box((offset, value));
    }
    fn store_release(&self, offset: usize, value: u32) {
        self.store(offset, value);
    }
    fn fence(&self) {}
    fn read(&self, offset: usize, buffer: &mut [u8]) {
        black_box((offset, buffer));
    }
    fn write(&self, offset: usize, bytes: &[u8]) {
        black_box((offset, bytes));
    }
    fn pointer(&self, offset: usize) -> Option<NonNull<u8>> {
        black_box(NonNull::new(core::ptr::without_provenance_mut(offset)))
    }
}

struct Bell;

impl Doorbell for Bell {
    fn ring(&self) -> Result<(), RingFailed> {
        if black_box(true) { Ok(()) } else { Err(RingFailed) }
    }
}

impl Wait for Bell {
    type Error = u8;

    fn wait(&mut self) -> Result<Wake, u8> {
        match black_box(0_u8) {
            0 => Ok(Wake::Rung),
            1 => Ok(Wake::TimedOut),
            error => Err(error),
        }
    }
}

/// In memory of either kind.
pub(crate) fn ends() {
    end(Anything);
    let words = [const { AtomicU64::new(0) }; 512];
    end(Shared::of(black_box(&words)));
}

fn end<M: Memory>(memory: M) {
    let config = Config::new(if black_box(true) { Side::A } else { Side::B }).protocol(Protocol(black_box(0))).spins(black_box(0));
    let config = if black_box(true) { config } else { config.always_ring() };
    let Ok(mut end) = Channel::open(memory, Bell, config) else { return };
    let mut buffer = [0; 512];
    loop {
        black_box(end.poll_connect().is_ok());
        sender(end.sender(), &buffer);
        receiver(end.receiver(), &mut buffer);
        let (tx, rx) = end.split();
        sender(tx, &buffer);
        receiver(rx, &mut buffer);
        black_box(end.arm(interest()).is_ok());
        end.disarm();
        black_box((end.flush().is_ok(), end.status().is_ok(), end.max_message(), end.statistics().doorbells()));
        black_box((end.peer(), View::of(end.memory()).connected()));
        blocking(&mut end, &mut buffer);
        match black_box(0_u8) {
            0 => end.reopen(),
            1 => end.close(),
            2 => return,
            _ => (),
        }
    }
}

fn interest() -> Interest {
    match black_box(0_u8) {
        0 => Interest::Message,
        1 => Interest::Room,
        _ => Interest::Both,
    }
}

fn some(buffer: &[u8]) -> &[u8] {
    buffer.get(..black_box(100)).unwrap_or_default()
}

fn sender<M: Memory, D: Doorbell>(mut sender: Sender<'_, M, D>, buffer: &[u8]) {
    black_box((sender.push(some(buffer)).is_ok(), sender.try_send(some(buffer)).is_ok(), sender.flush().is_ok(), sender.max_message()));
    if let Ok(granted) = sender.reserve(black_box(100)) {
        grant(granted, buffer);
    }
}

fn grant<M: Memory, D: Doorbell>(mut grant: WriteGrant<'_, M, D>, buffer: &[u8]) {
    black_box((grant.write(black_box(4), some(buffer)).is_ok(), grant.pointer(), grant.len(), grant.is_empty()));
    if black_box(true) {
        black_box(grant.commit(black_box(50)).is_ok());
    }
}

fn receiver<M: Memory, D: Doorbell>(mut receiver: Receiver<'_, M, D>, buffer: &mut [u8]) {
    if let Some(part) = buffer.get_mut(..black_box(100)) {
        black_box(receiver.try_recv(part).is_ok());
    }
    black_box((receiver.flush().is_ok(), receiver.max_message()));
    if let Ok(peeked) = receiver.peek() {
        message(peeked, buffer);
    }
}

fn message<M: Memory, D: Doorbell>(message: Message<'_, M, D>, buffer: &mut [u8]) {
    if let Some(part) = buffer.get_mut(..black_box(100)) {
        black_box(message.read(black_box(4), part).is_ok());
    }
    black_box((message.pointer(), message.len(), message.is_empty()));
    if black_box(true) {
        message.keep();
    }
}

fn blocking<M: Memory>(end: &mut Channel<M, Bell>, buffer: &mut [u8]) {
    black_box(end.connect(&mut Bell).is_ok());
    black_box((end.send(some(buffer), &mut Bell).is_ok(), end.push_waiting(some(buffer), &mut Bell).is_ok()));
    black_box((end.recv(buffer, &mut Bell).is_ok(), end.wait_for(interest(), &mut Bell).is_ok()));
}
