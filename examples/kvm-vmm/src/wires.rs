//! What connections are made of: shared memory, and a bell for each end. The one place where they come into being.

use std::sync::Arc;

use crossvm_core::FrameSize;
use crossvm_kvm::{DataportError, Memfd, MemfdDataport, MemfdError, NotifierError};
use crossvm_manifest::{Connection, Peer, Topology};

use crate::bell::Bell;
use crate::link::share::{Place, Share};
use crate::link::{Link, RemoteEnd};

/// Largest frames of a dataport: what one entry of a page table maps.
const LARGEST_FRAME: u64 = 2 << 20;

/// What one connection is made of.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    /// The memory of each dataport, in the order of the manifest.
    pub(crate) dataports: Vec<Arc<Memfd>>,
    /// The bell of each end, in the order of the manifest: the other end rings it.
    pub(crate) bells: [Arc<Bell>; 2],
}

impl Wire {
    /// Fresh memory and bells for `connection`.
    ///
    /// # Errors
    /// [`WireError`].
    pub(crate) fn new(connection: &Connection) -> Result<Self, WireError> {
        let memory = |(index, dataport): (usize, &crossvm_manifest::Dataport)| {
            Memfd::create(&format!("{}.{index}", connection.name), dataport.size).map(Arc::new)
        };
        let dataports = connection.dataports.iter().enumerate().map(memory).collect::<Result<_, _>>().map_err(WireError::Memory)?;
        let bell = || Bell::new().map_err(WireError::Bell);
        Ok(Self { dataports, bells: [bell()?, bell()?] })
    }

    /// What this process and another one share for a connection. Nobody listens at the other end until [`Bell::set_open`] says so.
    fn shared(connection: &Connection, own: Peer, end: &RemoteEnd<'_>) -> Self {
        let bell = Bell::rung_elsewhere(end.receive().clone(), end.received());
        let other = Bell::heard_elsewhere(end.emit().clone(), end.emitted());
        other.set_open(false);
        let [one, _] = &connection.ends;
        let bells = if one.peer == own { [bell, other] } else { [other, bell] };
        Self { dataports: end.dataports().to_vec(), bells }
    }

    /// The dataports for an end in this process.
    ///
    /// # Errors
    /// [`WireError::Dataport`].
    pub(crate) fn dataports(&self) -> Result<Vec<MemfdDataport>, WireError> {
        let dataport = |memfd: &Arc<Memfd>| MemfdDataport::new(Arc::clone(memfd), frame_size(memfd.bytes()));
        self.dataports.iter().map(dataport).collect::<Result<_, _>>().map_err(WireError::Dataport)
    }
}

/// All connections of a topology, in its order; `None` for those that nobody in this process is an end of.
#[derive(Debug)]
pub(crate) struct Wires(pub(crate) Vec<Option<Wire>>);

impl Wires {
    /// Wires for all connections that have an end in this process: those of `link` where the other end is in another one, else fresh ones.
    ///
    /// # Errors
    /// [`WireError`].
    pub(crate) fn new(topology: &Topology, share: &Share, link: Option<&Link>) -> Result<Self, WireError> {
        let wire = |(index, connection): (usize, &Connection)| match (share.place(index), link) {
            (Place::Elsewhere, _) => Ok(None),
            (Place::Between { own, .. }, Some(link)) => {
                let end = link.ends(own).find(|end| end.index() == index);
                Ok(end.map(|end| Wire::shared(connection, Peer::Vm(own), &end)))
            }
            (Place::Here | Place::Between { .. }, _) => Wire::new(connection).map(Some),
        };
        Ok(Self(topology.connections.iter().enumerate().map(wire).collect::<Result<_, _>>()?))
    }

    /// What `peer` has at connection `index`: the wire, its own bell, and that of the other end.
    pub(crate) fn end(&self, topology: &Topology, peer: Peer, index: usize) -> Option<(&Wire, &Arc<Bell>, &Arc<Bell>)> {
        let wire = self.0.get(index)?.as_ref()?;
        let [one, other] = &topology.connections.get(index)?.ends;
        let [bell, bell_of_other] = &wire.bells;
        match (one.peer == peer, other.peer == peer) {
            (true, _) => Some((wire, bell, bell_of_other)),
            (_, true) => Some((wire, bell_of_other, bell)),
            _ => None,
        }
    }
}

/// The largest frames that so many bytes are a whole number of.
fn frame_size(bytes: u64) -> FrameSize {
    let largest = (bytes | LARGEST_FRAME).trailing_zeros();
    1u64.checked_shl(largest).and_then(FrameSize::from_bytes).unwrap_or(FrameSize::KIB_4)
}

/// Why a connection cannot be made.
#[derive(Debug)]
pub(crate) enum WireError {
    /// There is no memory.
    Memory(MemfdError),
    /// The memory cannot be mapped.
    Dataport(DataportError),
    /// There is no eventfd.
    Bell(NotifierError),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory(error) => write!(f, "memory for a dataport: {error}"),
            Self::Dataport(error) => write!(f, "a dataport: {error}"),
            Self::Bell(error) => write!(f, "an eventfd for a connection: {error}"),
        }
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crossvm_manifest::Image;
    use crossvm_manifest::manifest::{Images, Manifest, Source};

    #[test]
    fn frames_are_as_large_as_the_memory_is_a_multiple_of() {
        for (bytes, frame) in [(4 << 10, 4 << 10), (12 << 10, 4 << 10), (64 << 10, 64 << 10), (64 << 20, 2 << 20), (3 << 20, 1 << 20)] {
            assert_eq!(frame_size(bytes).bytes(), frame);
        }
    }

    #[test]
    fn what_one_end_rings_the_other_end_hears() {
        let text = r#"
            [vm.a]
            kernel = "Image"
            [vm.b]
            kernel = "Image"
            [component.mirror]
            kind = "reverse"
            [[connection]]
            name = "lines"
            between = ["mirror", "b"]
            size = "64 KiB"
            [[connection]]
            name = "frames"
            between = ["a", "b"]
            size = "4 KiB"
        "#;
        let manifest = Manifest::parse(&Source::new("x", text)).unwrap();
        let topology = manifest.topology(|_| Images { kernel: Image { address: 0, size: 0 }, initrd: None }).unwrap();
        let wires = Wires::new(&topology, &Share::new(&topology, &["a".to_owned()]).unwrap(), None).unwrap();
        assert!(wires.end(&topology, Peer::Vm(1), 0).is_none(), "neither end is here");
        let (wire, own, other) = wires.end(&topology, Peer::Vm(0), 1).unwrap();
        let (_, own_of_b, other_of_b) = wires.end(&topology, Peer::Vm(1), 1).unwrap();
        assert!(Arc::ptr_eq(own, other_of_b) && Arc::ptr_eq(other, own_of_b) && !Arc::ptr_eq(own, other));
        assert!(wires.end(&topology, Peer::Component(0), 1).is_none());
        assert_eq!(wire.dataports().unwrap().len(), 1);
    }
}
