//! Where the packages come from: the Debian archives that this system already uses, or a mirror that the user names.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::RELEASE;

/// Environment variable with the address of a Debian mirror.
pub(crate) const MIRROR_VARIABLE: &str = "CROSSVM_DEBIAN_MIRROR";
/// Environment variable with the address of the mirror of Debian's security archive, where the other's name does not tell.
const SECURITY_VARIABLE: &str = "CROSSVM_DEBIAN_SECURITY_MIRROR";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One archive, in the terms of deb822 source files.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    addresses: String,
    suites: Vec<String>,
    options: Vec<(String, String)>,
}

/// The text of a deb822 source file for the private state.
pub(crate) fn find() -> Result<String> {
    let mirror = std::env::var(MIRROR_VARIABLE).ok().filter(|value| !value.trim().is_empty());
    let sources = match mirror {
        Some(mirror) => named_by_user(mirror.trim(), std::env::var(SECURITY_VARIABLE).ok()),
        None => {
            let (name, codename) = this_system();
            if name != "debian" {
                bail!(
                    "this system ({name}) is not Debian: set {MIRROR_VARIABLE} to the address of a Debian mirror (the folder with dists/ and pool/), \
                     and install the package debian-archive-keyring"
                );
            }
            of_system(&read_system_sources(Path::new("/etc/apt")), &codename)
        }
    };
    if sources.is_empty() {
        bail!(
            "apt's sources name no Debian archive: set {MIRROR_VARIABLE} to the address of a Debian mirror (the folder with dists/ and pool/)"
        );
    }
    let unsigned = sources.iter().any(|source| source.options.iter().all(|(name, _)| name != "Signed-By" && name != "Trusted"));
    if unsigned && !Path::new(KEYRING).exists() {
        bail!("{KEYRING} is missing: install the package debian-archive-keyring");
    }
    Ok(sources.iter().map(write).collect::<Vec<_>>().join("\n"))
}

/// Distribution and codename from os-release.
fn this_system() -> (String, String) {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or("unknown").trim_matches('"').to_owned()
    };
    (field("ID"), field("VERSION_CODENAME"))
}

fn named_by_user(mirror: &str, security: Option<String>) -> Vec<Source> {
    let security = security.unwrap_or_else(|| format!("{}-security", mirror.trim_end_matches('/')));
    let source = |address: &str, suites: &[&str]| Source {
        addresses: address.to_owned(),
        suites: suites.iter().map(|suffix| format!("{RELEASE}{suffix}")).collect(),
        options: Vec::new(),
    };
    vec![source(mirror, &["", "-updates"]), source(&security, &["-security"])]
}

/// The archives of the system's own release among `texts`, turned to the release that we use.
fn of_system(texts: &[(SourceFormat, String)], codename: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for (format, text) in texts {
        let sources = match format {
            SourceFormat::Deb822 => text.replace("\n\t\n", "\n\n").split("\n\n").filter_map(parse_paragraph).collect::<Vec<_>>(),
            SourceFormat::OneLine => text.lines().filter_map(parse_line).collect(),
        };
        for mut source in sources {
            source.suites = source.suites.iter().filter_map(|suite| translate(suite, codename)).collect();
            if !source.suites.is_empty() && !found.contains(&source) {
                found.push(source);
            }
        }
    }
    found
}

/// `trixie-security` becomes `bookworm-security`; suites of other archives are none of ours.
fn translate(suite: &str, codename: &str) -> Option<String> {
    let suffix = suite.strip_prefix(codename).or_else(|| suite.strip_prefix("stable"))?;
    matches!(suffix, "" | "-updates" | "-security").then(|| format!("{RELEASE}{suffix}"))
}

#[derive(Debug, Clone, Copy)]
enum SourceFormat {
    Deb822,
    OneLine,
}

fn read_system_sources(etc: &Path) -> Vec<(SourceFormat, String)> {
    let mut paths = vec![etc.join("sources.list")];
    paths.extend(fs::read_dir(etc.join("sources.list.d")).into_iter().flatten().flatten().map(|entry| entry.path()));
    paths.sort();
    let read = |path: &Path| {
        let format = match path.extension()?.to_str()? {
            "list" => SourceFormat::OneLine,
            "sources" => SourceFormat::Deb822,
            _ => return None,
        };
        Some((format, fs::read_to_string(path).ok()?))
    };
    paths.iter().filter_map(|path| read(path)).collect()
}

