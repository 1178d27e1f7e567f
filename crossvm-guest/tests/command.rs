//! The `crossvm` command on fake sysfs trees: output, messages and exit status.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/command.rs"]
mod runner;

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use common::{Registers, Stand, Tree};
use crossvm_guest::spec;
use runner::{command, fail, run, succeed, two_connections};

#[test]
fn list_shows_all_connections_and_what_is_wrong_with_them() {
    let tree = two_connections();
    tree.device("0000:00:03.0", &[4096]).registers(b"bad\x1b[2Jname", Registers::Reference);
    let table = succeed(&tree, &["list"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[1].starts_with("reverse  0000:00:01.0  uio_pci_generic"), "{table}");
    assert!(lines[2].contains("0: 4096 in 4096 at 0x60000000 (BAR 1), rw, 1: 8192 in 8192 at 0x70000000 (BAR 2), rw"), "{table}");
    assert!(lines[3].starts_with('?') && lines[3].contains("NAME"), "{table}");
    assert!(!table.contains('\x1b'), "nothing of the device reaches the terminal unchecked");
}

#[test]
fn list_as_json_is_for_programs() {
    let tree = two_connections();
    let device = tree.device("0000:00:03.0", &[4096]);
    device.registers(b"", Registers::Reference);
    let list: serde_json::Value = serde_json::from_str(&succeed(&tree, &["list", "--json"])).unwrap();
    assert_eq!(list[0]["name"], "reverse");
    assert_eq!(list[0]["profile"], "extended");
    assert_eq!(list[0]["dataports"][0]["size"], 65536);
    assert_eq!(list[1]["dataports"][1]["rights"], "rw");
    assert!(list[2]["error"].as_str().unwrap().contains("NAME"));
    let none = Tree::new();
    assert_eq!(succeed(&none, &["list", "--json"]), "[]\n");
    assert!(fail(&none, &["list"], 1).contains("no connections"));
}

#[test]
fn emit_signals_and_unknown_names_are_answered_with_the_known() {
    let tree = two_connections();
    succeed(&tree, &["emit", "ping", "--count", "3"]);
    assert_eq!(std::fs::read(tree.path().join("sys/bus/pci/devices/0000:00:02.0/resource0")).unwrap()[0], 1);
    assert!(fail(&tree, &["emit", "pong"], 1).contains("reverse, ping"));
}

#[test]
fn wait_takes_what_is_there_and_prints_how_many() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[4096]);
    device.poke_u32(spec::COUNT, 4);
    assert_eq!(succeed(&tree, &["wait", "ping"]), "4\n");
    assert_eq!(device.peek_u32(spec::ACK), 4);
    assert_eq!(succeed(&tree, &["wait", "ping", "--count", "3", "--timeout", "5"]), "3\n");
    assert_eq!(device.peek_u32(spec::ACK), 3);
    assert_eq!(succeed(&tree, &["wait", "ping", "--json"]), "{\"connection\":\"ping\",\"events\":4,\"timed_out\":false}\n");
}

#[test]
fn wait_times_out_with_a_status_of_its_own() {
    let tree = two_connections();
    let output = run(&tree, &["wait", "ping", "--timeout", "0.05"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b"0\n"[..]));
    assert!(String::from_utf8_lossy(&output.stderr).contains("0 of 1 events of 'ping'"));
    let output = run(&tree, &["wait", "ping", "--timeout", "0.05", "--json"]);
    assert_eq!((output.status.code(), output.stdout.ends_with(b"\"timed_out\":true}\n")), (Some(3), true), "{output:?}");
}

#[test]
fn what_is_written_is_read() {
    let tree = two_connections();
    succeed(&tree, &["write", "reverse", "hello there", "--line", "--offset", "0x11"]);
    assert_eq!(succeed(&tree, &["read", "reverse", "--line", "--offset", "17"]), "hello there\n");
    assert_eq!(succeed(&tree, &["read", "reverse", "--offset", "23", "--length", "5"]), "there");
    assert_eq!(run(&tree, &["read", "reverse"]).stdout.len(), 65536);
    assert_eq!(run(&tree, &["read", "reverse", "--offset", "65535"]).stdout.len(), 1);
    assert!(fail(&tree, &["read", "reverse", "--line", "--offset", "40"], 1).contains("no line feed"));
}

#[test]
fn write_takes_standard_input_all_or_nothing() {
    let tree = two_connections();
    let write = |bytes: &[u8], offset: &str| {
        let mut command = command(&tree, &["write", "ping", "--dataport", "1", "--offset", offset]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that needs no more of it closes its end.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        child.wait_with_output().unwrap()
    };
    let bytes: Vec<u8> = (0..8192_u16).map(|number| number.to_le_bytes()[0]).collect();
    assert!(write(&bytes, "0").status.success());
    assert_eq!(run(&tree, &["read", "ping", "--dataport", "1"]).stdout, bytes);
    let refused = write(&[0xee; 8192], "1");
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("8192 bytes from offset 1"));
    assert!(!write(&[0xee; 100_000], "0").status.success());
    assert_eq!(run(&tree, &["read", "ping", "--dataport", "1"]).stdout, bytes, "nothing of it was written");
}

#[test]
fn ranges_and_dataports_that_do_not_exist_are_refused() {
    let tree = two_connections();
    assert!(fail(&tree, &["read", "ping", "--length", "4097"], 1).contains("4096 bytes"));
    assert!(fail(&tree, &["read", "ping", "--offset", "0xffffffffffffffff"], 1).contains("do not lie"));
    assert!(fail(&tree, &["read", "ping", "--offset", "4097", "--line"], 1).contains("do not lie"));
    assert!(fail(&tree, &["write", "ping", "x", "--dataport", "2"], 1).contains("it has 0 to 1"));
    assert!(fail(&tree, &["write", "reverse", "x", "--dataport", "255"], 1).contains("its only one is 0"));
}

