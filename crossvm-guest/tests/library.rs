//! The library on fake sysfs trees: finding, opening, using, waiting, binding.
#![cfg(target_os = "linux")]

mod common;

use std::time::Duration;

use common::{Registers, Tree};
use crossvm_guest::{Caching, Connection, DataportIndex, Error, EventCount, Fault, Patience, Profile, Rights, Scope, spec};

const MIB: u64 = 1 << 20;

fn open(tree: &Tree, name: &str) -> Connection {
    tree.system().open(name).unwrap()
}

#[test]
fn connections_are_found_in_the_order_of_their_addresses() {
    let tree = Tree::new();
    tree.connection("0000:00:02.0", "bulk", &[MIB]);
    tree.connection("0000:00:01.0", "reverse", &[4096]);
    let other = tree.device("0000:00:00.0", &[]);
    other.file("device", b"0x0008\n");
    let functions = tree.system().functions().unwrap();
    let addresses: Vec<_> = functions.iter().map(|function| function.address().to_string()).collect();
    assert_eq!(addresses, ["0000:00:01.0", "0000:00:02.0"]);
    assert_eq!(functions[0].driver(), Some("uio_pci_generic"));
    assert_eq!(open(&tree, "bulk").address(), functions[1].address());
    assert_eq!(open(&tree, "0000:00:02.0").name(), "bulk", "an address will do as a name");
}

#[test]
fn a_name_that_does_not_exist_is_answered_with_those_that_do() {
    let tree = Tree::new();
    assert!(matches!(tree.system().open("ping"), Err(Error::NoConnections)));
    tree.connection("0000:00:01.0", "reverse", &[4096]);
    tree.connection("0000:00:02.0", "bulk", &[4096]);
    tree.connection("0000:00:03.0", "", &[4096]);
    let error = tree.system().open("ping").unwrap_err().to_string();
    assert!(error.contains("'ping'") && error.contains("reverse, bulk") && error.contains("0000:00:03.0"), "{error}");
}

#[test]
fn a_name_that_two_bear_needs_an_address() {
    let tree = Tree::new();
    tree.connection("0000:00:01.0", "connector", &[4096]);
    tree.connection("0000:00:02.0", "connector", &[4096]);
    let error = tree.system().open("connector").unwrap_err().to_string();
    assert!(error.contains("0000:00:01.0 0000:00:02.0"), "{error}");
    assert_eq!(open(&tree, "0000:00:02.0").address().to_string(), "0000:00:02.0");
}

#[test]
fn a_system_without_pci_has_no_connections_and_one_without_sysfs_is_an_error() {
    let tree = Tree::new();
    std::fs::remove_dir_all(tree.path().join("sys/bus/pci")).unwrap();
    assert_eq!(tree.system().functions().unwrap(), []);
    std::fs::remove_dir_all(tree.path().join("sys/bus")).unwrap();
    assert!(matches!(tree.system().functions(), Err(Error::Io { .. })));
}

#[test]
fn true_sizes_and_rights_come_from_the_extended_registers() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096, 2 * MIB, 4096]);
    device.registers(b"camera", Registers::Extended(&[(MIB + 4096, 1), (4096, 2)]));
    let connection = open(&tree, "camera");
    assert_eq!(connection.events().profile(), Profile::Extended { version: 1 });
    let found: Vec<_> = connection.dataports().iter().map(|info| (info.size(), info.bar().size(), info.rights())).collect();
    assert_eq!(found, [(MIB + 4096, 2 * MIB, Rights::Read), (4096, 4096, Rights::Write)]);

    let read_only = connection.dataport(DataportIndex::new(0)).unwrap();
    assert_eq!(read_only.size() as u64, MIB + 4096, "what lies behind the true size is out of reach");
    read_only.read(0, &mut [0; 8]).unwrap();
    assert!(matches!(read_only.write(0, &[1]), Err(Error::NoRight { needed: Rights::Write, granted: Rights::Read })));
    let write_only = connection.dataport(DataportIndex::new(1)).unwrap();
    write_only.write(4095, &[1]).unwrap();
    assert!(matches!(write_only.read(0, &mut [0]), Err(Error::NoRight { needed: Rights::Read, granted: Rights::Write })));
    assert!(matches!(connection.dataport(DataportIndex::new(2)), Err(Error::NoSuchDataport { count: 2, .. })));
}

