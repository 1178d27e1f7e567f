//! The library with a UIO driver that answers interrupts itself, as seL4's own does, on fake sysfs trees.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{Registers, Tree};
use crossvm_guest::{
    Caching, Connection, DataportIndex, Endpoint, Error, EventCount, Fault, Patience, Prepared, Profile, Rights, UioConnection, spec,
};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

fn open(tree: &Tree, name: &str) -> UioConnection {
    match tree.system().endpoint(name).unwrap() {
        Endpoint::Uio(connection) => connection,
        other => panic!("{name} must be opened through its maps: {other:?}"),
    }
}

fn now() -> Patience {
    Patience::default().timeout(Duration::ZERO)
}

fn fault(tree: &Tree) -> Fault {
    match tree.system().endpoint("0000:00:01.0").and_then(|endpoint| endpoint.dataport(DataportIndex::FIRST)) {
        Err(Error::OddDevice { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_map_shows_the_registers_and_the_next_ones_dataports() {
    let tree = Tree::new();
    let device = tree.reference_driver("0000:00:01.0", "vm0_vm1", 2);
    let connection = open(&tree, "vm0_vm1");
    assert_eq!(connection.path(), device.uio);
    assert_eq!(connection.profile(), Profile::Extended { version: 1 });
    assert_eq!(connection.dropped(), Some(0));
    assert_eq!(device.peek_map(0, spec::EMIT, 4), [0; 4]);
    connection.emit();
    assert_ne!(device.peek_map(0, spec::EMIT, 4), [0; 4]);
    for (index, text) in [(0, b"zero"), (1, b"one!")] {
        let dataport = connection.dataport(DataportIndex::new(index)).unwrap();
        assert_eq!((dataport.size(), dataport.caching()), (4096, Caching::Cacheable));
        dataport.write(100, text).unwrap();
        assert_eq!(device.peek_map(usize::from(index) + 1, 100, 4), text);
    }
    assert!(matches!(connection.dataport(DataportIndex::new(2)), Err(Error::NoSuchDataport { count: 2, .. })));
    let functions = tree.system().functions().unwrap();
    let maps: Vec<_> = functions[0].uio_maps().unwrap().iter().map(|map| (map.index(), map.size())).collect();
    assert_eq!(maps, [(0, 4096), (1, 4096), (2, 4096)]);
}

#[test]
fn true_sizes_and_rights_are_known_where_the_device_tells_them() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096, 16 << 10]);
    device.registers(b"camera", Registers::Extended(&[(12 << 10, 1)]));
    tree.mapped(&device, "another_uio_driver", 2);
    let connection = open(&tree, "camera");
    let dataport = connection.dataport(DataportIndex::FIRST).unwrap();
    assert_eq!((dataport.size(), dataport.rights(), dataport.caching()), (12 << 10, Rights::Read, Caching::Device));
    assert!(matches!(dataport.write(0, b"x"), Err(Error::NoRight { .. })));

    let device = tree.device("0000:00:02.0", &[4096, 16 << 10]);
    device.registers(b"old", Registers::Reference);
    tree.mapped(&device, "connector", 2);
    let connection = open(&tree, "old");
    assert_eq!((connection.profile(), connection.dropped()), (Profile::Reference, None));
    let dataport = connection.dataport(DataportIndex::FIRST).unwrap();
    assert_eq!((dataport.size(), dataport.rights()), (16 << 10, Rights::ReadWrite));
}

#[test]
fn dataports_beyond_the_maps_are_left_out() {
    let tree = Tree::new();
    let device = tree.reference_driver("0000:00:01.0", "five", 5);
    assert_eq!(device.peek_map(0, spec::DATAPORTS, 1), [5]);
    assert_eq!(open(&tree, "five").dataports().len(), 4);
}

#[test]
fn a_driver_that_leaves_events_to_user_space_is_another_matter() {
    let tree = Tree::new();
    let theirs = tree.reference_driver("0000:00:01.0", "theirs", 1);
    let stock = tree.device("0000:00:02.0", &[4096, 4096]);
    stock.registers(b"stock", Registers::Extended(&[(4096, 3)]));
    // Later kernels have maps of uio_pci_generic too.
    tree.mapped(&stock, "uio_pci_generic", 2);
    assert!(matches!(tree.system().endpoint("stock").unwrap(), Endpoint::Registers(_)));
    assert!(matches!(tree.system().endpoint("theirs").unwrap(), Endpoint::Uio(_)));
    let functions = tree.system().functions().unwrap();
    let error = Connection::open(&functions[0]).unwrap_err();
    assert!(matches!(&error, Error::HasMaps { driver, .. } if driver == "connector"), "{error}");
    assert!(matches!(UioConnection::open(&functions[1]), Err(Error::NoMaps { .. })));
    // A driver without maps is none that could be used this way.
    fs::remove_dir_all(theirs.uio_folder().join("maps")).unwrap();
    assert!(matches!(tree.system().endpoint("theirs").unwrap(), Endpoint::Registers(_)));
}

#[test]
fn what_came_before_is_not_counted_and_what_came_since_is_counted_once() {
    let tree = Tree::new();
    let device = tree.reference_driver("0000:00:01.0", "ping", 1);
    device.interrupts(7);
    let connection = open(&tree, "ping");
    assert_eq!(connection.pending().unwrap(), EventCount::ZERO);
    device.becomes_fifo();
    // Since the connection was opened, before there was a waiter: the descriptor will not tell of these.
    device.interrupts(9);
    assert_eq!(connection.pending().unwrap(), EventCount::new(2));
    let mut waiter = connection.waiter().unwrap();
    assert_eq!(waiter.wait(now()).unwrap().map(|taken| taken.events), Some(EventCount::new(2)));
    assert_eq!(connection.pending().unwrap(), EventCount::ZERO);
    // The descriptor may tell of them once more.
    device.report(9);
    assert_eq!(waiter.wait(now()).unwrap(), None);
    device.report(12);
    assert_eq!(waiter.wait(now()).unwrap().map(|taken| taken.events), Some(EventCount::new(3)));
    // The next waiter goes on where this one has ended.
    drop(waiter);
    device.interrupts(13);
    assert_eq!(connection.waiter().unwrap().wait(now()).unwrap().map(|taken| taken.events), Some(EventCount::ONE));
}

#[test]
fn the_count_of_interrupts_wraps() {
    let tree = Tree::new();
    let device = tree.reference_driver("0000:00:01.0", "ping", 1);
    device.interrupts(u32::MAX);
    let connection = open(&tree, "ping");
    device.becomes_fifo();
    let mut waiter = connection.waiter().unwrap();
    assert_eq!(waiter.take().unwrap(), None);
    device.report(1);
    assert_eq!(waiter.take().unwrap(), Some(EventCount::new(2)));
}

#[test]
fn an_interrupt_wakes_a_sleeper_and_the_registers_are_left_to_the_driver() {
    let tree = Tree::new();
    let device = tree.reference_driver("0000:00:01.0", "ping", 1);
    device.poke(device.uio.to_str().unwrap(), spec::COUNT, &5_u32.to_le_bytes());
    let connection = open(&tree, "ping");
    let registers = fs::File::open(&device.uio).unwrap();
    device.becomes_fifo();
    let mut waiter = connection.waiter().unwrap();
    let begin = Instant::now();
    assert_eq!(waiter.wait(Patience::default().timeout(SHORT)).unwrap(), None);
    assert!(begin.elapsed() >= SHORT);
    let taken = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SHORT);
            device.report(1);
        });
        waiter.wait(Patience::default().timeout(LONG)).unwrap().expect("an interrupt")
    });
    assert_eq!(taken.events, EventCount::ONE);
    let mut bytes = [0; 4];
    for (register, expected) in [(spec::COUNT, 5_u32), (spec::ACK, 0)] {
        std::os::unix::fs::FileExt::read_exact_at(&registers, &mut bytes, register as u64).unwrap();
        assert_eq!(u32::from_le_bytes(bytes), expected);
    }
}

