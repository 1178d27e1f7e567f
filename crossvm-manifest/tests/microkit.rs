//! Systems for seL4's Microkit: what is generated keeps the tool's rules, and says what the manifest does.

mod microkit {
    pub(crate) mod schema;
}

use std::path::Path;

use crossvm_manifest::manifest::microkit::{Options, Refused, System};
use crossvm_manifest::manifest::{Manifest, Source};
use crossvm_manifest::{FixedPeer, Interrupt, Rights, Width};
use microkit::schema;
use roxmltree::Document;

/// Set, the golden files are written anew instead of compared.
const BLESS: &str = "CROSSVM_BLESS";

fn example(name: &str) -> (Source, Manifest) {
    let source = Source::read(&Path::new("../examples/manifests").join(name)).unwrap();
    let manifest = Manifest::parse(&source).unwrap_or_else(|told| panic!("{told}"));
    (source, manifest)
}

fn system(name: &str) -> System {
    let (source, manifest) = example(name);
    manifest.microkit(&source, &Options::qemu_virt_aarch64()).unwrap_or_else(|told| panic!("{told}"))
}

fn xml(name: &str) -> String {
    system(name).xml(name).unwrap()
}

/// Every file that memory is filled with, as if it had 5 MiB and a byte.
fn file(_path: &str) -> Option<u64> {
    Some((5 << 20) + 1)
}

