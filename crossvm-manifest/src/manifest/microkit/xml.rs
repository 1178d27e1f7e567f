//! The description that Microkit's tool reads. Manual, "System Description File".

use std::collections::BTreeMap;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::spec;
use super::system::{Channel, Image, Map, Permissions, Program, Region, System};

type Xml = Writer<Vec<u8>>;

impl System {
    /// The description. `made_from` is the manifest's name, for a comment.
    ///
    /// # Errors
    /// None that happens: it is written to memory.
    pub fn xml(&self, made_from: &str) -> io::Result<String> {
        let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        for line in self.remarks(made_from) {
            xml.write_event(Event::Comment(BytesText::new(&format!(" {} ", comment(&line)))))?;
        }
        xml.create_element("system").write_inner_content(|xml| {
            self.regions.iter().try_for_each(|region| region.write(xml))?;
            self.programs.iter().try_for_each(|program| program.write(xml))?;
            self.channels.iter().try_for_each(|channel| channel.write(xml))
        })?;
        let mut bytes = xml.into_inner();
        bytes.push(b'\n');
        String::from_utf8(bytes).map_err(io::Error::other)
    }

    /// What the reader has to bring.
    fn remarks(&self, made_from: &str) -> Vec<String> {
        let mut programs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for program in &self.programs {
            programs.entry(&program.image).or_default().push(&program.name);
        }
        let configs: Vec<String> = self.programs.iter().map(Program::config_file).collect();
        let files = self.regions.iter().filter_map(|region| match &region.image {
            Image::File(file) if !configs.contains(file) => Some(format!("Yours to supply: the file {file}")),
            _ => None,
        });
        let mut lines = vec![format!("Made by `cargo xtask microkit` from {made_from}. Make it anew where that changes.")];
        lines.extend(programs.iter().map(|(image, names)| format!("Yours to supply: the program {image}, for {}", names.join(", "))));
        lines.extend(files);
        lines.push(format!("Made beside this file: {}", configs.join(", ")));
        lines
    }
}

/// No comment may hold two hyphens in a row.
fn comment(text: &str) -> String {
    text.replace("--", "- -")
}

fn hex(number: u64) -> String {
    format!("{number:#x}")
}

impl Region {
    fn write(&self, xml: &mut Xml) -> io::Result<()> {
        let mut element = xml.create_element("memory_region").with_attribute(("name", self.name.as_str()));
        match &self.image {
            Image::Size(size) => {
                let page = if size.is_multiple_of(spec::LARGE_PAGE) { spec::LARGE_PAGE } else { spec::SMALL_PAGE };
                element = element.with_attributes([("size", hex(*size).as_str()), ("page_size", hex(page).as_str())]);
            }
            Image::File(file) => element = element.with_attribute(("prefill_path", file.as_str())),
        }
        if let Some(physical) = self.physical {
            element = element.with_attribute(("phys_addr", hex(physical).as_str()));
        }
        element.write_empty().map(|_| ())
    }
}

impl Program {
    fn write(&self, xml: &mut Xml) -> io::Result<()> {
        let (priority, stack) = (self.priority.to_string(), hex(spec::STACK));
        let attributes = [("name", self.name.as_str()), ("priority", &priority), ("stack_size", &stack)];
        xml.create_element("protection_domain").with_attributes(attributes).write_inner_content(|xml| {
            xml.create_element("program_image").with_attribute(("path", self.image.as_str())).write_empty()?;
            self.maps.iter().try_for_each(|map| map.write(xml))?;
            for irq in &self.irqs {
                let (number, id) = (irq.irq.to_string(), irq.id.to_string());
                let attributes = [("irq", number.as_str()), ("id", &id), ("trigger", "level")];
                xml.create_element("irq").with_attributes(attributes).write_empty()?;
            }
            let Some(vm) = &self.vm else { return Ok(()) };
            let priority = vm.priority.to_string();
            let attributes = [("name", vm.name.as_str()), ("priority", &priority)];
            xml.create_element("virtual_machine").with_attributes(attributes).write_inner_content(|xml| {
                for id in 0..vm.vcpus {
                    xml.create_element("vcpu").with_attribute(("id", id.to_string().as_str())).write_empty()?;
                }
                vm.maps.iter().try_for_each(|map| map.write(xml))
            })?;
            Ok(())
        })?;
        Ok(())
    }
}

impl Map {
    fn write(&self, xml: &mut Xml) -> io::Result<()> {
        let permissions = match self.permissions {
            Permissions::Read => "r",
            Permissions::ReadWrite => "rw",
            Permissions::All => "rwx",
        };
        let address = hex(self.address);
        let cached = if self.cached { "true" } else { "false" };
        let attributes = [("mr", self.region.as_str()), ("vaddr", &address), ("perms", permissions), ("cached", cached)];
        let mut element = xml.create_element("map").with_attributes(attributes);
        for (attribute, symbol) in [("setvar_vaddr", self.address_symbol), ("setvar_prefill_size", self.size_symbol)] {
            if let Some(symbol) = symbol {
                element = element.with_attribute((attribute, symbol));
            }
        }
        element.write_empty().map(|_| ())
    }
}

impl Channel {
    fn write(&self, xml: &mut Xml) -> io::Result<()> {
        xml.write_event(Event::Comment(BytesText::new(&format!(" {} ", comment(&self.connection)))))?;
        xml.create_element("channel").write_inner_content(|xml| {
            for (program, id) in &self.ends {
                xml.create_element("end").with_attributes([("pd", program.as_str()), ("id", id.to_string().as_str())]).write_empty()?;
            }
            Ok(())
        })?;
        Ok(())
    }
}
