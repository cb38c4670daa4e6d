//! Who may speak to us how often, decided by source address and the first bytes, before a message is read.
//!
//! Nothing here is in a standard: it keeps registered devices served while somebody floods the port. Three purses, each a
//! token bucket of messages:
//!
//! | who | purse | regained |
//! |---|---|---|
//! | the address and port, or connection, of a device that is known | its own | [`SIP_DEVICE_MESSAGES_PER_S`] |
//! | anybody else | that of the source (an IPv4 address or an IPv6 /64) | [`SIP_SOURCE_MESSAGES_PER_S`] |
//! | anybody else | and that of all of them together | [`SIP_STRANGERS_MESSAGES_PER_S`] |
//!
//! A message that turns out to be a device's (a right password, a message of a registered device) is paid back, so that a
//! NAT or a gateway with thousands of devices behind one address never runs dry, and rubbish does. What a stranger has no
//! reason to send (INVITE, rubbish, odd methods) is served from the upper part of a purse only, so that a REGISTER still
//! comes through when a scanner has emptied that part.
//!
//! UDP addresses can be forged: whoever forges that of a device spends that device's purse, and no other's.
//!
//! Bounds: [`SIP_SOURCES_MAX`] purses of sources; at it the older half is forgotten, which fills their purses anew, and
//! that of all strangers still holds.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use super::registrar::Slot;
use crate::limits::{
    SIP_DEVICE_BURST, SIP_DEVICE_MESSAGES_PER_S, SIP_SOURCE_BURST, SIP_SOURCE_MESSAGES_PER_S,
    SIP_SOURCES_MAX, SIP_STRANGERS_BURST, SIP_STRANGERS_MESSAGES_PER_S,
};

/// What a message looks like by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Register,
    Invite,
    /// MESSAGE and NOTIFY.
    Message,
    /// Another word in capital letters.
    OtherRequest,
    Response,
    /// Keep-alives: see [`crate::sip::endpoint`].
    Ping,
    /// No SIP.
    Rubbish,
}

impl Kind {
    pub const ALL: [Kind; 7] = [
        Kind::Register,
        Kind::Invite,
        Kind::Message,
        Kind::OtherRequest,
        Kind::Response,
        Kind::Ping,
        Kind::Rubbish,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Register => "register",
            Kind::Invite => "invite",
            Kind::Message => "message",
            Kind::OtherRequest => "other request",
            Kind::Response => "response",
            Kind::Ping => "ping",
            Kind::Rubbish => "rubbish",
        }
    }

    /// Looks at no more than the first word.
    pub fn of(raw: &[u8]) -> Kind {
        /// Longer than every method (SUBSCRIBE has nine letters).
        const WORD_BYTES_MAX: usize = 16;
        if raw.len() <= 4 {
            return Kind::Ping;
        }
        let start = raw
            .iter()
            .take(WORD_BYTES_MAX)
            .position(|b| !matches!(b, b'\r' | b'\n'))
            .unwrap_or(0);
        let word = &raw[start..raw.len().min(start + WORD_BYTES_MAX)];
        let end = word.iter().position(|b| !b.is_ascii_uppercase());
        match end.map(|end| (&word[..end], word[end])) {
            Some((b"SIP", b'/')) => Kind::Response,
            Some((b"REGISTER", b' ')) => Kind::Register,
            Some((b"INVITE", b' ')) => Kind::Invite,
            Some((b"MESSAGE" | b"NOTIFY", b' ')) => Kind::Message,
            Some((method, b' ')) if !method.is_empty() => Kind::OtherRequest,
            Some(_) | None => Kind::Rubbish,
        }
    }

    /// What it costs, in messages. Nobody but a device has a reason to call us, and each INVITE is remembered for a while.
    fn price(self) -> f32 {
        match self {
            Kind::Invite => 20.0,
            Kind::Register
            | Kind::Message
            | Kind::OtherRequest
            | Kind::Response
            | Kind::Ping
            | Kind::Rubbish => 1.0,
        }
    }

    /// The part of a stranger's purse that must stay behind.
    fn reserve(self) -> f32 {
        match self {
            Kind::Register => 0.0,
            Kind::Message | Kind::Response | Kind::Ping => 0.25,
            Kind::Invite | Kind::OtherRequest | Kind::Rubbish => 0.75,
        }
    }
}

