//! In which order the columns stand: those with much in common next to each other.

use super::{Column, in_order_of_text};
use crate::manifest::Manifest;

/// The columns in an order in which the arrows are short. Starts from the order of the text, and takes whichever exchange of two shortens the
/// arrows most, until none does.
pub(super) fn columns(manifest: &Manifest) -> Vec<Column> {
    let columns = in_order_of_text(manifest);
    let place = |name: &str| columns.iter().position(|column| column.name == name);
    let wires: Vec<(usize, usize)> =
        manifest.connections.iter().filter_map(|wire| Some((place(&wire.ends[0].peer)?, place(&wire.ends[1].peer)?))).collect();
    let mut order: Vec<usize> = (0..columns.len()).collect();
    while let Some(better) = exchanges(&order).map(|order| (length(&order, &wires), order)).min_by_key(|(length, _)| *length) {
        if better.0 >= length(&order, &wires) {
            break;
        }
        order = better.1;
    }
    order.into_iter().filter_map(|index| columns.get(index).cloned()).collect()
}

/// Every order with two exchanged.
fn exchanges(order: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let pairs = (0..order.len()).flat_map(move |one| (one + 1..order.len()).map(move |other| (one, other)));
    pairs.map(move |(one, other)| {
        let mut order = order.to_vec();
        order.swap(one, other);
        order
    })
}

/// How many columns all arrows cover together.
fn length(order: &[usize], wires: &[(usize, usize)]) -> usize {
    let place = |column| order.iter().position(|other| *other == column).unwrap_or(0);
    wires.iter().map(|(one, other)| place(*one).abs_diff(place(*other))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Source;

    #[test]
    fn who_has_much_in_common_stands_together() {
        let vms = ["a", "b", "c"].map(|name| format!("[vm.{name}]\nkernel = {{ debian = \"6.1\" }}\n")).concat();
        let wire = |name, one, other| format!("[[connection]]\nname = \"{name}\"\nbetween = [\"{one}\", \"{other}\"]\ndataports = []\n");
        let text = vms + &wire("x", "a", "c") + &wire("y", "a", "c") + &wire("z", "b", "c");
        let manifest = Manifest::parse(&Source::new("x", &text)).unwrap();
        let names: Vec<String> = columns(&manifest).into_iter().map(|column| column.name).collect();
        assert!(names == ["a", "c", "b"] || names == ["b", "c", "a"], "{names:?}");
    }
}
