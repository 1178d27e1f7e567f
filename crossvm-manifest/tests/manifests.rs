//! Manifests in TOML: what a good one means, and what is said about a broken one.

use std::path::Path;

use crossvm_manifest::manifest::{
    Bytes, Debian, GicVersion, Initrd, Irqchip, Kernel, Kind, Limits, Manifest, Objection, Place, Source, Style,
};
use crossvm_manifest::{ComponentKind, Dataport, EventBar, Interrupt, Profile, Reboot, Rights, Width};

/// Each file in tests/broken has a snapshot of all that is said about it.
#[test]
fn every_broken_manifest_is_told_by_line_column_and_mend() {
    // An image that does not fit the memory of small-memory.toml; too large for the repository.
    let large = TemporaryFile(Path::new("tests/large-initrd"));
    std::fs::File::create(large.0).and_then(|file| file.set_len(3 << 20)).unwrap();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _guard = settings.bind_to_scope();
    insta::glob!("broken/*.toml", |path| {
        // The name as it is shown must not depend on where the repository lies.
        let path = Path::new("tests/broken").join(path.file_name().unwrap());
        let diagnostics = Manifest::parse(&Source::read(&path).unwrap()).unwrap_err();
        for diagnostic in diagnostics.all() {
            assert!(!diagnostic.message.is_empty() && !diagnostic.label.is_empty() && !diagnostic.help.is_empty(), "{diagnostic:?}");
        }
        insta::assert_snapshot!("broken", diagnostics.render(Style::Plain));
    });
}

struct TemporaryFile(&'static Path);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

fn parse(text: &str) -> Manifest {
    Manifest::parse(&Source::new("good.toml", text)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_example_is_good_and_shows_what_it_promises() {
    let read = |name: &str| {
        let source = Source::read(&Path::new("../examples/manifests").join(name)).unwrap();
        let manifest = Manifest::parse(&source).unwrap_or_else(|error| panic!("{error}"));
        manifest.check_limits(&source, &limits()).unwrap_or_else(|error| panic!("{error}"));
        manifest
    };
    for file in std::fs::read_dir("../examples/manifests").unwrap() {
        read(file.unwrap().file_name().to_str().unwrap());
    }
    let three = read("three-guests.toml");
    assert_eq!(three.counts(), "3 VMs, 3 components, 10 connections");
    assert!(three.vms.iter().any(|vm| vm.vcpus == 2));
    let dataports = || three.connections.iter().flat_map(|connection| &connection.dataports);
    for size in [4 << 10, 12 << 10, 1 << 20, 64 << 20] {
        assert!(dataports().any(|dataport| dataport.size == size), "{size}");
    }
    assert!(dataports().any(|dataport| dataport.rights == [Rights::ReadWrite, Rights::Read]));
    assert!(dataports().any(|dataport| dataport.rights == [Rights::Read, Rights::ReadWrite]));
    assert_eq!(read("many.toml").connections.len(), 40);
}

/// The parts of the documentation between fences: what stands behind the opening fence, and the text.
fn fenced(text: &str) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(_), true) => inside = false,
            (Some(kind), false) => {
                parts.push((kind.to_owned(), String::new()));
                inside = true;
            }
            (None, true) => parts.last_mut().unwrap().1.extend([line, "\n"]),
            (None, false) => {}
        }
    }
    parts
}

#[test]
fn what_the_documentation_shows_is_true() {
    let others =
        "\n[vm.alpha]\nkernel = { debian = \"6.1\" }\n[vm.beta]\nkernel = { debian = \"6.1\" }\n[component.sum]\nkind = \"digest\"\n";
    let parts = fenced(&std::fs::read_to_string("../docs/manifest.md").unwrap());
    let mut shown = [0; 3];
    for (index, (kind, text)) in parts.iter().enumerate() {
        match kind.as_str() {
            "toml broken" => {
                let told = Manifest::parse(&Source::new("broken.toml", text)).unwrap_err().to_string();
                assert_eq!(parts[index + 1], ("text".to_owned(), told + "\n"));
                shown[0] += 1;
            }
            "toml" if text.contains("[vm.") => {
                assert_eq!(parse(text).connections.len(), 2);
                shown[1] += 1;
            }
            // A part of a manifest.
            "toml" => {
                assert_eq!(parse(&(text.clone() + others)).connections.len(), 3);
                shown[2] += 1;
            }
            _ => {}
        }
    }
    assert_eq!(shown, [1, 1, 1]);
}