#[test]
fn wrong_usage_has_a_status_of_its_own() {
    let tree = two_connections();
    for arguments in [
        &["frobnicate"][..],
        &[],
        &["emit"],
        &["emit", "ping", "--count", "0"],
        &["wait", "ping", "--timeout", "-1"],
        &["read", "ping", "--line", "--length", "3"],
        &["read", "ping", "--dataport", "256"],
    ] {
        fail(&tree, arguments, 2);
    }
}

#[test]
fn bind_prints_what_is_bound_and_names_the_missing_module() {
    let tree = two_connections();
    let printed = succeed(&tree, &["bind"]);
    assert!(printed.starts_with("0000:00:01.0 ") && printed.lines().count() == 2, "{printed}");
    let json: serde_json::Value = serde_json::from_str(&succeed(&tree, &["bind", "--json"])).unwrap();
    assert_eq!((json[1]["address"].as_str(), json.as_array().unwrap().len()), (Some("0000:00:02.0"), 2));
    std::fs::remove_dir_all(tree.path().join("sys/bus/pci/drivers/uio_pci_generic")).unwrap();
    assert!(fail(&tree, &["bind"], 1).contains("modprobe uio_pci_generic"));
}

#[test]
fn without_the_right_it_says_to_be_root() {
    let tree = Tree::new();
    let device = tree.connection("0000:00:01.0", "ping", &[4096]);
    let closed = |path: &std::path::Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    // Where the test runs as root, the command runs as somebody else, from a place that everybody can reach.
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    std::fs::set_permissions(tree.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = tree.path().join("crossvm");
    std::fs::copy(env!("CARGO_BIN_EXE_crossvm"), &copy).unwrap();
    let new_id = tree.path().join("sys/bus/pci/drivers/uio_pci_generic/new_id");
    let own = tree.device("0000:00:02.0", &[4096]);
    let node = tree.node(&own, "own", &[], Stand::File).device;
    // Each is what it fails at: those before it are open to all.
    std::fs::set_permissions(device.folder.join("resource0"), std::fs::Permissions::from_mode(0o666)).unwrap();
    for (file, arguments) in [
        (device.uio, ["wait", "ping"].as_slice()),
        (new_id, &["bind"]),
        (node, &["emit", "own"]),
        (device.folder.join("resource0"), &["info", "ping"]),
    ] {
        closed(&file);
        if !root {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        let mut command = Command::new(&copy);
        command.arg("--sysfs").arg(tree.path().join("sys")).arg("--devices").arg(tree.path().join("dev")).args(arguments);
        if root {
            command.uid(65534).gid(65534);
        }
        // Another test may be starting a program at this moment, which for as long as that takes has the copy open for writing.
        let output = loop {
            match command.output() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                other => break other.unwrap(),
            }
        };
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let which = format!("not permitted to use {}: run as root", file.display());
        assert!(output.status.code() == Some(1) && text.contains(&which), "{arguments:?}: {output:?}");
    }
}

#[test]
fn without_a_driver_nobody_waits_and_it_says_how_to_get_one() {
    let tree = Tree::new();
    tree.device("0000:00:01.0", &[4096]).registers(b"ping", Registers::Reference);
    assert!(fail(&tree, &["wait", "ping"], 1).contains("0000:00:01.0 has no driver"));
    let device = tree.device("0000:00:02.0", &[4096]);
    device.registers(b"pong", Registers::Reference);
    tree.bind(&device, "vfio-pci");
    assert!(fail(&tree, &["wait", "pong"], 1).contains("held by driver 'vfio-pci', which gives no UIO device: run `crossvm bind --all`"));
}

#[test]
fn connections_of_our_own_driver_are_used_through_its_node() {
    let tree = two_connections();
    let device = tree.device("0000:00:03.0", &[4096, 4096]);
    tree.node(&device, "own", &[(4096, "rw")], Stand::Fifo);
    let table = succeed(&tree, &["list"]);
    let row = table.lines().find(|line| line.starts_with("own ")).unwrap();
    assert!(row.contains("crossvm ") && row.contains("dev/crossvm/own") && row.contains("0: 4096 in 4096"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&succeed(&tree, &["list", "--json"])).unwrap();
    assert_eq!((&json[2]["name"], &json[2]["events"], &json[2]["dropped"]), (&"own".into(), &3.into(), &2.into()));

    // Somebody must have the FIFO open, or what is in it goes with the command.
    let _keep = std::fs::OpenOptions::new().read(true).write(true).open(tree.path().join("dev/crossvm/own")).unwrap();
    succeed(&tree, &["emit", "own", "--count", "4"]);
    assert_eq!(succeed(&tree, &["wait", "own", "--timeout", "60"]), "4\n");
    assert!(fail(&tree, &["wait", "own", "--timeout", "0.05"], 3).contains("0 of 1 events"));
}

#[test]
fn dataports_of_our_own_driver_are_read_and_written_through_its_node() {
    let tree = Tree::new();
    let device = tree.device("0000:00:03.0", &[4096, 4096, 4096]);
    tree.node(&device, "own", &[(4096, "rw"), (4096, "rw")], Stand::File);
    succeed(&tree, &["write", "own", "--dataport", "1", "--offset", "8", "--line", "hello"]);
    assert_eq!(succeed(&tree, &["read", "own", "--dataport", "1", "--offset", "8", "--line"]), "hello\n");
    assert_eq!(succeed(&tree, &["read", "own", "--length", "3"]), "\0\0\0", "the other one is untouched");
}
