//! The layout of a channel in shared memory. Numbers only.
//!
//! All words are 32 bits wide, little endian, aligned, and each is written by one side only, with plain loads and stores: no
//! read-modify-write, which memory that a guest maps uncached need not have. What one side writes often and the other reads often has a
//! line of 128 bytes of its own: two of the 64 bytes that most processors move at once, because many fetch the neighbour too, and the
//! line of those that have lines of 128.
//!
//! ```text
//! 0x000  A: identity      magic, version, size, features, protocol, generation, accepted, state, violation
//! 0x080  A: TAIL          how far A has written to the ring A → B
//! 0x100  A: HEAD          how far A has read from the ring B → A
//! 0x180  A: WAKE          where A sleeps: as a reader, as a writer
//! 0x200  B: the same four lines
//! 0x400  ring A → B       CAPACITY bytes
//!   +    ring B → A       CAPACITY bytes
//! ```
//!
//! TAIL and HEAD count bytes from the beginning of the session on and wrap at 2^32. Both are multiples of [`UNIT`].
//!
//! A ring holds records, each at a multiple of [`UNIT`]: a length in bytes (u32), a kind (u32: [`DATA`] or [`SKIP`]), then the message,
//! padded to [`UNIT`]. A message is never cut in two: where it does not fit before the ring's end, a record of the kind SKIP says so, and it
//! begins at the ring's start. A message is no longer than half of the ring without the record's two words, so it fits into an empty ring
//! wherever that begins.

/// MAGIC of a side that speaks this: "xvch".
pub const MAGIC: u32 = u32::from_le_bytes(*b"xvch");
/// VERSION of this layout.
pub const VERSION: u32 = 1;

/// Length of a line.
pub const LINE: u32 = 128;
/// Length of what one side writes in front of the rings.
pub const SIDE: u32 = 4 * LINE;
/// Where the rings begin.
pub const RINGS: u32 = 2 * SIDE;
/// Records are aligned to this, and their headers are so long.
pub const UNIT: u32 = 8;
/// Smallest ring: one line.
pub const MIN_CAPACITY: u32 = LINE;
/// Largest ring: positions must not be taken for others when they wrap.
pub const MAX_CAPACITY: u32 = 1 << 30;
/// Smallest memory for a channel.
pub const MIN_SIZE: u32 = RINGS + 2 * MIN_CAPACITY;

/// Offset from a side's start: [`MAGIC`].
pub const OF_MAGIC: u32 = 0;
/// [`VERSION`].
pub const OF_VERSION: u32 = 4;
/// How many bytes of memory this side has. The smaller of the two sides' numbers counts.
pub const OF_SIZE: u32 = 8;
/// What this side can do: [`SUPPRESSION`], of which what both can is used; and what it does: [`POLLING`].
pub const OF_FEATURES: u32 = 12;
/// What the messages mean, as the program says.
pub const OF_PROTOCOL: u32 = 16;
/// How often this side has opened the channel; never 0.
pub const OF_GENERATION: u32 = 20;
/// The peer's generation that this side talks to; 0 for none.
pub const OF_ACCEPTED: u32 = 24;
/// [`DOWN`], [`OPEN`], [`CLOSED`] or [`FAILED`].
pub const OF_STATE: u32 = 28;
/// Where the state is FAILED: what the peer has done wrong, a [`Violation`](crate::Violation)'s code.
pub const OF_VIOLATION: u32 = 32;
/// TAIL.
pub const OF_TAIL: u32 = LINE;
/// HEAD.
pub const OF_HEAD: u32 = 2 * LINE;
/// WAKE as a reader: a position with [`ARMED`]; the peer rings when its TAIL goes beyond it. 0: not asleep.
pub const OF_WAKE_READER: u32 = 3 * LINE;
/// WAKE as a writer: a position with [`ARMED`]; the peer rings when its HEAD goes beyond it. 0: not asleep.
pub const OF_WAKE_WRITER: u32 = 3 * LINE + 4;

/// Bit of a WAKE word that says that it holds a position.
pub const ARMED: u32 = 1;

/// Nobody is there, or not yet.
pub const DOWN: u32 = 0;
/// This side can be talked to.
pub const OPEN: u32 = 1;
/// This side has closed the channel: what stands in its ring is its last.
pub const CLOSED: u32 = 2;
/// This side has given up, for a mistake of the peer.
pub const FAILED: u32 = 3;

/// Kind of a record: a message.
pub const DATA: u32 = 1;
/// Kind of a record: nothing, up to the ring's end.
pub const SKIP: u32 = 2;

/// Feature: this side writes WAKE before it sleeps, so it need not be rung otherwise.
pub const SUPPRESSION: u32 = 1;
/// Feature: this side never sleeps for a message or for room, so it need not be rung for them.
pub const POLLING: u32 = 2;
