//! Interrupts by message: a device writes the number of an SPI to an address.
//!
//! ```text
//!                       version 3: GICD_SETSPI_NSR in the distributor
//!  guest's store ──────▶                                              ──▶ an SPI of the range for messages is pending
//!  device's message ───▶                                              ──▶ anything else: nothing
//!                       version 2: MSI_SETSPI_NS in a GICv2m frame
//! ```

use crossvm_core::{GuestAddr, Message, Width};

use crate::lanes::{self, Lanes};
use crate::spec::message::{self, FrameType, MessageData};
use crate::{Error, IntId, Spi, SpiRange, Version, Vgic, bank};

/// What a store must cover of [`message::SETSPI`] or [`message::CLRSPI`] to count: 16 bits or more (IHI 0069 §12.9).
const SETSPI_BITS: u32 = 0xffff;

/// Which SPIs are for messages, and where messages arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Messages {
    frame: GuestAddr,
    spis: SpiRange,
}

impl Messages {
    /// Messages for `spis`. `frame` is where the guest finds the registers: the distributor in version 3, the `GICv2m` frame in version 2.
    #[must_use]
    pub const fn new(frame: GuestAddr, spis: SpiRange) -> Self {
        Self { frame, spis }
    }

    /// Where the guest finds the frame.
    #[must_use]
    pub const fn frame(self) -> GuestAddr {
        self.frame
    }

    /// The SPIs that are for messages.
    #[must_use]
    pub const fn spis(self) -> SpiRange {
        self.spis
    }

    /// The guest reads `width` at `offset` of a `GICv2m` frame with these SPIs. With this and its siblings, a VMM emulates the frame alone where the
    /// interrupt controller is not its own but its kernel's, which takes edges.
    #[must_use]
    pub fn frame_read(self, offset: u32, width: Width) -> u64 {
        lanes::read(offset, width, |at| match at {
            message::TYPER => frame_type(self.spis).into_bits(),
            message::IIDR => message::IIDR_VALUE,
            _ => 0,
        })
    }

    /// The guest writes `value` of `width` at `offset` of a `GICv2m` frame with these SPIs. Gives the SPI that gets an edge, if one does.
    #[must_use]
    pub fn frame_write(self, offset: u32, width: Width, value: u64) -> Option<Spi> {
        let mut spi = None;
        lanes::write(offset, width, value, |at, lanes| {
            if at == message::SETSPI && lanes.covers(SETSPI_BITS) {
                spi = self.spi(MessageData::from_bits(lanes.ones()));
            }
        });
        spi
    }

    /// A device sends `message` to a `GICv2m` frame with these SPIs. Gives the SPI that gets an edge; `None` for a message that means none, which is dropped.
    #[must_use]
    pub fn frame_receive(self, message: Message) -> Option<Spi> {
        let offset = GuestAddr::new(message.address).offset_from(self.frame)?;
        if offset == u64::from(message::SETSPI) { self.spi(MessageData::from_bits(message.data)) } else { None }
    }

    /// The SPI that `data` names, where it is for messages.
    fn spi(self, data: MessageData) -> Option<Spi> {
        Spi::new(data.intid().into()).filter(|spi| self.spis.contains(*spi))
    }

    /// Whether `id` is for messages.
    pub(crate) const fn has(self, id: IntId) -> bool {
        id.number() >= self.spis.first().number() && id.number() <= self.spis.last()
    }

    /// Those of word `word` that are for messages.
    pub(crate) fn members(self, word: usize) -> u32 {
        (0..32).filter(|index| IntId::of(word, *index).is_some_and(|id| self.has(id))).fold(0, |members, index| members | bank::bit(index))
    }
}

impl<const VCPUS: usize, const SPI_WORDS: usize> Vgic<VCPUS, SPI_WORDS> {
    /// With SPIs for messages. They have no lines: whoever wants to set one gets an error, and a message to any other SPI is dropped.
    ///
    /// In version 2 the guest finds a `GICv2m` frame at the place that `messages` tells, in version 3 message-based SPIs in its distributor.
    ///
    /// # Errors
    /// [`Error::NoSuchInterrupt`] for SPIs beyond `SPI_WORDS`.
    pub const fn with_messages(mut self, messages: Messages) -> Result<Self, Error> {
        let last = messages.spis.last();
        if last >= Self::END {
            return Err(Error::NoSuchInterrupt { intid: last, end: Self::END });
        }
        self.messages = Some(messages);
        Ok(self)
    }

