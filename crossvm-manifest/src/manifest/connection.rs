//! `[[connection]]`: what two of the VMs and components share.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::Bytes;
use super::diagnostic::{Collector, Kind};
use super::table::{Located, SizeRule, Table, wrong_type};
use super::words;
use crate::{DATAPORT_REGISTERS, Dataport, Interrupt, MAX_DATAPORTS, MAX_NAME, NameRule, Rights, Width};

const KEYS: [&str; 8] = ["name", "between", "size", "rights", "width", "caching", "dataports", "interrupt"];
/// What a dataport has of its own.
const DATAPORT_KEYS: [&str; 4] = ["size", "rights", "width", "caching"];
const SIZE: SizeRule = SizeRule { unit: Bytes(4 << 10), most: Bytes(Width::Bits64.most()), example: Bytes(64 << 10) };
const SIZE_HELP: &str =
    "say how much memory both share, `size = \"64 KiB\"`, or `dataports = []` for a connection that only carries events";

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The name that both ends see.
    pub name: String,
    /// The shared memory; none: events only. Rights are in the order of the ends.
    pub dataports: Vec<Dataport>,
    /// How both ends map each of them.
    pub caching: Vec<Caching>,
    /// The ends.
    pub ends: [End; 2],
    pub(super) at: ConnectionAt,
}

/// How both ends of a connection map a dataport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Caching {
    /// As normal memory, write-back cacheable.
    #[default]
    Cached,
    /// Without caches.
    Uncached,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The name of a VM or component.
    pub peer: String,
    /// Its interrupt line. `None`: the usual one, see [`Interrupt::usual`].
    pub interrupt: Option<Interrupt>,
}

/// Where a connection's parts stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConnectionAt {
    pub(super) name: Range<usize>,
    pub(super) ends: [Range<usize>; 2],
    /// All of `between`.
    pub(super) between: Range<usize>,
    /// Each dataport, and the size in it.
    pub(super) dataports: Vec<DataportAt>,
    /// Where there is something to say about all dataports.
    pub(super) memory: Range<usize>,
}

/// Where a dataport's parts stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DataportAt {
    pub(super) all: Range<usize>,
    pub(super) size: Range<usize>,
    pub(super) rights: Option<Range<usize>>,
}

impl DataportAt {
    /// Where the rights are said; where nothing is said, the dataport.
    pub(super) fn rights(&self) -> &Range<usize> {
        self.rights.as_ref().unwrap_or(&self.all)
    }
}

/// Reads a connection; only a complete one comes back.
pub(super) fn read(found: &mut Collector<'_>, table: &Table<'_>) -> Option<Connection> {
    table.only(found, &KEYS);
    let name = name(found, table);
    let between = between(found, table);
    let peers = between.as_ref().map(|(_, peers)| peers.each_ref().map(|peer| peer.value));
    let dataports = dataports(found, table, peers);
    let interrupt = interrupts(found, table, peers);
    let (name, (whole, ends), dataports) = (name?, between?, dataports?);
    let [one, other] = interrupt?;
    let memory = table.key("dataports").or_else(|| table.key("size")).unwrap_or_else(|| table.at.clone());
    let [a, b] = ends;
    let caching = dataports.iter().map(|dataport| dataport.caching).collect();
    let (dataports, places) = dataports.into_iter().map(|dataport| (dataport.dataport, dataport.at)).unzip();
    Some(Connection {
        name: name.value.to_owned(),
        dataports,
        caching,
        ends: [End { peer: a.value.to_owned(), interrupt: one }, End { peer: b.value.to_owned(), interrupt: other }],
        at: ConnectionAt { name: name.at, ends: [a.at, b.at], between: whole, dataports: places, memory },
    })
}

fn name<'a>(found: &mut Collector<'_>, table: &Table<'a>) -> Option<Located<&'a str>> {
    let example = "\"camera\"";
    if table.get("name").is_none() {
        table.missing(found, "name", "both ends find the connection by its name: `name = \"camera\"`");
        return None;
    }
    let name = table.text(found, "name", example)?;
    if !NameRule::Connection.admits(name.value) {
        let message = format!("`{}` cannot be the name of a connection", name.value.escape_debug());
        found.report(Kind::Name, &name.at, message, "not this", NameRule::Connection.to_string());
        return None;
    }
    if name.value.len() > MAX_NAME {
        let label = format!("{} bytes", name.value.len());
        found.report(
            Kind::TooLong,
            &name.at,
            "the name is too long",
            label,
            format!("shorten it: the register for it holds {MAX_NAME} bytes"),
        );
        return None;
    }
    Some(name)
}

