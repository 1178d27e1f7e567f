//! Running the command on a fake sysfs tree.
#![allow(dead_code, reason = "each test uses its part of it")]

use std::process::{Command, Output, Stdio};

use crate::common::Tree;

pub(crate) fn command(tree: &Tree, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossvm"));
    command.arg("--sysfs").arg(tree.path().join("sys")).arg("--devices").arg(tree.path().join("dev")).args(arguments);
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(tree: &Tree, arguments: &[&str]) -> Output {
    command(tree, arguments).output().unwrap()
}

/// Standard output of a command that must succeed.
pub(crate) fn succeed(tree: &Tree, arguments: &[&str]) -> String {
    let output = run(tree, arguments);
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a command that must end with `status`.
pub(crate) fn fail(tree: &Tree, arguments: &[&str], status: i32) -> String {
    let output = run(tree, arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

pub(crate) fn two_connections() -> Tree {
    let tree = Tree::new();
    tree.connection("0000:00:01.0", "reverse", &[65536]);
    tree.connection("0000:00:02.0", "ping", &[4096, 8192]);
    tree
}
