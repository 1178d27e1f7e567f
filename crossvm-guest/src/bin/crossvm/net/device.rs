//! The network device: a TUN device of Linux, which hands whole IP packets to this process.

use std::io;

use ipnet::IpNet;
use rustix::io::Errno;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::failure::{Failure, Status};

/// What the device shall be.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) mtu: u16,
    /// Its address and net. The link goes up only where there is one.
    pub(crate) address: Option<IpNet>,
}

/// Makes the device. It is gone when the result is dropped.
pub(crate) fn open(wanted: &Wanted<'_>) -> Result<SyncDevice, Failure> {
    let failed = |error| Failure::Other(Status::Failed, explain(wanted, &error));
    // In two steps, to know which of them fails. A device with this name that exists, with or without addresses, stays as it is.
    let builder = DeviceBuilder::new().name(wanted.name).mtu(wanted.mtu);
    let builder = match wanted.address {
        None => builder.inherit_enable_state(),
        Some(IpNet::V4(net)) => builder.ipv4(net.addr(), net.prefix_len(), None),
        Some(IpNet::V6(net)) => builder.ipv6(net.addr(), net.prefix_len()),
    };
    let device = builder.build_sync().map_err(failed)?;
    device.set_nonblocking(true).map_err(failed)?;
    Ok(device)
}

/// What to do about it.
fn explain(wanted: &Wanted<'_>, error: &io::Error) -> String {
    let name = wanted.name;
    let advice = match Errno::from_io_error(error) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => "/dev/net/tun does not work: modprobe tun, or build the kernel with CONFIG_TUN",
        Some(Errno::PERM | Errno::ACCESS) => "run as root, or with the capability CAP_NET_ADMIN",
        Some(Errno::BUSY) => "another program has a device of this name: choose another with --device",
        Some(Errno::INVAL) => "a device that is no TUN device may have this name, or the kernel does not like the address or the MTU",
        Some(Errno::EXIST) => "the device has this address already",
        _ => "",
    };
    let separator = if advice.is_empty() { "" } else { ": " };
    format!("cannot make the network device {name}: {error}{separator}{advice}")
}
