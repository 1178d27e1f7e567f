//! Records of a VM.

use std::fmt;

use crossvm_core::Status;

use super::power::ResetCause;
use super::{Machine, State, StopReason};

impl Machine {
    /// Prints that the VM starts.
    pub(super) fn report_start(&self, vcpus: u8, memory: u64) {
        let (name, ms) = (&self.name, self.output.uptime_ms());
        // Threads have no CPU of their own: the first one is as good as any.
        self.output.vmm(format_args!("record=vm-start vm={name} cpu=0 vcpus={vcpus} memory={memory} ms={ms}"));
    }

    /// Prints that the VM boots again.
    pub(super) fn report_reboot(&self, state: &mut State, cause: ResetCause) {
        let (name, boot, ms) = (&self.name, state.boots, self.output.uptime_ms());
        let line = format_args!("record=vm-reboot vm={name} boot={boot} ms={ms} cause={cause}");
        self.output.limited(&mut state.reboots, name, "reboots", line);
    }

    /// Prints what is to tell at the VM's end.
    pub(super) fn report_stop(&self, state: &mut State, reason: StopReason) {
        self.end_line(state);
        let (name, output) = (&self.name, &self.output);
        output.vmm(format_args!("record=vm-stop vm={name} reason={reason} ms={}", output.uptime_ms()));
        output.vmm(format_args!("record=exits vm={name} {}", self.exits));
        for port in &state.ports {
            let Some(Status { name: connection, received, dropped, .. }) = state.connections.status(port.id) else { continue };
            // What KVM has signalled by itself the other end's bell knows, and what was an exit as well.
            let emitted = port.other.rung();
            let exits = port.exits;
            output.vmm(format_args!(
                "record=connection vm={name} name={connection} emitted={emitted} received={received} dropped={dropped} {exits}"
            ));
        }
    }

    /// Prints what each connection has cost in exits by now.
    fn report_exits(&self, state: &State) {
        let name = &self.name;
        for port in &state.ports {
            let Some(Status { name: connection, .. }) = state.connections.status(port.id) else { continue };
            self.output.vmm(format_args!("record=exits-so-far vm={name} name={connection} {}", port.exits));
        }
    }

    /// Prints the BARs that the guest has moved.
    pub(super) fn report_moves(&self, state: &mut State) {
        let State { bars, connections, moves, .. } = state;
        bars.update(connections, |moved| {
            self.output.limited(moves, &self.name, "BAR moves", format_args!("record=bar-moved vm={} {moved}", self.name));
        });
    }

    /// Prints a line about this guest, if it has not caused too many.
    pub(super) fn complain(&self, state: &mut State, text: fmt::Arguments<'_>) {
        self.output.limited(&mut state.complaints, &self.name, "lines", format_args!("{}: {text}", self.name));
    }

    /// Prints the registers of a vCPU that cannot go on, if that has not happened too often.
    pub(super) fn dump(&self, vcpu: u8, what: fmt::Arguments<'_>, registers: &[String]) {
        let name = &self.name;
        let mut state = self.lock();
        self.end_line(&mut state);
        let first = format_args!("{name}: vCPU {vcpu}: {what}");
        match state.dumps.admit() {
            vmm_common::vm::Admission::Line => {
                self.output.vmm(first);
                registers.iter().for_each(|line| self.output.vmm(format_args!("{name}: {line}")));
            }
            vmm_common::vm::Admission::Last => self.output.vmm(format_args!("{name}: more registers of this VM are not shown")),
            vmm_common::vm::Admission::Nothing => {}
        }
    }

    /// Shows what the guest has written of a line that it does not end any more.
    pub(super) fn end_line(&self, state: &mut State) {
        state.line.write(b'\n', |text| {
            // Only a line that was begun is ended.
            if text != b"\n" {
                self.output.guest(self.number, &self.name, text);
            }
        });
    }

    /// Shows what the guest writes.
    pub(super) fn show(&self, state: &mut State, bytes: &[u8]) {
        for byte in bytes {
            state.line.write(*byte, |text| self.output.guest(self.number, &self.name, text));
            if state.watch.as_mut().is_some_and(|watch| watch.sees(*byte)) {
                self.report_exits(state);
            }
        }
    }
}
