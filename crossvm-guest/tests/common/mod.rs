//! A copy of what Linux shows of PCI functions, made of plain files in a temporary folder.
#![allow(dead_code, reason = "each test uses its part of it")]

pub(crate) mod wire;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use crossvm_guest::{System, spec};

/// The folders that stand for `/sys` and `/dev`.
pub(crate) struct Tree {
    folder: tempfile::TempDir,
}

/// One function of it.
pub(crate) struct Device {
    pub(crate) folder: PathBuf,
    pub(crate) uio: PathBuf,
}

/// Which registers a device gets.
pub(crate) enum Registers<'a> {
    /// EMIT, COUNT and NAME.
    Reference,
    /// All; for each dataport its true size and rights.
    Extended(&'a [(u64, u32)]),
}

pub(crate) const PREFETCHABLE_MEMORY: u64 = 0x42208;

impl Tree {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("sys/bus/pci/devices")).unwrap();
        fs::create_dir_all(folder.path().join("sys/bus/pci/drivers")).unwrap();
        fs::create_dir_all(folder.path().join("dev")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn system(&self) -> System {
        System::at(self.path().join("sys"), self.path().join("dev"))
    }

    /// A loaded driver: its folder with the files that take commands.
    pub(crate) fn driver(&self, name: &str) -> PathBuf {
        let folder = self.path().join("sys/bus/pci/drivers").join(name);
        fs::create_dir_all(&folder).unwrap();
        for file in ["new_id", "bind", "unbind"] {
            File::create(folder.join(file)).unwrap();
        }
        folder
    }

    /// An interrupt as the kernel tells of it: its line at the controller, how often it came on each processor, who uses it.
    pub(crate) fn irq(&self, number: u32, line: u32, counts: &str, users: &str) {
        let folder = self.path().join("sys/kernel/irq").join(number.to_string());
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in
            [("chip_name", "GICv2"), ("hwirq", &line.to_string()), ("type", "level"), ("per_cpu_count", counts), ("actions", users)]
        {
            fs::write(folder.join(file), format!("{text}\n")).unwrap();
        }
    }

    /// A function with our ids, BARs of these sizes (BAR 0 first), write-combining files for the dataports, and memory switched on.
    pub(crate) fn device(&self, address: &str, sizes: &[u64]) -> Device {
        let folder = self.path().join("sys/bus/pci/devices").join(address);
        fs::create_dir_all(&folder).unwrap();
        let device = Device { folder, uio: self.path().join("dev").join(format!("uio-{address}")) };
        device.file("vendor", format!("{:#06x}\n", spec::VENDOR).as_bytes());
        device.file("device", format!("{:#06x}\n", spec::DEVICE).as_bytes());
        let mut config = [0; 256];
        config[4] = 2;
        device.file("config", &config);
        let mut lines = String::new();
        let mut start = 0x5000_0000;
        for index in 0..7 {
            match sizes.get(index) {
                Some(size) => {
                    lines += &format!("{start:#018x} {:#018x} {PREFETCHABLE_MEMORY:#018x}\n", start + size - 1);
                    device.sized(&format!("resource{index}"), *size);
                    device.sized(&format!("resource{index}_wc"), *size);
                    start += 0x1000_0000;
                }
                None => lines += &format!("{0:#018x} {0:#018x} {0:#018x}\n", 0),
            }
        }
        device.file("resource", lines.as_bytes());
        device
    }

    /// A sound connection, bound to `uio_pci_generic`, whose dataports fill their BARs.
    pub(crate) fn connection(&self, address: &str, name: &str, dataports: &[u64]) -> Device {
        let sizes: Vec<_> = [4096].into_iter().chain(dataports.iter().copied()).collect();
        let device = self.device(address, &sizes);
        let records: Vec<_> = dataports.iter().map(|size| (*size, 3)).collect();
        device.registers(name.as_bytes(), Registers::Extended(&records));
        self.bind(&device, "uio_pci_generic");
        device
    }

    /// Makes `driver` hold `device`; a FIFO stands for the UIO device.
    pub(crate) fn bind(&self, device: &Device, driver: &str) {
        symlink(self.driver(driver), device.folder.join("driver")).unwrap();
        if driver == "uio_pci_generic" {
            fs::create_dir_all(device.folder.join("uio").join(device.uio.file_name().unwrap())).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, &device.uio, rustix::fs::Mode::RWXU).unwrap();
        }
    }
}

