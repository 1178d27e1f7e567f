//! What `lspci -vv -n` shows in a guest, and whether it is right.

use super::findings::Finding;
use super::transcript::Life;

/// The class, vendor and device of a connection.
const CONNECTION: &str = "0500: 1af4:a111";
/// The class of a host bridge.
const BRIDGE: &str = "0600:";
/// What `lspci` says of a region, a capability or a header that is not as it should be.
const DOUBTS: [&str; 6] = ["[disabled]", "[virtual]", "<unassigned>", "<ignored>", "<access denied>", "!!!"];

/// A connection as it must be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected<'a> {
    pub(crate) name: &'a str,
    pub(crate) driver: &'a str,
    /// Its messages are in use.
    pub(crate) msix: bool,
}

/// One function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Function {
    /// `00:01.0`
    address: String,
    /// Class, vendor and device: `0500: 1af4:a111 …`
    identity: String,
    /// Number and the text behind it.
    regions: Vec<(u64, String)>,
    /// `pin A routed to IRQ 10`
    interrupt: Option<String>,
    capabilities: Vec<String>,
    /// The BAR with the table of messages.
    table: Option<u64>,
    driver: Option<String>,
    /// Lines with a doubt.
    doubts: Vec<String>,
}

/// Whether each connection of `life` is shown as the guest, its kernel and the manifest see it.
pub(crate) fn check(life: &Life, expected: &[Expected<'_>]) -> Finding {
    if life.lspci.is_empty() {
        return Err("the guest has printed nothing of lspci".to_owned());
    }
    let functions = parse(&life.lspci);
    if !functions.iter().any(|function| function.identity.starts_with(BRIDGE)) {
        return Err("no host bridge is shown".to_owned());
    }
    let shown = functions.iter().filter(|function| function.identity.starts_with(CONNECTION)).count();
    if shown != expected.len() {
        return Err(format!("{shown} functions are {CONNECTION}; there should be {}", expected.len()));
    }
    let mut regions = 0;
    for connection in expected {
        regions += one(life, &functions, connection).map_err(|why| format!("`{}`: {why}", connection.name))?;
    }
    let msix = expected.iter().filter(|connection| connection.msix).count();
    Ok(format!(
        "{shown} functions {CONNECTION}, {regions} regions where the guest has them, INTA routed, MSI-X in use by {msix}, drivers as they should be"
    ))
}

/// How many regions the connection has, all of which are right.
fn one(life: &Life, functions: &[Function], connection: &Expected<'_>) -> Result<usize, String> {
    let device = life.devices.iter().find(|device| device.name == connection.name).ok_or("the guest has not reported it")?;
    // The only domain is not shown.
    let address = device.address.strip_prefix("0000:").unwrap_or(&device.address);
    let function = functions.iter().find(|function| function.address == address).ok_or_else(|| format!("nothing is shown at {address}"))?;
    if !function.identity.starts_with(CONNECTION) {
        return Err(format!("{address} is shown as `{}`, not as {CONNECTION}", function.identity));
    }
    if let Some(doubt) = function.doubts.first() {
        return Err(format!("lspci has a doubt: {doubt}"));
    }
    let bars: Vec<_> = life.bars.iter().filter(|bar| bar.connection == connection.name).collect();
    // A guest's BARs are those of its data; the one with the table of messages is beside them.
    let table = function.table.ok_or("no table of messages is shown")?;
    let others: Vec<_> = function.regions.iter().filter(|(number, _)| bars.iter().all(|bar| bar.bar != *number)).collect();
    if bars.is_empty() || others.len() != 1 || others.iter().any(|(number, _)| *number != table) {
        let shown: Vec<_> = function.regions.iter().map(|(number, _)| number.to_string()).collect();
        return Err(format!(
            "regions {} are shown, the guest has {} BARs and a table of messages in BAR {table}",
            shown.join(", "),
            bars.len()
        ));
    }
    for bar in bars {
        let text = function.regions.iter().find(|(number, _)| *number == bar.bar).map(|(_, text)| text.as_str());
        let text = text.ok_or_else(|| format!("region {} is not shown", bar.bar))?;
        let wanted = (format!("Memory at {:x} (", bar.address), format!("[size={}]", size(bar.size)));
        if !text.starts_with(&wanted.0) || !text.ends_with(&wanted.1) {
            return Err(format!("region {} is shown as `{text}`, the guest has `{}…{}`", bar.bar, wanted.0, wanted.1));
        }
    }
    interrupt(life, function, connection)?;
    let has = |start: &str| function.capabilities.iter().find(|capability| capability.starts_with(start));
    has("Vendor Specific Information").ok_or("no vendor-specific capability is shown")?;
    let msix = has("MSI-X").ok_or("no MSI-X capability is shown")?;
    let state = if connection.msix { "MSI-X: Enable+" } else { "MSI-X: Enable-" };
    if !msix.starts_with(state) {
        return Err(format!("`{msix}` instead of `{state}`"));
    }
    match function.driver.as_deref() {
        Some(driver) if driver == connection.driver => Ok(function.regions.len()),
        driver => Err(format!("in use by {} instead of {}", driver.unwrap_or("nobody"), connection.driver)),
    }
}

/// Its pin is A, routed to the interrupt that the kernel counts.
fn interrupt(life: &Life, function: &Function, connection: &Expected<'_>) -> Result<(), String> {
    let text = function.interrupt.as_deref().ok_or("no interrupt is shown")?;
    let irq: u64 = text.strip_prefix("pin A routed to IRQ ").and_then(|irq| irq.parse().ok()).ok_or_else(|| format!("`{text}`"))?;
    let counted = life.interrupts.iter().find(|line| line.connection == connection.name && line.kind == "INTx");
    match counted {
        Some(line) if line.irq != irq => Err(format!("routed to IRQ {irq}, but the kernel counts IRQ {}", line.irq)),
        _ if irq == 0 => Err("routed to IRQ 0".to_owned()),
        _ => Ok(()),
    }
}

/// A size as `lspci` writes it.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["", "K", "M", "G", "T"];
    let mut rest = bytes;
    for unit in UNITS {
        if rest < 1024 || !rest.is_multiple_of(1024) {
            return format!("{rest}{unit}");
        }
        rest /= 1024;
    }
    format!("{rest}P")
}

