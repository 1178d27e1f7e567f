//! Two functions of a [`Tree`] as the two ends of one connection: a thread plays the VM monitor.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossvm_guest::spec;

use super::{Registers, Tree};

/// The connection `name` twice, in two trees: two guests whose dataport is the same file, and whose events reach each other while this lives.
pub(crate) struct Wire {
    pub(crate) guests: [Tree; 2],
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread needs of an end.
struct End {
    registers: File,
    config: File,
    uio: File,
    registers_path: PathBuf,
}

impl End {
    fn new(folder: &Path, uio: &Path) -> Self {
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path).unwrap();
        Self {
            registers: open(&folder.join("resource0")),
            config: open(&folder.join("config")),
            uio: open(uio),
            registers_path: folder.join("resource0"),
        }
    }

    fn word(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.registers
            .read_exact_at(&mut bytes, offset as u64)
            .unwrap_or_else(|error| panic!("{}: {error}", self.registers_path.display()));
        u32::from_le_bytes(bytes)
    }

    fn set(&self, offset: usize, value: u32) {
        self.registers.write_all_at(&value.to_le_bytes(), offset as u64).unwrap();
    }

    /// An event, and the interrupt where the line is enabled.
    fn event(&self) {
        self.set(spec::COUNT, self.word(spec::COUNT).saturating_add(1));
        self.interrupt();
    }

    fn interrupt(&self) {
        let mut command = [0];
        self.config.read_exact_at(&mut command, 5).unwrap();
        if command == [0] && self.word(spec::COUNT) != 0 {
            self.config.write_all_at(&[4], 5).unwrap();
            (&self.uio).write_all(&1_u32.to_ne_bytes()).unwrap();
        }
    }
}

impl Wire {
    /// A dataport of `size` bytes.
    pub(crate) fn new(name: &str, size: u64) -> Self {
        let guests = [Tree::new(), Tree::new()];
        let devices = guests.each_ref().map(|guest| {
            let device = guest.device("0000:00:01.0", &[4096, size]);
            // Who takes events writes to COUNT itself then. With ACK, this thread could take back an event that came after those it means.
            device.registers(name.as_bytes(), Registers::Reference);
            guest.bind(&device, "uio_pci_generic");
            device
        });
        for file in ["resource1", "resource1_wc"] {
            fs::remove_file(devices[1].folder.join(file)).unwrap();
            fs::hard_link(devices[0].folder.join("resource1_wc"), devices[1].folder.join(file)).unwrap();
        }
        let ends = devices.each_ref().map(|device| End::new(&device.folder, &device.uio));
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                for (end, peer) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
                    if end.word(spec::EMIT) != 0 {
                        end.set(spec::EMIT, 0);
                        peer.event();
                    }
                    // A level: what still waits interrupts as soon as the line is enabled again.
                    end.interrupt();
                }
                thread::sleep(Duration::from_micros(20));
            }
        });
        Self { guests, stop, thread: Some(thread) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Where it has panicked, the test fails of that.
            let _ = thread.join();
        }
    }
}
