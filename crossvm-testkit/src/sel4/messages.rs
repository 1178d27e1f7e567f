//! Messages at endpoints, and the answers to them.

use crossvm_sel4::kernel::{Badge, CPtr, Label, Message, Received};

use super::SimKernel;
use super::cap::Kind;
use super::state::State;

/// A message that waits at an endpoint.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) received: Received,
    /// The thread that has faulted.
    pub(super) thread: Option<u64>,
}

/// An answer that the VMM has given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What it said.
    pub message: Message,
    /// Whether anybody waited for it.
    pub awaited: bool,
}

impl State {
    /// Takes what waits for a receiver at `endpoint`: a signal of the notification that is bound to the VMM, or else the first message.
    pub(super) fn take_message(&mut self, endpoint: CPtr) -> Option<Received> {
        let cap = self.tree.get(Self::own(endpoint)).copied();
        match cap.map(|cap| cap.kind) {
            Some(Kind::Endpoint(port)) if port.rights.read => {}
            // The kernel waits at notifications by the same call.
            Some(Kind::Notification(_)) => {
                return self.take_signal(endpoint).map(|badge| Received { badge: Badge::new(badge), message: Message::empty() });
            }
            other => panic!("{endpoint} is no endpoint to receive from, but {other:?}: the caller faults"),
        }
        self.caller = None;
        if let Some(badge) = self.take_bound_signal() {
            return Some(Received { badge: Badge::new(badge), message: Message::empty() });
        }
        let waiting = self.messages.get_mut(&cap?.base)?.pop_front()?;
        self.caller = Some(waiting.thread);
        Some(waiting.received)
    }

    /// Takes the badges of the notification that is bound to the VMM.
    pub(super) fn take_bound_signal(&mut self) -> Option<u64> {
        let bound = self.threads.get(&self.own_thread).and_then(|thread| thread.bound);
        bound.and_then(|notification| self.signals.remove(&notification))
    }

    /// Takes the badges of a notification.
    pub(super) fn take_signal(&mut self, notification: CPtr) -> Option<u64> {
        let cap = self.tree.get(Self::own(notification)).copied();
        let base = match cap.map(|cap| (cap.kind, cap.base)) {
            Some((Kind::Notification(port), base)) if port.rights.read => base,
            other => panic!("{notification} is no notification to wait for, but {other:?}: the caller faults"),
        };
        let elsewhere = self.threads.iter().any(|(thread, state)| *thread != self.own_thread && state.bound == Some(base));
        assert!(!elsewhere, "{notification} is bound to another thread: the caller faults");
        self.signals.remove(&base)
    }
}

impl SimKernel {
    /// Sends a message to the endpoint of a capability of the VMM, with the capability's badge, as a thread or guest does that has a copy of it.
    ///
    /// # Panics
    /// Where the capability is no endpoint's, or does not let its holder send.
    pub fn send(&self, endpoint: CPtr, label: Label, words: &[u64]) {
        self.state_mut().send(endpoint, label, words, None);
    }

    /// The answers that the VMM has given since this was last asked.
    #[must_use]
    pub fn take_answers(&self) -> Vec<Answer> {
        std::mem::take(&mut self.state_mut().answers)
    }
}

impl State {
    pub(super) fn send(&mut self, endpoint: CPtr, label: Label, words: &[u64], thread: Option<u64>) {
        let cap = self.argument(endpoint);
        let Some((Kind::Endpoint(port), base)) = cap.map(|cap| (cap.kind, cap.base)) else {
            panic!("{endpoint} is no endpoint, but {cap:?}")
        };
        assert!(port.rights.write, "{endpoint} does not let its holder send");
        let words = heapless::Vec::from_slice(words).expect("a message has no more words than messages have");
        let received = Received { badge: Badge::new(port.badge), message: Message { label, words } };
        self.messages.entry(base).or_default().push_back(Waiting { received, thread });
    }
}
