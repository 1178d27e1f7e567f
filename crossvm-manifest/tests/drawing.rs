//! The drawing of a topology.

use std::path::Path;

use crossvm_manifest::manifest::{Manifest, Source};

fn drawing(text: &str) -> String {
    Manifest::parse(&Source::new("m.toml", text)).unwrap_or_else(|error| panic!("{error}")).drawing()
}

const TEXT: &str = r#"
description = "Two & <three>"
[vm.alpha]
kernel = { debian = "6.1" }
[vm.beta]
kernel = "boot/Image"
[component.mirror]
kind = "reverse"
[[connection]]
name = "a<b&c"
between = ["beta", "alpha"]
dataports = [{ size = "12 KiB", rights = { alpha = "r" } }, { size = "1 MiB" }]
[[connection]]
name = "bell"
between = ["alpha", "beta"]
dataports = []
interrupt = "shared"
[[connection]]
name = "lines"
between = ["mirror", "alpha"]
size = "64 KiB"
"#;

#[test]
fn everything_that_is_there_is_drawn_once() {
    let drawing = drawing(TEXT);
    for (part, times) in [
        ("Two &amp; &lt;three&gt;", 1),
        ("class=\"vm\"", 2),
        ("class=\"component\"", 1),
        ("class=\"lifeline\"", 3),
        ("1 vCPU, 256 MiB", 2),
        ("Debian, Linux 6.1", 1),
        ("Image", 1),
        ("a&lt;b&amp;c", 1),
        ("12 KiB", 1),
        // One arrow each in the drawing, and one in the legend.
        ("class=\"wire one\"", 2),
        ("class=\"wire both\"", 3),
        ("class=\"wire events\"", 2),
        ("class=\"own\"", 3 + 1),
        ("class=\"shared\"", 2 + 1),
    ] {
        assert_eq!(drawing.matches(part).count(), times, "{part}: {drawing}");
    }
}

#[test]
fn the_arrow_of_what_is_only_read_points_to_the_reader() {
    let text = |rights: &str| {
        format!(
            "[vm.a]\nkernel = {{ debian = \"6.1\" }}\n[vm.b]\nkernel = {{ debian = \"6.1\" }}\n\
             [[connection]]\nname = \"x\"\nbetween = [\"a\", \"b\"]\nsize = \"4 KiB\"\nrights = {{ {rights} }}\n"
        )
    };
    let (to_b, to_a) = (drawing(&text("b = \"r\"")), drawing(&text("a = \"r\"")));
    // The first head is the arrow's; the second is the legend's, and points to the right.
    let head = |drawing: &str| {
        let points = drawing.split("points=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let x = |corner: &str| corner.split(',').next().unwrap().parse::<i32>().unwrap();
        let mut corners = points.split(' ').map(x);
        (corners.next().unwrap(), corners.next().unwrap())
    };
    let (point, back) = head(&to_b);
    assert!(point > back, "to the right");
    let (point, back) = head(&to_a);
    assert!(point < back, "to the left");
}

#[test]
fn a_manifest_without_connections_has_a_drawing_too() {
    let drawing = drawing("[vm.a]\nkernel = { debian = \"6.1\" }\n");
    assert!(drawing.starts_with("<svg") && drawing.ends_with("</svg>\n") && drawing.contains("1 VM, 0 components, 0 connections"));
}

/// The drawing in the documentation is that of the example: `cargo xtask check MANIFEST --svg FILE` makes it anew.
#[test]
fn the_drawing_in_the_documentation_is_true() {
    let source = Source::read(Path::new("../examples/manifests/three-guests.toml")).unwrap();
    let manifest = Manifest::parse(&source).unwrap_or_else(|error| panic!("{error}"));
    let shown = std::fs::read_to_string("../docs/three-guests.svg").unwrap();
    assert!(
        shown == manifest.drawing(),
        "docs/three-guests.svg: cargo xtask check examples/manifests/three-guests.toml --svg docs/three-guests.svg"
    );
}
