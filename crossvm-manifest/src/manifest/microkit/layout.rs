//! Where everything of a system is, and which channel is whose.

use std::ops::Range;

use super::super::diagnostic::{Collector, Kind};
use super::super::{Bytes, Caching, Component, Connection, Debian, Initrd, Kernel, Manifest, Vm, places};
use super::system::{Channel, Image, Irq, Machine, Map, Permissions, Program, Region, System};
use super::{Options, spec};
use crate::{FixedConnection, FixedDataport, FixedPeer, FixedVm, Interrupt, Rights, TwoViews, Width, text};

/// The protection domain of a VM's monitor.
pub(super) fn monitor(vm: &str) -> String {
    format!("{vm}_vmm")
}

/// The whole system. `None` where there is no room, which has been reported.
pub(super) fn system(found: &mut Collector<'_>, manifest: &Manifest, options: &Options) -> Option<System> {
    let mut regions = Vec::new();
    for connection in &manifest.connections {
        for (number, dataport) in connection.dataports.iter().enumerate() {
            regions.push(Region { name: region(connection, number), image: Image::Size(dataport.size), physical: None });
        }
    }
    if let Some(gicv) = options.gicv {
        regions.push(Region { name: GICV.to_owned(), image: Image::Size(spec::SMALL_PAGE), physical: Some(gicv) });
    }
    let mut programs = Vec::new();
    for (position, vm) in manifest.vms.iter().enumerate() {
        let options = if position == 0 { options.clone() } else { Options { console: None, ..options.clone() } };
        programs.push(monitor_of(found, manifest, vm, &options, &mut regions));
    }
    for component in &manifest.components {
        programs.push(component_of(found, manifest, component, &mut regions));
    }
    let channels = manifest.connections.iter().map(|connection| Channel {
        connection: connection.name.clone(),
        ends: connection.ends.each_ref().map(|end| {
            let is_vm = manifest.vms.iter().any(|vm| vm.name == end.peer);
            let name = if is_vm { monitor(&end.peer) } else { end.peer.clone() };
            (name, channel(manifest, &end.peer, connection))
        }),
    });
    Some(System { regions, programs: programs.into_iter().collect::<Option<_>>()?, channels: channels.collect() })
}

const GICV: &str = "gicv";
const CONSOLE: &str = "console";

/// The region of a dataport. No name of a VM or component has a colon.
fn region(connection: &Connection, number: usize) -> String {
    let [one, other] = connection.ends.each_ref().map(|end| end.peer.as_str());
    format!("{one}:{other}:{}:{number}", connection.name)
}

fn own<'a>(manifest: &'a Manifest, peer: &'a str) -> impl Iterator<Item = &'a Connection> {
    manifest.connections.iter().filter(move |connection| connection.opposite(peer).is_some())
}

/// A program's channels have the numbers of its connections.
fn channel(manifest: &Manifest, peer: &str, connection: &Connection) -> u8 {
    let position = own(manifest, peer).position(|other| std::ptr::eq(other, connection));
    // What has more than 62 has been reported.
    position.and_then(|position| u8::try_from(position).ok()).unwrap_or(u8::MAX)
}

fn map(region: impl Into<String>, address: u64, permissions: Permissions) -> Map {
    Map { region: region.into(), address, permissions, cached: true, address_symbol: None, size_symbol: None }
}

fn permissions(rights: Rights) -> Permissions {
    match rights {
        Rights::Read => Permissions::Read,
        Rights::ReadWrite => Permissions::ReadWrite,
    }
}

/// Which end of a connection a VM or component is.
fn side(connection: &Connection, peer: &str) -> usize {
    usize::from(connection.ends.iter().position(|end| end.peer == peer) == Some(1))
}

