//! Serves what a guest does that KVM does not.

use std::sync::atomic::Ordering;

use crossvm_core::{BarStatus, ConfigEffect, ConnectionId, GuestAccess, GuestAddr, GuestRange, Outcome, ServeError, Status, Width};

use super::{Machine, Port, Served, State};
use crate::exits::ExitKind;

impl Machine {
    /// The guest loads `data.len()` bytes.
    pub(super) fn load(&self, at: GuestAddr, data: &mut [u8]) {
        let mut state = self.lock();
        let state = &mut *state;
        let access = match Width::from_bytes(data.len() as u64) {
            Some(width) => GuestAccess::Read { at, width },
            None => match GuestRange::new(at, data.len() as u64) {
                Some(range) => GuestAccess::UndecodedRead(range),
                None => return,
            },
        };
        if self.in_window(at) {
            self.exits.count(ExitKind::Connection);
            match self.window(state, access) {
                Answer::Value(value) => give(data, value),
                Answer::Done => give(data, 0),
                Answer::Again => copy(state, at, data.len(), |byte, index| {
                    if let Some(to) = data.get_mut(index) {
                        *to = byte.load(Ordering::Relaxed);
                    }
                }),
            }
            return;
        }
        let GuestAccess::Read { width, .. } = access else {
            self.exits.count(ExitKind::OtherMmio);
            return give(data, u64::MAX);
        };
        let served = state.board.load(at, width, &state.backend.pci, &mut state.backend.interrupts);
        give(data, served.value);
        self.count(state, served);
    }

    /// The guest stores `data`.
    pub(super) fn store(&self, at: GuestAddr, data: &[u8]) {
        let mut state = self.lock();
        let state = &mut *state;
        let value = data.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        let access = match Width::from_bytes(data.len() as u64) {
            Some(width) => GuestAccess::Write { at, width, value },
            None => match GuestRange::new(at, data.len() as u64) {
                Some(range) => GuestAccess::UndecodedWrite(range),
                None => return,
            },
        };
        if self.in_window(at) {
            self.exits.count(ExitKind::Connection);
            if let Answer::Again = self.window(state, access) {
                copy(state, at, data.len(), |byte, index| {
                    if let Some(from) = data.get(index) {
                        byte.store(*from, Ordering::Relaxed);
                    }
                });
            }
            return;
        }
        let GuestAccess::Write { width, .. } = access else { return self.exits.count(ExitKind::OtherMmio) };
        let served = state.board.store(at, width, value, &mut state.backend.pci, &mut state.backend.interrupts);
        self.done(state, served);
    }

    /// The guest has accessed what the hardware does not describe. Gives whether the instruction is to be executed again. What is no register of a connection ignores
    /// it.
    #[cfg(target_arch = "aarch64")]
    pub(super) fn undecoded(&self, access: GuestAccess) -> bool {
        if !self.in_window(access.address()) {
            self.exits.count(ExitKind::OtherMmio);
            return false;
        }
        self.exits.count(ExitKind::Connection);
        let mut state = self.lock();
        matches!(self.window(&mut state, access), Answer::Again)
    }