type Between<'a> = (Range<usize>, [Located<&'a str>; 2]);

fn between<'a>(found: &mut Collector<'_>, table: &Table<'a>) -> Option<Between<'a>> {
    let example = "[\"alpha\", \"beta\"]";
    let Some(value) = table.get("between") else {
        table.missing(found, "between", "name the two that it connects: `between = [\"alpha\", \"beta\"]`");
        return None;
    };
    let Some(array) = value.get_ref().as_array() else {
        wrong_type(found, "between", value, "an array of two names", example);
        return None;
    };
    let mut names = Vec::new();
    for element in array.iter() {
        match element.get_ref() {
            DeValue::String(name) => names.push(Located { value: name.as_ref(), at: element.span() }),
            _ => {
                wrong_type(found, "between", element, "an array of two names", example);
                return None;
            }
        }
    }
    let count = names.len();
    match <[Located<&str>; 2]>::try_from(names) {
        Ok(names) => Some((value.span(), names)),
        Err(_) => {
            let label = words::count(count, "name");
            let help = "a connection has two ends; for more, write one connection for each pair";
            found.report(Kind::OutOfRange, &value.span(), "`between` must name two", label, help);
            None
        }
    }
}

/// What two ends have, each under its name; `Some(None)` where nothing is said.
fn each_end<T: Copy>(
    found: &mut Collector<'_>,
    table: &Table<'_>,
    key: &str,
    peers: Option<[&str; 2]>,
    choices: &[(&str, T)],
    what: &'static str,
) -> Option<[Option<T>; 2]> {
    let Some(value) = table.get(key) else { return Some([None; 2]) };
    let Some(each) = Table::of(value, what) else {
        // One word for both.
        let both = table.choice(found, key, choices)?;
        return Some([Some(both); 2]);
    };
    let Some(peers) = peers else { return Some([None; 2]) };
    for (name, _) in each.entries().iter().filter(|(name, _)| !peers.contains(&name.value)) {
        let help = words::advice(name.value, &peers, "the ends of this connection");
        let message = format!("`{}` is no end of this connection", name.value);
        found.report(Kind::UnknownName, &name.at, message, "not in `between`", help);
    }
    let values = peers.map(|peer| each.get(peer).map(|_| each.choice_of(found, peer, key, choices)));
    // One that is no choice has been reported: then there is no result, but only after the other was looked at.
    let [one, other] = values.map(|value| value.map_or(Some(None), |choice| choice.map(Some)));
    Some([one?, other?])
}

fn interrupts(found: &mut Collector<'_>, table: &Table<'_>, peers: Option<[&str; 2]>) -> Option<[Option<Interrupt>; 2]> {
    let choices = [("own", Interrupt::Own), ("shared", Interrupt::Shared)];
    each_end(found, table, "interrupt", peers, &choices, "a connection's interrupts")
}

/// A dataport as it is read.
struct Read {
    dataport: Dataport,
    caching: Caching,
    at: DataportAt,
}

fn dataports(found: &mut Collector<'_>, table: &Table<'_>, peers: Option<[&str; 2]>) -> Option<Vec<Read>> {
    let short = DATAPORT_KEYS.into_iter().find_map(|key| Some((key, table.key(key)?)));
    let Some(value) = table.get("dataports") else {
        if table.get("size").is_none() {
            table.missing(found, "size", SIZE_HELP);
            return None;
        }
        return dataport(found, table, peers).map(|dataport| vec![dataport]);
    };
    if let (Some((key, at)), Some(list)) = (short, table.key("dataports")) {
        let message = format!("`{key}` and `dataports` exclude each other");
        found.report(
            Kind::ConflictingKeys,
            &at,
            message,
            "for a connection with one dataport",
            "put it into one of the braces of `dataports`",
        );
        found.relate(&list, "for any number of them");
        return None;
    }
    let Some(array) = value.get_ref().as_array() else {
        wrong_type(found, "dataports", value, "an array of tables", "[{ size = \"4 KiB\" }, { size = \"1 MiB\" }]");
        return None;
    };
    if array.len() > MAX_DATAPORTS {
        let help = format!("a connection has {MAX_DATAPORTS} dataports at most; make another connection for the others");
        found.report(Kind::TooMany, &value.span(), "too many dataports", format!("{} of them", array.len()), help);
        return None;
    }
    let mut dataports = Vec::new();
    for element in array.iter() {
        match Table::of(element, "a dataport") {
            Some(table) => {
                table.only(found, &DATAPORT_KEYS);
                if table.get("size").is_none() {
                    table.missing(found, "size", "say how large it is: `{ size = \"64 KiB\" }`");
                }
                dataports.push(dataport(found, &table, peers));
            }
            None => {
                wrong_type(found, "dataports", element, "an array of tables", "[{ size = \"4 KiB\" }]");
                dataports.push(None);
            }
        }
    }
    let dataports: Vec<Read> = dataports.into_iter().collect::<Option<_>>()?;
    if dataports.iter().map(|read| read.dataport.width.registers()).sum::<usize>() > DATAPORT_REGISTERS {
        let help = format!(
            "there are {DATAPORT_REGISTERS} registers, and one that is 64 bits wide takes two: take `width = 32` for some, or make another connection"
        );
        found.report(Kind::BarTooLarge, &value.span(), "the dataports take too many registers", "all of these", help);
        return None;
    }
    Some(dataports)
}

