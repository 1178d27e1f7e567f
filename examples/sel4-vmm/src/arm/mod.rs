//! What the root task with VMs on Arm vCPUs (`src/bin/arm/`) has that runs anywhere.
//!
//! | to find | look in |
//! | --- | --- |
//! | what the kernel tells beside the boot information | [`extra`] |
//! | a thread's registers, as the kernel has them | [`context`] |
//! | what a vCPU has stopped for | [`trap`] |
//! | the root task's time | [`uptime`] |

pub mod context;
pub mod extra;
pub mod trap;
pub mod uptime;
