//! Native components as threads: each waits for the bells of its connections, works, and rings the other end's.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};
use crossvm_kvm::MemfdDataport;
use crossvm_manifest::{Component, Peer, Topology};
use vmm_common::components::{Work, work};
use vmm_common::config::{self, Memories};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

use crate::bell::{Bell, Ringer};
use crate::console::Output;
use crate::sys;
use crate::wires::Wires;

/// What the eventfd is known as that ends the thread; bells are known by their places.
const END: u64 = u64::MAX;

/// An end of a connection.
struct Port {
    name: String,
    bell: Arc<Bell>,
    other: Ringer,
    memory: Memories,
    received: u64,
    emitted: u64,
}

/// A component's thread.
#[derive(Debug)]
pub(crate) struct Worker {
    end: EventFd,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts component `number`. All its connections have wires.
    ///
    /// # Errors
    /// Where memory, descriptors or threads run out.
    pub(crate) fn start(topology: &Topology, number: u8, component: &Component, wires: &Wires, output: &Output) -> Result<Self> {
        let own = Peer::Component(number);
        let mut ports = Vec::new();
        let epoll = Epoll::new()?;
        for end in config::ends(topology, own) {
            let Some((wire, bell, other)) = wires.end(topology, own, end.index) else { continue };
            let memory = wire.dataports()?.into_iter().map(memory).collect::<Option<Memories>>().context("a dataport cannot be reached")?;
            epoll.ctl(ControlOperation::Add, bell.fd(), EpollEvent::new(EventSet::IN, ports.len() as u64))?;
            let name = end.connection.name.as_str().to_owned();
            ports.push(Port { name, bell: Arc::clone(bell), other: Ringer(Arc::clone(other)), memory, received: 0, emitted: 0 });
        }
        let end = EventFd::new(libc::EFD_CLOEXEC)?;
        epoll.ctl(ControlOperation::Add, end.as_raw_fd(), EpollEvent::new(EventSet::IN, END))?;
        let (name, work, output) = (component.name.as_str().to_owned(), work(component.kind), output.clone());
        let thread = Builder::new().name(name.clone()).spawn(move || {
            serve(&epoll, &mut ports, work);
            for port in &ports {
                let Port { name: connection, received, emitted, .. } = port;
                output.vmm(format_args!("record=component name={name} connection={connection} received={received} emitted={emitted}"));
            }
        })?;
        Ok(Self { end, thread })
    }

    /// Ends it, after what it was sent; its records are printed.
    pub(crate) fn end(self) {
        if self.end.write(1).is_ok() {
            // One that has panicked has said so.
            let _ = self.thread.join();
        }
    }
}

/// The memory of a dataport, for ever: a component's end is never taken away.
fn memory(dataport: MemfdDataport) -> Option<&'static vmm_common::host::PhysicalMemory> {
    sys::component_memory(Box::leak(Box::new(dataport)).bytes()?)
}

fn serve(epoll: &Epoll, ports: &mut [Port], work: Work<sys::DataportCaches>) {
    let mut events = vec![EpollEvent::default(); 64];
    loop {
        let count = match epoll.wait(-1, &mut events) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let mut ends = false;
        for event in events.get(..count).unwrap_or_default() {
            match usize::try_from(event.data()).ok().and_then(|place| ports.get_mut(place)) {
                Some(port) => port.serve(work),
                None => ends = true,
            }
        }
        if ends {
            ports.iter_mut().for_each(|port| port.serve(work));
            return;
        }
    }
}

impl Port {
    /// Events that come together are served together: the work is done once, and as many events go back as have come.
    fn serve(&mut self, work: Work<sys::DataportCaches>) {
        let count = self.bell.take();
        if count == 0 {
            return;
        }
        self.received = self.received.saturating_add(count);
        work(&self.memory, self.received, sys::DataportCaches);
        if self.other.ring(count).is_ok() {
            self.emitted = self.emitted.saturating_add(count);
        }
    }
}
