//! The rules of Microkit's tool (2.3, AArch64, `tool/microkit/src/sdf.rs` and the manual's "System Description File"), as far as our systems use
//! them: elements, attributes, ranges, references, overlaps. What is in no table here is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use roxmltree::{Document, Node};

const SMALL_PAGE: u64 = 0x1000;
const LARGE_PAGE: u64 = 0x20_0000;
const MAX_ID: u64 = 61;
const MAX_PRIORITY: u64 = 254;
const MAX_PROGRAMS: usize = 63;
/// Exclusive end of a VM's and of a program's addresses, the latter without its stack.
const USER_TOP: u64 = 1 << 40;

type Checked<T = ()> = Result<T, String>;

/// Attributes and children: those that must be there, and those that may.
struct Rule {
    required: &'static [&'static str],
    optional: &'static [&'static str],
    children: &'static [&'static str],
}

fn rule(parent: &str, name: &str) -> Option<Rule> {
    let rule = |required, optional, children| Some(Rule { required, optional, children });
    match (parent, name) {
        ("", "system") => rule(&[], &[], &["memory_region", "protection_domain", "channel"]),
        ("system", "memory_region") => rule(&["name"], &["size", "page_size", "phys_addr", "prefill_path"], &[]),
        ("system", "protection_domain") => rule(
            &["name"],
            &["priority", "budget", "period", "passive", "stack_size", "cpu", "smc", "fpu"],
            &["program_image", "map", "irq", "setvar", "virtual_machine"],
        ),
        ("protection_domain", "program_image") => rule(&["path"], &["path_for_symbols"], &[]),
        ("protection_domain", "map") => {
            rule(&["mr", "vaddr"], &["perms", "cached", "setvar_vaddr", "setvar_size", "setvar_prefill_size"], &[])
        }
        ("virtual_machine", "map") => rule(&["mr", "vaddr"], &["perms", "cached"], &[]),
        ("protection_domain", "irq") => rule(&["irq", "id"], &["trigger", "setvar_id"], &[]),
        ("protection_domain", "virtual_machine") => rule(&["name"], &["priority", "budget", "period"], &["vcpu", "map"]),
        ("virtual_machine", "vcpu") => rule(&["id"], &["cpu", "setvar_id"], &[]),
        ("system", "channel") => rule(&[], &[], &["end"]),
        ("channel", "end") => rule(&["pd", "id"], &["pp", "notify", "setvar_id"], &[]),
        _ => None,
    }
}

fn children<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

fn text<'a>(node: Node<'a, '_>, attribute: &str) -> Checked<&'a str> {
    node.attribute(attribute).ok_or_else(|| format!("{} without {attribute}", node.tag_name().name()))
}

fn number(node: Node<'_, '_>, attribute: &str) -> Checked<u64> {
    let said = text(node, attribute)?.replace('_', "");
    let parsed = said.strip_prefix("0x").map_or_else(|| said.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok());
    parsed.ok_or_else(|| format!("{attribute} is no number: {said}"))
}

fn number_or(node: Node<'_, '_>, attribute: &str, default: u64) -> Checked<u64> {
    if node.has_attribute(attribute) { number(node, attribute) } else { Ok(default) }
}

fn ensure(good: bool, told: impl FnOnce() -> String) -> Checked {
    if good { Ok(()) } else { Err(told()) }
}

struct Region {
    size: u64,
    page: u64,
    prefilled: bool,
}

/// A system description as far as the tests ask about it.
pub(crate) struct Description<'a> {
    document: &'a Document<'a>,
    regions: BTreeMap<&'a str, Region>,
}