    /// Which SPIs are for messages, and where messages arrive.
    #[must_use]
    pub const fn messages(&self) -> Option<Messages> {
        self.messages
    }

    /// A device sends `message`. One that means no interrupt is dropped: the guest has chosen address and data, so there is nothing that
    /// the VMM could mend.
    pub fn deliver_message(&mut self, message: Message) {
        let offset = self.messages.and_then(|messages| GuestAddr::new(message.address).offset_from(messages.frame));
        let data = MessageData::from_bits(message.data);
        match offset.and_then(|offset| u32::try_from(offset).ok()) {
            Some(message::SETSPI) => {
                if let Some(spi) = self.message_spi(data) {
                    self.set_spi(spi);
                }
            }
            Some(message::CLRSPI) if self.version == Version::V3 => self.clear_spi(data),
            _ => {}
        }
    }

    /// The guest reads `width` at `offset` of the `GICv2m` frame. Without messages and in version 3 there is none: reads as zero.
    #[must_use]
    pub fn message_frame_read(&self, offset: u32, width: Width) -> u64 {
        self.message_frame().map_or(0, |messages| messages.frame_read(offset, width))
    }

    /// The guest writes `value` of `width` at `offset` of the `GICv2m` frame. Without messages and in version 3 there is none: ignored.
    pub fn message_frame_write(&mut self, offset: u32, width: Width, value: u64) {
        if let Some(spi) = self.message_frame().and_then(|messages| messages.frame_write(offset, width, value)) {
            self.set_spi(spi);
        }
    }

    /// That of version 2.
    fn message_frame(&self) -> Option<Messages> {
        self.messages.filter(|_| self.version == Version::V2)
    }

    /// A store to `GICD_SETSPI_NSR`.
    pub(crate) fn write_setspi(&mut self, lanes: Lanes) {
        if lanes.covers(SETSPI_BITS)
            && let Some(spi) = self.message_spi(MessageData::from_bits(lanes.ones()))
        {
            self.set_spi(spi);
        }
    }

    /// A store to `GICD_CLRSPI_NSR`.
    pub(crate) fn write_clrspi(&mut self, lanes: Lanes) {
        if lanes.covers(SETSPI_BITS) {
            self.clear_spi(MessageData::from_bits(lanes.ones()));
        }
    }

    /// Version 3: an edge is latched, a level stays until [`clear_spi`](Self::clear_spi). Version 2: the frame gives an edge, and a level-sensitive
    /// SPI does not see it.
    fn set_spi(&mut self, spi: Spi) {
        let id = IntId::from(spi);
        let version = self.version;
        let Ok(bank) = self.bank_of_spi(id) else { return };
        let edge = bank.edge & id.bit();
        let changed = match version {
            _ if edge != 0 => bank.pend(edge),
            Version::V3 => bank.raise(id.bit()),
            Version::V2 => 0,
        };
        self.changed_shared(id.word(), changed, None);
    }

    fn clear_spi(&mut self, data: MessageData) {
        let Some(id) = self.message_spi(data).map(IntId::from) else { return };
        let Ok(bank) = self.bank_of_spi(id) else { return };
        let edge = bank.edge & id.bit();
        let changed = bank.lower(id.bit()) | bank.unpend(edge);
        self.changed_shared(id.word(), changed, None);
    }

    fn message_spi(&self, data: MessageData) -> Option<Spi> {
        self.messages.and_then(|messages| messages.spi(data))
    }
}

