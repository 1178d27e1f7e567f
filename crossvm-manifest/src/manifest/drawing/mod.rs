//! A drawing of a topology: who is there stands side by side, each with a line downwards, and every dataport is an arrow from line to line.
//!
//! ```text
//!   ┌────────┐     ┌────────┐     ┌────────┐
//!   │ camera │     │ vision │     │ store  │
//!   └───┬────┘     └───┬────┘     └───┬────┘
//!       ● frames 64 MiB│              │
//!       ├─────────────▶│              │
//!       │              │              │
//! ```
//!
//! However many connections there are, none crosses another, and the text of each has room.

mod order;
mod paint;

use super::{Bytes, Connection, Kernel, Manifest};
use crate::{Interrupt, Rights};
use paint::Face;

/// Where the first row of arrows is, below the boxes.
const BOX_TOP: i32 = 24;
const BOX_HEIGHT: i32 = 62;
/// From one arrow to the next.
const ROW: i32 = 30;
/// More, from one connection to the next.
const GAP: i32 = 8;
const MARGIN: i32 = 24;
/// Room between a text on an arrow and the lines at both sides of it.
const BREATH: i32 = 26;
const LEAST_BOX: i32 = 120;

/// Everything with its place; lengths are in pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    title: String,
    columns: Vec<Column>,
    arrows: Vec<Arrow>,
    width: i32,
    height: i32,
}

/// A VM or component.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    details: [String; 2],
    what: What,
    /// The middle.
    x: i32,
    box_width: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Vm,
    Component,
}

/// A dataport, or the events of a connection that has none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arrow {
    /// The connection's name, on its first arrow only.
    name: String,
    size: String,
    flow: Flow,
    y: i32,
    /// The left end and the right end.
    ends: [ArrowEnd; 2],
    /// The middle of the text.
    text_x: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ArrowEnd {
    x: i32,
    dot: Dot,
}

/// What is at the end of a connection's first arrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dot {
    /// A VM with an own interrupt line.
    Own,
    /// A VM whose connections share a line.
    Shared,
    /// Nothing: a component, or a further arrow.
    None,
}

/// Who may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Both,
    ToTheRight,
    ToTheLeft,
    /// There is no memory.
    Events,
}

impl Manifest {
    /// A drawing of who is there and what connects them, as SVG.
    #[must_use]
    pub fn drawing(&self) -> String {
        paint::svg(&Layout::of(self))
    }
}

impl Layout {
    fn of(manifest: &Manifest) -> Self {
        let mut columns = order::columns(manifest);
        let wires: Vec<Wire<'_>> = manifest.connections.iter().filter_map(|connection| Wire::of(manifest, connection, &columns)).collect();
        place(&mut columns, &wires);
        let mut y = BOX_TOP + BOX_HEIGHT + ROW;
        let mut arrows = Vec::new();
        for wire in &wires {
            let between = |column: usize| columns.get(column).map_or(0, |column| column.x);
            let text_x = i32::midpoint(between(wire.left), between(wire.left + 1));
            for (number, (size, flow)) in wire.ports.iter().enumerate() {
                let first = number == 0;
                let end = |column, dot| ArrowEnd { x: between(column), dot: if first { dot } else { Dot::None } };
                let name = if first { wire.connection.name.clone() } else { String::new() };
                let ends = [end(wire.left, wire.dots[0]), end(wire.right, wire.dots[1])];
                arrows.push(Arrow { name, size: size.clone(), flow: *flow, y, ends, text_x });
                y += ROW;
            }
            y += GAP;
        }
        let right = columns.iter().map(|column| column.x + column.box_width / 2).max().unwrap_or(0);
        let title = manifest.description.clone().unwrap_or_else(|| manifest.counts());
        Self { title, columns, arrows, width: right + MARGIN, height: y }
    }
}

