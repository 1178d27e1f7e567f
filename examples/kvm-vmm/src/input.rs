//! What is typed: to the VM with the focus.

use std::io::{IsTerminal, Read};
use std::sync::Arc;

use vmm_common::console::{Focus, Typed};

use crate::console::Output;
use crate::vm::Machine;

/// Reads the standard input in a thread of its own until it ends. A terminal gives each key at once then, and shows none by itself.
///
/// # Errors
/// Where there is no thread.
pub(crate) fn start(machines: &[Arc<Machine>], output: &Output) -> std::io::Result<Terminal> {
    let terminal = Terminal::new();
    let (machines, output) = (machines.to_vec(), output.clone());
    std::thread::Builder::new().name("input".to_owned()).spawn(move || read(&machines, &output))?;
    Ok(terminal)
}

fn read(machines: &[Arc<Machine>], output: &Output) {
    let mut focus = Focus::new();
    let vms = u8::try_from(machines.len()).unwrap_or(u8::MAX);
    for byte in std::io::stdin().lock().bytes().map_while(Result::ok) {
        match focus.typed(byte, vms) {
            Typed::For { vm, byte } => {
                if let Some(machine) = machines.get(usize::from(vm)) {
                    // A terminal's return key is a line feed here.
                    machine.typed(if byte == b'\n' { b'\r' } else { byte });
                }
            }
            Typed::Moved(vm) => {
                if let Some(machine) = machines.get(usize::from(vm)) {
                    output.vmm(format_args!("what is typed goes to {} now", machine.name()));
                }
            }
            Typed::Nothing => {}
        }
    }
}

/// The terminal that is typed on, if it is one: as it was again when this is dropped.
#[derive(Debug)]
pub(crate) struct Terminal(Option<rustix::termios::Termios>);

impl Terminal {
    fn new() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Self(None);
        }
        let before = tcgetattr(&stdin).ok();
        if let Some(mut modes) = before.clone() {
            // Ctrl-C ends the VMM as before: it is the way out.
            modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            // A terminal that cannot do it still gives whole lines.
            let _ = tcsetattr(&stdin, OptionalActions::Now, &modes);
        }
        Self(before)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // It is gone, or as it was.
            let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, before);
        }
    }
}