#[test]
fn everything_that_can_be_said_is_read() {
    let manifest = parse(
        r#"
        description = "All keys."

        [vm.beta]
        kernel = { debian = "6.12" }
        initrd = { builtin = "demo" }

        [vm.alpha]
        kernel = "Image"
        initrd = "initrd.cpio"
        command-line = "console=ttyAMA0 quiet"
        memory = "1 GiB"
        vcpus = 0x2
        on-reboot = "stop"
        profile = "reference"
        event-bar = "16KiB"

        [component.sum]
        kind = "digest"

        [[connection]]
        name = "in[0].left"
        between = ["alpha", "beta"]
        size = "12KiB"
        rights = { beta = "r" }
        interrupt = { alpha = "shared" }

        [[connection]]
        name = "checksum"
        between = ["sum", "beta"]
        dataports = [
            { size = "64 MiB", rights = { sum = "r" }, width = 64 },
            { size = "4 KiB", rights = { beta = "r", sum = "rw" } },
        ]
        interrupt = "own"

        [[connection]]
        name = "bell"
        between = ["alpha", "beta"]
        dataports = []

        [platform.el2]
        gic = 2
        cpu = "cortex-a57"
        [platform.kvm]
        irqchip = "split"
        "#,
    );
    assert_eq!(manifest.description.as_deref(), Some("All keys."));
    let [beta, alpha] = &manifest.vms[..] else { panic!("the order of the text: {:?}", manifest.vms) };
    assert_eq!((beta.name.as_str(), alpha.name.as_str()), ("beta", "alpha"));
    assert_eq!((&beta.kernel, &beta.initrd), (&Kernel::Debian(Debian::Linux6_12), &Some(Initrd::Demo)));
    assert_eq!((beta.memory, beta.vcpus, beta.on_reboot, beta.command_line.as_str()), (256 << 20, 1, Reboot::Restart, ""));
    assert_eq!((beta.device.profile, beta.device.event_bar), (Profile::Extended, EventBar::Kib4));
    assert_eq!((&alpha.kernel, &alpha.initrd), (&Kernel::File("Image".into()), &Some(Initrd::File("initrd.cpio".into()))));
    assert_eq!((alpha.memory, alpha.vcpus, alpha.on_reboot), (1 << 30, 2, Reboot::Stop));
    assert_eq!(alpha.command_line, "console=ttyAMA0 quiet");
    assert_eq!((alpha.device.profile, alpha.device.event_bar), (Profile::Reference, EventBar::Kib16));
    assert_eq!((manifest.components[0].name.as_str(), manifest.components[0].kind), ("sum", ComponentKind::Digest));

    let [camera, checksum, bell] = &manifest.connections[..] else { panic!("{:?}", manifest.connections) };
    assert_eq!(camera.name, "in[0].left");
    let narrow = |size, rights| Dataport { size, rights, width: Width::Bits32 };
    assert_eq!(camera.dataports, [narrow(12 << 10, [Rights::ReadWrite, Rights::Read])]);
    assert_eq!(camera.ends.each_ref().map(|end| end.peer.as_str()), ["alpha", "beta"]);
    assert_eq!(camera.ends.each_ref().map(|end| end.interrupt), [Some(Interrupt::Shared), None]);
    let wide = Dataport { size: 64 << 20, rights: [Rights::Read, Rights::ReadWrite], width: Width::Bits64 };
    assert_eq!(checksum.dataports, [wide, narrow(4096, [Rights::ReadWrite, Rights::Read])]);
    assert_eq!(checksum.ends.each_ref().map(|end| end.interrupt), [Some(Interrupt::Own); 2]);
    assert_eq!((bell.dataports.len(), bell.bytes()), (0, Bytes(0)));
    assert_eq!((manifest.platforms.el2.gic, manifest.platforms.el2.cpu.as_deref()), (Some(GicVersion::V2), Some("cortex-a57")));
    assert_eq!(manifest.platforms.kvm.irqchip, Some(Irqchip::Split));
    assert_eq!((manifest.counts().as_str(), manifest.vcpus()), ("2 VMs, 1 component, 3 connections", 3));
}

