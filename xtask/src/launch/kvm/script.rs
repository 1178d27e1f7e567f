//! Scripts that run kvm-vmm more than once, here or in the emulated machine.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::system::System;

/// What runs kvm-vmm. Each takes the program, a manifest, a folder for its own files, the VMs' names and flags for kvm-vmm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    /// Each VM in a process of its own.
    Apart,
    /// The same, and each of two processes is killed and comes back.
    Kills,
    /// No VMs: in place of kvm-vmm, a program of tests that need KVM.
    Tests,
}

impl Script {
    /// Its text.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Apart => include_str!("apart.sh"),
            Self::Kills => include_str!("kills.sh"),
            Self::Tests => include_str!("tests.sh"),
        }
    }

    /// What it takes before the flags.
    pub(super) fn vms(system: &System) -> String {
        system.vms.iter().map(|vm| vm.name.as_str()).collect::<Vec<_>>().join(",")
    }

    /// The command that runs it on this machine. Its files are beside `log`.
    pub(super) fn command(self, vmm: &Path, manifest: &Path, log: &Path, system: &System, flags: &[String]) -> Result<Command> {
        let (path, folder) = (log.with_extension("sh"), log.with_extension("link"));
        fs::write(&path, self.text()).with_context(|| format!("cannot write {}", path.display()))?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let mut command = Command::new("sh");
        command.args([&path, vmm, manifest, &folder]).arg(OsString::from(Self::vms(system))).args(flags);
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::process::Output;

    use super::*;
    use crate::system::VmSpec;

    /// What `script` does with a kvm-vmm that is this shell script.
    fn run(script: Script, vmm: &str) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let (program, log) = (folder.path().join("vmm"), folder.path().join("x.log"));
        fs::write(&program, format!("#!/bin/sh\n{vmm}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let vms = ["vm0", "vm1"].map(|name| VmSpec::new(name, PathBuf::from("k"), String::new())).to_vec();
        let system = System { vms, components: Vec::new(), connections: Vec::new() };
        script
            .command(&program, Path::new("/m.toml"), &log, &system, &["--irqchip".to_owned(), "split".to_owned()])
            .unwrap()
            .output()
            .unwrap()
    }

    #[test]
    fn each_vm_runs_in_a_process_of_its_own_and_a_failure_is_the_script_s() {
        let output = run(Script::Apart, "echo \"$@\"; [ \"$4\" != vm0 ] || exit 3");
        let mut lines: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(output.status.code(), Some(3));
        for (line, vm) in lines.iter().zip(["vm0", "vm1"]) {
            assert!(
                line.starts_with(&format!("run /m.toml --only {vm} --link ")) && line.ends_with("/x.link/link --irqchip split"),
                "{line}"
            );
        }
        assert_eq!(lines.len(), 2);
        assert!(run(Script::Apart, "exit 0").status.success());
    }

    /// A kvm-vmm that says what the script waits for, a bit at a time, and refuses to run twice.
    const ACTOR: &str = r#"
        own=${4#vm} folder=${6%/link}
        other=$((1 - own))
        if ! mkdir "$folder/lock$own" 2>/dev/null; then
            holder=$(cat "$folder/lock$own/pid")
            if kill -0 "$holder" 2>/dev/null; then echo "kvm-vmm: runs in $holder" >&2; exit 1; fi
        fi
        echo $$ >"$folder/lock$own/pid"
        trap 'echo "[vmm] record=end"; exit 0' TERM
        was=none
        while :; do
            holder=$(cat "$folder/lock$other/pid" 2>/dev/null)
            if [ -n "$holder" ] && kill -0 "$holder" 2>/dev/null; then
                if [ "$was" != "$holder" ]; then for wire in wire wire-msix; do echo "[vm$own] DEMO peer connection=$wire state=talks"; done; fi
                was=$holder
            elif [ "$was" != none ]; then
                if [ "$was" != gone ]; then echo "[vmm] record=peer-gone vm=vm$own peer=vm$other"; fi
                for wire in wire wire-msix; do echo "[vm$own] DEMO peer connection=$wire state=gone"; echo "[vm$own] connection=$wire state=waits"; done
                was=gone
            fi
            sleep 0.1
        done"#;

    #[test]
    fn both_are_killed_and_come_back_and_end_in_order() {
        let output = run(Script::Kills, ACTOR);
        let text = String::from_utf8(output.stdout).unwrap();
        let said: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("[link] record=")).collect();
        let [started0, started1, killed1, back1, again, killed0, back0, over] = said.as_slice() else { panic!("{text}") };
        assert_eq!([*started0, *started1, *killed1, *back1], ["started vm=vm0", "started vm=vm1", "killed vm=vm1", "started vm=vm1"]);
        assert!(again.starts_with("again vm=vm0 status=1 says=kvm-vmm:_runs_in_"), "{again}");
        assert_eq!([*killed0, *back0, *over], ["killed vm=vm0", "started vm=vm0", "over vm0=0 vm1=0"]);
        assert_eq!(text.matches("[vmm] record=end").count(), 2, "their last words are not lost: {text}");
        assert!(output.status.success());
    }

    #[test]
    fn a_guest_that_fails_ends_it() {
        let output = run(Script::Kills, "echo '[vm0] DEMO fail vm=vm0'; sleep 20");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("[link] record=failed waiting=vm0 count=1"), "{text}");
        assert_eq!(output.status.code(), Some(1));
    }
}