fn dataport(found: &mut Collector<'_>, table: &Table<'_>, peers: Option<[&str; 2]>) -> Option<Read> {
    let width = width(found, table);
    let size = table.size(found, "size", &SIZE);
    let rights = rights(found, table, peers);
    let caching = caching(found, table, peers);
    let (width, size, rights, caching) = (width?, size?, rights?, caching?);
    if size.value > width.most() {
        let message = format!("{} are too much for a dataport of 32 bits", Bytes(size.value));
        let help = "let the guest put it above 4 GiB: `width = 64`";
        found.report(Kind::BarTooLarge, &size.at, message, format!("more than {}", Bytes(width.most())), help);
        return None;
    }
    let at = DataportAt { all: table.at.clone(), size: size.at, rights: table.get("rights").map(Spanned::span) };
    Some(Read { dataport: Dataport { size: size.value, rights, width }, caching, at })
}

/// How both ends map it: what one end has in its cache, one without caches does not see.
fn caching(found: &mut Collector<'_>, table: &Table<'_>, peers: Option<[&str; 2]>) -> Option<Caching> {
    let choices = [("cached", Caching::Cached), ("uncached", Caching::Uncached)];
    let [one, other] = each_end(found, table, "caching", peers, &choices, "the caching of a dataport")?.map(Option::unwrap_or_default);
    if one != other {
        let at = table.get("caching").map_or_else(|| table.at.clone(), Spanned::span);
        let help = "map it the same way at both ends: `caching = \"cached\"`, as it is where nothing is said, or `caching = \"uncached\"`";
        found.report(
            Kind::Caching,
            &at,
            "one end maps this dataport with caches, the other without",
            "they would see different bytes",
            help,
        );
        return None;
    }
    Some(one)
}

fn width(found: &mut Collector<'_>, table: &Table<'_>) -> Option<Width> {
    if table.get("width").is_none() {
        return Some(Width::default());
    }
    let help = "write `width = 32`, or `width = 64` for a dataport that may lie above 4 GiB";
    let number = table.number(found, "width", (32, 64), help)?;
    match number.value {
        32 => Some(Width::Bits32),
        64 => Some(Width::Bits64),
        _ => {
            found.report(Kind::OutOfRange, &number.at, "`width` is 32 or 64", "neither", help);
            None
        }
    }
}

fn rights(found: &mut Collector<'_>, table: &Table<'_>, peers: Option<[&str; 2]>) -> Option<[Rights; 2]> {
    let choices = [("rw", Rights::ReadWrite), ("r", Rights::Read)];
    let said = each_end(found, table, "rights", peers, &choices, "the rights of a dataport")?;
    let rights = said.map(|rights| rights.unwrap_or(Rights::ReadWrite));
    if rights == [Rights::Read; 2] {
        let at = table.get("rights").map_or_else(|| table.at.clone(), Spanned::span);
        let help = match peers {
            Some([one, _]) => format!("give one end both rights: `{one} = \"rw\"`; an end that is not named has them"),
            None => "give one end both rights; an end that is not named has them".to_owned(),
        };
        found.report(Kind::NobodyWrites, &at, "nobody may write to this dataport", "both ends may only read", help);
        return None;
    }
    Some(rights)
}

impl Connection {
    /// The other end's name, if `peer` is at one.
    #[must_use]
    pub fn opposite(&self, peer: &str) -> Option<&str> {
        match &self.ends {
            [one, other] if one.peer == peer => Some(&other.peer),
            [one, other] if other.peer == peer => Some(&one.peer),
            _ => None,
        }
    }

    /// Bytes of all its dataports.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        Bytes(self.dataports.iter().map(|dataport| dataport.size).fold(0, u64::saturating_add))
    }
}
