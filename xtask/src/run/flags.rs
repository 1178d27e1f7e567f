//! The values of the flags that describe a system.

use std::path::PathBuf;

use crossvm_manifest::{ComponentKind, Dataport, MAX_VCPUS, NameRule, Rights, Width};

use crate::system::{ComponentSpec, ConnectionSpec, DEFAULT_MEMORY, EndSpec};

/// A `--vm`: what is not given gets its value later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vm {
    pub(super) name: String,
    pub(super) memory: u64,
    pub(super) vcpus: u8,
    pub(super) kernel: Option<PathBuf>,
    pub(super) initrd: Option<PathBuf>,
    pub(super) command_line: Option<String>,
}

/// Reads the value of `--vm`.
pub(super) fn vm(text: &str) -> Result<Vm, String> {
    let mut parts = Parts::parse(text, &["name", "memory", "vcpus", "kernel", "initrd", "cmdline"])?;
    Ok(Vm {
        name: named(NameRule::Peer, parts.required("name")?)?,
        memory: parts.take("memory").map_or(Ok(DEFAULT_MEMORY), |text| size("memory", &text))?,
        vcpus: parts.take("vcpus").map_or(Ok(1), |text| vcpus(&text))?,
        kernel: parts.take("kernel").map(PathBuf::from),
        initrd: parts.take("initrd").map(PathBuf::from),
        command_line: parts.take("cmdline"),
    })
}

/// Reads the value of `--component`.
pub(super) fn component(text: &str) -> Result<ComponentSpec, String> {
    let (name, kind) = text.split_once('=').ok_or("it must be NAME=KIND, for example mirror=reverse")?;
    if name.is_empty() {
        return Err("the name in front of `=` is missing".to_owned());
    }
    let name = named(NameRule::Peer, name.to_owned())?;
    match ComponentKind::from_name(kind) {
        Some(kind) => Ok(ComponentSpec { name, kind }),
        None => Err(format!(
            "there is no kind `{kind}` of component; the kinds are: {}",
            ComponentKind::ALL.map(ComponentKind::name).join(", ")
        )),
    }
}

/// Reads the value of `--connect`.
pub(super) fn connection(text: &str) -> Result<ConnectionSpec, String> {
    let mut parts = Parts::parse(text, &["name", "a", "b", "size", "a-rights", "b-rights"])?;
    let name = named(NameRule::Connection, parts.required("name")?)?;
    let size = size("size", &parts.required("size")?)?;
    let mut end = |peer: &str, rights: &str| {
        let peer = EndSpec::new(&parts.required(peer)?);
        let rights = match parts.take(rights).as_deref() {
            None | Some("rw") => Rights::ReadWrite,
            Some("ro") => Rights::Read,
            Some(other) => return Err(format!("`{rights}={other}`: rights are `ro` or `rw`")),
        };
        Ok((peer, rights))
    };
    let ((a, a_rights), (b, b_rights)) = (end("a", "a-rights")?, end("b", "b-rights")?);
    let dataport = Dataport { size, rights: [a_rights, b_rights], width: Width::default() };
    Ok(ConnectionSpec { name, dataports: vec![dataport], ends: [a, b] })
}

fn vcpus(text: &str) -> Result<u8, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_VCPUS).contains(number));
    number.ok_or_else(|| format!("`vcpus={text}`: a VM has 1 to {MAX_VCPUS} vCPUs"))
}

/// The name if it keeps the rule. Checked here too, not with the topology alone, so that the error comes at once and names the flag.
fn named(rule: NameRule, name: String) -> Result<String, String> {
    if rule.admits(&name) { Ok(name) } else { Err(format!("`{}`: {rule}", name.escape_debug())) }
}

/// A list of KEY=VALUE, where double quotes protect commas.
struct Parts(Vec<(String, String)>);

impl Parts {
    fn parse(text: &str, known: &[&str]) -> Result<Self, String> {
        let mut parts: Vec<(String, String)> = Vec::new();
        for part in split(text)? {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not of the form KEY=VALUE"))?;
            if !known.contains(&key) {
                return Err(format!("there is no key `{key}`; the keys are: {}", known.join(", ")));
            }
            if parts.iter().any(|(earlier, _)| earlier == key) {
                return Err(format!("the key `{key}` is given twice"));
            }
            parts.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(parts))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.swap_remove(place).1)
    }

    fn required(&mut self, key: &str) -> Result<String, String> {
        self.take(key).filter(|value| !value.is_empty()).ok_or_else(|| format!("`{key}=` is missing"))
    }
}