fn parse_paragraph(paragraph: &str) -> Option<Source> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in paragraph.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        if line.starts_with([' ', '\t']) {
            // A folded field, such as a key written out in full.
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else {
            let (name, value) = line.split_once(':')?;
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let words = |name: &str| field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let disabled = field("enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    if disabled || !words("types").iter().any(|word| word == "deb") || !words("components").iter().any(|word| word == "main") {
        return None;
    }
    let options = fields.iter().filter_map(|(name, value)| Some((option(name)?.to_owned(), value.clone()))).collect();
    Some(Source { addresses: words("uris").join(" "), suites: words("suites"), options })
}

fn parse_line(line: &str) -> Option<Source> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let options = options
        .split_whitespace()
        .filter_map(|word| {
            let (name, value) = word.split_once('=')?;
            Some((option(&name.to_ascii_lowercase())?.to_owned(), value.to_owned()))
        })
        .collect();
    let mut words = rest.split_whitespace();
    let address = words.next()?;
    let suite = words.next()?;
    words.any(|component| component == "main").then(|| Source { addresses: address.to_owned(), suites: vec![suite.to_owned()], options })
}

/// The options that say whom to trust and how; the others belong to the host alone.
fn option(name: &str) -> Option<&'static str> {
    match name {
        "signed-by" => Some("Signed-By"),
        "trusted" => Some("Trusted"),
        "check-valid-until" => Some("Check-Valid-Until"),
        "allow-insecure" => Some("Allow-Insecure"),
        _ => None,
    }
}

fn write(source: &Source) -> String {
    let mut text = format!("Types: deb\nURIs: {}\nSuites: {}\nComponents: main\n", source.addresses, source.suites.join(" "));
    for (name, value) in &source.options {
        text.push_str(&format!("{name}: {value}\n"));
    }
    if source.options.iter().all(|(name, _)| name != "Signed-By") {
        text.push_str(&format!("Signed-By: {KEYRING}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "Types: deb\n# a remark\nURIs: mirror:/a\nSuites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /k.gpg\n\n\
        Types: deb\nURIs: mirror:/b\nSuites: nodistro\nComponents: main\n\n\
        Types: deb\nEnabled: no\nURIs: mirror:/c\nSuites: bookworm\nComponents: main\n";

    #[test]
    fn only_debian_archives_of_this_release_are_taken() {
        let lines = "# deb mirror:/x bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] mirror:/s bookworm-security main\ndeb-src mirror:/s bookworm main\n\
            deb mirror:/cloud cloud-sdk-bookworm main\n";
        let texts = [(SourceFormat::Deb822, DEB822.to_owned()), (SourceFormat::OneLine, lines.to_owned())];
        let found = of_system(&texts, "bookworm");
        let summary: Vec<_> = found.iter().map(|source| (source.addresses.as_str(), source.suites.join(" "))).collect();
        assert_eq!(summary, [("mirror:/a", "bookworm bookworm-updates".to_owned()), ("mirror:/s", "bookworm-security".to_owned())]);
        assert!(found.iter().all(|source| source.options == [("Signed-By".to_owned(), "/k.gpg".to_owned())]));
    }

    #[test]
    fn a_newer_debian_leads_to_the_same_release() {
        let texts = [(SourceFormat::OneLine, "deb mirror:/a trixie main\ndeb mirror:/b stable-security main\n".to_owned())];
        let suites: Vec<_> = of_system(&texts, "trixie").into_iter().flat_map(|source| source.suites).collect();
        assert_eq!(suites, ["bookworm", "bookworm-security"]);
    }

    #[test]
    fn a_mirror_that_the_user_names_has_its_security_archive_beside_it() {
        let found = named_by_user("mirror:/debian/", None);
        assert_eq!(found[1].addresses, "mirror:/debian-security");
        assert_eq!(found[1].suites, ["bookworm-security"]);
        assert!(write(&found[0]).contains("Suites: bookworm bookworm-updates\n") && write(&found[0]).contains(KEYRING));
        assert_eq!(named_by_user("mirror:/a", Some("mirror:/s".to_owned()))[1].addresses, "mirror:/s");
    }
}