/// Checks a description. `file` gives the length of a file that memory is to be filled with.
pub(crate) fn check<'a>(document: &'a Document<'a>, file: impl Fn(&str) -> Option<u64>) -> Checked<Description<'a>> {
    let system = document.root_element();
    elements("", system)?;
    let mut description = Description { document, regions: BTreeMap::new() };
    let mut physical: Vec<Range<u64>> = Vec::new();
    for node in children(system, "memory_region") {
        let (name, region) = (text(node, "name")?, region(node, &file)?);
        if node.has_attribute("phys_addr") {
            let start = number(node, "phys_addr")?;
            ensure(start.is_multiple_of(region.page), || format!("{name}: phys_addr is not aligned"))?;
            place(&mut physical, start..start + region.size).map_err(|told| format!("{name}: physical {told}"))?;
        }
        let page_kept = node.has_attribute("page_size") || region.prefilled;
        ensure(page_kept, || format!("{name}: no page_size; the tool would choose one"))?;
        ensure(description.regions.insert(name, region).is_none(), || format!("two regions {name}"))?;
    }
    let mut names = BTreeSet::new();
    let mut machines = BTreeSet::new();
    let mut ids: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let mut irqs = BTreeSet::new();
    for node in children(system, "protection_domain") {
        let name = text(node, "name")?;
        ensure(names.insert(name), || format!("two protection domains {name}"))?;
        ensure(name != "monitor" && name.len() < 64, || format!("no name for a protection domain: {name}"))?;
        ensure(number_or(node, "priority", 0)? <= MAX_PRIORITY, || format!("{name}: priority"))?;
        let stack = number_or(node, "stack_size", 0x2000)?;
        ensure((SMALL_PAGE..=16 << 20).contains(&stack) && stack.is_multiple_of(SMALL_PAGE), || format!("{name}: stack_size"))?;
        ensure(children(node, "program_image").count() == 1, || format!("{name}: not one program_image"))?;
        // The stack, a guard page and the IPC buffer's page are at the top.
        description.maps(node, USER_TOP - stack - 2 * SMALL_PAGE)?;
        let mut symbols = BTreeSet::new();
        for symbol in node.children().flat_map(|child| child.attributes()).filter(|attribute| attribute.name().starts_with("setvar")) {
            ensure(symbols.insert(symbol.value()), || format!("{name}: two values for {}", symbol.value()))?;
        }
        for irq in children(node, "irq") {
            ensure(irqs.insert(number(irq, "irq")?), || format!("{name}: an interrupt that is another's"))?;
            ensure(matches!(irq.attribute("trigger"), None | Some("level" | "edge")), || format!("{name}: trigger"))?;
            id(&mut ids, name, number(irq, "id")?)?;
        }
        ensure(children(node, "virtual_machine").count() <= 1, || format!("{name}: two VMs"))?;
        for machine in children(node, "virtual_machine") {
            ensure(machines.insert(text(machine, "name")?), || format!("{name}: a VM's name is another's"))?;
            ensure(number_or(machine, "priority", 0)? < number_or(node, "priority", 0)?, || format!("{name}: its VM is as important"))?;
            let vcpus = children(machine, "vcpu").map(|vcpu| number(vcpu, "id")).collect::<Checked<Vec<_>>>()?;
            let different: BTreeSet<_> = vcpus.iter().filter(|id| **id <= MAX_ID).collect();
            ensure(!vcpus.is_empty() && different.len() == vcpus.len(), || format!("{name}: vCPUs"))?;
            description.maps(machine, USER_TOP)?;
        }
    }
    ensure((1..=MAX_PROGRAMS).contains(&names.len()), || "number of protection domains".to_owned())?;
    for channel in children(system, "channel") {
        let ends: Vec<_> = children(channel, "end").collect();
        ensure(ends.len() == 2, || "a channel has two ends".to_owned())?;
        for end in ends {
            let name = text(end, "pd")?;
            ensure(names.contains(name), || format!("no protection domain {name}"))?;
            id(&mut ids, name, number(end, "id")?)?;
        }
    }
    let mapped: BTreeSet<_> = document.descendants().filter_map(|node| node.attribute("mr")).collect();
    let unused = description.regions.keys().find(|name| !mapped.contains(*name));
    ensure(unused.is_none(), || format!("nobody maps {}", unused.unwrap_or(&"")))?;
    description.caching()?;
    Ok(description)
}

fn elements(parent: &str, node: Node<'_, '_>) -> Checked {
    let name = node.tag_name().name();
    let rule = rule(parent, name).ok_or_else(|| format!("no element {name} in {parent}"))?;
    for attribute in node.attributes() {
        let known = rule.required.iter().chain(rule.optional).any(|known| *known == attribute.name());
        ensure(known, || format!("no attribute {} of {name}", attribute.name()))?;
    }
    for required in rule.required {
        text(node, required)?;
    }
    for child in node.children() {
        if child.is_text() {
            ensure(child.text().is_none_or(|text| text.trim().is_empty()), || format!("text in {name}"))?;
        } else if child.is_element() {
            ensure(rule.children.contains(&child.tag_name().name()), || format!("no {} in {name}", child.tag_name().name()))?;
            elements(name, child)?;
        }
    }
    Ok(())
}