/// The functions: each begins at the margin, and what belongs to it is behind tabulators.
fn parse(lines: &[String]) -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    for line in lines {
        let Some(text) = line.strip_prefix('\t') else {
            if let Some((address, identity)) = line.split_once(' ') {
                functions.push(Function { address: address.to_owned(), identity: identity.to_owned(), ..Function::default() });
            }
            continue;
        };
        let Some(function) = functions.last_mut() else { continue };
        if DOUBTS.iter().any(|doubt| text.contains(doubt)) {
            function.doubts.push(text.trim().to_owned());
        }
        if let Some(region) = text.strip_prefix("Region ") {
            let parts = region.split_once(": ").and_then(|(number, rest)| Some((number.parse().ok()?, rest.to_owned())));
            function.regions.extend(parts);
        } else if let Some(interrupt) = text.strip_prefix("Interrupt: ") {
            function.interrupt = Some(interrupt.to_owned());
        } else if let Some(capability) = text.strip_prefix("Capabilities: ") {
            let name = capability.split_once("] ").map_or(capability, |(_, name)| name);
            function.capabilities.push(name.to_owned());
        } else if let Some(table) = text.trim_start().strip_prefix("Vector table: BAR=") {
            function.table = table.split(' ').next().and_then(|number| number.parse().ok());
        } else if let Some(driver) = text.strip_prefix("Kernel driver in use: ") {
            function.driver = Some(driver.to_owned());
        }
    }
    functions
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::launch::console::Line;
    use crate::trial::transcript::Transcript;

    const GOOD: &str = include_str!("fixtures/lspci.log");

    fn life(text: &str) -> Life {
        let mut transcript = Transcript::default();
        for line in text.lines() {
            transcript.add(&Line::parse(Duration::ZERO, line));
        }
        transcript.guest("vm0").last()
    }

    fn expected() -> [Expected<'static>; 7] {
        ["reverse", "bulk", "ping", "ping-msix", "late", "late-msix", "bulk-msix"].map(|name| {
            let msix = name.ends_with("msix");
            Expected { name, driver: if msix { "crossvm" } else { "uio_pci_generic" }, msix }
        })
    }

    #[test]
    fn a_guest_s_functions_are_as_they_should_be() {
        let finding = check(&life(GOOD), &expected());
        assert!(finding.as_ref().is_ok_and(|text| text.starts_with("7 functions 0500: 1af4:a111, 21 regions")), "{finding:?}");
    }

    #[test]
    fn one_wrong_word_is_noticed() {
        for (from, to, told) in [
            ("|00:02.0 0500: 1af4:a111", "|00:02.0 0500: 1af4:1111", "6 functions"),
            ("0600: 1b36:0008", "0604: 1b36:0008", "no host bridge"),
            ("Memory at dfffa000", "Memory at dfffe000", "`ping`: region 1 is shown as"),
            ("[size=1M]", "[size=2M]", "`bulk`: region 1"),
            ("[size=64K]", "[size=64K] [disabled]", "`reverse`: lspci has a doubt"),
            ("|\tRegion 5", "|\tRegion 4", "`reverse`: regions 0, 1, 4 are shown"),
            ("Vector table: BAR=5", "Vector table: BAR=3", "a table of messages in BAR 3"),
            ("Vector table", "Vector", "no table of messages"),
            ("pin A routed to IRQ 18", "pin B routed to IRQ 18", "`ping`: `pin B routed to IRQ 18`"),
            ("pin A routed to IRQ 18", "pin A routed to IRQ 17", "the kernel counts IRQ 18"),
            ("pin A routed to IRQ 19", "pin A routed to IRQ 0", "`ping-msix`: routed to IRQ 0"),
            ("Vendor Specific Information", "Null", "no vendor-specific"),
            ("MSI-X: Enable-", "MSI-X: Enable+", "`reverse`: `MSI-X: Enable+"),
            ("MSI-X: Enable+", "MSI-X: Enable-", "`ping-msix`: `MSI-X: Enable-"),
            ("MSI-X: Enable+", "MSI: Enable+", "no MSI-X"),
            ("in use: crossvm", "in use: uio_pci_generic", "`ping-msix`: in use by uio_pci_generic"),
            ("name=ping address", "name=pong address", "has not reported it"),
            ("DEMO lspci", "DEMO lspcj", "nothing of lspci"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let why = check(&life(&text), &expected()).expect_err(from);
            assert!(why.contains(told), "{from}: {why}");
        }
    }

    #[test]
    fn sizes_are_written_as_lspci_does() {
        assert_eq!([64, 4096, 1 << 20, 3 << 30].map(size), ["64", "4K", "1M", "3G"]);
    }
}