fn monitor_of(found: &mut Collector<'_>, manifest: &Manifest, vm: &Vm, options: &Options, regions: &mut Vec<Region>) -> Option<Program> {
    let name = monitor(&vm.name);
    let connections: Vec<&Connection> = own(manifest, &vm.name).collect();
    let placed = guest_places(found, vm, &connections)?;
    let mut connected = Vec::new();
    let mut guest = vec![map(format!("{}:ram", vm.name), spec::GUEST_RAM, Permissions::All)];
    for (connection, addresses) in connections.iter().zip(&placed.dataports) {
        connected.push(fixed(manifest, &vm.name, connection, addresses)?);
        guest.extend(dataport_maps(&vm.name, connection, addresses));
    }
    let mut maps = vec![config(&name, regions)];
    regions.push(Region { name: format!("{}:ram", vm.name), image: Image::Size(vm.memory), physical: None });
    maps.push(map(format!("{}:ram", vm.name), spec::MEMORY.start, Permissions::ReadWrite));
    let pages = vm.device.event_bar.bytes() * connections.len() as u64;
    let events = TwoViews { guest: placed.events, program: spec::EVENTS, size: pages };
    if pages != 0 {
        let region = format!("{}:events", vm.name);
        regions.push(Region { name: region.clone(), image: Image::Size(pages), physical: None });
        maps.push(map(region.clone(), events.program, Permissions::ReadWrite));
        guest.push(map(region, events.guest, Permissions::Read));
    }
    if options.gicv.is_some() {
        guest.push(Map { cached: false, ..map(GICV, spec::GUEST_CPU_INTERFACE, Permissions::ReadWrite) });
    }
    maps.push(image(regions, kernel(vm), spec::KERNEL, "crossvm_kernel", "crossvm_kernel_size"));
    if let Some(initrd) = initrd(vm) {
        maps.push(image(regions, initrd, spec::INITRD, "crossvm_initrd", "crossvm_initrd_size"));
    }
    let mut irqs = Vec::new();
    if let Some(console) = options.console {
        regions.push(Region { name: CONSOLE.to_owned(), image: Image::Size(spec::SMALL_PAGE), physical: Some(console.address) });
        let registers = map(CONSOLE, spec::CONSOLE, Permissions::ReadWrite);
        maps.push(Map { cached: false, address_symbol: Some("crossvm_console"), ..registers });
        irqs.push(Irq { irq: console.irq, id: u8::try_from(connections.len()).ok()? });
    }
    let config = FixedPeer {
        name: text(&vm.name).ok()?,
        connections: connected.into_iter().collect(),
        vm: Some(FixedVm {
            vcpus: vm.vcpus,
            device: vm.device,
            on_reboot: vm.on_reboot,
            ram: TwoViews { guest: spec::GUEST_RAM, program: spec::MEMORY.start, size: vm.memory },
            events,
            low_window: window(&spec::LOW_WINDOW),
            high_window: window(&spec::HIGH_WINDOW),
            console: irqs.first().map(|irq| irq.id),
            command_line: text(&vm.command_line).ok()?,
        }),
    };
    let machine = Machine { name: vm.name.clone(), priority: spec::GUEST_PRIORITY, vcpus: vm.vcpus, maps: guest };
    let image = options.monitor.clone();
    Some(Program { name, priority: spec::MONITOR_PRIORITY, image, maps, irqs, vm: Some(machine), config })
}

fn component_of(found: &mut Collector<'_>, manifest: &Manifest, component: &Component, regions: &mut Vec<Region>) -> Option<Program> {
    let connections: Vec<&Connection> = own(manifest, &component.name).collect();
    let sizes = connections.iter().flat_map(|connection| &connection.dataports).map(|dataport| dataport.size.next_power_of_two());
    let Some(places) = places::find(&spec::MEMORY, &sizes.collect::<Vec<u64>>()) else {
        let message = format!("the dataports of `{}` do not fit into a program's addresses", component.name);
        let help = format!(
            "make them smaller: each takes the next power of two, {} in all",
            Bytes(spec::MEMORY.end - spec::MEMORY.start).rounded()
        );
        found.report(Kind::Platform, &component.at, message, "too much for this component", help);
        return None;
    };
    let mut places = places.into_iter();
    let mut maps = vec![config(&component.name, regions)];
    let mut connected = Vec::new();
    for connection in connections {
        let addresses: Vec<u64> = places.by_ref().take(connection.dataports.len()).collect();
        connected.push(fixed(manifest, &component.name, connection, &addresses)?);
        maps.extend(dataport_maps(&component.name, connection, &addresses));
    }
    let config = FixedPeer { name: text(&component.name).ok()?, connections: connected.into_iter().collect(), vm: None };
    let image = format!("{}.elf", component.kind.name());
    let name = component.name.clone();
    Some(Program { name, priority: spec::COMPONENT_PRIORITY, image, maps, irqs: Vec::new(), vm: None, config })
}

fn dataport_maps(peer: &str, connection: &Connection, addresses: &[u64]) -> Vec<Map> {
    let side = side(connection, peer);
    let dataports = connection.dataports.iter().zip(&connection.caching).zip(addresses).enumerate();
    let maps = dataports.filter_map(|(number, ((dataport, caching), address))| {
        let rights = dataport.rights.get(side).copied()?;
        Some(Map { cached: *caching == Caching::Cached, ..map(region(connection, number), *address, permissions(rights)) })
    });
    maps.collect()
}

/// What a program must know of a connection.
fn fixed(manifest: &Manifest, peer: &str, connection: &Connection, addresses: &[u64]) -> Option<FixedConnection> {
    let side = side(connection, peer);
    let usual = Interrupt::usual(own(manifest, peer).count());
    let dataports = connection.dataports.iter().zip(addresses).map(|(dataport, address)| {
        let rights = dataport.rights.get(side).copied()?;
        Some(FixedDataport { address: *address, size: dataport.size, rights, width: dataport.width })
    });
    Some(FixedConnection {
        name: text(&connection.name).ok()?,
        channel: channel(manifest, peer, connection),
        interrupt: connection.ends.get(side)?.interrupt.unwrap_or(usual),
        dataports: dataports.collect::<Option<Vec<_>>>()?.into_iter().collect(),
    })
}

