//! The layout as SVG. Only plain shapes and numbers, so that every viewer shows the same; colours follow the reader's dark mode.

use svg::Document;
use svg::node::element::{Circle, Group, Line, Polygon, Rectangle, Style, Text, Title};

use super::{Arrow, BOX_HEIGHT, BOX_TOP, Column, Dot, Flow, Layout, MARGIN, What};

const STYLE: &str = "
.page { fill: #ffffff; }
text { font-family: system-ui, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif; font-size: 13px; fill: #1f2328; text-anchor: middle; }
.name { font-weight: 600; font-size: 14px; }
.detail { fill: #57606a; font-size: 12px; }
.wire-name { font-weight: 600; }
.halo { stroke: #ffffff; stroke-width: 5px; stroke-linejoin: round; paint-order: stroke; }
.vm { fill: #e6effc; stroke: #2f66c4; stroke-width: 1.5px; }
.component { fill: #fdf1dd; stroke: #a8640c; stroke-width: 1.5px; }
.lifeline { stroke: #c4cad2; stroke-width: 1.5px; stroke-dasharray: 2 4; }
.stem { stroke: #8a949e; stroke-width: 1.75px; }
.both { stroke: #3a4653; } .head-both { fill: #3a4653; }
.one { stroke: #0a7a6c; } .head-one { fill: #0a7a6c; }
.events { stroke: #6e4fb3; stroke-dasharray: 6 4; } .head-events { fill: #6e4fb3; }
.wire { stroke-width: 1.75px; }
.own { fill: #2f66c4; stroke: #2f66c4; stroke-width: 1.5px; }
.shared { fill: #ffffff; stroke: #2f66c4; stroke-width: 1.5px; }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; }
text { fill: #e6edf3; } .detail { fill: #9aa4ae; } .halo { stroke: #0d1117; }
.vm { fill: #14264a; stroke: #6ea0f0; } .component { fill: #3a2809; stroke: #e0a243; }
.lifeline { stroke: #454d57; } .stem { stroke: #7d8792; }
.both { stroke: #b8c2cc; } .head-both { fill: #b8c2cc; } .one { stroke: #3fc7b4; } .head-one { fill: #3fc7b4; }
.events { stroke: #b59af0; } .head-events { fill: #b59af0; }
.own { fill: #6ea0f0; stroke: #6ea0f0; } .shared { fill: #0d1117; stroke: #6ea0f0; }
}
";
const LEGEND_ROW: i32 = 22;
const LEGEND_WIDTH: i32 = 330;
/// From how high a drawing on the boxes are shown at its foot too.
const TALL: i32 = 900;

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    /// The name of a VM or component.
    Name,
    /// The name of a connection.
    WireName,
    /// All else.
    Detail,
}

/// How wide a text is, about: rather more than less, whatever the reader's fonts are.
pub(super) fn width(text: &str, face: Face) -> i32 {
    let tenths = match face {
        Face::Name => 94,
        Face::WireName => 87,
        Face::Detail => 72,
    };
    i32::try_from(text.chars().count()).unwrap_or(0).saturating_mul(tenths) / 10
}

/// The whole drawing.
pub(super) fn svg(layout: &Layout) -> String {
    let foot = if layout.height > TALL { BOX_HEIGHT + MARGIN } else { 0 };
    let legend = Legend::of(layout);
    let width = layout.width.max(LEGEND_WIDTH + 2 * MARGIN);
    let height = layout.height + foot + legend.height();
    let mut document = Document::new()
        .set("viewBox", (0, 0, width, height))
        .set("width", width)
        .set("height", height)
        .set("role", "img")
        .add(Title::new(layout.title.as_str()))
        .add(Style::new(STYLE))
        .add(Rectangle::new().set("class", "page").set("width", width).set("height", height).set("rx", 8));
    for column in &layout.columns {
        let line = Line::new().set("class", "lifeline").set("x1", column.x).set("x2", column.x);
        document = document.add(line.set("y1", BOX_TOP + BOX_HEIGHT).set("y2", layout.height));
    }
    for [from, to] in layout.arrows.array_windows() {
        if to.name.is_empty() {
            // The same connection's.
            for end in from.ends {
                document =
                    document.add(Line::new().set("class", "stem").set("x1", end.x).set("x2", end.x).set("y1", from.y).set("y2", to.y));
            }
        }
    }
    for arrow in &layout.arrows {
        document = document.add(self::arrow(arrow));
    }
    for column in &layout.columns {
        document = document.add(card(column, BOX_TOP));
        if foot > 0 {
            document = document.add(card(column, layout.height));
        }
    }
    document.add(legend.draw(layout.height + foot)).to_string() + "\n"
}

fn card(column: &Column, top: i32) -> Group {
    let (class, corner) = match column.what {
        What::Vm => ("vm", 4),
        What::Component => ("component", BOX_HEIGHT / 2),
    };
    let shape = Rectangle::new()
        .set("class", class)
        .set("x", column.x - column.box_width / 2)
        .set("y", top)
        .set("width", column.box_width)
        .set("height", BOX_HEIGHT)
        .set("rx", corner);
    let [first, second] = &column.details;
    let line = |class: &str, text: &str, y: i32| Text::new(text).set("class", class).set("x", column.x).set("y", y);
    Group::new().add(shape).add(line("name", &column.name, top + 22)).add(line("detail", first, top + 39)).add(line(
        "detail",
        second,
        top + 54,
    ))
}

fn arrow(arrow: &Arrow) -> Group {
    let class = class(arrow.flow);
    let [left, right] = arrow.ends;
    // The line ends inside of the head, so that the point is sharp.
    let (from, to) = (left.x + if points_left(arrow.flow) { 8 } else { 0 }, right.x - if points_right(arrow.flow) { 8 } else { 0 });
    let line = Line::new().set("class", format!("wire {class}"));
    let mut group = Group::new().add(line.set("x1", from).set("x2", to).set("y1", arrow.y).set("y2", arrow.y));
    if points_left(arrow.flow) {
        group = group.add(head(left.x + 5, 1, arrow.y, class));
    }
    if points_right(arrow.flow) {
        group = group.add(head(right.x - 5, -1, arrow.y, class));
    }
    for end in arrow.ends {
        if let Some(dot) = dot(end.dot) {
            group = group.add(dot.set("cx", end.x).set("cy", arrow.y));
        }
    }
    let text = |class: &str, text: &str, x: i32| Text::new(text).set("class", format!("{class} halo")).set("x", x).set("y", arrow.y - 7);
    if arrow.name.is_empty() {
        return group.add(text("detail", &arrow.size, arrow.text_x));
    }
    // Name and size, side by side around the middle.
    let (name, size) = (width(&arrow.name, Face::WireName), width(&arrow.size, Face::Detail));
    let left = arrow.text_x - (name + 10 + size) / 2;
    group.add(text("wire-name", &arrow.name, left + name / 2)).add(text("detail", &arrow.size, left + name + 10 + size / 2))
}

/// A head whose point is at `x`; the rest lies in the direction `towards`.
fn head(x: i32, towards: i32, y: i32, class: &str) -> Polygon {
    let back = x + 10 * towards;
    Polygon::new().set("class", format!("head-{class}")).set("points", format!("{x},{y} {back},{} {back},{}", y - 5, y + 5))
}

fn dot(dot: Dot) -> Option<Circle> {
    let class = match dot {
        Dot::Own => "own",
        Dot::Shared => "shared",
        Dot::None => return None,
    };
    Some(Circle::new().set("class", class).set("r", 4))
}

const fn class(flow: Flow) -> &'static str {
    match flow {
        Flow::Both => "both",
        Flow::ToTheRight | Flow::ToTheLeft => "one",
        Flow::Events => "events",
    }
}

const fn points_left(flow: Flow) -> bool {
    matches!(flow, Flow::Both | Flow::ToTheLeft | Flow::Events)
}

const fn points_right(flow: Flow) -> bool {
    matches!(flow, Flow::Both | Flow::ToTheRight | Flow::Events)
}

/// What the signs mean, of those that the drawing has.
struct Legend {
    flows: Vec<(Flow, &'static str)>,
    dots: Vec<(Dot, &'static str)>,
}

impl Legend {
    fn of(layout: &Layout) -> Self {
        let has_flow = |class_of: Flow| layout.arrows.iter().any(|arrow| class(arrow.flow) == class(class_of));
        let has_dot = |dot| layout.arrows.iter().any(|arrow| arrow.ends.iter().any(|end| end.dot == dot));
        let flows = [
            (Flow::Both, "memory that both ends write"),
            (Flow::ToTheRight, "memory that one end writes and the other only reads"),
            (Flow::Events, "no memory, only events"),
        ];
        let dots = [(Dot::Own, "has an interrupt line of its own"), (Dot::Shared, "shares the VM's interrupt line")];
        Self {
            flows: flows.into_iter().filter(|(flow, _)| has_flow(*flow)).collect(),
            dots: dots.into_iter().filter(|(dot, _)| has_dot(*dot)).collect(),
        }
    }

    fn rows(&self) -> i32 {
        i32::try_from(self.flows.len() + self.dots.len()).unwrap_or(0)
    }

    fn height(&self) -> i32 {
        MARGIN + self.rows() * LEGEND_ROW
    }

    fn draw(&self, top: i32) -> Group {
        let mut group = Group::new();
        let mut y = top + MARGIN;
        let text = |text: &str, y: i32| {
            let text = Text::new(text).set("class", "detail").set("style", "text-anchor: start");
            text.set("x", MARGIN + 60).set("y", y + 4)
        };
        for (flow, meaning) in &self.flows {
            let left = if points_left(*flow) { MARGIN - 5 } else { MARGIN };
            let ends = [left, MARGIN + 51].map(|x| super::ArrowEnd { x, dot: Dot::None });
            let sample = Arrow { name: String::new(), size: String::new(), flow: *flow, y, ends, text_x: 0 };
            group = group.add(arrow(&sample)).add(text(meaning, y));
            y += LEGEND_ROW;
        }
        for (kind, meaning) in &self.dots {
            if let Some(dot) = dot(*kind) {
                group = group.add(dot.set("cx", MARGIN + 23).set("cy", y));
            }
            group = group.add(text(meaning, y));
            y += LEGEND_ROW;
        }
        group
    }
}
