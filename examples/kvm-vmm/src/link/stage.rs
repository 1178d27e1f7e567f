//! The points of a handshake at which a test can have the process die.

/// How far a handshake has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The lock is taken.
    Locked,
    /// There is a socket to the other process.
    Connected,
    /// Our hello is sent.
    HelloSent,
    /// Its hello is read, and it is decided who gives.
    Decided,
    /// A new generation is made, and nobody has heard of it.
    Created,
    /// The first connection is given.
    FirstGiven,
    /// All are given.
    AllGiven,
    /// The first connection is taken.
    FirstTaken,
    /// All are taken, and the other one does not know.
    AllTaken,
    /// Ready is sent.
    ReadySent,
    /// Both are ready.
    Present,
}

#[cfg(test)]
impl Stage {
    /// Every stage.
    pub(crate) const ALL: [Self; 11] = [
        Self::Locked,
        Self::Connected,
        Self::HelloSent,
        Self::Decided,
        Self::Created,
        Self::FirstGiven,
        Self::AllGiven,
        Self::FirstTaken,
        Self::AllTaken,
        Self::ReadySent,
        Self::Present,
    ];
}

/// The environment variable that names the stage at which a test's process dies.
#[cfg(test)]
pub(crate) const DIE_AT: &str = "KVM_VMM_TEST_DIE_AT";

/// This process has come to `stage`.
#[cfg(test)]
pub(crate) fn reach(stage: Stage) {
    if std::env::var(DIE_AT).is_ok_and(|name| name == format!("{stage:?}")) {
        // What `kill -9` does: nothing of this process runs any more.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// This process has come to `stage`. Only tests die of it.
#[cfg(not(test))]
pub(crate) const fn reach(_stage: Stage) {}
