//! Attributes of devices, read.

use kvm_bindings::kvm_device_attr;
use kvm_ioctls::DeviceFd;

use crate::error::{Call, CallError};

/// Reads an attribute of at most 64 bits.
pub(crate) fn get_attribute(device: &DeviceFd, group: u32, attr: u64) -> Result<u64, CallError> {
    let mut value = 0u64;
    let addr = std::ptr::from_mut(&mut value).expose_provenance() as u64;
    // SAFETY: for the attributes that callers name, the kernel writes 64 bits to the address at most, which are `value`'s and nobody else's.
    unsafe { device.get_device_attr(&mut kvm_device_attr { group, attr, addr, flags: 0 }) }
        .map_err(CallError::of_ioctl(Call::DeviceAttribute))?;
    Ok(value)
}