fn frame_type(spis: SpiRange) -> FrameType {
    // 1019 SPIs at most: the checked forms keep a panic out of the code.
    let first = u16::try_from(spis.first().number()).unwrap_or(0);
    FrameType::new().with_count_checked(spis.count()).and_then(|frame| frame.with_first_checked(first)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crossvm_core::{Error as _, ErrorKind, Level};

    use super::*;
    use crate::testing::{FIRST, bit, booted, booted_v2, set_bit, set_edge, spi};
    use crate::{PhysicalIntId, VcpuSet};

    const FRAME: GuestAddr = GuestAddr::new(0x0802_0000);
    const DOORBELL: u64 = 0x0802_0040;
    const CLEAR: u64 = 0x0802_0048;

    type Gic = crate::testing::Gic;

    /// SPIs 60 to 69 are for messages.
    fn with_messages(gic: Gic) -> Gic {
        let mut gic = gic.with_messages(Messages::new(FRAME, SpiRange::new(spi(60), 10).unwrap())).unwrap();
        (60..70).chain([50]).for_each(|intid| set_edge(&mut gic, intid));
        gic
    }

    fn send(gic: &mut Gic, address: u64, data: u32) {
        gic.deliver_message(Message { address, data });
    }

    fn pending(gic: &Gic) -> std::vec::Vec<u32> {
        (32..96).filter(|intid| bit(gic, 0x200, *intid)).collect()
    }

    #[test]
    fn a_message_makes_its_spi_pending_and_kicks() {
        for gic in [booted(), booted_v2()] {
            let mut gic = with_messages(gic);
            send(&mut gic, DOORBELL, 63);
            assert_eq!((pending(&gic), gic.take_kicks()), (std::vec![63], VcpuSet::EMPTY.with(FIRST)), "{}", gic.version());
        }
    }

    #[test]
    fn a_message_that_means_nothing_is_dropped() {
        for gic in [booted(), booted_v2()] {
            let mut gic = with_messages(gic);
            let before = gic.clone();
            for data in [0, 5, 31, 50, 59, 70, 96, 1020, 1023, 63 + 1024] {
                send(&mut gic, DOORBELL, data);
            }
            for address in [0, 0x0802_0000, 0x0802_003c, 0x0802_0044, 0x0802_0050, 0x1_0802_0040, u64::MAX] {
                send(&mut gic, address, 63);
            }
            assert_eq!(gic, before);
        }
        let mut none = booted();
        send(&mut none, DOORBELL, 63);
        assert_eq!(none, booted());
    }

    #[test]
    fn a_frame_tells_its_spis_and_takes_stores_of_16_bits_or_more() {
        let mut gic = with_messages(booted_v2());
        assert_eq!(gic.message_frame_read(0x8, Width::U32), 60 << 16 | 10);
        assert_eq!((gic.message_frame_read(0x40, Width::U32), gic.message_frame_read(0xfcc, Width::U32) & 0xfff), (0, 0x43b));
        gic.message_frame_write(0x40, Width::U8, 61);
        gic.message_frame_write(0x44, Width::U32, 61);
        gic.message_frame_write(0x48, Width::U32, 61);
        assert_eq!(pending(&gic), []);
        gic.message_frame_write(0x40, Width::U16, 61);
        gic.message_frame_write(0x40, Width::U32, 69);
        assert_eq!(pending(&gic), [61, 69]);
        // It is not in the distributor, and there is none without messages.
        gic.distributor_write(FIRST, 0x40, Width::U32, 62);
        assert_eq!((pending(&gic), booted_v2().message_frame_read(8, Width::U32)), (std::vec![61, 69], 0));
    }

    /// A frame for itself gives what the frame of a whole controller gives, for every store and message.
    #[test]
    fn a_frame_alone_answers_as_that_of_a_controller() {
        let frame = Messages::new(FRAME, SpiRange::new(spi(60), 10).unwrap());
        let gic = with_messages(booted_v2());
        for width in Width::ALL {
            for offset in (0..0x60).chain(0xfc0..0xfd4) {
                assert_eq!(frame.frame_read(offset, width), gic.message_frame_read(offset, width), "{width:?} at {offset:#x}");
                for value in [59, 60, 69, 70, 61 << 32, 61 << 32 | 62, 61 << 8] {
                    let mut gic = gic.clone();
                    gic.message_frame_write(offset, width, value);
                    let edge: std::vec::Vec<_> = frame.frame_write(offset, width, value).iter().map(|spi| spi.number()).collect();
                    assert_eq!(edge, pending(&gic), "{width:?} of {value:#x} at {offset:#x}");
                }
            }
        }
        for (address, data) in
            [(DOORBELL, 63), (DOORBELL, 59), (DOORBELL, 63 + 1024), (CLEAR, 63), (DOORBELL - 1, 63), (0, 63), (u64::MAX, 63)]
        {
            let mut gic = gic.clone();
            send(&mut gic, address, data);
            let edge: std::vec::Vec<_> = frame.frame_receive(Message { address, data }).iter().map(|spi| spi.number()).collect();
            assert_eq!(edge, pending(&gic), "{data} to {address:#x}");
        }
    }

    #[test]
    fn a_version_3_distributor_says_that_it_takes_messages_and_takes_stores() {
        let mut gic = with_messages(booted());
        assert_eq!((gic.distributor_read(FIRST, 4, Width::U32), booted().distributor_read(FIRST, 4, Width::U32)), (0x49_0002, 0x48_0002));
        gic.distributor_write(FIRST, 0x40, Width::U16, 61);
        gic.distributor_write(FIRST, 0x40, Width::U32, 69);
        gic.distributor_write(FIRST, 0x40, Width::U8, 62);
        gic.distributor_write(FIRST, 0x50, Width::U32, 62);
        gic.message_frame_write(0x40, Width::U32, 62);
        assert_eq!((pending(&gic), gic.message_frame_read(8, Width::U32)), (std::vec![61, 69], 0));
        gic.distributor_write(FIRST, 0x58, Width::U32, 61);
        gic.distributor_write(FIRST, 0x48, Width::U32, 61);
        send(&mut gic, CLEAR, 69);
        assert_eq!((pending(&gic), gic.distributor_read(FIRST, 0x40, Width::U64)), (std::vec![], 0));
    }

    #[test]
    fn a_level_sensitive_message_stays_until_it_is_cleared_or_the_vm_is_reset() {
        let mut gic = booted().with_messages(Messages::new(FRAME, SpiRange::new(spi(60), 10).unwrap())).unwrap();
        send(&mut gic, DOORBELL, 60);
        set_bit(&mut gic, 0x280, 60);
        assert_eq!(pending(&gic), [60]);
        send(&mut gic, CLEAR, 60);
        assert_eq!(pending(&gic), []);
        send(&mut gic, DOORBELL, 60);
        gic.reset();
        assert_eq!(pending(&gic), []);
        // A pending state that software made is not the message's.
        set_bit(&mut gic, 0x200, 60);
        send(&mut gic, CLEAR, 60);
        assert_eq!(pending(&gic), [60]);
        // A frame of version 2 gives edges only.
        let mut gic = booted_v2().with_messages(Messages::new(FRAME, SpiRange::new(spi(60), 10).unwrap())).unwrap();
        send(&mut gic, DOORBELL, 60);
        assert_eq!(pending(&gic), []);
    }

    #[test]
    fn an_spi_for_messages_has_no_line_and_no_physical_interrupt() {
        let mut gic = with_messages(booted());
        let before = gic.clone();
        let physical = PhysicalIntId::new(100).unwrap();
        for intid in [60, 69] {
            let refused = Err(Error::ForMessages { intid });
            assert_eq!(gic.set_spi_level(spi(intid), Level::High), refused);
            assert_eq!(gic.pulse_spi(spi(intid)), refused);
            assert_eq!(gic.raise_hardware(FIRST, spi(intid), physical), refused);
            assert_eq!(gic.lower_hardware(FIRST, spi(intid)), refused);
        }
        assert_eq!(Error::ForMessages { intid: 60 }.kind(), ErrorKind::OutOfRange);
        assert_eq!(gic, before);
        assert_eq!([59, 70].map(|intid| gic.set_spi_level(spi(intid), Level::High)), [Ok(()); 2]);
    }

    #[test]
    fn spis_for_messages_exist() {
        assert!(SpiRange::new(spi(60), 0).is_none() && SpiRange::new(spi(1019), 2).is_none());
        let last = SpiRange::new(Spi::new(1019).unwrap(), 1).unwrap();
        assert!(last.contains(Spi::new(1019).unwrap()) && !last.contains(Spi::new(1018).unwrap()));
        let beyond = Messages::new(FRAME, SpiRange::new(spi(90), 7).unwrap());
        assert_eq!(Gic::new().with_messages(beyond), Err(Error::NoSuchInterrupt { intid: 96, end: 96 }));
        static GIC: Vgic<1, 1> = match Vgic::new().with_messages(Messages::new(FRAME, SpiRange::new(Spi::new(60).unwrap(), 4).unwrap())) {
            Ok(gic) => gic,
            Err(_) => panic!("they exist"),
        };
        assert_eq!(GIC.messages().map(|messages| (messages.frame(), messages.spis().count())), Some((FRAME, 4)));
    }
}