fn region(node: Node<'_, '_>, file: impl Fn(&str) -> Option<u64>) -> Checked<Region> {
    let name = text(node, "name")?;
    let page = number_or(node, "page_size", SMALL_PAGE)?;
    ensure([SMALL_PAGE, LARGE_PAGE].contains(&page), || format!("{name}: no such page size"))?;
    let prefill = node.attribute("prefill_path");
    let length =
        prefill.map(|path| file(path).filter(|length| *length != 0).ok_or_else(|| format!("{name}: no file {path}"))).transpose()?;
    let size = match length {
        Some(length) => number_or(node, "size", length.next_multiple_of(page))?,
        None => number(node, "size")?,
    };
    ensure(size != 0 && size.is_multiple_of(page), || format!("{name}: size is no multiple of the page size"))?;
    Ok(Region { size, page, prefilled: prefill.is_some() })
}

fn place(taken: &mut Vec<Range<u64>>, range: Range<u64>) -> Checked {
    let overlap = taken.iter().find(|other| other.start < range.end && range.start < other.end);
    ensure(overlap.is_none(), || format!("{range:#x?} overlaps {overlap:#x?}"))?;
    taken.push(range);
    Ok(())
}

fn id<'a>(ids: &mut BTreeMap<&'a str, BTreeSet<u64>>, program: &'a str, id: u64) -> Checked {
    ensure(id <= MAX_ID, || format!("{program}: id {id}"))?;
    ensure(ids.entry(program).or_default().insert(id), || format!("{program}: two channels {id}"))
}

/// A map of a program or a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapped<'a> {
    pub(crate) region: &'a str,
    pub(crate) range: Range<u64>,
    pub(crate) permissions: &'a str,
    pub(crate) cached: bool,
}

impl<'a> Description<'a> {
    /// The maps of a protection domain or a VM, checked.
    fn maps(&self, owner: Node<'a, 'a>, end: u64) -> Checked<Vec<Mapped<'a>>> {
        let name = text(owner, "name")?;
        let mut taken = Vec::new();
        let maps = children(owner, "map").map(|node| {
            let wanted = text(node, "mr")?;
            let region = self.regions.get(wanted).ok_or_else(|| format!("{name}: no region {wanted}"))?;
            let start = number(node, "vaddr")?;
            ensure(start.is_multiple_of(region.page), || format!("{name}: {wanted} is not aligned"))?;
            let range = start..start.checked_add(region.size).ok_or_else(|| format!("{name}: {wanted} wraps"))?;
            ensure(range.end <= end, || format!("{name}: {wanted} ends too high"))?;
            place(&mut taken, range.clone()).map_err(|told| format!("{name}: {wanted} {told}"))?;
            let permissions = node.attribute("perms").unwrap_or("rw");
            ensure(["r", "rw", "rx", "rwx"].contains(&permissions), || format!("{name}: perms {permissions}"))?;
            let prefilled = !node.has_attribute("setvar_prefill_size") || region.prefilled;
            ensure(prefilled, || format!("{name}: setvar_prefill_size of {wanted}, which is not prefilled"))?;
            let cached = match node.attribute("cached") {
                None | Some("true") => true,
                Some("false") => false,
                Some(other) => return Err(format!("{name}: cached is {other}")),
            };
            Ok(Mapped { region: wanted, range, permissions, cached })
        });
        maps.collect()
    }

    /// All who map a region must do it with the same caching. The tool does not look at this.
    fn caching(&self) -> Checked {
        let mut caching: BTreeMap<&str, bool> = BTreeMap::new();
        for node in self.document.descendants().filter(|node| node.has_tag_name("map")) {
            let (region, cached) = (text(node, "mr")?, node.attribute("cached") != Some("false"));
            ensure(*caching.entry(region).or_insert(cached) == cached, || format!("{region}: mapped with and without caches"))?;
        }
        Ok(())
    }

    /// The maps of the protection domain or VM of this name.
    pub(crate) fn maps_of(&self, element: &'static str, name: &str) -> Vec<Mapped<'a>> {
        let mut nodes = self.document.descendants().filter(|node| node.has_tag_name(element));
        let owner = nodes.find(|node| node.attribute("name") == Some(name)).unwrap_or_else(|| panic!("no {element} {name}"));
        self.maps(owner, USER_TOP).unwrap()
    }
}