fn refused(xml: &str) -> String {
    match Document::parse(xml) {
        Ok(document) => schema::check(&document, file).err().unwrap_or_default(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_golden_files_are_what_is_generated() {
    for name in ["demo", "two-guests", "three-guests"] {
        let golden = format!("tests/microkit/{name}.system");
        let made = xml(&format!("{name}.toml"));
        if std::env::var_os(BLESS).is_some() {
            std::fs::write(&golden, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(made == kept, "{golden} is not what is generated; look at the difference with {BLESS}=1 and `git diff`");
    }
}

#[test]
fn every_example_keeps_the_rules_of_the_tool() {
    let examples = std::fs::read_dir("../examples/manifests").unwrap();
    let names = examples.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut checked = 0;
    for name in names.filter(|name| name.ends_with(".toml")) {
        assert_eq!(refused(&xml(&name)), "", "{name}");
        checked += 1;
    }
    assert!(checked >= 3);
}

/// The checker itself: each change to a good system breaks one rule.
#[test]
fn the_rules_refuse_what_the_tool_refuses() {
    let good = xml("two-guests.toml");
    let refusals = [
        ("<system>", "<system><domain/>", "no domain in system"),
        ("priority=\"30\"", "priority=\"255\"", "priority"),
        ("priority=\"30\"", "prio=\"30\"", "no attribute prio"),
        ("priority=\"10\"", "priority=\"30\"", "its VM is as important"),
        ("name=\"vm1_vmm\"", "name=\"vm0_vmm\"", "two protection domains vm0_vmm"),
        ("name=\"mirror\"", "name=\"monitor\"", "no name for a protection domain: monitor"),
        ("virtual_machine name=\"vm1\"", "virtual_machine name=\"vm0\"", "a VM's name is another's"),
        ("vcpu id=\"0\"", "vcpu id=\"62\"", "vCPUs"),
        ("size=\"0x100000\" page_size=\"0x1000\"", "size=\"0x100001\" page_size=\"0x1000\"", "no multiple of the page size"),
        ("size=\"0x100000\" page_size=\"0x1000\"", "size=\"0x100000\" page_size=\"0x4000\"", "no such page size"),
        ("name=\"vm0:vm1:ping:0\"", "name=\"vm0:vm1:bulk:0\"", "two regions"),
        ("mr=\"vm0:vm1:ping:0\"", "mr=\"vm0:vm1:pong:0\"", "no region vm0:vm1:pong:0"),
        ("phys_addr=\"0x8040000\"", "phys_addr=\"0x8040800\"", "phys_addr is not aligned"),
        ("phys_addr=\"0x8040000\"", "phys_addr=\"0x9000000\"", "overlaps"),
        ("vaddr=\"0x40000000\"", "vaddr=\"0x40001000\"", "is not aligned"),
        ("vaddr=\"0x40000000\"", "vaddr=\"0x10000000\"", "overlaps"),
        ("vaddr=\"0x40000000\"", "vaddr=\"0xffffe00000\"", "ends too high"),
        ("perms=\"rwx\"", "perms=\"w\"", "perms w"),
        ("cached=\"true\"", "cached=\"yes\"", "cached is yes"),
        ("setvar_vaddr=\"crossvm_kernel\"", "setvar_vaddr=\"crossvm_config\"", "two values for crossvm_config"),
        ("<end pd=\"mirror\"", "<end pd=\"nobody\"", "no protection domain nobody"),
        ("<end pd=\"mirror\" id=\"0\"/>", "", "a channel has two ends"),
        ("<end pd=\"vm0_vmm\" id=\"1\"/>", "<end pd=\"vm0_vmm\" id=\"0\"/>", "two channels 0"),
        ("<end pd=\"vm0_vmm\" id=\"1\"/>", "<end pd=\"vm0_vmm\" id=\"62\"/>", "id 62"),
        ("<end pd=\"vm0_vmm\" id=\"1\"/>", "<end pd=\"vm0_vmm\" id=\"3\"/>", "two channels 3"),
        ("<channel>", "<channel>text", "text in channel"),
        ("</system>", "</system><more/>", "unknown token"),
    ];
    for (good_text, bad_text, told) in refusals {
        assert!(good.contains(good_text), "{good_text}");
        let broken = refused(&good.replacen(good_text, bad_text, 1));
        assert!(broken.contains(told), "{good_text} → {bad_text}: {broken:?}");
    }
    let dataport = good.find("mr=\"vm0:vm1:bulk:0\"").unwrap();
    let uncached = good[..dataport].to_owned() + &good[dataport..].replacen("cached=\"true\"", "cached=\"false\"", 1);
    assert_eq!(refused(&uncached), "vm0:vm1:bulk:0: mapped with and without caches");
}

/// What a program is told is where its VM, or itself, has the memory.
#[test]
fn what_programs_know_is_what_the_description_maps() {
    for name in ["demo.toml", "two-guests.toml", "three-guests.toml", "many.toml"] {
        let (source, manifest) = example(name);
        let system = manifest.microkit(&source, &Options::qemu_virt_aarch64()).unwrap();
        let text = system.xml(name).unwrap();
        let document = Document::parse(&text).unwrap();
        let description = schema::check(&document, file).unwrap();
        for program in &system.programs {
            let mut buffer = vec![0; 1 << 16];
            let known = FixedPeer::decode(program.config.encode(&mut buffer).unwrap()).unwrap();
            assert_eq!(known, program.config);
            let maps = match &known.vm {
                Some(vm) => {
                    let programs = description.maps_of("protection_domain", &program.name);
                    let guests = description.maps_of("virtual_machine", &known.name);
                    for (views, permissions) in [(vm.ram, "rwx"), (vm.events, "r")] {
                        let inside = |maps: &[schema::Mapped<'_>], at: u64, permissions: &str| {
                            maps.iter().any(|map| map.range == (at..at + views.size) && map.permissions == permissions && map.cached)
                        };
                        assert!(inside(&guests, views.guest, permissions) && inside(&programs, views.program, "rw"), "{name}: {views:x?}");
                    }
                    let shared = programs.iter().filter(|map| map.region.matches(':').count() == 3);
                    assert_eq!(shared.count(), 0, "a monitor has nothing of its guest's dataports");
                    guests
                }
                None => description.maps_of("protection_domain", &program.name),
            };
            let own = manifest.connections.iter().filter(|connection| connection.opposite(&known.name).is_some());
            let own: Vec<_> = own.collect();
            assert_eq!(known.connections.len(), own.len());
            for (position, (connection, said)) in known.connections.iter().zip(own).enumerate() {
                assert_eq!((connection.name.as_str(), usize::from(connection.channel)), (said.name.as_str(), position));
                for (dataport, wanted) in connection.dataports.iter().zip(&said.dataports) {
                    let range = dataport.address..dataport.address + dataport.size;
                    let map = maps.iter().find(|map| map.range == range).unwrap_or_else(|| panic!("{name}: {dataport:x?}"));
                    let permissions = if dataport.rights == Rights::Read { "r" } else { "rw" };
                    assert_eq!((dataport.size, dataport.width, map.permissions), (wanted.size, wanted.width, permissions));
                    if let Some(vm) = &known.vm {
                        let window = if dataport.width == Width::Bits32 { vm.low_window } else { vm.high_window };
                        let bar = dataport.size.next_power_of_two();
                        assert!(dataport.address.is_multiple_of(bar), "{name}: a BAR lies at a multiple of its size");
                        assert!(window.0 <= dataport.address && dataport.address + (bar - 1) <= window.1);
                    }
                }
            }
        }
        // Both ends of a channel are both ends of the connection, by the names that programs know.
        for (channel, connection) in system.channels.iter().zip(&manifest.connections) {
            for ((program, id), end) in channel.ends.iter().zip(&connection.ends) {
                let program = system.programs.iter().find(|other| other.name == *program).unwrap();
                assert_eq!(program.config.name.as_str(), end.peer);
                let known = program.config.connections.iter().find(|known| known.channel == *id).unwrap();
                assert_eq!(known.name.as_str(), connection.name);
            }
        }
    }
}

const HEAD: &str = "[vm.alpha]\nkernel = { debian = \"6.1\" }\n[vm.beta]\nkernel = { debian = \"6.1\" }\n";

fn told(text: &str, options: &Options) -> String {
    let source = Source::new("m.toml", text);
    let manifest = Manifest::parse(&source).unwrap_or_else(|told| panic!("{told}"));
    match manifest.microkit(&source, options) {
        Ok(system) => {
            let xml = system.xml("m.toml").unwrap();
            format!("good {}", refused(&xml))
        }
        Err(Refused::Manifest(told)) => told.to_string(),
        Err(Refused::Options(told)) => format!("options: {told}"),
    }
}

fn connections(count: usize) -> String {
    let one =
        |number| format!("[[connection]]\nname = \"c{number}\"\nbetween = [\"alpha\", \"beta\"]\ndataports = []\ninterrupt = \"shared\"\n");
    HEAD.to_owned() + &(0..count).map(one).collect::<String>()
}

#[test]
fn what_microkit_has_no_room_for_is_told_by_its_line() {
    let options = Options::other();
    assert_eq!(told(&connections(62), &options), "good ");
    let many = told(&connections(63), &options);
    assert!(many.contains("m.toml:316:8") && many.contains("`alpha` has 63 connections"), "{many}");
    // The console's interrupt takes one.
    let console = Options::qemu_virt_aarch64();
    assert!(told(&connections(62), &console).contains("at most 61") && told(&connections(61), &console) == "good ");

    let named = |name: &str, vm: &str| {
        told(&format!("[vm.{vm}]\nkernel = {{ debian = \"6.1\" }}\n[component.{name}]\nkind = \"reverse\"\n"), &options)
    };
    assert!(named("monitor", "a").contains("m.toml:3:12"), "{}", named("monitor", "a"));
    assert!(named("a_vmm", "a").contains("`a_vmm` is the monitor of `a`"));
    assert_eq!(named("a_vmm", "b"), "good ");

    let dataport = |what: &str| told(&format!("{HEAD}[[connection]]\nname = \"x\"\nbetween = [\"alpha\", \"beta\"]\n{what}\n"), &options);
    assert!(dataport("size = \"512 MiB\"").contains("m.toml:8:8"), "{}", dataport("size = \"512 MiB\""));
    assert_eq!(dataport("size = \"512 MiB\"\nwidth = 64"), "good ");
    assert!(dataport("size = \"512 GiB\"\nwidth = 64").contains("BARs of 64 bits"));
    let memory = told("[vm.a]\nkernel = { debian = \"6.1\" }\nmemory = \"256 GiB\"\n", &options);
    assert!(memory.contains("m.toml:3:10") && memory.contains("255 GiB at most"), "{memory}");
}

#[test]
fn what_no_board_has_is_told() {
    let gicv = |gicv, console: u64| {
        let console = Some(crossvm_manifest::manifest::microkit::Console { address: console, irq: 33 });
        told(HEAD, &Options { gicv: Some(gicv), console, ..Options::other() })
    };
    assert_eq!(gicv(0x0804_0000, 0x0900_0000), "good ");
    assert!(gicv(0x0804_0800, 0x0900_0000).contains("options: the GICV at 0x8040800 is at no multiple of a page"));
    assert!(gicv(0x0900_0000, 0x0900_0000).contains("cannot both be"));
}

#[test]
fn memory_without_caches_is_so_for_all_who_have_it() {
    let text = format!("{HEAD}[[connection]]\nname = \"x\"\nbetween = [\"alpha\", \"beta\"]\nsize = \"4 KiB\"\ncaching = \"uncached\"\n");
    let source = Source::new("m.toml", &text);
    let system = Manifest::parse(&source).unwrap().microkit(&source, &Options::other()).unwrap();
    let text = system.xml("m.toml").unwrap();
    let document = Document::parse(&text).unwrap();
    let description = schema::check(&document, file).unwrap();
    for vm in ["alpha", "beta"] {
        let maps = description.maps_of("virtual_machine", vm);
        assert!(maps.iter().all(|map| map.cached == (map.region != "alpha:beta:x:0")), "{maps:?}");
    }
}

/// Names come from people, and XML has letters of its own.
#[test]
fn every_name_of_a_connection_gets_through() {
    let text =
        format!("{HEAD}[[connection]]\nname = '<&\"-->;'\nbetween = [\"alpha\", \"beta\"]\nsize = \"4 KiB\"\ninterrupt = \"shared\"\n");
    let source = Source::new("m.toml", &text);
    let system = Manifest::parse(&source).unwrap().microkit(&source, &Options::other()).unwrap();
    let text = system.xml("a--b.toml").unwrap();
    let document = Document::parse(&text).unwrap();
    let description = schema::check(&document, file).unwrap();
    assert!(description.maps_of("virtual_machine", "alpha").iter().any(|map| map.region == "alpha:beta:<&\"-->;:0"));
    assert_eq!(system.programs[0].config.connections[0].interrupt, Interrupt::Shared);
}