impl Tree {
    /// Makes `driver`, a UIO driver that answers interrupts itself, hold `device` and map its first `maps` BARs. A file stands for the
    /// UIO device, which can be mapped: its first page shows what `resource0` shows now.
    pub(crate) fn mapped(&self, device: &Device, driver: &str, maps: usize) {
        symlink(self.driver(driver), device.folder.join("driver")).unwrap();
        let resource = fs::read_to_string(device.folder.join("resource")).unwrap();
        for (index, line) in resource.lines().take(maps).enumerate() {
            let [start, end] = [0, 1].map(|field| line.split(' ').nth(field).unwrap());
            let number = |text: &str| u64::from_str_radix(&text[2..], 16).unwrap();
            fs::create_dir_all(device.uio_folder().join(format!("maps/map{index}"))).unwrap();
            device.map_attribute(index, "addr", start);
            device.map_attribute(index, "offset", "0x0");
            device.map_attribute(index, "size", &format!("{:#018x}", number(end) - number(start) + 1));
        }
        device.interrupts(0);
        let file = File::create(&device.uio).unwrap();
        file.set_len(maps as u64 * rustix::param::page_size() as u64).unwrap();
        file.write_all_at(&device.peek("resource0", 0, 4096), 0).unwrap();
    }

    /// An extended connection that seL4's driver holds, with dataports of one page each.
    pub(crate) fn reference_driver(&self, address: &str, name: &str, dataports: usize) -> Device {
        let device = self.device(address, &vec![4096; dataports + 1]);
        device.registers(name.as_bytes(), Registers::Extended(&vec![(4096, 3); dataports]));
        self.mapped(&device, "connector", (dataports + 1).min(5));
        device
    }
}

impl Device {
    pub(crate) fn uio_folder(&self) -> PathBuf {
        self.folder.join("uio").join(self.uio.file_name().unwrap())
    }

    pub(crate) fn map_attribute(&self, index: usize, file: &str, text: &str) {
        fs::write(self.uio_folder().join(format!("maps/map{index}")).join(file), format!("{text}\n")).unwrap();
    }

    /// What the kernel says of the number of interrupts.
    pub(crate) fn interrupts(&self, count: u32) {
        fs::write(self.uio_folder().join("event"), format!("{count}\n")).unwrap();
    }

    /// From now on the UIO device is a FIFO, which can be waited for, and not mapped.
    pub(crate) fn becomes_fifo(&self) {
        fs::remove_file(&self.uio).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &self.uio, rustix::fs::Mode::RWXU).unwrap();
    }

    /// Makes the UIO device readable: `count` interrupts have come so far.
    pub(crate) fn report(&self, count: u32) {
        let mut uio = OpenOptions::new().read(true).write(true).open(&self.uio).unwrap();
        std::io::Write::write_all(&mut uio, &count.to_ne_bytes()).unwrap();
        // The bytes of a FIFO live as long as somebody has it open: the waiter does.
    }

    /// The bytes of map `index` of the UIO device.
    pub(crate) fn peek_map(&self, index: usize, offset: usize, length: usize) -> Vec<u8> {
        self.peek(self.uio.to_str().unwrap(), index * rustix::param::page_size() + offset, length)
    }
}

/// What the driver of guest/linux shows of a connection.
pub(crate) struct Node {
    pub(crate) device: PathBuf,
    pub(crate) folder: PathBuf,
}