fn connections(count: usize, extra: &str) -> String {
    let vms = ["alpha", "beta"].map(|name| format!("[vm.{name}]\nkernel = {{ debian = \"6.1\" }}\n")).concat();
    let one = |number| format!("[[connection]]\nname = \"c{number}\"\nbetween = [\"alpha\", \"beta\"]\nsize = \"4 KiB\"\n{extra}\n");
    vms + &(0..count).map(one).collect::<String>()
}

#[test]
fn connections_share_a_line_by_themselves_where_there_are_more_than_31() {
    let kinds = |text: &str| match Manifest::parse(&Source::new("x", text)) {
        Ok(_) => Vec::new(),
        Err(told) => told.all().iter().map(|diagnostic| diagnostic.kind).collect(),
    };
    assert_eq!(kinds(&connections(31, "")), []);
    assert_eq!(kinds(&connections(64, "")), []);
    assert_eq!(kinds(&connections(31, "interrupt = \"own\"")), []);
    assert_eq!(kinds(&connections(32, "interrupt = \"own\"")), [Kind::TooMany; 2], "one for each VM");
    assert_eq!(kinds(&connections(65, "")), [Kind::TooMany]);
}

fn limits() -> Limits {
    Limits { platform: "el2".to_owned(), vcpus: 8, memory: 4 << 30, low_window: 0x1000_0000..0x3eff_0000 }
}

#[test]
fn what_a_platform_lacks_is_told() {
    let told = |text: &str| {
        let source = Source::new("m.toml", text);
        let manifest = Manifest::parse(&source).unwrap_or_else(|error| panic!("{error}"));
        manifest.check_limits(&source, &limits()).map_err(|told| told.to_string())
    };
    assert_eq!(told(&connections(64, "")), Ok(()));
    let vm = |name: &str, more: &str| format!("[vm.{name}]\nkernel = {{ debian = \"6.1\" }}\n{more}\n");
    let large = "[[connection]]\nname = \"film\"\nbetween = [\"a\", \"b\"]\nsize = \"300 MiB\"\nWIDTH\n";
    let film = |width: &str| vm("a", "") + &vm("b", "") + &large.replace("WIDTH", width);
    assert_eq!(told(&film("width = 64")), Ok(()));
    insta::assert_snapshot!("platform-window", told(&film("")).unwrap_err());
    insta::assert_snapshot!("platform-vcpus", told(&(vm("a", "vcpus = 4") + &vm("b", "vcpus = 4") + &vm("c", ""))).unwrap_err());
    insta::assert_snapshot!("platform-memory", told(&(vm("a", "memory = \"1 GiB\"") + &vm("b", "memory = \"4 GiB\""))).unwrap_err());
}

