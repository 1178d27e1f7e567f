//! What `crossvm` says of itself: help, manual pages, completions; and what it does when nobody reads it.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/command.rs"]
mod runner;

use std::collections::BTreeSet;
use std::process::Stdio;

use common::Tree;
use runner::{command, fail, succeed, two_connections};

const STATUSES: [&str; 6] =
    ["0 done", "1 failed", "2 wrong usage", "3 timed out", "4 the peer left or broke the protocol", "5 the digests differ"];

/// The verbs that the help lists.
fn verbs(tree: &Tree) -> BTreeSet<String> {
    let help = succeed(tree, &["--help"]);
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    list.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).filter(|verb| verb != "help").collect()
}

#[test]
fn the_help_tells_the_exit_statuses() {
    let tree = Tree::new();
    let help = succeed(&tree, &["--help"]);
    assert!(STATUSES.iter().all(|status| help.contains(status)), "{help}");
    for verb in verbs(&tree) {
        succeed(&tree, &[&verb, "--help"]);
    }
}

#[test]
fn the_manual_page_names_every_verb_and_every_exit_status() {
    let tree = Tree::new();
    let page = succeed(&tree, &["man"]);
    assert!(page.contains(".TH crossvm 1") && page.contains(".SH \"EXIT STATUS\""), "{page}");
    for status in STATUSES {
        let (number, meaning) = status.split_once(' ').unwrap();
        assert!(page.contains(&format!(".TP\n{number}\n{meaning}\n")), "{status}: {page}");
    }
    for verb in verbs(&tree) {
        assert!(page.contains(&format!("crossvm\\-{verb}(1)")), "{verb}: {page}");
    }
}

#[test]
fn a_folder_gets_a_page_for_every_verb() {
    let tree = Tree::new();
    let folder = tree.path().join("man");
    std::fs::create_dir(&folder).unwrap();
    let printed = succeed(&tree, &["man", folder.to_str().unwrap()]);
    let files: BTreeSet<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let expected = verbs(&tree).into_iter().map(|verb| format!("crossvm-{verb}.1")).chain(["crossvm.1".to_owned()]);
    assert_eq!(files, expected.collect());
    assert_eq!(printed.lines().count(), files.len());
    let wait = std::fs::read_to_string(folder.join("crossvm-wait.1")).unwrap();
    assert!(wait.contains("\\-\\-timeout") && wait.contains("EXIT STATUS") && !wait.contains("sysfs"), "{wait}");
    assert!(fail(&tree, &["man", "/does/not/exist"], 1).contains("/does/not/exist/crossvm.1: No such file"));
}

#[test]
fn every_shell_is_taught_every_verb() {
    let tree = Tree::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = succeed(&tree, &["completions", shell]);
        for verb in verbs(&tree) {
            assert!(script.contains(&verb), "{shell}: {verb}");
        }
    }
    assert!(fail(&tree, &["completions", "csh"], 2).contains("bash"));
    fail(&tree, &["completions"], 2);
}

#[test]
fn nobody_reads_and_nobody_complains() {
    let tree = two_connections();
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["info", "ping"],
        &["read", "ping"],
        &["bind"],
        &["man"],
        &["completions", "bash"],
        &["monitor", "--count", "3", "--interval", "0.01"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = command(&tree, arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_failure_that_nobody_reads_still_has_its_status() {
    let tree = two_connections();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command(&tree, &["emit", "pong"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
