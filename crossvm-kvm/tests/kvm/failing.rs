//! Calls of KVM that fail: by a seccomp filter on the calling thread, which goes with the thread.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};

pub(crate) const SET_USER_MEMORY_REGION: u64 = 0x4020_ae46;
pub(crate) const SET_GSI_ROUTING: u64 = 0x4008_ae6a;

/// Lets a request fail with `ENOMEM` from now on, in the calling thread.
pub(crate) fn let_fail(request: u64) {
    let request = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request).unwrap();
    let rules = BTreeMap::from([(libc::SYS_ioctl, vec![SeccompRule::new(vec![request]).unwrap()])]);
    let fail = SeccompAction::Errno(u32::try_from(libc::ENOMEM).unwrap());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, fail, std::env::consts::ARCH.try_into().unwrap()).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}
