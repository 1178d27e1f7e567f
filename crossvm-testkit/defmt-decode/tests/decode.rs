//! Decodes what the program beside logs, and compares. On Linux, whose linkers know the script that this takes.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use defmt_decoder::{DecodeError, Table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_defmt-decode");

/// Runs the program, and decodes its frames with the strings in its own file.
fn decoded() -> Vec<String> {
    let run = Command::new(PROGRAM).stderr(Stdio::inherit()).output().expect("the program runs");
    assert!(run.status.success(), "{}", run.status);
    let program = fs::read(PROGRAM).expect("the program is a file");
    let table = Table::parse(&program).expect("defmt's strings are well-formed").expect("the program has defmt's strings");
    let mut decoder = table.new_stream_decoder();
    decoder.received(&run.stdout);
    let mut lines = Vec::new();
    loop {
        match decoder.decode() {
            Ok(frame) => lines.push(frame.display_message().to_string()),
            Err(DecodeError::UnexpectedEof) => return lines,
            Err(DecodeError::Malformed) => panic!("a frame that cannot be decoded after {lines:#?}"),
        }
    }
}

/// What to do about a folder within a folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Folders {
    Enter,
    Skip,
}

/// The paths of the public types that the sources of module `module` in a folder declare.
fn declared_in(folder: &Path, module: &str, folders: Folders, types: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let within = format!("{module}::{name}");
        if path.is_dir() {
            if folders == Folders::Enter {
                declared_in(&path, &within, folders, types);
            }
            continue;
        }
        let module = if matches!(name, "lib" | "mod") { module } else { &within };
        for line in fs::read_to_string(&path).expect("a source").lines() {
            let declaration = ["pub struct ", "pub enum ", "pub union "].iter().find_map(|start| line.trim_start().strip_prefix(start));
            if let Some(declaration) = declaration {
                let name: String = declaration.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                types.insert(format!("{module}::{name}"));
            }
        }
    }
}

#[test]
fn what_is_logged_reads_as_expected() {
    let expected: Vec<&str> = include_str!("expected.txt").lines().collect();
    let lines = decoded();
    for (place, (line, expected)) in lines.iter().zip(&expected).enumerate() {
        // Bit fields end in a space.
        assert_eq!(line.trim_end(), *expected, "line {}", place + 1);
    }
    assert_eq!(lines.len(), expected.len(), "not expected: {:#?}", lines.get(expected.len()..));
}

#[test]
fn every_public_type_is_logged() {
    let mut types = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for package in ["crossvm-core", "crossvm-pci", "crossvm-arm", "crossvm-x86", "crossvm-channel"] {
        declared_in(&root.join(package).join("src"), &package.replace('-', "_"), Folders::Enter, &mut types);
    }
    // What hosts read is not for a microcontroller's log.
    declared_in(&root.join("crossvm-manifest/src"), "crossvm_manifest", Folders::Skip, &mut types);
    // Nor is what Linux programs have.
    for (folder, module) in [("src", "crossvm_guest"), ("src/bare", "crossvm_guest::bare"), ("src/raw", "crossvm_guest::raw")] {
        declared_in(&root.join("crossvm-guest").join(folder), module, Folders::Skip, &mut types);
    }
    for found in ["crossvm_core::crossvm::CrossVm", "crossvm_pci::bus::PciBus", "crossvm_manifest::topology::Topology"] {
        assert!(types.contains(found), "the sources are found: {types:?}");
    }
    let logged: BTreeSet<String> = decoded().iter().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect();
    let missing: Vec<_> = types.symmetric_difference(&logged).collect();
    assert!(missing.is_empty(), "each public type of these crates, and no other, is logged, but not so: {missing:?}");
}
