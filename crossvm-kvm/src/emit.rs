//! EMIT without an exit: ioeventfds that follow the event registers.

use std::fmt;
use std::sync::Arc;

use crossvm_core::{Backend, ConnectionId, CrossVm, Dataport, GuestAddr};
use kvm_ioctls::VmFd;

use crate::error::CallError;
use crate::notifier::EventNotifier;
use crate::raw::{Registration, Stores};

/// `KVM_CAP_IOEVENTFD_ANY_LENGTH`, which kvm-ioctls has no name for.
const CAP_IOEVENTFD_ANY_LENGTH: libc::c_ulong = kvm_bindings::KVM_CAP_IOEVENTFD_ANY_LENGTH as libc::c_ulong;

const ANY: &[Stores] = &[Stores::Any];
const EACH: &[Stores] = &[Stores::Length(1), Stores::Length(2), Stores::Length(4), Stores::Length(8)];

/// Lets KVM itself signal the peers of a VM's connections when the guest stores to EMIT.
///
/// EMIT is the word at the start of an event page, which the guest has mapped read-only. KVM looks for an ioeventfd at the address of a store that a
/// read-only memory slot refuses, as it does where there is no slot at all: with one there, the store signals it and the guest goes on; without,
/// the store is an exit, which the VMM serves by [`CrossVm::handle`]. Both do the same, but for the counters that
/// [`CrossVm::status`] gives: it does not see what KVM signals.
///
/// The ioeventfds follow a state and no history: after whatever may have moved event registers (`install`, `apply`, `remove`, `reset`, `refresh`), call
/// [`EmitFds::sync`] or [`EmitFds::follow`]. Between the two, a store to an old address still signals the old peer, which is a spurious event at worst.
pub struct EmitFds {
    vm: Arc<VmFd>,
    stores: &'static [Stores],
    assigned: Vec<Assigned>,
}

impl fmt::Debug for EmitFds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitFds").field("stores", &self.stores).field("assigned", &self.assigned).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Assigned {
    at: GuestAddr,
    stores: Stores,
    notifier: EventNotifier,
}

impl EmitFds {
    /// None yet, on `vm`.
    #[must_use]
    pub fn new(vm: Arc<VmFd>) -> Self {
        let any_length = vm.check_extension_raw(CAP_IOEVENTFD_ANY_LENGTH) > 0;
        Self { vm, stores: if any_length { ANY } else { EACH }, assigned: Vec::new() }
    }

    /// With an ioeventfd for each length of a store, as on a KVM that has none for stores of any length.
    #[must_use]
    pub fn with_each_length(mut self) -> Self {
        self.stores = EACH;
        self
    }

    /// Brings the ioeventfds to what is wanted: stores to the address signal the notifier, and there is nothing else.
    ///
    /// # Errors
    /// All that failed, in the order of the calls. The rest is done; the next call tries again. Until then, what is missing costs exits.
    pub fn sync<'a>(&mut self, wanted: impl IntoIterator<Item = (GuestAddr, &'a EventNotifier)>) -> Result<(), EmitErrors> {
        let wanted: Vec<_> = wanted.into_iter().collect();
        let mut errors = Vec::new();
        // First make room: what is wanted may be at the address of what is not any more.
        self.assigned.retain(|assigned| {
            if wanted.iter().any(|(at, notifier)| *at == assigned.at && notifier.is(&assigned.notifier)) {
                return true;
            }
            let gone = Registration::Deassign.apply(&self.vm, assigned.at, assigned.stores, assigned.notifier.event());
            gone.map_err(|error| errors.push(error)).is_err()
        });
        for (at, notifier) in wanted {
            for &stores in self.stores {
                if self.assigned.iter().any(|assigned| (assigned.at, assigned.stores) == (at, stores) && notifier.is(&assigned.notifier)) {
                    continue;
                }
                match Registration::Assign.apply(&self.vm, at, stores, notifier.event()) {
                    Ok(()) => self.assigned.push(Assigned { at, stores, notifier: notifier.clone() }),
                    Err(error) => errors.push(error),
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(EmitErrors(errors)) }
    }

    /// Brings the ioeventfds to where the event registers of `connections` are mapped now. `peer` gives the notifier that a connection's EMIT signals.
    ///
    /// # Errors
    /// As [`EmitFds::sync`].
    pub fn follow<'a, B: Backend, D: Dataport, K, const N: usize>(
        &mut self,
        connections: &CrossVm<B, D, K, N>,
        peer: impl Fn(ConnectionId) -> Option<&'a EventNotifier>,
    ) -> Result<(), EmitErrors> {
        let wanted = connections.connections().filter_map(|id| Some((connections.status(id)?.bars.first()?.mapped_at?, peer(id)?)));
        self.sync(wanted)
    }

    /// How many ioeventfds there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.assigned.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.assigned.is_empty()
    }
}

impl Drop for EmitFds {
    fn drop(&mut self) {
        // What cannot be taken back goes with the VM.
        let _ = self.sync([]);
    }
}

/// The calls that failed when ioeventfds were brought to where they are wanted: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmitErrors(Vec<CallError>);

impl EmitErrors {
    /// Each of them.
    #[must_use]
    pub fn errors(&self) -> &[CallError] {
        &self.0
    }
}

impl crossvm_core::Error for EmitErrors {
    fn kind(&self) -> crossvm_core::ErrorKind {
        self.0.first().map_or(crossvm_core::ErrorKind::Other, crossvm_core::Error::kind)
    }
}

impl fmt::Display for EmitErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for EmitErrors {}