#[test]
fn only_one_waits_at_a_time() {
    let tree = Tree::new();
    let device = tree.reference_driver("0000:00:01.0", "ping", 1);
    let connection = open(&tree, "ping");
    device.becomes_fifo();
    let mut first = connection.waiter().unwrap();
    assert!(matches!(connection.waiter(), Err(Error::Busy { .. })));
    assert_eq!(first.prepare().unwrap(), Prepared::Armed);
    drop(first);
    connection.waiter().unwrap();
}

#[test]
fn maps_that_are_not_those_of_the_bars_are_refused() {
    for (index, file, text) in [
        (0, "addr", "nonsense"),
        (0, "addr", "0x50001000"),
        (0, "size", "0xfff"),
        (1, "size", "0x800"),
        (1, "offset", "-0x8"),
        (1, "offset", "0x1000000000"),
    ] {
        let tree = Tree::new();
        let device = tree.reference_driver("0000:00:01.0", "ping", 1);
        device.map_attribute(index, file, text);
        assert_eq!(fault(&tree), Fault::Maps, "map{index}/{file} = {text}");
    }
}

#[test]
fn a_function_whose_memory_is_off_is_not_touched() {
    let tree = Tree::new();
    let device = tree.reference_driver("0000:00:01.0", "ping", 1);
    device.poke("config", 4, &[0]);
    assert!(matches!(tree.system().endpoint("0000:00:01.0"), Err(Error::MemoryOff { .. })));
}