#[test]
fn what_a_vm_monitor_objects_to_is_told_at_its_place() {
    let text = connections(1, "") + "[vm.gamma]\nkernel = \"Image\"\ninitrd = \"disk\"\nmemory = \"2 MiB\"\nvcpus = 2\n";
    let source = Source::new("m.toml", &text);
    let manifest = parse(&text);
    let objection = |place| Objection { place, message: "m".to_owned(), label: "l".to_owned(), help: "h".to_owned() };
    let places = [Place::Kernel { vm: 2 }, Place::Initrd { vm: 2 }, Place::Memory { vm: 2 }, Place::Vcpus { vm: 2 }];
    let all = places.into_iter().chain([Place::Initrd { vm: 0 }, Place::Connection { connection: 0 }]);
    let told = manifest.check_objections(&source, all.map(objection)).unwrap_err();
    let there: Vec<&str> = told.all().iter().map(|diagnostic| &text[diagnostic.at.clone()]).collect();
    assert_eq!(there, ["alpha", "\"c0\"", "\"Image\"", "\"disk\"", "\"2 MiB\"", "2"]);
    assert!(manifest.check_objections(&source, []).is_ok());
}

#[test]
fn event_registers_and_message_tables_take_addresses_too() {
    let fits = |profile: &str, end: u64| {
        let vm = |name: &str| format!("[vm.{name}]\nkernel = {{ debian = \"6.1\" }}\nprofile = \"{profile}\"\n");
        let wire = "[[connection]]\nname = \"x\"\nbetween = [\"a\", \"b\"]\nsize = \"8 KiB\"\n";
        let source = Source::new("m.toml", &(vm("a") + &vm("b") + wire));
        let limits = Limits { low_window: 0x1000_0000..end, ..limits() };
        Manifest::parse(&source).unwrap().check_limits(&source, &limits).is_ok()
    };
    assert!(fits("extended", 0x1000_4000) && !fits("extended", 0x1000_3000));
    assert!(fits("reference", 0x1000_3000) && !fits("reference", 0x1000_2000));
}

#[test]
fn diagnostics_are_data_too() {
    let source = Source::new("m.toml", "[vm.a]\nkernel = { debian = \"6.1\" }\nvcpu = 2\n");
    let told = Manifest::parse(&source).unwrap_err();
    let json = serde_json::to_value(told.all()).unwrap();
    assert_eq!(json[0]["kind"], "unknown-key");
    assert_eq!(json[0]["start"], serde_json::json!({ "line": 3, "column": 1 }));
    assert_eq!(json[0]["end"], serde_json::json!({ "line": 3, "column": 5 }));
    assert!(json[0]["help"].as_str().unwrap().starts_with("did you mean `vcpus`?"));
    let coloured = told.render(Style::Coloured);
    assert!(coloured.contains("\u{1b}[") && !told.render(Style::Plain).contains('\u{1b}'));
}

#[test]
fn one_name_may_serve_connections_of_different_ends() {
    let vms = ["a", "b", "c"].map(|name| format!("[vm.{name}]\nkernel = {{ debian = \"6.1\" }}\n")).concat();
    let wire = |one, other| format!("[[connection]]\nname = \"wire\"\nbetween = [\"{one}\", \"{other}\"]\nsize = \"4 KiB\"\n");
    let text = vms + &wire("a", "b");
    assert!(Manifest::parse(&Source::new("x", &(text.clone() + &wire("c", "b")))).is_err());
    let far = text + "[vm.d]\nkernel = { debian = \"6.1\" }\n" + &wire("c", "d");
    assert_eq!(parse(&far).connections.len(), 2);
}

#[test]
fn no_text_panics() {
    use proptest::prelude::*;
    let good = std::fs::read_to_string("tests/broken/values.toml").unwrap();
    let pieces: Vec<String> = good.split_inclusive([' ', '\n', '"']).map(str::to_owned).collect();
    proptest!(|(text in prop::collection::vec(prop::sample::select(pieces), 0..60))| {
        let text = text.concat();
        if let Err(told) = Manifest::parse(&Source::new("x", &text)) {
            prop_assert!(!told.all().is_empty());
            prop_assert!(!told.render(Style::Plain).is_empty());
        }
    });
    proptest!(|(text in "\\PC{0,80}", cut in 0usize..400)| {
        for text in [text, good.chars().take(cut).collect()] {
            if let Err(told) = Manifest::parse(&Source::new("x", &text)) {
                prop_assert!(!told.render(Style::Plain).is_empty());
            }
        }
    });
}
