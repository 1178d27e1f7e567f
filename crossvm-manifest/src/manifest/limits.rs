//! What a platform can give.

use std::ops::Range;

use super::diagnostic::{Collector, Kind};
use super::{Bytes, Caching, Connection, Diagnostics, Manifest, Source, Vm, places, words};
use crate::{Profile, Width};

/// Size of the BAR with the table of messages that a connection of the extended profile has.
const MESSAGE_TABLE: u64 = 4 << 10;

/// What a platform can give to the VMs of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Its name, for diagnostics.
    pub platform: String,
    /// vCPUs of all VMs together.
    pub vcpus: usize,
    /// RAM of all VMs and all dataports together, in bytes.
    pub memory: u64,
    /// Guest-physical addresses below 4 GiB at which a VM's bus has its BARs.
    pub low_window: Range<u64>,
}

impl Manifest {
    /// Checks that a platform can give what the manifest asks for. Memory without caches none can give that maps it when it runs.
    ///
    /// # Errors
    /// Every place where it cannot.
    pub fn check_limits(&self, source: &Source, limits: &Limits) -> Result<(), Diagnostics> {
        let mut found = Collector::new(source);
        self.check_vcpus(&mut found, limits);
        self.check_memory(&mut found, limits);
        self.check_caching(&mut found, limits);
        for vm in &self.vms {
            self.check_window(&mut found, limits, vm);
        }
        found.finish(())
    }

    fn check_vcpus(&self, found: &mut Collector<'_>, limits: &Limits) {
        let mut sum = 0;
        for vm in &self.vms {
            sum += usize::from(vm.vcpus);
            if sum > limits.vcpus {
                let message = format!("the VMs have {} vCPUs in all, {} runs {}", self.vcpus(), limits.platform, limits.vcpus);
                let help = "give the VMs fewer vCPUs: each needs a CPU of its own";
                found.report(Kind::Platform, &vm.at.vcpus, message, "too many from here on", help);
                return;
            }
        }
    }

    fn check_memory(&self, found: &mut Collector<'_>, limits: &Limits) {
        let Bytes(all) = self.memory();
        if all <= limits.memory {
            return;
        }
        let largest = self.vms.iter().max_by_key(|vm| vm.memory);
        if let Some(vm) = largest {
            let message = format!("VMs and dataports need {} in all, {} has {}", Bytes(all), limits.platform, Bytes(limits.memory));
            found.report(Kind::Platform, &vm.at.memory, message, "this VM has the most", "give the VMs less memory");
        }
    }

    fn check_caching(&self, found: &mut Collector<'_>, limits: &Limits) {
        let dataports = self.connections.iter().flat_map(|connection| connection.caching.iter().zip(&connection.at.dataports));
        for (_, at) in dataports.filter(|(caching, _)| **caching == Caching::Uncached) {
            let message = format!("{} maps all dataports with caches", limits.platform);
            let help = "take `caching` away; a Microkit system can have dataports without caches";
            found.report(Kind::Platform, &at.all, message, "this one is to have none", help);
        }
    }

    /// Whether the BARs of a VM that lie below 4 GiB find room there.
    fn check_window(&self, found: &mut Collector<'_>, limits: &Limits, vm: &Vm) {
        let own: Vec<&Connection> =
            self.connections.iter().filter(|connection| connection.ends.iter().any(|end| end.peer == vm.name)).collect();
        let low = |connection: &&Connection| -> Vec<u64> {
            let dataports = connection.dataports.iter().filter(|dataport| dataport.width == Width::Bits32);
            dataports.map(|dataport| dataport.size.next_power_of_two()).collect()
        };
        let events = own.iter().map(|_| vm.device.event_bar.bytes());
        let messages = own.iter().filter(|_| vm.device.profile == Profile::Extended).map(|_| MESSAGE_TABLE);
        let sizes: Vec<u64> = own.iter().flat_map(low).chain(events).chain(messages).collect();
        if places::find(&limits.low_window, &sizes).is_some() {
            return;
        }
        let largest = own.iter().flat_map(|connection| connection.dataports.iter().zip(&connection.at.dataports));
        let largest = largest.filter(|(dataport, _)| dataport.width == Width::Bits32).max_by_key(|(dataport, _)| dataport.size);
        if let Some((_, at)) = largest {
            let sum = Bytes(sizes.iter().fold(0, |sum: u64, size| sum.saturating_add(*size)));
            let window = Bytes(limits.low_window.end.saturating_sub(limits.low_window.start));
            let message = format!("the dataports of `{}` do not fit below 4 GiB", vm.name);
            let help = format!(
                "let the guest put it above 4 GiB, `width = 64`, or make it smaller. Each takes the next power of two, at a multiple of that: \
                 {} in all, where {} has {}",
                sum.rounded(),
                limits.platform,
                window.rounded()
            );
            found.report(Kind::Platform, &at.size, message, "this dataport takes the most", help);
        }
    }

    /// vCPUs of all VMs together.
    #[must_use]
    pub fn vcpus(&self) -> usize {
        self.vms.iter().map(|vm| usize::from(vm.vcpus)).sum()
    }

    /// RAM of all VMs and all dataports together.
    #[must_use]
    pub fn memory(&self) -> Bytes {
        let vms = self.vms.iter().map(|vm| vm.memory);
        Bytes(vms.chain(self.connections.iter().map(|connection| connection.bytes().0)).fold(0, u64::saturating_add))
    }

    /// "3 VMs, 1 component, 10 connections".
    #[must_use]
    pub fn counts(&self) -> String {
        let counts = [(self.vms.len(), "VM"), (self.components.len(), "component"), (self.connections.len(), "connection")];
        counts.map(|(number, one)| words::count(number, one)).join(", ")
    }
}
