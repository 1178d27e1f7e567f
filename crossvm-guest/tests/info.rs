//! `crossvm info`: all of one connection.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/command.rs"]
mod runner;

use common::{Registers, Stand, Tree};
use crossvm_guest::spec;
use runner::{fail, succeed, two_connections};
use serde_json::{Value, json};

fn info(tree: &Tree, name: &str) -> Value {
    serde_json::from_str(&succeed(tree, &["info", name, "--json"])).unwrap()
}

/// The value of a line of the text.
fn value<'a>(text: &'a str, title: &str) -> &'a str {
    text.lines().find_map(|line| line.strip_prefix(title)).unwrap_or_else(|| panic!("no {title} in {text}")).trim()
}

#[test]
fn the_stock_driver_has_a_line_a_uio_device_and_uncached_maps() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "bulk", &[65536, 4096]);
    device.file("irq", b"46\n");
    tree.irq(46, 36, "12,30", "uio_pci_generic,virtio0");
    device.poke_u32(spec::COUNT, 4);
    std::fs::remove_file(device.folder.join("resource2_wc")).unwrap();

    let json = info(&tree, "bulk");
    let uio = device.uio.display().to_string();
    for (key, expected) in [
        ("name", json!("bulk")),
        ("address", json!("0000:00:01.0")),
        ("driver", json!("uio_pci_generic")),
        ("device", json!(uio)),
        ("waits_on", json!(uio)),
        ("profile", json!("extended")),
        ("version", json!(1)),
        ("events", json!(4)),
        ("dropped", json!(0)),
    ] {
        assert_eq!(json[key], expected, "{key}");
    }
    let irq = json!({
        "irq": 46, "controller": "GICv2", "line": 36, "trigger": "level", "users": ["uio_pci_generic", "virtio0"], "count": 42
    });
    assert_eq!(json["interrupt"], json!({ "kind": "intx", "irqs": [irq] }));
    let dataport = json!({
        "index": 0, "bar": 1, "address": 0x6000_0000, "bar_size": 65536, "size": 65536, "rights": "rw", "caching": "write-combining"
    });
    assert_eq!((&json["dataports"][0], &json["dataports"][1]["caching"]), (&dataport, &json!("uncached")));
    assert_eq!(device.peek_u32(spec::COUNT), 4, "no event was taken");
    assert_eq!(device.peek_u32(spec::ACK), 0, "no event was taken");

    let text = succeed(&tree, &["info", "0000:00:01.0"]);
    assert_eq!(value(&text, "interrupt"), "INTx: irq 46 (GICv2 36), level, 42 times, shared by uio_pci_generic, virtio0");
    assert_eq!((value(&text, "waits on"), value(&text, "profile")), (uio.as_str(), "extended, version 1"));
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let last = text.lines().last().map(cells).unwrap();
    assert_eq!(last, ["1", "2", "0x70000000", "4096", "4096", "rw", "uncached"]);
}

#[test]
fn our_own_driver_has_messages_a_node_and_cacheable_maps() {
    let tree = Tree::new();
    let device = tree.device("0000:00:03.0", &[4096, 4096]);
    tree.node(&device, "own", &[(4096, "r-")], Stand::File);
    std::fs::create_dir(device.folder.join("msi_irqs")).unwrap();
    device.file("msi_irqs/51", b"msix\n");
    device.file("irq", b"46\n");
    let json = info(&tree, "own");
    let node = tree.path().join("dev/crossvm/own").display().to_string();
    assert_eq!((&json["waits_on"], &json["events"], &json["dropped"]), (&json!(node), &json!(3), &json!(2)));
    assert_eq!((&json["interrupt"]["kind"], &json["interrupt"]["irqs"][0]["irq"]), (&json!("msix"), &json!(51)));
    assert_eq!((&json["dataports"][0]["caching"], &json["dataports"][0]["rights"]), (&json!("cacheable"), &json!("r-")));
    let text = succeed(&tree, &["info", "own"]);
    assert_eq!(value(&text, "interrupt"), "MSI-X: irq 51", "a kernel that tells no more is no mistake");
}

#[test]
fn without_a_driver_it_says_how_to_get_one() {
    let tree = Tree::new();
    tree.device("0000:00:01.0", &[4096]).registers(b"ping", Registers::Reference);
    let text = succeed(&tree, &["info", "ping"]);
    assert!(value(&text, "waits on").ends_with("run `crossvm bind` as root"), "{text}");
    assert!(value(&text, "interrupt").starts_with("none"), "{text}");
    assert_eq!((value(&text, "driver"), value(&text, "dropped"), value(&text, "profile")), ("-", "-", "reference"));
    let json = info(&tree, "ping");
    assert_eq!((&json["waits_on"], &json["interrupt"], &json["dataports"]), (&Value::Null, &Value::Null, &json!([])));
}

#[test]
fn memory_that_is_off_is_no_crash() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[]);
    device.poke("config", 4, &[0]);
    assert!(fail(&tree, &["info", "ping"], 1).contains("has not switched on 0000:00:01.0: run `crossvm bind` as root"));
}

#[test]
fn unknown_names_are_answered_with_the_known() {
    assert!(fail(&two_connections(), &["info", "pong"], 1).contains("no connection is named 'pong'; there are: reverse, ping"));
    assert!(fail(&Tree::new(), &["info", "pong"], 1).contains("no connections"));
    fail(&two_connections(), &["info"], 2);
}
