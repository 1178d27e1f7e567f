//! Two VMs in two processes of the program, either of which is killed again and again.

use super::{ENTRY, Running, System, hello, out};

/// Where the event registers of the only connection are at power-on: at the end of the bridge's window.
const EVENTS: u32 = 0xdfff_f000;
/// Offsets of the registers.
const COUNT: u8 = 0x04;
const DROPPED: u8 = 0x4c;
/// A stack, behind the code.
const STACK: u32 = 0x30_0000;
/// How often each of the two is killed.
const ROUNDS: usize = 5;

/// Code with places to jump to.
#[derive(Default)]
struct Code {
    bytes: Vec<u8>,
    places: Vec<(&'static str, usize)>,
    /// 32-bit distances that are to be filled in, from their ends to a place.
    distances: Vec<(usize, &'static str)>,
}

impl Code {
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self
    }

    fn place(&mut self, name: &'static str) -> &mut Self {
        self.places.push((name, self.bytes.len()));
        self
    }

    /// An instruction that ends with a distance.
    fn to(&mut self, opcode: &[u8], place: &'static str) -> &mut Self {
        self.bytes.extend(opcode);
        self.distances.push((self.bytes.len(), place));
        self.raw(&[0; 4])
    }

    fn finish(mut self) -> Vec<u8> {
        for (at, name) in &self.distances {
            let (_, place) = self.places.iter().find(|(place, _)| place == name).unwrap();
            let distance = i32::try_from(*place).unwrap() - i32::try_from(at + 4).unwrap();
            self.bytes[*at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        self.bytes
    }
}

/// Emits for ever. Says `gone` where emits are dropped, and `hears` where events come, whenever that is news.
fn watcher() -> Vec<u8> {
    const JE: &[u8] = &[0x0f, 0x84];
    const CALL: &[u8] = &[0xe8];
    const JMP: &[u8] = &[0xe9];
    const LEA_RSI: &[u8] = &[0x48, 0x8d, 0x35];
    let mut code = Code::default();
    code.raw(&[0xbb]).raw(&EVENTS.to_le_bytes()); // mov ebx, EVENTS
    code.raw(&[0xbc]).raw(&STACK.to_le_bytes()); // mov esp, STACK
    code.raw(&[0x45, 0x31, 0xc0, 0x45, 0x31, 0xc9]); // xor r8d, r8d; xor r9d, r9d: what was said last; how many were dropped
    code.place("again").raw(&[0xc6, 0x03, 0x01]); // mov byte [rbx], 1
    code.raw(&[0x8b, 0x43, DROPPED, 0x44, 0x39, 0xc8]).to(JE, "events"); // mov eax, [rbx + DROPPED]; cmp eax, r9d; je events
    code.raw(&[0x41, 0x89, 0xc1, 0xb0, 1]).to(LEA_RSI, "gone").to(CALL, "say"); // mov r9d, eax; mov al, 1; lea rsi, gone; call say
    code.place("events").raw(&[0x8b, 0x43, COUNT, 0x85, 0xc0]).to(JE, "again"); // mov eax, [rbx + COUNT]; test eax, eax; je again
    code.raw(&[0xc7, 0x43, COUNT, 0, 0, 0, 0]); // mov dword [rbx + COUNT], 0
    code.raw(&[0xb0, 2]).to(LEA_RSI, "hears").to(CALL, "say").to(JMP, "again"); // mov al, 2; lea rsi, hears; call say; jmp again
    code.place("say").raw(&[0x41, 0x38, 0xc0]).to(JE, "said"); // cmp r8b, al; je said
    code.raw(&[0x41, 0x88, 0xc0, 0xba, 0xf8, 0x03, 0, 0]); // mov r8b, al; mov edx, 0x3f8
    code.raw(&[0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8]); // lodsb; test al, al; jz said; out dx, al; jmp lodsb
    code.place("said").raw(&[0xc3]); // ret
    code.place("gone").raw(b"gone\n\0").place("hears").raw(b"hears\n\0");
    code.finish()
}

const CONNECTION: &str = "[[connection]]\nname = \"wire\"\nbetween = [\"a\", \"b\"]\nsize = \"4 KiB\"\n";

/// Starts VM `own` in a process of its own, and waits until each hears the other.
fn start(system: &System, own: &str, other: &str, more: &[&str]) -> Running {
    let socket = system.folder.path().join("link");
    let arguments = [&["--only", own, "--link", socket.to_str().unwrap()], more].concat();
    let mut running = system.start(&arguments);
    running.wait_for(&format!("record=peer-here vm={own} peer={other}"));
    running.wait_for(&format!("[{own}] hears"));
    running
}

#[test]
fn the_death_of_a_process_is_seen_by_the_other_s_guest_which_hears_of_its_return() {
    assert!(u64::try_from(watcher().len()).unwrap() < u64::from(STACK) - ENTRY);
    for more in [&["--wait", "120"][..], &["--wait", "120", "--no-ioeventfd"]] {
        let Some(system) = System::new() else { return };
        let system = system.with("a", "", &watcher()).with("b", CONNECTION, &watcher());
        let (a, b) = std::thread::scope(|scope| {
            let a = scope.spawn(|| start(&system, "a", "b", more));
            let b = start(&system, "b", "a", more);
            (a.join().unwrap(), b)
        });
        let mut running = [a, b];
        for round in 0..2 * ROUNDS {
            let (victim, survivor) = (round % 2, 1 - round % 2);
            let [dies, lives] = [victim, survivor].map(|number| ["a", "b"][number]);
            running[victim].child.kill().unwrap();
            running[victim].child.wait().unwrap();
            running[survivor].wait_for(&format!("record=peer-gone vm={lives} peer={dies}"));
            running[survivor].wait_for(&format!("[{lives}] gone"));
            running[victim] = start(&system, dies, lives, more);
            running[survivor].wait_for(&format!("record=peer-back vm={lives} peer={dies}"));
            running[survivor].wait_for(&format!("[{lives}] hears"));
        }
        let [a, b] = running;
        b.terminate();
        let text = b.finish();
        assert_eq!(super::record(&text, "connection", "dropped"), "0", "the last one to come back has lost nothing: {text}");
        a.terminate();
        let text = a.finish();
        assert_ne!(super::record(&text, "connection", "dropped"), "0", "{text}");
    }
}

#[test]
fn a_vm_that_is_off_is_gone_though_its_process_lives() {
    let Some(system) = System::new() else { return };
    let system = system.with("a", "", &watcher()).with("b", "", &hello("b", &out(0xf4, 1))).with("c", CONNECTION, &hello("up\n", &[]));
    let socket = system.folder.path().join("link");
    let link = ["--wait", "120", "--link", socket.to_str().unwrap()];
    let mut both = system.start(&[&link[..], &["--only", "b", "--only", "c"]].concat());
    let mut one = system.start(&[&link[..], &["--only", "a"]].concat());
    both.wait_for("record=vm-stop vm=b reason=exit-1");
    one.wait_for("record=peer-gone vm=a peer=b");
    one.wait_for("[a] gone");
    assert!(both.child.try_wait().unwrap().is_none(), "c runs");
    for running in [one, both] {
        running.terminate();
        running.finish();
    }
}

#[test]
fn what_cannot_run_says_why() {
    let Some(system) = System::new() else { return };
    let system = system.with("a", "", &watcher()).with("b", CONNECTION, &watcher());
    let socket = system.folder.path().join("link");
    let link = ["--link", socket.to_str().unwrap()];
    let mut first = system.start(&[&link[..], &["--only", "a", "--wait", "0"]].concat());
    first.wait_for("its process does not run: this one starts without it");
    first.wait_for("[a] gone");
    let refused = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kvm-vmm"));
        let output = command.arg("run").arg(system.manifest()).args(link).args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let told = refused(&["--only", "a"]);
    assert!(told.contains(&format!("--link: `a` already runs in process {}", first.child.id())), "{told}");
    let told = refused(&["--only", "c"]);
    assert!(told.contains("the manifest has no VM `c`; there are: a, b"), "{told}");
    first.terminate();
    first.finish();
}