/// A connection between two columns.
struct Wire<'a> {
    connection: &'a Connection,
    left: usize,
    right: usize,
    dots: [Dot; 2],
    ports: Vec<(String, Flow)>,
}

impl<'a> Wire<'a> {
    fn of(manifest: &Manifest, connection: &'a Connection, columns: &[Column]) -> Option<Self> {
        let column = |side: usize| {
            let peer = connection.ends.get(side).map(|end| end.peer.as_str());
            columns.iter().position(|column| Some(column.name.as_str()) == peer)
        };
        let (one, other) = (column(0)?, column(1)?);
        let sides: [usize; 2] = if one < other { [0, 1] } else { [1, 0] };
        let mut ports: Vec<(String, Flow)> = Vec::new();
        for dataport in &connection.dataports {
            let flow = match sides.map(|side| dataport.rights.get(side) == Some(&Rights::ReadWrite)) {
                [true, true] => Flow::Both,
                [true, false] => Flow::ToTheRight,
                _ => Flow::ToTheLeft,
            };
            ports.push((Bytes(dataport.size).to_string(), flow));
        }
        if ports.is_empty() {
            ports.push(("events".to_owned(), Flow::Events));
        }
        let dots = sides.map(|side| dot(manifest, connection, side));
        Some(Self { connection, left: one.min(other), right: one.max(other), dots, ports })
    }

    /// Width of its widest text.
    fn text_width(&self) -> i32 {
        let name = paint::width(&self.connection.name, Face::WireName) + 10;
        let ports = self.ports.iter().enumerate();
        ports.map(|(number, (size, _))| paint::width(size, Face::Detail) + if number == 0 { name } else { 0 }).max().unwrap_or(0)
    }
}

fn dot(manifest: &Manifest, connection: &Connection, side: usize) -> Dot {
    let Some(end) = connection.ends.get(side) else { return Dot::None };
    if !manifest.vms.iter().any(|vm| vm.name == end.peer) {
        return Dot::None;
    }
    let count = manifest.connections.iter().filter(|connection| connection.opposite(&end.peer).is_some()).count();
    match end.interrupt.unwrap_or_else(|| Interrupt::usual(count)) {
        Interrupt::Own => Dot::Own,
        Interrupt::Shared => Dot::Shared,
    }
}

/// Gives each column its place: next to the one before, as far as the boxes and the texts between them need.
fn place(columns: &mut [Column], wires: &[Wire<'_>]) {
    let mut edge = MARGIN;
    let mut middle = None;
    for (index, column) in columns.iter_mut().enumerate() {
        let texts = wires.iter().filter(|wire| wire.left + 1 == index).map(|wire| wire.text_width() + 2 * BREATH);
        let by_texts = middle.map_or(0, |middle: i32| middle + texts.max().unwrap_or(0));
        column.x = (edge + column.box_width / 2).max(by_texts);
        edge = column.x + column.box_width / 2 + MARGIN;
        middle = Some(column.x);
    }
}

impl Column {
    fn new(name: &str, details: [String; 2], what: What) -> Self {
        let details_width = details.iter().map(|text| paint::width(text, Face::Detail));
        let text = details_width.chain([paint::width(name, Face::Name)]).max().unwrap_or(0);
        Self { name: name.to_owned(), details, what, x: 0, box_width: (text + 28).max(LEAST_BOX) }
    }
}

/// All VMs and components in the order of the text.
fn in_order_of_text(manifest: &Manifest) -> Vec<Column> {
    let vms = manifest.vms.iter().map(|vm| {
        let kernel = match &vm.kernel {
            Kernel::File(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            Kernel::Debian(series) => format!("Debian, Linux {}", series.name()),
        };
        Column::new(&vm.name, [vm.size(), kernel], What::Vm)
    });
    let components = manifest
        .components
        .iter()
        .map(|component| Column::new(&component.name, ["native component".to_owned(), component.kind.name().to_owned()], What::Component));
    vms.chain(components).collect()
}