/// What the device node is made of: a FIFO gives back what was written to it, and a file can be mapped.
pub(crate) enum Stand {
    Fifo,
    File,
}

impl Tree {
    /// Makes our own driver hold `device`, an extended connection called `name` with these dataports: size and rights.
    pub(crate) fn node(&self, device: &Device, name: &str, dataports: &[(u64, &str)], stand: Stand) -> Node {
        symlink(self.driver("crossvm"), device.folder.join("driver")).unwrap();
        let node = Node { device: self.path().join("dev/crossvm").join(name), folder: device.folder.join("crossvm").join(name) };
        fs::create_dir_all(&node.folder).unwrap();
        fs::create_dir_all(node.device.parent().unwrap()).unwrap();
        for (file, text) in
            [("name", name), ("profile", "extended"), ("version", "1"), ("interrupt", "msix"), ("dropped", "2"), ("pending", "3")]
        {
            node.attribute(file, text);
        }
        node.attribute("dataports", &dataports.len().to_string());
        for (index, (size, rights)) in dataports.iter().enumerate() {
            let file = |name| format!("dataport{index}/{name}");
            fs::create_dir_all(node.folder.join(file(""))).unwrap();
            node.attribute(&file("size"), &size.to_string());
            node.attribute(&file("rights"), rights);
            node.attribute(&file("bar"), &(index + 1).to_string());
        }
        match stand {
            Stand::Fifo => rustix::fs::mkfifoat(rustix::fs::CWD, &node.device, rustix::fs::Mode::RWXU).unwrap(),
            Stand::File => File::create(&node.device).unwrap().set_len((dataports.len() as u64) << spec::NODE_DATAPORT_SHIFT).unwrap(),
        }
        node
    }
}

impl Node {
    pub(crate) fn attribute(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), format!("{text}\n")).unwrap();
    }
}

impl Device {
    pub(crate) fn file(&self, name: &str, contents: &[u8]) {
        fs::write(self.folder.join(name), contents).unwrap();
    }

    pub(crate) fn sized(&self, name: &str, size: u64) {
        File::create(self.folder.join(name)).unwrap().set_len(size).unwrap();
    }

    pub(crate) fn registers(&self, name: &[u8], registers: Registers<'_>) {
        self.poke("resource0", spec::NAME, name);
        if let Registers::Extended(dataports) = registers {
            self.poke_u32(spec::SIGNATURE, spec::SIGNATURE_VALUE);
            self.poke_u32(spec::VERSION, 1);
            self.poke_u32(spec::DATAPORTS, dataports.len().try_into().unwrap());
            for (index, (size, rights)) in dataports.iter().enumerate() {
                let at = spec::DATAPORT_RECORDS + index * spec::DATAPORT_RECORD_LENGTH;
                self.poke("resource0", at, &size.to_le_bytes());
                self.poke_u32(at + spec::DATAPORT_RECORD_RIGHTS, *rights);
            }
        }
    }

    pub(crate) fn poke(&self, file: &str, offset: usize, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.folder.join(file)).unwrap();
        file.write_all_at(bytes, offset.try_into().unwrap()).unwrap();
    }

    pub(crate) fn poke_u32(&self, offset: usize, value: u32) {
        self.poke("resource0", offset, &value.to_le_bytes());
    }

    pub(crate) fn peek(&self, file: &str, offset: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        File::open(self.folder.join(file)).unwrap().read_exact_at(&mut bytes, offset.try_into().unwrap()).unwrap();
        bytes
    }

    pub(crate) fn peek_u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.peek("resource0", offset, 4).try_into().unwrap())
    }

    /// What the kernel's handler does on an interrupt: INTX_DISABLE is set, and the UIO device has something to read.
    pub(crate) fn interrupt(&self) {
        self.poke("config", 5, &[4]);
        self.report(1);
    }

    pub(crate) fn intx_disabled(&self) -> bool {
        self.peek("config", 5, 1) != [0]
    }
}