/// What a program must know, as memory that it reads.
fn config(program: &str, regions: &mut Vec<Region>) -> Map {
    let region = format!("{program}:config");
    regions.push(Region { name: region.clone(), image: Image::File(format!("{program}.config")), physical: None });
    let (address_symbol, size_symbol) = (Some("crossvm_config"), Some("crossvm_config_size"));
    Map { address_symbol, size_symbol, ..map(region, spec::CONFIG, Permissions::Read) }
}

/// A guest's image, which its monitor copies to RAM. What several guests start from is there once.
fn image(regions: &mut Vec<Region>, file: String, address: u64, symbol: &'static str, size: &'static str) -> Map {
    let name = format!("image:{file}");
    if !regions.iter().any(|region| region.name == name) {
        regions.push(Region { name: name.clone(), image: Image::File(file), physical: None });
    }
    Map { address_symbol: Some(symbol), size_symbol: Some(size), ..map(name, address, Permissions::Read) }
}

fn series(vm: &Vm) -> &'static str {
    match vm.kernel {
        Kernel::Debian(series) => Debian::name(series),
        Kernel::File(_) => "other",
    }
}

fn kernel(vm: &Vm) -> String {
    match &vm.kernel {
        Kernel::File(path) => path.display().to_string(),
        Kernel::Debian(_) => format!("debian-{}.Image", series(vm)),
    }
}

fn initrd(vm: &Vm) -> Option<String> {
    Some(match vm.initrd.as_ref()? {
        Initrd::File(path) => path.display().to_string(),
        Initrd::Demo => format!("demo-{}.cpio", series(vm)),
    })
}

fn window(range: &Range<u64>) -> (u64, u64) {
    (range.start, range.end - 1)
}

/// Guest-physical addresses of what a VM's connections have.
struct Placed {
    events: u64,
    /// For each connection.
    dataports: Vec<Vec<u64>>,
}

/// Places event pages and dataports in the windows. The tables of messages have none of their own, but the bus must find room for them.
fn guest_places(found: &mut Collector<'_>, vm: &Vm, connections: &[&Connection]) -> Option<Placed> {
    let pages = vm.device.event_bar.bytes() * connections.len() as u64;
    let messages = spec::SMALL_PAGE * connections.len() as u64;
    let of_width = |width: Width| {
        let dataports = connections.iter().flat_map(|connection| &connection.dataports);
        dataports.filter(move |dataport| dataport.width == width).map(|dataport| dataport.size.next_power_of_two())
    };
    let low: Vec<u64> = [pages, messages].map(u64::next_power_of_two).into_iter().chain(of_width(Width::Bits32)).collect();
    let high: Vec<u64> = of_width(Width::Bits64).collect();
    let mut room = |width: Width, window: &Range<u64>, sizes: &[u64]| {
        let places = places::find(window, sizes);
        if places.is_none() {
            no_room(found, vm, connections, width, window);
        }
        places
    };
    let (low, high) = (room(Width::Bits32, &spec::LOW_WINDOW, &low), room(Width::Bits64, &spec::HIGH_WINDOW, &high));
    let (mut low, mut high) = (low?.into_iter(), high?.into_iter());
    let (events, _messages) = (low.next()?, low.next()?);
    let mut next = |width: Width| match width {
        Width::Bits32 => low.next(),
        Width::Bits64 => high.next(),
    };
    let of = |connection: &&Connection| connection.dataports.iter().map(|dataport| next(dataport.width)).collect();
    let dataports = connections.iter().map(of).collect::<Option<_>>()?;
    Some(Placed { events, dataports })
}

fn no_room(found: &mut Collector<'_>, vm: &Vm, connections: &[&Connection], width: Width, window: &Range<u64>) {
    let dataports = connections.iter().flat_map(|connection| connection.dataports.iter().zip(&connection.at.dataports));
    let largest = dataports.filter(|(dataport, _)| dataport.width == width).max_by_key(|(dataport, _)| dataport.size);
    let (bits, mend) = match width {
        Width::Bits32 => (32, "let the guest find it above 4 GiB, `width = 64`, or make it smaller"),
        Width::Bits64 => (64, "make it smaller"),
    };
    let message = format!("the dataports of `{}` do not fit where its bus has BARs of {bits} bits", vm.name);
    let room = Bytes(window.end - window.start).rounded();
    let help = format!("{mend}. Each takes the next power of two, at a multiple of that; there are {room}");
    let at = largest.map_or(&vm.at.name, |(_, at)| &at.size);
    found.report(Kind::Platform, at, message, "this one takes the most", help);
}