    /// The guest reads a port, once for each piece of `width` in `data`.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn port_in(&self, port: u16, width: Width, data: &mut [u8]) {
        let mut state = self.lock();
        let state = &mut *state;
        for piece in data.chunks_mut(usize::try_from(width.bytes()).unwrap_or(1)) {
            let served = state.board.port_in(port, width, &state.backend.pci, &mut state.backend.interrupts);
            give(piece, served.value);
            self.done(state, served);
        }
    }

    /// The guest writes a port, once for each piece of `width` in `data`.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn port_out(&self, port: u16, width: Width, data: &[u8]) {
        let mut state = self.lock();
        let state = &mut *state;
        for piece in data.chunks(usize::try_from(width.bytes()).unwrap_or(1)) {
            let value = piece.iter().rev().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
            let served = state.board.port_out(port, width, value, &mut state.backend.pci, &mut state.backend.interrupts);
            self.done(state, served);
        }
    }

    /// Whether the bridge passes accesses to `at` on to its functions.
    fn in_window(&self, at: GuestAddr) -> bool {
        self.windows.iter().any(|window| window.contains(at))
    }

    /// After an access to a device.
    fn done(&self, state: &mut State, served: Served) {
        self.count(state, served);
        if let Some(effect) = served.effect {
            self.apply(state, effect);
        }
        self.drive_board(state);
        if state.backend.interrupts.take_failed() {
            self.fall_behind(state);
        }
        if let Some(end) = served.end {
            self.end(end);
        }
    }

    /// Counts the exit, for the connection too whose function it concerned.
    fn count(&self, state: &mut State, served: Served) {
        self.exits.count(served.kind);
        if let Some(port) = served.function.and_then(|bdf| state.ports.iter_mut().find(|port| port.bdf == bdf)) {
            port.exits.config = port.exits.config.saturating_add(1);
        }
    }

    /// Brings out what devices have to say.
    pub(super) fn drive_board(&self, state: &mut State) {
        let output = state.board.take_output(&mut state.backend.interrupts);
        if !output.is_empty() {
            self.show(state, &output);
        }
    }

    fn apply(&self, state: &mut State, effect: ConfigEffect) {
        if let Err(error) = state.connections.apply(&mut state.backend, effect) {
            self.complain(state, format_args!("{error}"));
            self.fall_behind(state);
        }
        // Whatever has moved or was switched: ioeventfds are where the event registers are.
        if !matches!(effect, ConfigEffect::Msix { .. }) {
            self.follow(state);
            self.report_moves(state);
        }
    }

    /// Brings the ioeventfds to where event registers are, and to whose other end is there.
    pub(super) fn follow(&self, state: &mut State) {
        let State { emit, connections, ports, .. } = state;
        let Some(emit) = emit else { return };
        let peer = |id| ports.iter().find(|port| port.id == id).filter(|port| port.other.is_open()).map(|port| port.other.event());
        if let Err(error) = emit.follow(connections, peer) {
            // Each EMIT that has none is an exit, and does the same.
            self.complain(state, format_args!("ioeventfds: {error}"));
        }
    }

    /// A backend has failed: the event thread tries again.
    pub(super) fn fall_behind(&self, state: &mut State) {
        state.behind = true;
        self.wake();
    }

    /// An access to one of the bridge's windows.
    fn window(&self, state: &mut State, access: GuestAccess) -> Answer {
        let at = access.address();
        match state.connections.handle(&mut state.backend, access) {
            Ok(Outcome::Emitted(id)) => {
                if let Some(port) = port_mut(&mut state.ports, id) {
                    port.exits.emit = port.exits.emit.saturating_add(1);
                }
                Answer::Done
            }
            Ok(Outcome::Written(id)) => {
                charge(state, id, at);
                Answer::Done
            }
            Ok(Outcome::Read(value)) => {
                search_and_charge(state, at);
                Answer::Value(value)
            }
            Ok(Outcome::Ignored) => {
                search_and_charge(state, at);
                Answer::Done
            }
            Ok(Outcome::Retry) => Answer::Again,
            // No function answers: the bridge gives all ones (PCI Express 3.0, §2.3.2).
            Ok(Outcome::NotOurs) => Answer::Value(u64::MAX),
            // The device tells its guest in its own way: the DROPPED register.
            Err(ServeError::Notify(_)) => {
                search_and_charge(state, at);
                Answer::Done
            }
            Err(ServeError::Interrupt(_)) => {
                search_and_charge(state, at);
                self.fall_behind(state);
                Answer::Done
            }
        }
    }
}

/// What becomes of an access to a window.
enum Answer {
    Value(u64),
    Done,
    /// The memory is mapped by now: another vCPU was faster.
    Again,
}

/// The port of connection `id`. All were installed at once, so it is at its place.
fn port_mut(ports: &mut [Port], id: ConnectionId) -> Option<&mut Port> {
    ports.get_mut(id.index()).filter(|port| port.id == id)
}

/// Counts an exit for connection `id`, whose register is at `at`: COUNT and ACK, EMIT, or all else. Gives whether one is.
fn charge(state: &mut State, id: ConnectionId, at: GuestAddr) -> bool {
    let Some(Status { bars, .. }) = state.connections.status(id) else { return false };
    let inside = |bar: &BarStatus| at.offset_from(bar.mapped_at?).filter(|offset| *offset < bar.size.bytes());
    let Some((number, offset)) = bars.iter().enumerate().find_map(|(number, bar)| Some((number, inside(bar)?))) else { return false };
    if let Some(Port { exits, .. }) = port_mut(&mut state.ports, id) {
        let counter = match (number, offset) {
            (0, EMIT) => &mut exits.emit,
            (0, COUNT | ACKNOWLEDGE) => &mut exits.count,
            _ => &mut exits.other,
        };
        *counter = counter.saturating_add(1);
    }
    true
}

/// Counts an exit for whichever connection has something at `at`: for accesses that no driver makes again and again.
fn search_and_charge(state: &mut State, at: GuestAddr) {
    let ids: Vec<_> = state.ports.iter().map(|port| port.id).collect();
    ids.into_iter().any(|id| charge(state, id, at));
}

/// Offsets in the event registers.
const EMIT: u64 = crossvm_core::device::spec::EMIT;
const COUNT: u64 = crossvm_core::device::spec::COUNT;
const ACKNOWLEDGE: u64 = crossvm_core::device::spec::ACK;

/// Gives the guest the low bytes of `value`; more than eight read as ones.
fn give(data: &mut [u8], value: u64) {
    for (to, from) in data.iter_mut().zip(value.to_le_bytes().into_iter().chain(std::iter::repeat(0xff))) {
        *to = from;
    }
}

/// Reaches `length` bytes at `at` in a dataport that is mapped there; each with its place in the access.
fn copy(state: &State, at: GuestAddr, length: usize, mut each: impl FnMut(&std::sync::atomic::AtomicU8, usize)) {
    for port in &state.ports {
        let Some(Status { bars, .. }) = state.connections.status(port.id) else { continue };
        for (bar, dataport) in bars.iter().skip(1).zip(&port.dataports) {
            let offset = bar.mapped_at.and_then(|base| at.offset_from(base)).and_then(|offset| usize::try_from(offset).ok());
            let bytes = offset.and_then(|offset| dataport.bytes()?.get(offset..));
            for (index, byte) in bytes.unwrap_or_default().iter().take(length).enumerate() {
                each(byte, index);
            }
        }
    }
}
