//! A process joins the others.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossvm_kvm::{EventNotifier, Memfd};
use crossvm_manifest::Topology;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::channel::ChannelError;
use super::handshake::{HandshakeError, Plan, Role};
use super::lock::VmLock;
use super::pair::{Notice, Pair, Presence};
use super::share::{Share, digest};
use super::stage::{Stage, reach};
use super::wires::{Tally, Wire, Wires};

/// Why a process cannot join the others.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// Another process runs one of the VMs already.
    Runs {
        /// The VM.
        vm: String,
        /// That process, if it is known.
        pid: Option<u32>,
    },
    /// A lock's file cannot be used.
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A socket cannot be listened on.
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: ChannelError,
    },
    /// This process and that of another VM do not fit together.
    Handshake {
        /// That VM.
        vm: String,
        /// Why.
        error: HandshakeError,
    },
    /// The process of another VM lives and does not come together with this one.
    Silent {
        /// That VM.
        vm: String,
        /// Its process; zero: unknown.
        pid: u32,
        /// What went wrong last.
        why: Box<HandshakeError>,
    },
    /// This process was told to stop.
    Left,
    /// A call failed.
    Call(&'static str, Errno),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs { vm, pid: Some(pid) } => write!(f, "`{vm}` already runs in process {pid}, which uses the same --link"),
            Self::Runs { vm, pid: None } => write!(f, "`{vm}` already runs in another process, which uses the same --link"),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Socket { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Handshake { vm, error } => write!(f, "the process of `{vm}`: {error}"),
            Self::Silent { vm, pid, why } => write!(f, "the process of `{vm}` ({pid}) lives, but: {why}"),
            Self::Left => f.write_str("told to stop before the other processes were there"),
            Self::Call(call, errno) => write!(f, "{call}: {errno}"),
        }
    }
}

impl std::error::Error for LinkError {}

/// For how long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For a process that does not run yet, before this one starts without it.
    pub(crate) start: Duration,
    /// For one handshake.
    pub(crate) handshake: Duration,
    /// Beyond `start`, for a process that runs and does not come together with this one.
    pub(crate) answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { start: seconds(10), handshake: seconds(5), answer: seconds(20) }
    }
}

/// One VM's end of a connection with a VM of another process.
#[derive(Debug)]
pub(crate) struct RemoteEnd<'a> {
    wire: &'a Wire,
    first: bool,
}

impl RemoteEnd<'_> {
    /// The connection's index in the topology.
    pub(crate) fn index(&self) -> usize {
        self.wire.index()
    }

    /// The memory of its dataports, in their order. Both processes map the same.
    pub(crate) fn dataports(&self) -> &[Arc<Memfd>] {
        self.wire.dataports()
    }

    /// The eventfd that signals the other VM: what EMIT writes to while it is present.
    pub(crate) fn emit(&self) -> &EventNotifier {
        self.wire.signal(!self.first)
    }

    /// The eventfd that the other VM's events arrive at.
    pub(crate) fn receive(&self) -> &EventNotifier {
        self.wire.signal(self.first)
    }

    /// Where the other VM's process counts what it has taken of [`RemoteEnd::emit`].
    pub(crate) fn emitted(&self) -> Tally {
        self.wire.tally(!self.first)
    }

    /// Where this process counts what it has taken of [`RemoteEnd::receive`].
    pub(crate) fn received(&self) -> Tally {
        self.wire.tally(self.first)
    }
}

/// One pair of VMs and who looks after it.
#[derive(Debug)]
struct Member {
    /// Number of the VM of this process.
    own: u8,
    /// Number of the other one.
    other: u8,
    pair: Arc<Pair>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    fn leave(&mut self) {
        // An eventfd takes this write unless it is full, and then it can be read as well.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // It does not panic; and there is nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

/// This process's place among the processes that run a topology's VMs. Dropped, it leaves: the others see this process's VMs as gone.
#[derive(Debug)]
pub(crate) struct Link {
    // The members first: they leave before others may run the VMs.
    members: Vec<Member>,
    locks: Vec<(u8, VmLock)>,
}

impl Link {
    /// Joins the processes that use `socket` with the VMs of `share`, and waits until there is memory for all connections with VMs of other processes.
    /// `notice` is told, for a person to read, what of another process is out of order: with this process's VM and the other one.
    ///
    /// # Errors
    /// [`LinkError`].
    pub(crate) fn join(topology: &Topology, share: &Share, socket: &Path, patience: Patience, notice: Notice) -> Result<Self, LinkError> {
        let topology = Arc::new(topology.clone());
        let digest = digest(&topology);
        let name = |vm: u8| topology.vms.get(usize::from(vm)).map_or_else(String::new, |vm| vm.name.as_str().to_owned());
        // All locks before anybody is looked for: of two processes that start at once, at least one sees the other.
        let locks = share.vms().map(|vm| Ok((vm, VmLock::take(socket, &name(vm))?))).collect::<Result<_, LinkError>>()?;
        reach(Stage::Locked);
        let mut link = Self { members: Vec::new(), locks };
        for (own, other, connections) in share.pairs() {
            let role = if own < other { Role::Listener } else { Role::Connector };
            let plan = Plan { topology: topology.clone(), digest: digest.clone(), own: name(own), other: name(other), role, connections };
            let pair = Arc::new(Pair::new(plan, [own.min(other), own.max(other)], socket, notice.clone()));
            let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| LinkError::Call("eventfd", errno))?;
            let stop = Arc::new(stop);
            let (worker, signal) = (pair.clone(), stop.clone());
            let thread =
                std::thread::Builder::new().name(format!("link {own}-{other}")).spawn(move || worker.live(patience, signal.as_fd()));
            let thread = thread.map_err(|error| LinkError::Call("clone", Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)))?;
            link.members.push(Member { own, other, pair, stop, thread: Some(thread) });
        }
        link.members.iter().try_for_each(|member| member.pair.wait())?;
        Ok(link)
    }

    /// The ends that VM `vm` has of connections with VMs of other processes.
    pub(crate) fn ends(&self, vm: u8) -> impl Iterator<Item = RemoteEnd<'_>> {
        self.members.iter().filter(move |member| member.own == vm).flat_map(|member| {
            let wires = member.pair.wires().into_iter().flat_map(|wires: &Arc<Wires>| wires.iter());
            wires.map(|wire| RemoteEnd { wire, first: member.pair.is_first() })
        })
    }

    /// The VMs of other processes that VM `vm` is connected with.
    pub(crate) fn others(&self, vm: u8) -> impl Iterator<Item = u8> + '_ {
        self.members.iter().filter(move |member| member.own == vm).map(|member| member.other)
    }

    /// Calls `watcher` for each VM of another process that VM `vm` is connected with: at once, and whenever that comes or goes; with that VM's number.
    /// It is called by a thread of the link, never twice at the same time for the same other VM.
    pub(crate) fn watch(&self, vm: u8, watcher: impl Fn(u8, Presence) + Clone + Send + 'static) {
        for member in self.members.iter().filter(|member| member.own == vm) {
            let (watcher, other) = (watcher.clone(), member.other);
            member.pair.watch(Box::new(move |presence| watcher(other, presence)));
        }
    }

    /// VM `vm` has stopped for good: the others see it as gone, and another process may run it.
    pub(crate) fn leave(&mut self, vm: u8) {
        self.members.retain(|member| member.own != vm);
        self.locks.retain(|(locked, _)| *locked != vm);
    }
}
