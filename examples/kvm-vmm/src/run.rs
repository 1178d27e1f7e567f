//! `kvm-vmm run` and `kvm-vmm probe`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use crossvm_manifest::Peer;

use crate::cli::{Probe, Run};
use crate::component::Worker;
use crate::console::Output;
use crate::load::System;
use crate::others::Others;
use crate::vm::{End, Machine, Plan, Settings, StopReason, Threads, compose};
use crate::wires::Wires;
use crate::{input, sys};

/// Runs the VMs of a manifest until all have stopped.
///
/// # Errors
/// Where they cannot be run. What happens to a VM later is in the records.
pub(crate) fn run(arguments: &Run) -> Result<ExitCode> {
    let system = System::read(&arguments.manifest, &arguments.only)?;
    let output = Output::new();
    sys::install_kicks().context("the signal handler for kicks")?;
    let topology = &system.topology;
    let others = match &arguments.link {
        Some(socket) => Some(Others::join(&system, socket, Duration::from_secs(arguments.wait), &output).context("--link")?),
        None => None,
    };
    let wires = Wires::new(topology, &system.share, others.as_ref().map(Others::link))?;
    absent(&system, &wires);
    let settings = Settings { irqchip: arguments.irqchip, ioeventfd: !arguments.no_ioeventfd };
    let (vms, connections) = (system.images.iter().flatten().count(), wires.0.iter().flatten().count());
    output.vmm(format_args!("record=start version={} vms={vms} connections={connections}", env!("CARGO_PKG_VERSION")));
    let mut composed = Vec::new();
    for (number, images) in (0u8..).zip(&system.images) {
        let (Some(images), Some(vm)) = (images, topology.vms.get(usize::from(number))) else { continue };
        let plan = Plan {
            topology,
            number,
            images: images.clone(),
            wires: &wires,
            settings,
            exits_at: arguments.exits_at.as_deref(),
            output: &output,
        };
        let machine = compose(&plan).with_context(|| format!("VM `{}`", vm.name))?;
        composed.push((machine, vm.memory));
    }
    let mut workers = Vec::new();
    for (number, component) in (0u8..).zip(&topology.components) {
        if system.is_here(Peer::Component(number)) {
            let worker = Worker::start(topology, number, component, &wires, &output);
            workers.push(worker.with_context(|| format!("component `{}`", component.name))?);
        }
    }
    let machines: Vec<Arc<Machine>> = composed.iter().map(|((machine, _), _)| Arc::clone(machine)).collect();
    end_by_signals(&machines)?;
    if let Some(others) = &others {
        others.watch(&system, &wires, &output);
    }
    let terminal = input::start(&machines, &output).context("a thread for what is typed")?;
    let mut threads = Vec::new();
    for ((machine, cpus), memory) in composed {
        threads.push(Threads::start(machine, cpus, memory).context("threads of a VM")?);
    }
    match others {
        Some(others) => others.outlive(threads),
        None => threads.into_iter().for_each(Threads::join),
    }
    workers.into_iter().for_each(Worker::end);
    output.vmm(format_args!("record=end reason=all-vms-stopped"));
    drop(terminal);
    Ok(ExitCode::SUCCESS)
}

/// Nobody listens at the ends that are not here.
fn absent(system: &System, wires: &Wires) {
    for (connection, wire) in system.topology.connections.iter().zip(&wires.0) {
        let Some(wire) = wire else { continue };
        for (end, bell) in connection.ends.iter().zip(&wire.bells) {
            bell.set_open(system.is_here(end.peer));
        }
    }
}

/// SIGTERM and SIGINT stop all VMs.
fn end_by_signals(machines: &[Arc<Machine>]) -> Result<()> {
    let machines = machines.to_vec();
    ctrlc::set_handler(move || machines.iter().for_each(|machine| machine.end(End::Stop(StopReason::Terminated))))
        .context("the handler of SIGTERM and SIGINT")
}

/// Says whether kernels run here.
///
/// # Errors
/// Never.
pub(crate) fn probe(arguments: &Probe) -> Result<ExitCode> {
    let report = crossvm_kvm::probe();
    let (usable, report) = if report.is_usable() { real_kernels() } else { (false, report.to_string()) };
    if arguments.json {
        println!("{}", serde_json::json!({ "usable": usable, "report": report }));
    } else {
        println!("{report}");
    }
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether guests run what kernels do, and what a guest that tries has shown.
#[cfg(target_arch = "x86_64")]
fn real_kernels() -> (bool, String) {
    let report = crossvm_kvm::probe_guest();
    (report.is_sound(), report.to_string())
}

/// KVM of arm64 is there with the processor's virtualization only.
#[cfg(not(target_arch = "x86_64"))]
fn real_kernels() -> (bool, String) {
    (true, "guests run real kernels: KVM of this architecture interprets none".to_owned())
}
