//! The messages per second of all contenders as SVG: a group of bars for each length, each as long as its speed beside memcpy's.

use svg::Document;
use svg::node::element::{Line, Rectangle, Style, Text, Title};

use crate::contenders::{CONTENDERS, Kind, SIZES};
use crate::report::{Report, Row};
use crate::table::length;

const STYLE: &str = "
.page { fill: #ffffff; }
text { font-family: system-ui, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif; font-size: 12px; fill: #1f2328; }
.head { font-weight: 600; font-size: 14px; } .detail { fill: #57606a; } .end { text-anchor: end; } .middle { text-anchor: middle; }
.ours { fill: #2f66c4; } .other { fill: #b8c0ca; } .limit { fill: #6e7781; }
.grid { stroke: #d8dee4; } .one { stroke: #a8640c; stroke-width: 1.5px; stroke-dasharray: 4 3; }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; } text { fill: #e6edf3; } .detail { fill: #9aa4ae; }
.ours { fill: #6ea0f0; } .other { fill: #57606a; } .limit { fill: #9aa4ae; } .grid { stroke: #30363d; } .one { stroke: #e0a243; }
}
";

/// Where bars begin.
const LEFT: f64 = 130.0;
/// Length of a bar for the highest speed shown.
const LONGEST: f64 = 460.0;
const BAR: f64 = 15.0;
const ROW: f64 = 19.0;
const GROUP: f64 = 46.0;
const TOP: f64 = 64.0;
const WIDTH: f64 = 800.0;
/// Speeds beside memcpy's, in powers of 10: from a hundredth to ten times.
const LEAST: f64 = -2.0;
const MOST: f64 = 1.0;

/// Where the bar of a speed ends.
fn end(speed: f64) -> f64 {
    LEFT + LONGEST * (speed.max(0.011).log10().clamp(LEAST, MOST) - LEAST) / (MOST - LEAST)
}

fn text(x: f64, y: f64, class: &str, content: impl Into<String>) -> Text {
    Text::new(content).set("x", round(x)).set("y", round(y)).set("class", class)
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The whole drawing.
pub(crate) fn svg(report: &Report) -> String {
    let groups: Vec<Vec<&Row>> = SIZES.iter().map(|size| report.throughput.iter().filter(|row| row.size == *size).collect()).collect();
    let height = groups.iter().map(|rows| GROUP + ROW * rows.len() as f64).sum::<f64>() + TOP + 16.0;
    let mut document = Document::new()
        .set("viewBox", format!("0 0 {WIDTH} {height}"))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .add(Title::new("Messages per second between two threads, beside memcpy"))
        .add(Style::new(STYLE))
        .add(Rectangle::new().set("class", "page").set("width", WIDTH).set("height", height).set("rx", 8))
        .add(text(20.0, 28.0, "head", "Messages between two threads: speed beside memcpy"))
        .add(text(20.0, 46.0, "detail", format!("{}; a scale of powers of ten; longer is faster", report.machine.processor)));
    let mut y = TOP;
    for (size, rows) in SIZES.iter().zip(&groups) {
        document = document.add(text(20.0, y + 18.0, "head", length(*size)));
        let bottom = y + 26.0 + ROW * rows.len() as f64;
        for speed in [0.01, 0.1, 1.0, 10.0] {
            let class = if speed == 1.0 { "one" } else { "grid" };
            let x = round(end(speed));
            document = document
                .add(Line::new().set("class", class).set("x1", x).set("x2", x).set("y1", round(y + 24.0)).set("y2", round(bottom)))
                .add(text(x, y + 18.0, "detail middle", format!("{speed}")));
        }
        y += 26.0;
        for row in rows {
            let kind = CONTENDERS.iter().find(|contender| contender.name == row.contender).map_or(Kind::Other, |contender| contender.kind);
            let class = match kind {
                Kind::Ours => "ours",
                Kind::Other => "other",
                Kind::Limit | Kind::Alone => "limit",
            };
            let width = round(end(row.of_limit) - LEFT);
            let rate = row.per_second * row.size as f64 / 1e9;
            let figures = format!("{:.2}   {:.2} M/s, {rate:.2} GB/s", row.of_limit, row.per_second / 1e6);
            document = document
                .add(text(LEFT - 8.0, y + 12.0, "end", row.contender))
                .add(
                    Rectangle::new()
                        .set("class", class)
                        .set("x", LEFT)
                        .set("y", round(y))
                        .set("width", width)
                        .set("height", BAR)
                        .set("rx", 2),
                )
                .add(text(LEFT + width + 6.0, y + 12.0, "detail", figures));
            y += ROW;
        }
        y += GROUP - 26.0;
    }
    document.to_string() + "\n"
}