fn split(text: &str) -> Result<Vec<String>, String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => parts.push(String::new()),
            other => parts.iter_mut().last().into_iter().for_each(|part| part.push(other)),
        }
    }
    if quoted { Err("a double quote is not closed".to_owned()) } else { Ok(parts) }
}

fn size(key: &str, text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 20),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: Option<u64> = digits.parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("`{key}={text}`: a size is a number of bytes, or one with K, M or G, such as 256M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_is_read_with_its_defaults() {
        let vm = vm("name=a").unwrap();
        assert_eq!((vm.name.as_str(), vm.memory, vm.kernel, vm.command_line), ("a", 256 << 20, None, None));
    }

    #[test]
    fn quotes_protect_commas() {
        let vm = vm("name=a,memory=1G,cmdline=\"console=ttyAMA0 isolcpus=1,2\",kernel=/boot/Image").unwrap();
        assert_eq!(vm.command_line.as_deref(), Some("console=ttyAMA0 isolcpus=1,2"));
        assert_eq!((vm.memory, vm.kernel), (1 << 30, Some(PathBuf::from("/boot/Image"))));
    }

    #[test]
    fn a_connection_has_two_ends_with_rights() {
        let connection = connection("name=wire,a=vm0,b=vm1,size=64K,b-rights=ro").unwrap();
        assert_eq!((connection.dataports.len(), connection.dataports[0].size), (1, 64 << 10));
        assert_eq!(connection.dataports[0].rights, [Rights::ReadWrite, Rights::Read]);
        assert_eq!(connection.ends, [EndSpec::new("vm0"), EndSpec::new("vm1")]);
    }

    #[test]
    fn mistakes_name_the_part() {
        assert_eq!(vm("memory=1M").unwrap_err(), "`name=` is missing");
        assert!(vm("name=a,kernal=x").unwrap_err().contains("no key `kernal`; the keys are: name, memory"));
        assert!(vm("name=a,name=b").unwrap_err().contains("`name` is given twice"));
        assert!(vm("name=a,rest").unwrap_err().contains("`rest` is not of the form"));
        assert!(vm("name=a,cmdline=\"x").unwrap_err().contains("double quote"));
        assert!(vm("name=a,memory=99999999999G").unwrap_err().contains("`memory=99999999999G`"));
        assert!(vm("name=a,memory=M").unwrap_err().contains("`memory=M`"));
        assert!(component("mirror").unwrap_err().contains("NAME=KIND"));
        assert!(component("m=echo").unwrap_err().contains("no kind `echo` of component; the kinds are: reverse, digest, source"));
        assert_eq!(vm("name=a,vcpus=0").unwrap_err(), "`vcpus=0`: a VM has 1 to 8 vCPUs");
        assert!(vm("name=a,vcpus=9").is_err() && vm("name=a,vcpus=8").is_ok());
        assert!(connection("name=w,a=x,b=y,size=1M,a-rights=wo").unwrap_err().contains("`a-rights=wo`"));
        assert_eq!(connection("name=w,a=x,size=1M").unwrap_err(), "`b=` is missing");
        assert_eq!(component("=reverse").unwrap_err(), "the name in front of `=` is missing");
    }

    #[test]
    fn names_keep_the_rule_of_what_they_name() {
        for error in [vm("name=vmm").unwrap_err(), component("vmm=reverse").unwrap_err()] {
            assert!(error.starts_with("`vmm`: the name of a VM or component starts with a letter"), "{error}");
        }
        assert!(vm("name=a b").unwrap_err().starts_with("`a b`: "));
        assert!(vm("name=0").unwrap_err().starts_with("`0`: "));
        let error = connection("name=a b,a=x,b=y,size=1M").unwrap_err();
        assert!(error.starts_with("`a b`: the name of a connection"), "{error}");
        assert!(connection("name=0.left,a=x,b=y,size=1M").is_ok());
    }
}
