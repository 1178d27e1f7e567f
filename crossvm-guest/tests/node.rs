//! The library with our own driver, on fake sysfs trees. The driver itself is tested in real guests.
#![cfg(target_os = "linux")]

mod common;

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use common::{Stand, Tree};
use crossvm_guest::{Caching, DataportIndex, Endpoint, Error, EventCount, Fault, Interrupt, Node, Patience, Profile, Rights, spec};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(60);

fn node(tree: &Tree, name: &str) -> Node {
    match tree.system().endpoint(name).unwrap() {
        Endpoint::Node(node) => node,
        _ => panic!("{name} must be opened through its node"),
    }
}

#[test]
fn a_node_tells_what_sysfs_says() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096, 1 << 20, 4096]);
    tree.node(&device, "camera", &[(0x9000, "r-"), (4096, "rw")], Stand::File);
    let node = node(&tree, "camera");
    assert_eq!((node.name(), node.address().to_string()), ("camera", "0000:00:01.0".to_owned()));
    assert_eq!((node.profile(), node.interrupt()), (Profile::Extended { version: 1 }, Interrupt::Msix));
    assert_eq!((node.pending().unwrap(), node.dropped().unwrap()), (EventCount::new(3), Some(2)));
    let found: Vec<_> = node.dataports().iter().map(|info| (info.size(), info.bar().size(), info.rights())).collect();
    assert_eq!(found, [(0x9000, 1 << 20, Rights::Read), (4096, 4096, Rights::ReadWrite)]);
}

#[test]
fn each_connection_is_opened_through_the_driver_that_holds_it() {
    let tree = Tree::new();
    tree.connection("0000:00:01.0", "stock", &[4096]);
    let device = tree.device("0000:00:02.0", &[4096, 4096]);
    tree.node(&device, "own", &[(4096, "rw")], Stand::File);
    assert!(matches!(tree.system().endpoint("stock").unwrap(), Endpoint::Registers(_)));
    assert!(matches!(tree.system().endpoint("own").unwrap(), Endpoint::Node(_)));
    assert!(matches!(tree.system().endpoint("0000:00:02.0").unwrap(), Endpoint::Node(_)), "an address will do as a name");
    let functions = tree.system().functions().unwrap();
    assert!(matches!(Node::open(&functions[0]), Err(Error::NoNode { .. })));
    let error = tree.system().open("0000:00:02.0").unwrap_err();
    assert!(matches!(&error, Error::HasNode { device, .. } if device.ends_with("dev/crossvm/own")), "{error}");
}

#[test]
fn events_are_taken_in_whole_numbers_and_waiting_ends_in_time() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096]);
    tree.node(&device, "ping", &[], Stand::Fifo);
    let node = node(&tree, "ping");
    let mut waiter = node.waiter().unwrap();
    let begin = Instant::now();
    assert_eq!(waiter.wait(Patience::default().timeout(SHORT)).unwrap(), None);
    assert!(begin.elapsed() >= SHORT);

    // The FIFO gives back what was written: one number for each write.
    node.emit(EventCount::new(7)).unwrap();
    let taken = waiter.wait(Patience::default().timeout(LONG)).unwrap().unwrap();
    assert_eq!((taken.events, taken.sleeps), (EventCount::new(7), 0));
    let writer = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            std::thread::sleep(SHORT);
            node.emit(EventCount::ONE).unwrap();
        });
        let taken = waiter.wait(Patience::default().timeout(LONG)).unwrap().unwrap();
        assert_eq!(taken.events, EventCount::ONE);
        writer.join()
    });
    writer.unwrap();
}

#[test]
fn more_signals_than_one_write_can_send_take_several() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096]);
    tree.node(&device, "ping", &[], Stand::Fifo);
    let node = node(&tree, "ping");
    let mut waiter = node.waiter().unwrap();
    node.emit(EventCount::ZERO).unwrap();
    assert_eq!(waiter.wait(Patience::default().timeout(Duration::ZERO)).unwrap(), None, "no signal is no write");
    let most = u32::try_from(spec::NODE_MAX_EMITS).unwrap();
    node.emit(EventCount::new(2 * most + 1)).unwrap();
    for expected in [most, most, 1] {
        assert_eq!(waiter.wait(Patience::default()).unwrap().unwrap().events.get(), expected);
    }
}

#[test]
fn only_one_waits_at_a_time() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096]);
    tree.node(&device, "ping", &[], Stand::Fifo);
    let node = node(&tree, "ping");
    let first = node.waiter().unwrap();
    assert!(matches!(node.waiter(), Err(Error::Busy { .. })));
    drop(first);
    node.waiter().unwrap();
}

#[test]
fn each_dataport_is_mapped_at_its_own_offset() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096, 4096, 8192]);
    let files = tree.node(&device, "bulk", &[(4096, "rw"), (8192, "rw")], Stand::File);
    let node = node(&tree, "bulk");
    for (index, text) in [(0, b"zero"), (1, b"one!")] {
        let dataport = node.dataport(DataportIndex::new(index)).unwrap();
        assert_eq!((dataport.size(), dataport.caching()), (4096 << index, Caching::Cacheable));
        dataport.write(100, text).unwrap();
        let mut bytes = [0; 4];
        let file = std::fs::File::open(&files.device).unwrap();
        file.read_exact_at(&mut bytes, (u64::from(index) << spec::NODE_DATAPORT_SHIFT) + 100).unwrap();
        assert_eq!(&bytes, text);
    }
    assert!(matches!(node.dataport(DataportIndex::new(2)), Err(Error::NoSuchDataport { count: 2, .. })));
}

#[test]
fn what_sysfs_cannot_mean_is_refused() {
    let odd = [
        ("profile", "other"),
        ("version", ""),
        ("interrupt", "msi"),
        ("dataports", "6"),
        ("dataports", "-1"),
        ("dataport0/rights", "rwx"),
        ("dataport0/bar", "2"),
        ("dataport0/size", "0x1000"),
    ];
    for (file, text) in odd {
        let tree = Tree::new();
        let device = tree.device("0000:00:01.0", &[4096, 4096]);
        tree.node(&device, "ping", &[(4096, "rw")], Stand::File).attribute(file, text);
        match tree.system().endpoint("ping").unwrap_err() {
            Error::OddDevice { fault: Fault::Attribute { file: named }, .. } => assert_eq!(named, file),
            other => panic!("{file}={text}: {other}"),
        }
    }
    for name in ["", "bad\x1b[2Jname"] {
        let tree = Tree::new();
        let device = tree.device("0000:00:01.0", &[4096]);
        tree.node(&device, "ping", &[], Stand::File).attribute("name", name);
        let error = tree.system().endpoint("0000:00:01.0").unwrap_err();
        assert!(matches!(error, Error::OddDevice { fault: Fault::Name, .. }), "{error}");
    }
    for size in ["0", "4097"] {
        let tree = Tree::new();
        let device = tree.device("0000:00:01.0", &[4096, 4096]);
        tree.node(&device, "ping", &[(4096, "rw")], Stand::File).attribute("dataport0/size", size);
        let error = tree.system().endpoint("ping").unwrap_err();
        assert!(matches!(error, Error::OddDevice { fault: Fault::DataportSize { .. }, .. }), "{error}");
    }
}