#[test]
fn a_reference_device_has_what_its_bars_say() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096, 65536]);
    device.registers(b"old", Registers::Reference);
    let connection = open(&tree, "old");
    assert_eq!(connection.events().profile(), Profile::Reference);
    assert_eq!(connection.events().dropped(), None);
    let [info] = connection.dataports() else { panic!("one dataport") };
    assert_eq!((info.size(), info.rights()), (65536, Rights::ReadWrite));

    device.poke_u32(spec::COUNT, 3);
    let one = EventCount::ONE;
    assert_eq!(connection.events().take(one), Some(EventCount::new(3)), "there is no taking a part");
    assert_eq!(device.peek_u32(spec::COUNT), 0);
    assert_eq!(device.peek_u32(spec::ACK), 0);
    assert_eq!(connection.events().take(one), None);
}

#[test]
fn events_are_taken_through_ack_and_emitted_through_emit() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[4096]);
    let connection = open(&tree, "ping");
    connection.emit();
    assert_ne!(device.peek_u32(spec::EMIT), 0);
    device.poke_u32(spec::COUNT, 5);
    assert_eq!(connection.events().count(), EventCount::new(5));
    assert_eq!(connection.events().take(EventCount::ZERO), None);
    assert_eq!(device.peek_u32(spec::ACK), 0);
    assert_eq!(connection.events().take(EventCount::new(2)), Some(EventCount::new(2)));
    assert_eq!(device.peek_u32(spec::ACK), 2);
    assert_eq!(connection.events().take(EventCount::MAX), Some(EventCount::new(5)));
    assert_eq!(device.peek_u32(spec::ACK), 5);
    assert_eq!(device.peek_u32(spec::COUNT), 5, "COUNT itself is the device's to change");
    device.poke_u32(spec::DROPPED, 7);
    assert_eq!(connection.events().dropped(), Some(7));
}

#[test]
fn write_combining_is_preferred_and_the_plain_file_will_do() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "bulk", &[4096]);
    let connection = open(&tree, "bulk");
    let dataport = connection.dataport(DataportIndex::FIRST).unwrap();
    assert_eq!(dataport.caching(), Caching::WriteCombining);
    dataport.write(9, b"hello").unwrap();
    assert_eq!(device.peek("resource1_wc", 9, 5), b"hello");
    assert_eq!(device.peek("resource1", 9, 5), [0; 5]);

    std::fs::remove_file(device.folder.join("resource1_wc")).unwrap();
    let dataport = connection.dataport(DataportIndex::FIRST).unwrap();
    assert_eq!(dataport.caching(), Caching::Device);
    dataport.write(9, b"world").unwrap();
    assert_eq!(device.peek("resource1", 9, 5), b"world");
}

#[test]
fn a_range_outside_the_dataport_is_refused_as_a_whole() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "bulk", &[4096]);
    let dataport = open(&tree, "bulk").dataport(DataportIndex::FIRST).unwrap();
    for offset in [4093, 4096, usize::MAX] {
        assert!(matches!(dataport.write(offset, b"1234"), Err(Error::OutOfRange { size: 4096, .. })), "{offset}");
        assert!(matches!(dataport.read(offset, &mut [0; 4]), Err(Error::OutOfRange { .. })), "{offset}");
    }
    assert_eq!(device.peek("resource1_wc", 0, 4096), [0; 4096]);
}

#[test]
fn a_bar_smaller_than_a_page_may_begin_inside_one() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[256]);
    device.file("resource", b"0x0000000050000400 0x00000000500004ff 0x0000000000042208\n");
    // The kernel maps whole pages: what is at 0x400 of the file's first page is the BAR's first byte.
    device.sized("resource0", 4096);
    device.poke("resource0", 0x400 + spec::NAME, b"small");
    assert_eq!(open(&tree, "small").name(), "small");
}

#[test]
fn an_interrupt_wakes_the_waiter_and_is_enabled_again() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[4096]);
    device.poke("config", 4, &[0xff, 0xff]);
    let connection = open(&tree, "ping");
    let mut waiter = connection.waiter().unwrap();
    let taken = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Only an enabled interrupt comes.
            let begin = std::time::Instant::now();
            while device.peek("config", 5, 1) != [0xfb] {
                assert!(begin.elapsed() < Duration::from_secs(20), "the interrupt is not enabled");
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(device.peek("config", 4, 1), [0xff], "the other bits of the command register keep their value");
            device.poke_u32(spec::COUNT, 2);
            device.interrupt();
        });
        waiter.wait(Patience::default().timeout(Duration::from_secs(30))).unwrap().expect("an event")
    });
    // How often it slept depends on when the thread came.
    assert_eq!(taken.events, EventCount::new(2));
    assert_eq!(device.peek_u32(spec::ACK), 2);
}