/// Whose purse was empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Device,
    Source,
    Strangers,
}

impl Limit {
    pub const ALL: [Limit; 3] = [Limit::Device, Limit::Source, Limit::Strangers];

    pub fn name(self) -> &'static str {
        match self {
            Limit::Device => "device",
            Limit::Source => "source",
            Limit::Strangers => "strangers",
        }
    }
}

/// Messages dropped before they were read, by [`Limit`] and [`Kind`] in the order of their `ALL`.
pub type Dropped = [[u64; Kind::ALL.len()]; Limit::ALL.len()];

/// A token bucket. Full at first.
#[derive(Clone, Copy, Debug)]
pub struct Purse {
    spent: f32,
    at_ms: u32,
}

/// How a purse fills.
#[derive(Clone, Copy)]
struct Rate {
    per_s: u32,
    burst: u32,
}

const DEVICE: Rate = Rate {
    per_s: SIP_DEVICE_MESSAGES_PER_S,
    burst: SIP_DEVICE_BURST,
};
const SOURCE: Rate = Rate {
    per_s: SIP_SOURCE_MESSAGES_PER_S,
    burst: SIP_SOURCE_BURST,
};
const STRANGERS: Rate = Rate {
    per_s: SIP_STRANGERS_MESSAGES_PER_S,
    burst: SIP_STRANGERS_BURST,
};

impl Purse {
    const FULL: Purse = Purse {
        spent: 0.0,
        at_ms: 0,
    };

    fn refill(&mut self, now_ms: u32, rate: Rate) {
        // The clock wraps after 49 days; a purse that slept that long is refilled a little less than it might.
        let passed = now_ms.wrapping_sub(self.at_ms) as f32 / 1000.0;
        self.spent = (self.spent - passed * rate.per_s as f32).max(0.0);
        self.at_ms = now_ms;
    }

    /// Whether `price` leaves `reserve` (a part of the whole) behind.
    fn affords(&self, rate: Rate, price: f32, reserve: f32) -> bool {
        self.spent + price <= rate.burst as f32 * (1.0 - reserve)
    }

    fn give(&mut self, messages: f32) {
        self.spent = (self.spent - messages).max(0.0);
    }
}

/// Who paid for the message that is being served.
#[derive(Clone, Copy, Debug)]
enum Payer {
    Nobody,
    Device(Slot),
    Source(IpAddr),
}

/// See the [module](self).
pub struct Gate {
    epoch: Instant,
    /// By slot; grows with the table of devices.
    devices: Vec<Purse>,
    /// Two generations: when the young one is full the old one is forgotten.
    young: HashMap<IpAddr, Purse>,
    old: HashMap<IpAddr, Purse>,
    strangers: Purse,
    payer: Payer,
    dropped: Dropped,
}

impl Gate {
    pub fn new(now: Instant) -> Gate {
        Gate {
            epoch: now,
            devices: Vec::new(),
            young: HashMap::new(),
            old: HashMap::new(),
            strangers: Purse::FULL,
            payer: Payer::Nobody,
            dropped: Dropped::default(),
        }
    }

    /// Whether a message is to be read. `device`: whose address or connection it came from, if one is known.
    pub fn admit(&mut self, now: Instant, ip: IpAddr, device: Option<Slot>, raw: &[u8]) -> bool {
        let now_ms = now.saturating_duration_since(self.epoch).as_millis() as u32;
        let kind = Kind::of(raw);
        let refused = match device {
            Some(slot) => self.charge_device(now_ms, slot),
            None => self.charge_stranger(now_ms, source_of(ip), kind),
        };
        if let Some(limit) = refused {
            self.dropped[limit as usize][kind as usize] += 1;
            self.payer = Payer::Nobody;
        }
        refused.is_none()
    }

