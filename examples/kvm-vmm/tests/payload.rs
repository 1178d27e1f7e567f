//! The whole program with payloads of a few instructions, where `/dev/kvm` opens. No kernel is needed, and no hardware that could run one.
#![cfg(target_arch = "x86_64")]

#[path = "payload/link.rs"]
mod link;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Where payloads are loaded and begin.
const ENTRY: u64 = 0x20_0000;
/// For machines that have much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Writes a text to the serial port, and then what `end` says.
fn hello(text: &str, end: &[u8]) -> Vec<u8> {
    let mut code = vec![0x48, 0x8d, 0x35, 0, 0, 0, 0]; // lea rsi, [rip + text]
    code.extend([0xba, 0xf8, 0x03, 0, 0]); // mov edx, 0x3f8
    code.extend([0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8]); // lodsb; test al, al; jz end; out dx, al; jmp lodsb
    code.extend(end);
    code.extend([0xf4, 0xeb, 0xfd]); // hlt, for ever
    let distance = u32::try_from(code.len() - 7).unwrap();
    code[3..7].copy_from_slice(&distance.to_le_bytes());
    code.extend(text.bytes());
    code.push(0);
    code
}

/// `mov edx, port; mov al, value; out dx, al`
fn out(port: u16, value: u8) -> Vec<u8> {
    let [low, high] = port.to_le_bytes();
    vec![0xba, low, high, 0, 0, 0xb0, value, 0xee]
}

/// Leaves all page tables behind. There are no handlers for what comes then.
const TRIPLE_FAULT: [u8; 5] = [0x31, 0xc0, 0x0f, 0x22, 0xd8]; // xor eax, eax; mov cr3, rax

/// An ELF file with this code.
fn elf(code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 0x78;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // executable, AMD64
    for word in [ENTRY, 0x40, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 0x40, 0, 0x38, 0, 1, 0, 0x40, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 7, 0, 0, 0]); // one segment to load
    let size = u64::try_from(code.len()).unwrap();
    for word in [HEADERS, ENTRY, ENTRY, size, size, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    assert_eq!(file.len() as u64, HEADERS);
    file.extend(code);
    file
}

/// A folder with payloads as kernels, and a manifest of VMs that run them.
struct System {
    folder: tempfile::TempDir,
    manifest: String,
}

impl System {
    /// `None`, said loudly, where KVM cannot be used.
    fn new() -> Option<Self> {
        if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
            eprintln!("SKIPPED: /dev/kvm does not open: {error}");
            return None;
        }
        Some(Self { folder: tempfile::tempdir().unwrap(), manifest: String::new() })
    }

    fn with(mut self, name: &str, more: &str, code: &[u8]) -> Self {
        std::fs::write(self.folder.path().join(name), elf(code)).unwrap();
        self.manifest.push_str(&format!("[vm.{name}]\nkernel = \"{name}\"\nmemory = \"8 MiB\"\n{more}\n"));
        self
    }

    fn manifest(&self) -> PathBuf {
        let path = self.folder.path().join("system.toml");
        std::fs::write(&path, &self.manifest).unwrap();
        path
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let program = env!("CARGO_BIN_EXE_kvm-vmm");
        let mut command = Command::new(program);
        command.arg("run").arg(self.manifest()).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { child, lines, text: String::new() }
    }

    /// What it prints, until it ends by itself.
    fn run(&self, arguments: &[&str]) -> String {
        self.start(arguments).finish()
    }
}

/// The program as it runs.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// What it has printed, with plain line feeds.
    text: String,
}

impl Running {
    /// Waits for the next line; `None`: no more will come.
    fn next_line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                let line = line.trim_end_matches('\r').to_owned();
                self.text.push_str(&line);
                self.text.push('\n');
                Some(line)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                panic!("nothing more comes: {}", self.text);
            }
        }
    }

    /// Waits until it has printed a line with `what`.
    fn wait_for(&mut self, what: &str) {
        while !self.next_line().unwrap_or_else(|| panic!("it ends without `{what}`: {}", self.text)).contains(what) {}
    }

    /// Sends SIGTERM.
    fn terminate(&self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
    }

    /// Waits for the end, which must be a good one. Gives all that was printed.
    fn finish(mut self) -> String {
        while self.next_line().is_some() {}
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.text);
        self.text
    }
}

/// The value of `key` in the first record of `kind`.
fn record<'a>(text: &'a str, kind: &str, key: &str) -> &'a str {
    let line = text.lines().find(|line| line.contains(&format!("[vmm] record={kind} "))).unwrap_or_else(|| panic!("{kind}: {text}"));
    let value = line.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{key}: {line}"))
}

#[test]
fn a_payload_prints_and_ends_itself_by_the_exit_port() {
    for irqchip in ["kernel", "split"] {
        let Some(system) = System::new() else { return };
        let text = system.with("a", "", &hello("hello\nworld", &out(0xf4, 7))).run(&["--irqchip", irqchip]);
        assert!(text.contains("[a] hello\n") && text.contains("[a] world"), "{text}");
        assert_eq!(record(&text, "vm-stop", "reason"), "exit-7");
        assert_eq!((record(&text, "exits", "serial"), record(&text, "exits", "power")), ("11", "1"));
        assert!(text.ends_with("[vmm] record=end reason=all-vms-stopped\n"), "{text}");
    }
}

#[test]
fn the_end_of_one_vm_is_not_that_of_another() {
    let Some(system) = System::new() else { return };
    let system = system.with("a", "", &hello("up\n", &[])).with("b", "on-reboot = \"stop\"", &hello("b", &out(0xcf9, 6)));
    let mut running = system.start(&[]);
    running.wait_for("record=vm-stop vm=b reason=reset");
    if !running.text.contains("[a] up") {
        running.wait_for("[a] up");
    }
    assert!(!running.text.contains("record=vm-stop vm=a"));
    running.terminate();
    let text = running.finish();
    assert!(text.contains("record=vm-stop vm=a reason=terminated"), "{text}");
}

#[test]
fn a_guest_that_resets_itself_boots_again_until_it_is_stopped() {
    for (cause, code) in [("reset-register", hello("up", &out(0xcf9, 6))), ("triple-fault", hello("up", &TRIPLE_FAULT))] {
        let Some(system) = System::new() else { return };
        let system = system.with("a", "", &code);
        let mut running = system.start(&[]);
        running.wait_for("record=vm-reboot vm=a boot=9 ");
        running.terminate();
        let text = running.finish();
        assert_eq!((record(&text, "vm-reboot", "boot"), record(&text, "vm-reboot", "cause")), ("2", cause));
        assert!(text.matches("[a] up\n").count() >= 8, "{text}");
        assert_eq!(record(&text, "vm-stop", "reason"), "terminated");
        let dumps = text.matches("[vmm] a: vCPU 0: triple fault\n[vmm] a: rip=0x").count();
        assert_eq!(dumps, if cause == "triple-fault" { 3 } else { 0 }, "{text}");
    }
}