#[test]
fn without_an_event_the_waiter_gives_up_in_time() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[4096]);
    let connection = open(&tree, "ping");
    let mut waiter = connection.waiter().unwrap();
    // An interrupt without an event: the line is shared.
    device.interrupt();
    let begin = std::time::Instant::now();
    assert_eq!(waiter.wait(Patience::default().timeout(Duration::from_millis(50))).unwrap(), None);
    assert!(begin.elapsed() >= Duration::from_millis(50));
    assert!(!device.intx_disabled());
    assert_eq!(device.peek_u32(spec::ACK), 0);
}

#[test]
fn only_one_waits_at_a_time() {
    let tree = Tree::new();
    tree.connection("0000:00:01.0", "ping", &[4096]);
    let connection = open(&tree, "ping");
    let first = connection.waiter().unwrap();
    assert!(matches!(connection.waiter(), Err(Error::Busy { .. })));
    drop(first);
    connection.waiter().unwrap();
}

#[test]
fn without_a_uio_device_waiting_says_how_to_get_one() {
    let tree = Tree::new();
    tree.device("0000:00:01.0", &[4096]).registers(b"free", Registers::Reference);
    let held = tree.device("0000:00:02.0", &[4096]);
    held.registers(b"held", Registers::Reference);
    tree.bind(&held, "crossvm");
    let error = open(&tree, "free").waiter().unwrap_err().to_string();
    assert!(error.contains("`crossvm bind`"), "{error}");
    let error = open(&tree, "held").waiter().unwrap_err().to_string();
    assert!(error.contains("'crossvm'") && error.contains("`crossvm bind --all`"), "{error}");
}

#[test]
fn binding_needs_the_module() {
    let tree = Tree::new();
    assert!(matches!(tree.system().bind(Scope::Free), Err(Error::NoConnections)));
    tree.device("0000:00:01.0", &[4096]);
    let error = tree.system().bind(Scope::Free).unwrap_err();
    assert!(matches!(error, Error::DriverMissing));
    assert!(error.to_string().contains("modprobe uio_pci_generic"));
}

#[test]
fn binding_again_does_no_harm() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[4096]);
    for _ in 0..2 {
        let bound = tree.system().bind(Scope::All).unwrap();
        assert_eq!(bound.iter().map(|bound| &bound.device).collect::<Vec<_>>(), [&device.uio]);
    }
    let driver = tree.path().join("sys/bus/pci/drivers/uio_pci_generic");
    assert_eq!(std::fs::read_to_string(driver.join("new_id")).unwrap(), "1af4 a111");
    assert_eq!(std::fs::read_to_string(driver.join("bind")).unwrap(), "");
    assert_eq!(std::fs::read_to_string(driver.join("unbind")).unwrap(), "");
}

#[test]
fn a_function_that_the_driver_does_not_take_is_an_error() {
    let tree = Tree::new();
    let driver = tree.driver("uio_pci_generic");
    tree.device("0000:00:01.0", &[4096]);
    assert!(matches!(tree.system().bind(Scope::Free), Err(Error::BindFailed { source: None, .. })));
    assert_eq!(std::fs::read_to_string(driver.join("bind")).unwrap(), "0000:00:01.0");
}

#[test]
fn other_drivers_keep_their_functions_unless_all_are_asked_for() {
    let tree = Tree::new();
    tree.driver("uio_pci_generic");
    let device = tree.device("0000:00:01.0", &[4096]);
    tree.bind(&device, "crossvm");
    assert_eq!(tree.system().bind(Scope::Free).unwrap(), []);
    assert_eq!(std::fs::read_to_string(device.folder.join("driver/unbind")).unwrap(), "");
    // The files of this tree change no driver, so in the end the function is still the other's.
    assert!(matches!(tree.system().bind(Scope::All), Err(Error::BindFailed { .. })));
    assert_eq!(std::fs::read_to_string(device.folder.join("driver/unbind")).unwrap(), "0000:00:01.0");
}

#[test]
fn a_function_whose_memory_is_off_is_not_touched() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[4096]);
    device.poke("config", 4, &[0]);
    assert!(matches!(tree.system().open("ping"), Err(Error::MemoryOff { .. })));
}