    fn charge_device(&mut self, now_ms: u32, slot: Slot) -> Option<Limit> {
        let index = slot.index();
        if self.devices.len() <= index {
            self.devices.resize(index + 1, Purse::FULL);
        }
        let purse = &mut self.devices[index];
        purse.refill(now_ms, DEVICE);
        if !purse.affords(DEVICE, 1.0, 0.0) {
            return Some(Limit::Device);
        }
        purse.spent += 1.0;
        self.payer = Payer::Device(slot);
        None
    }

    fn charge_stranger(&mut self, now_ms: u32, source: IpAddr, kind: Kind) -> Option<Limit> {
        self.strangers.refill(now_ms, STRANGERS);
        let (price, reserve) = (kind.price(), kind.reserve());
        if !self.strangers.affords(STRANGERS, price, reserve) {
            return Some(Limit::Strangers);
        }
        let purse = self.source(source);
        purse.refill(now_ms, SOURCE);
        if !purse.affords(SOURCE, price, reserve) {
            return Some(Limit::Source);
        }
        purse.spent += price;
        self.strangers.spent += price;
        self.payer = Payer::Source(source);
        None
    }

    /// The purse of a source, among the young ones.
    fn source(&mut self, source: IpAddr) -> &mut Purse {
        if !self.young.contains_key(&source) && self.young.len() >= SIP_SOURCES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &self.old;
        self.young
            .entry(source)
            .or_insert_with(|| old.get(&source).copied().unwrap_or(Purse::FULL))
    }

    /// The message that was admitted last has been served, and `earned` messages are paid back: none for what was no
    /// device's, one for a device's, two for a login, which pays for its challenge too.
    pub fn settle(&mut self, earned: u8) {
        /// A little stays spent, so that even a device's own messages have a rate: 64 times that of rubbish.
        const PAID_BACK: f32 = 63.0 / 64.0;
        let payer = std::mem::replace(&mut self.payer, Payer::Nobody);
        let back = f32::from(earned) * PAID_BACK;
        match payer {
            Payer::Nobody => {}
            Payer::Device(slot) => {
                if let Some(purse) = self.devices.get_mut(slot.index()) {
                    purse.give(back);
                }
            }
            Payer::Source(source) => {
                self.strangers.give(back);
                if let Some(purse) = self.young.get_mut(&source) {
                    purse.give(back);
                }
            }
        }
    }

    pub fn dropped(&self) -> &Dropped {
        &self.dropped
    }