fn fault(tree: &Tree) -> Fault {
    match tree.system().open("0000:00:01.0") {
        Err(Error::OddDevice { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_are_printable_ascii_padded_with_zeros() {
    let mut behind_padding = [0; 48];
    behind_padding[0] = b'a';
    behind_padding[47] = b'b';
    for bad in [&b""[..], b"caf\xc3\xa9", b"a\x1b[2Jb", b"tab\there", b"\xff", b"\x7f", &behind_padding] {
        let tree = Tree::new();
        tree.device("0000:00:01.0", &[4096]).registers(bad, Registers::Reference);
        assert_eq!(fault(&tree), Fault::Name, "{bad:?}");
    }
    let tree = Tree::new();
    tree.device("0000:00:01.0", &[4096]).registers(&[b'n'; 48], Registers::Reference);
    assert_eq!(open(&tree, &"n".repeat(48)).name().len(), 48);
}

#[test]
fn claims_that_the_bars_do_not_bear_out_are_refused() {
    let index = DataportIndex::FIRST;
    for (records, expected) in [
        (&[(8192, 3)][..], Fault::DataportSize { index, claimed: 8192, bar: 4096 }),
        (&[(0, 3)], Fault::DataportSize { index, claimed: 0, bar: 4096 }),
        (&[(u64::MAX, 3)], Fault::DataportSize { index, claimed: u64::MAX, bar: 4096 }),
        (&[(4096, 3), (4096, 3)], Fault::TooManyDataports { claimed: 2, bars: 1 }),
    ] {
        let tree = Tree::new();
        tree.device("0000:00:01.0", &[4096, 4096]).registers(b"odd", Registers::Extended(records));
        assert_eq!(fault(&tree), expected);
    }
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096, 4096]);
    device.registers(b"odd", Registers::Extended(&[]));
    device.poke_u32(spec::DATAPORTS, u32::MAX);
    assert_eq!(fault(&tree), Fault::TooManyDataports { claimed: u32::MAX, bars: 1 });
    device.poke_u32(spec::VERSION, 0);
    assert_eq!(fault(&tree), Fault::Version);
}

#[test]
fn bars_that_cannot_be_are_refused() {
    let tree = Tree::new();
    let device = tree.device("0000:00:01.0", &[4096]);
    device.registers(b"odd", Registers::Reference);
    device.sized("resource0", 100);
    assert_eq!(fault(&tree), Fault::ShortBar { bar: 0 });
    device.file("resource", b"0x0000000050000000 0x000000005000001f 0x0000000000042208\n");
    assert_eq!(fault(&tree), Fault::EventPage);
    device.file("resource", b"0x0000000000000000 0x0000000000000fff 0x0000000020042208\n");
    assert_eq!(fault(&tree), Fault::EventPage);
    device.file("resource", b"0x0000000000000001 0xffffffffffffffff 0x0000000000042208\n");
    assert_eq!(fault(&tree), Fault::ShortBar { bar: 0 });
    device.file("resource", b"\xff\xfe");
    assert_eq!(fault(&tree), Fault::Resources);
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_contents_panic_or_reach_outside_the_bars(
            noise in prop::collection::vec(any::<u8>(), spec::EXTENDED_END),
            signed in any::<bool>(),
            named in any::<bool>(),
            count in 0_u32..8,
        ) {
            let tree = Tree::new();
            let device = tree.device("0000:00:01.0", &[4096, 8192, 4096]);
            device.poke("resource0", 0, &noise);
            if named {
                device.poke("resource0", spec::NAME, &[0; spec::NAME_LENGTH]);
                device.poke("resource0", spec::NAME, b"noise");
            }
            if signed {
                device.poke_u32(spec::SIGNATURE, spec::SIGNATURE_VALUE);
                device.poke_u32(spec::DATAPORTS, count);
                for (index, byte) in noise.iter().enumerate().take(spec::MAX_DATAPORTS) {
                    // Sizes small enough to be believed now and then.
                    let record = spec::DATAPORT_RECORDS + index * spec::DATAPORT_RECORD_LENGTH;
                    device.poke("resource0", record + 1, &[byte % 64, 0, 0, 0, 0, 0, 0]);
                }
            }
            match tree.system().open("0000:00:01.0") {
                Ok(connection) => {
                    prop_assert!(named);
                    for info in connection.dataports() {
                        prop_assert!(info.size() > 0 && info.size() <= info.bar().size());
                        let dataport = connection.dataport(info.index()).unwrap();
                        let last = usize::try_from(info.size()).unwrap() - 1;
                        let _ = dataport.read(last, &mut [0]);
                        prop_assert!(dataport.read(last, &mut [0; 2]).is_err());
                        prop_assert!(dataport.write(last, &[0; 2]).is_err());
                    }
                    let _ = connection.events().take(EventCount::MAX);
                }
                Err(error) => prop_assert!(matches!(error, Error::OddDevice { .. }), "{}", error),
            }
        }
    }
}