    /// Purses of sources in memory.
    pub fn sources(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn source_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    const REGISTER: &[u8] = b"REGISTER sip:34020000002000000001@3402000000 SIP/2.0\r\n";
    const INVITE: &[u8] = b"INVITE sip:100@10.0.0.1 SIP/2.0\r\n";
    const MESSAGE: &[u8] = b"MESSAGE sip:34020000002000000001@3402000000 SIP/2.0\r\n";

    fn ip(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn flood(
        gate: &mut Gate,
        now: Instant,
        from: impl Fn(u32) -> IpAddr,
        n: u32,
        raw: &[u8],
    ) -> u32 {
        (0..n)
            .map(|i| {
                let admitted = gate.admit(now, from(i), None, raw);
                gate.settle(0);
                u32::from(admitted)
            })
            .sum()
    }

    #[test]
    fn the_first_word_says_what_it_is() {
        for (raw, kind) in [
            (REGISTER, Kind::Register),
            (INVITE, Kind::Invite),
            (MESSAGE, Kind::Message),
            (b"NOTIFY sip:a@b SIP/2.0", Kind::Message),
            (b"OPTIONS sip:a@b SIP/2.0", Kind::OtherRequest),
            (b"\r\n\r\nREGISTER sip:a@b", Kind::Register),
            (b"SIP/2.0 200 OK", Kind::Response),
            (b"jaK\0", Kind::Ping),
            (b"", Kind::Ping),
            (b"REGISTERS\xff\xff", Kind::Rubbish),
            (b"register sip:a@b", Kind::Rubbish),
            (b" REGISTER sip:a@b", Kind::Rubbish),
            (b"\x80\x60\x12\x34\x56\x78\x9a", Kind::Rubbish),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", Kind::Rubbish),
        ] {
            assert_eq!(Kind::of(raw), kind, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn a_source_has_its_burst_and_then_its_rate() {
        let now = Instant::now();
        let mut gate = Gate::new(now);
        let admitted = flood(&mut gate, now, |_| ip(1), 3 * SIP_SOURCE_BURST, REGISTER);
        assert_eq!(admitted, SIP_SOURCE_BURST);
        let later = now + Duration::from_secs(1);
        let admitted = flood(&mut gate, later, |_| ip(1), SIP_SOURCE_BURST, REGISTER);
        assert_eq!(admitted, SIP_SOURCE_MESSAGES_PER_S);
        let dropped = gate.dropped()[Limit::Source as usize][Kind::Register as usize];
        let sent = 4 * SIP_SOURCE_BURST;
        assert_eq!(
            dropped,
            u64::from(sent - SIP_SOURCE_BURST - SIP_SOURCE_MESSAGES_PER_S)
        );
        // Nobody else pays for it.
        assert!(gate.admit(later, ip(2), None, REGISTER));
    }

    #[test]
    fn a_scanner_leaves_room_for_logins() {
        let now = Instant::now();
        let mut gate = Gate::new(now);
        let admitted = flood(&mut gate, now, |_| ip(1), 2 * SIP_SOURCE_BURST, INVITE);
        assert_eq!(admitted, SIP_SOURCE_BURST / 4 / 20);
        let admitted = flood(&mut gate, now, |_| ip(1), SIP_SOURCE_BURST, b"rubbish");
        assert!(admitted < 20, "{admitted}");
        assert!(!gate.admit(now, ip(1), None, b"\x00\x01\x02\x03\x04\x05"));
        assert!(gate.admit(now, ip(1), None, MESSAGE));
        assert!(gate.admit(now, ip(1), None, REGISTER));
    }

    #[test]
    fn many_sources_share_one_purse_and_devices_have_their_own() {
        let now = Instant::now();
        let mut gate = Gate::new(now);
        let admitted = flood(&mut gate, now, ip, 4 * SIP_STRANGERS_BURST, REGISTER);
        assert_eq!(admitted, SIP_STRANGERS_BURST);
        assert!(gate.sources() <= SIP_SOURCES_MAX);
        assert!(!gate.admit(now, ip(1_000_000), None, REGISTER));
        for n in 0..10 {
            assert!(gate.admit(now, ip(1), Some(Slot::test(n)), MESSAGE));
        }
    }

    #[test]
    fn logins_behind_one_address_never_run_dry() {
        let now = Instant::now();
        let mut gate = Gate::new(now);
        for _ in 0..10 * SIP_SOURCE_BURST {
            assert!(gate.admit(now, ip(1), None, REGISTER));
            gate.settle(0);
            assert!(gate.admit(now, ip(1), None, REGISTER));
            gate.settle(2);
        }
    }

    #[test]
    fn a_device_that_sends_rubbish_spends_its_own_purse_only() {
        let now = Instant::now();
        let mut gate = Gate::new(now);
        let bad = Slot::test(7);
        let mut admitted = 0;
        for _ in 0..2 * SIP_DEVICE_BURST {
            admitted += u32::from(gate.admit(now, ip(1), Some(bad), b"rubbish"));
            gate.settle(0);
        }
        assert_eq!(admitted, SIP_DEVICE_BURST);
        assert!(gate.admit(now, ip(1), Some(Slot::test(8)), MESSAGE));
        let later = now + Duration::from_secs(1);
        assert!(gate.admit(later, ip(1), Some(bad), MESSAGE));
    }

    #[test]
    fn the_table_of_sources_has_an_end() {
        let now = Instant::now();
        let mut gate = Gate::new(now);
        for n in 0..3 * SIP_SOURCES_MAX as u32 {
            assert!(gate.admit(now, ip(n), None, REGISTER));
            gate.settle(2);
            assert!(gate.sources() <= SIP_SOURCES_MAX);
        }
        let net: IpAddr = "2001:db8::1".parse().expect("an address");
        let same: IpAddr = "2001:db8::ffff:1".parse().expect("an address");
        assert_eq!(source_of(net), source_of(same));
    }
}
