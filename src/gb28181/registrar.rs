//! Which devices there are, where they are, and until when (GB/T 28181-2016, 9.1 and 9.6; RFC 3261, 10.3).
//!
//! ```text
//!            REGISTER accepted                    REGISTER Expires 0, expiry
//!   Away ──────────────────────────► Online ──────────────────────────────────► Away
//!    ▲  ◄── silence (can come back by any message) ──┘ ▲
//!    │                                                 │ first message
//!    └──────── silence since our start ──── Assumed ───┘    (Assumed: the store says that it is online)
//! ```
//!
//! Any message counts as a sign of life. A device is silent when nothing came for `keepalive × misses`, counted from
//! our own start at the earliest. A registration that ends gets [`REGISTRATION_GRACE_S`] more.
//!
//! Not done here: passwords and answers, which are the [platform's](super::platform) part.
//!
//! Bounds: [`DEVICES_MAX`] devices, at which a new one is refused; one timer entry for each device, corrected when it
//! fires instead of at every message (another only when a REGISTER shortens the time). [`Suspects`] holds [`SUSPECTS_MAX`] sources; the oldest are forgotten.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::quirk::Quirks;
use super::types::{DeviceAuth, OfflineReason, SipTransport, StoredDevice};
use crate::id::DeviceId;
use crate::limits::{
    DEVICES_MAX, REGISTRATION_GRACE_S, SEEN_PERSIST_S, SUSPECTS_MAX, WRONG_PASSWORD_PAUSE_S,
    WRONG_PASSWORDS_MAX, WRONG_PASSWORDS_PER_IP_MAX,
};
use crate::sip::{ConnId, Path, Transport};
use crate::time::WallClock;

/// Place of a device in the table; it never changes and is never given to another device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// Below [`DEVICES_MAX`].
    pub fn index(self) -> usize {
        self.0 as usize
    }

    #[cfg(test)]
    pub(super) fn test(n: u32) -> Slot {
        Slot(n)
    }
}

/// One device.
#[derive(Debug)]
pub struct Device {
    pub id: DeviceId,
    pub auth: DeviceAuth,
    pub presence: Presence,
    /// How to reach it. `None` until it spoke, or for a TCP connection that is gone.
    pub path: Option<Path>,
    /// Where it spoke from last, also before our start.
    pub peer: Option<SocketAddr>,
    pub transport: SipTransport,
    /// What counts.
    pub quirks: Quirks,
    /// Of them, what was found out from its messages, and what was forced for it.
    learned: Quirks,
    forced: Quirks,
    /// `X-GB-Ver`, at most 8 bytes of it.
    pub gb_version: Option<Box<str>>,
    seen: Instant,
    seen_persisted: Instant,
    /// The entry of the timer heap that counts; others of this device are void.
    timer: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Not there. It may come back by any message if it only fell silent, else by REGISTER alone.
    Away {
        registered_until: Option<Instant>,
    },
    /// The store says that it is there; nothing was heard since our start.
    Assumed {
        expires: Instant,
    },
    Online {
        expires: Instant,
    },
}

impl Device {
    /// Whether it can be asked and invited.
    pub fn is_online(&self) -> bool {
        match self.presence {
            Presence::Online { .. } | Presence::Assumed { .. } => true,
            Presence::Away { .. } => false,
        }
    }

    /// When its presence ends if nothing more comes.
    fn deadline(&self, silence: Duration) -> Option<(Instant, OfflineReason)> {
        match self.presence {
            Presence::Away { .. } => None,
            Presence::Assumed { .. } => Some((self.seen + silence, OfflineReason::KeepaliveMissed)),
            Presence::Online { expires } => {
                let expired = expires + Duration::from_secs(REGISTRATION_GRACE_S);
                let silent = self.seen + silence;
                Some(if expired <= silent {
                    (expired, OfflineReason::RegistrationExpired)
                } else {
                    (silent, OfflineReason::KeepaliveMissed)
                })
            }
        }
    }

    /// As the store keeps it.
    pub fn stored(&self, now: Instant, wall: &WallClock) -> StoredDevice {
        let expires = match self.presence {
            Presence::Online { expires } | Presence::Assumed { expires } => Some(expires),
            Presence::Away { registered_until } => registered_until,
        };
        StoredDevice {
            device: self.id,
            auth: self.auth.clone(),
            peer: self.peer,
            transport: self.transport,
            online: self.is_online(),
            expires_unix_s: wall.unix_ms(expires.unwrap_or(now)).div_euclid(1000),
            last_seen_unix_s: wall.unix_ms(self.seen).div_euclid(1000),
            gb_version: self.gb_version.as_deref().map(str::to_owned),
        }
    }
}

/// Whether a message comes from where the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Device,
    /// Its code, but another address than the one it registered from.
    Impostor,
}

/// What a sign of life changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// It was there.
    Known { persist_seen: bool },
    /// It was silent or only assumed to be there. `first` = it did not count as online.
    Revived { first: bool },
    /// It has to register first.
    Away,
}

/// All devices are taken: [`DEVICES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableFull;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum PeerKey {
    Udp(SocketAddr),
    Tcp(ConnId),
}

impl PeerKey {
    fn of(path: &Path) -> PeerKey {
        match path.transport {
            Transport::Udp => PeerKey::Udp(path.peer),
            Transport::Tcp(conn) | Transport::Tls(conn) => PeerKey::Tcp(conn),
        }
    }
}

/// The table of devices.
pub struct Registrar {
    silence: Duration,
    devices: Vec<Device>,
    by_id: HashMap<DeviceId, Slot>,
    /// Who spoke last from an address or connection, for signs of life without a name.
    by_peer: HashMap<PeerKey, Slot>,
    timers: BinaryHeap<Reverse<(Instant, Slot)>>,
    online: usize,
}

impl Registrar {
    /// `silence` is how long nothing may come from a device that is online.
    pub fn new(silence: Duration) -> Registrar {
        Registrar {
            silence,
            devices: Vec::new(),
            by_id: HashMap::new(),
            by_peer: HashMap::new(),
            timers: BinaryHeap::new(),
            online: 0,
        }
    }

    pub fn find(&self, id: DeviceId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    pub fn by_path(&self, path: &Path) -> Option<Slot> {
        self.by_peer.get(&PeerKey::of(path)).copied()
    }

    pub fn get(&self, slot: Slot) -> &Device {
        &self.devices[slot.0 as usize]
    }

    pub fn len(&self) -> usize {
        self.devices.len()
    }

    pub fn ids(&self) -> impl Iterator<Item = DeviceId> {
        self.devices.iter().map(|device| device.id)
    }

    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    pub fn online(&self) -> usize {
        self.online
    }

    /// Takes over what the store knows. A device that is in the table already only gets its way to log in from it.
    /// `local` is the address by which devices reach us.
    pub fn restore(
        &mut self,
        now: Instant,
        stored: &StoredDevice,
        local: SocketAddr,
        wall: &WallClock,
    ) -> Result<Slot, TableFull> {
        let known = self.find(stored.device);
        let slot = self.insert(now, stored.device)?;
        let left_s = stored.expires_unix_s - wall.unix_ms(now).div_euclid(1000);
        let expires = now + Duration::from_secs(left_s.max(0) as u64);
        let device = &mut self.devices[slot.0 as usize];
        device.auth = stored.auth.clone();
        if known.is_some() {
            return Ok(slot);
        }
        device.gb_version = stored.gb_version.as_deref().map(Box::from);
        device.peer = stored.peer;
        device.transport = stored.transport;
        let by_udp = stored.transport == SipTransport::Udp;
        device.path = stored.peer.filter(|_| by_udp).map(|peer| Path {
            peer,
            local,
            transport: Transport::Udp,
        });
        if stored.online {
            device.presence = Presence::Assumed { expires };
            self.online += 1;
            self.arm(slot);
        } else if left_s > 0 {
            device.presence = Presence::Away {
                registered_until: Some(expires),
            };
        }
        if let Some(path) = self.devices[slot.0 as usize].path {
            self.by_peer.insert(PeerKey::of(&path), slot);
        }
        Ok(slot)
    }

    pub fn set_auth(
        &mut self,
        now: Instant,
        id: DeviceId,
        auth: DeviceAuth,
    ) -> Result<Slot, TableFull> {
        let slot = self.insert(now, id)?;
        self.devices[slot.0 as usize].auth = auth;
        Ok(slot)
    }

    /// What was found out about a device, from its last REGISTER.
    pub fn learn_quirks(&mut self, slot: Slot, learned: Quirks) {
        let device = &mut self.devices[slot.0 as usize];
        device.learned = learned;
        device.quirks = device.forced.over(learned);
    }

    /// What a user wants for a device, whatever is found out.
    pub fn force_quirks(&mut self, slot: Slot, forced: Quirks) {
        let device = &mut self.devices[slot.0 as usize];
        device.forced = forced;
        device.quirks = forced.over(device.learned);
    }

    /// Takes in a registration. Answers the place and whether the device did not count as online before.
    pub fn register(
        &mut self,
        now: Instant,
        id: DeviceId,
        path: Path,
        expires: Duration,
        gb_version: Option<&str>,
    ) -> Result<(Slot, bool), TableFull> {
        let slot = self.insert(now, id)?;
        self.move_to(slot, path);
        let device = &mut self.devices[slot.0 as usize];
        let first = !device.is_online();
        device.presence = Presence::Online {
            expires: now + expires,
        };
        device.seen = now;
        device.seen_persisted = now;
        if device.gb_version.as_deref() != gb_version {
            device.gb_version = gb_version.map(Box::from);
        }
        self.online += usize::from(first);
        self.arm(slot);
        Ok((slot, first))
    }

    /// Ends a presence. Answers whether there was one.
    pub fn unregister(&mut self, slot: Slot) -> bool {
        self.leave(slot, None)
    }

    /// Whether a message in the name of a device may be its own.
    pub fn sender(&self, slot: Slot, path: &Path) -> Sender {
        let device = self.get(slot);
        match device.peer {
            Some(known) if known.ip() != path.peer.ip() && !device.quirks.any_ip() => {
                Sender::Impostor
            }
            Some(_) | None => Sender::Device,
        }
    }

    /// Takes a sign of life from where the device is (see [`Registrar::sender`]); NAT may have given it another port.
    pub fn touch(&mut self, now: Instant, slot: Slot, path: Path) -> Touched {
        let device = &mut self.devices[slot.0 as usize];
        let revived = match device.presence {
            Presence::Online { .. } => None,
            // Its registration may have ended while we were away: it is given a new one as long as the silence
            // allowed, in which a device that means to stay registers again.
            Presence::Assumed { expires } => Some((false, expires.max(now + self.silence))),
            Presence::Away {
                registered_until: Some(expires),
            } if expires > now => Some((true, expires)),
            Presence::Away { .. } => return Touched::Away,
        };
        device.seen = now;
        let persist_seen =
            now.duration_since(device.seen_persisted) >= Duration::from_secs(SEEN_PERSIST_S);
        if persist_seen || revived.is_some() {
            device.seen_persisted = now;
        }
        let touched = match revived {
            None => Touched::Known { persist_seen },
            Some((first, expires)) => {
                device.presence = Presence::Online { expires };
                self.online += usize::from(first);
                Touched::Revived { first }
            }
        };
        self.move_to(slot, path);
        self.arm(slot);
        touched
    }

    /// A connection is gone: the device stays, but cannot be asked anything until it speaks again.
    pub fn closed(&mut self, conn: ConnId) -> Option<Slot> {
        let slot = self.by_peer.remove(&PeerKey::Tcp(conn))?;
        let device = &mut self.devices[slot.0 as usize];
        if device
            .path
            .is_some_and(|p| p.transport.connection() == Some(conn))
        {
            device.path = None;
        }
        Some(slot)
    }

    /// The next device whose time is over at `now`; it is offline from here on.
    pub fn poll_expired(&mut self, now: Instant) -> Option<(Slot, OfflineReason)> {
        while let Some(&Reverse((at, slot))) = self.timers.peek() {
            if at > now {
                return None;
            }
            self.timers.pop();
            let device = &mut self.devices[slot.0 as usize];
            if device.timer != Some(at) {
                continue;
            }
            device.timer = None;
            match device.deadline(self.silence) {
                Some((due, why)) if due <= now => {
                    let until = match (why, device.presence) {
                        (
                            OfflineReason::KeepaliveMissed,
                            Presence::Online { expires } | Presence::Assumed { expires },
                        ) => Some(expires),
                        (_, _) => None,
                    };
                    self.leave(slot, until);
                    return Some((slot, why));
                }
                Some(_) => self.arm(slot),
                None => {}
            }
        }
        None
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    fn insert(&mut self, now: Instant, id: DeviceId) -> Result<Slot, TableFull> {
        if let Some(slot) = self.find(id) {
            return Ok(slot);
        }
        if self.devices.len() >= DEVICES_MAX {
            return Err(TableFull);
        }
        let slot = Slot(self.devices.len() as u32);
        self.devices.push(Device {
            id,
            auth: DeviceAuth::Default,
            presence: Presence::Away {
                registered_until: None,
            },
            path: None,
            peer: None,
            transport: SipTransport::Udp,
            quirks: Quirks::default(),
            learned: Quirks::default(),
            forced: Quirks::default(),
            gb_version: None,
            seen: now,
            seen_persisted: now,
            timer: None,
        });
        self.by_id.insert(id, slot);
        Ok(slot)
    }

    fn move_to(&mut self, slot: Slot, path: Path) {
        let device = &mut self.devices[slot.0 as usize];
        if device.path == Some(path) {
            return;
        }
        device.peer = Some(path.peer);
        device.transport = path.transport.into();
        if let Some(old) = device.path.replace(path) {
            let key = PeerKey::of(&old);
            if key != PeerKey::of(&path) && self.by_peer.get(&key) == Some(&slot) {
                self.by_peer.remove(&key);
            }
        }
        self.by_peer.insert(PeerKey::of(&path), slot);
    }

    fn leave(&mut self, slot: Slot, registered_until: Option<Instant>) -> bool {
        let device = &mut self.devices[slot.0 as usize];
        let was_online = device.is_online();
        device.presence = Presence::Away { registered_until };
        self.online -= usize::from(was_online);
        if let Some(path) = device.path {
            let key = PeerKey::of(&path);
            if self.by_peer.get(&key) == Some(&slot) {
                self.by_peer.remove(&key);
            }
        }
        was_online
    }

    /// Makes sure that a timer entry exists that is not too late. One that is too early is corrected when it fires, so
    /// that a message costs nothing here.
    fn arm(&mut self, slot: Slot) {
        let device = &mut self.devices[slot.0 as usize];
        let Some((due, _)) = device.deadline(self.silence) else {
            return;
        };
        if device.timer.is_none_or(|at| due < at) {
            device.timer = Some(due);
            self.timers.push(Reverse((due, slot)));
        }
    }
}

/// Sources that gave wrong passwords. Two generations: when the young one is full the old one is forgotten.
#[derive(Default)]
pub struct Suspects {
    young: HashMap<Suspect, Record>,
    old: HashMap<Suspect, Record>,
}

/// A source as a whole (`None`) or with the device it speaks for: cameras behind one NAT must not pay for another's
/// wrong password.
type Suspect = (IpAddr, Option<DeviceId>);

#[derive(Clone, Copy)]
struct Record {
    wrong: u32,
    /// Until when the wrong ones count, or the pause lasts.
    until: Instant,
}

impl Suspects {
    /// Whether the source has to wait. `trusted`: the device is online from this very address, so that only its own
    /// mistakes count.
    pub fn is_paused(&self, now: Instant, ip: IpAddr, device: DeviceId, trusted: bool) -> bool {
        let over = |suspect, max| {
            self.record(suspect)
                .is_some_and(|r| r.wrong >= max && r.until > now)
        };
        over((ip, Some(device)), WRONG_PASSWORDS_MAX)
            || (!trusted && over((ip, None), WRONG_PASSWORDS_PER_IP_MAX))
    }

    /// Notes a wrong password. Answers whether the source has to wait from now on.
    pub fn wrong(&mut self, now: Instant, ip: IpAddr, device: DeviceId) -> bool {
        for suspect in [(ip, None), (ip, Some(device))] {
            let wrong = self
                .record(suspect)
                .filter(|r| r.until > now)
                .map_or(0, |r| r.wrong);
            if self.young.len() >= SUSPECTS_MAX / 2 && !self.young.contains_key(&suspect) {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(
                suspect,
                Record {
                    wrong: wrong.saturating_add(1),
                    until: now + Duration::from_secs(WRONG_PASSWORD_PAUSE_S),
                },
            );
        }
        self.is_paused(now, ip, device, false)
    }

    /// The device proved itself, or its password was changed.
    pub fn clear(&mut self, ip: IpAddr, device: DeviceId) {
        if self.is_empty() {
            return;
        }
        self.young.remove(&(ip, Some(device)));
        self.old.remove(&(ip, Some(device)));
    }

    /// The password of a device was changed: whoever tried the old one may try again.
    pub fn clear_device(&mut self, device: DeviceId) {
        self.young.retain(|(_, d), _| *d != Some(device));
        self.old.retain(|(_, d), _| *d != Some(device));
    }

    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    fn record(&self, suspect: Suspect) -> Option<Record> {
        self.young
            .get(&suspect)
            .or_else(|| self.old.get(&suspect))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> DeviceId {
        DeviceId(format!("{n:020}").parse().expect("a code"))
    }

    fn path(n: usize) -> Path {
        Path {
            peer: SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 5060)),
            local: SocketAddr::from(([10, 255, 0, 1], 5060)),
            transport: Transport::Udp,
        }
    }

    const SILENCE: Duration = Duration::from_secs(180);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_table_has_an_end_and_the_known_still_come_in() {
        let now = Instant::now();
        let mut registrar = Registrar::new(SILENCE);
        for n in 0..DEVICES_MAX {
            registrar
                .register(now, id(n), path(n), HOUR, None)
                .expect("there is room");
        }
        let one_more = registrar.register(now, id(DEVICES_MAX), path(1), HOUR, None);
        assert_eq!(one_more, Err(TableFull));
        assert!(registrar.register(now, id(3), path(3), HOUR, None).is_ok());
        assert_eq!(registrar.online(), DEVICES_MAX);
    }

    #[test]
    fn timers_cost_one_entry_a_device_however_much_it_says() {
        let now = Instant::now();
        let mut registrar = Registrar::new(SILENCE);
        let (slot, _) = registrar
            .register(now, id(1), path(1), HOUR, None)
            .expect("there is room");
        for s in 0..10_000 {
            let at = now + Duration::from_millis(s * 100);
            registrar.touch(at, slot, path(1));
            assert!(registrar.poll_expired(at).is_none());
        }
        assert_eq!(registrar.timers.len(), 1);
        let last = now + Duration::from_millis(999_900);
        let end = last + SILENCE;
        assert!(
            registrar
                .poll_expired(end - Duration::from_millis(1))
                .is_none()
        );
        assert_eq!(
            registrar.poll_expired(end),
            Some((slot, OfflineReason::KeepaliveMissed))
        );
        assert_eq!(registrar.online(), 0);
        assert_eq!(registrar.next_deadline(), None);
    }

    /// Every presence with everything that can happen to it, as the figure at the top has it.
    #[test]
    fn the_table_of_states_is_walked() {
        let now = Instant::now();
        let wall = WallClock {
            at: now,
            unix_ms: 1_700_000_000_000,
        };
        #[derive(Clone, Copy, Debug)]
        enum Start {
            Away,
            Silent,
            Assumed,
            Online,
        }
        #[derive(Clone, Copy, Debug)]
        enum What {
            Register,
            Unregister,
            Message,
            Silence,
        }
        use Start::{Assumed, Away, Online, Silent};
        use What::{Message, Register, Silence, Unregister};
        let table = [
            (Away, Register, true),
            (Away, Unregister, false),
            (Away, Message, false),
            (Away, Silence, false),
            (Silent, Register, true),
            (Silent, Unregister, false),
            (Silent, Message, true),
            (Silent, Silence, false),
            (Assumed, Register, true),
            (Assumed, Unregister, false),
            (Assumed, Message, true),
            (Assumed, Silence, false),
            (Online, Register, true),
            (Online, Unregister, false),
            (Online, Message, true),
            (Online, Silence, false),
        ];
        for (from, what, online) in table {
            let mut registrar = Registrar::new(SILENCE);
            let stored = |online, left_s: i64| StoredDevice {
                device: id(1),
                auth: DeviceAuth::Default,
                peer: Some(path(1).peer),
                transport: SipTransport::Udp,
                online,
                expires_unix_s: 1_700_000_000 + left_s,
                last_seen_unix_s: 1_700_000_000,
                gb_version: None,
            };
            let local = path(1).local;
            let slot = match from {
                Away => registrar.restore(now, &stored(false, -1), local, &wall),
                Silent => registrar.restore(now, &stored(false, 9000), local, &wall),
                Assumed => registrar.restore(now, &stored(true, 9000), local, &wall),
                Online => registrar
                    .register(now, id(1), path(1), HOUR, None)
                    .map(|(slot, _)| slot),
            }
            .expect("there is room");
            match what {
                Register => {
                    _ = registrar.register(now, id(1), path(1), HOUR, None);
                }
                Unregister => {
                    registrar.unregister(slot);
                }
                Message => {
                    registrar.touch(now, slot, path(1));
                }
                Silence => {
                    registrar.poll_expired(now + SILENCE);
                }
            }
            assert_eq!(registrar.get(slot).is_online(), online, "{from:?} {what:?}");
            assert_eq!(registrar.online(), usize::from(online), "{from:?} {what:?}");
        }
    }

    #[test]
    fn what_is_stored_is_restored() {
        let now = Instant::now();
        let wall = WallClock {
            at: now,
            unix_ms: 1_700_000_000_000,
        };
        let mut registrar = Registrar::new(SILENCE);
        let tcp = Path {
            transport: Transport::Tcp(ConnId(4)),
            ..path(1)
        };
        let (slot, _) = registrar
            .register(now, id(1), tcp, HOUR, Some("2.0"))
            .expect("there is room");
        let stored = registrar.get(slot).stored(now, &wall);
        let mut again = Registrar::new(SILENCE);
        let slot = again
            .restore(now, &stored, path(1).local, &wall)
            .expect("there is room");
        assert_eq!(again.get(slot).stored(now, &wall), stored);
        // A connection does not outlive us, but its address is still the only one to believe.
        assert_eq!(again.get(slot).path, None);
        assert_eq!(again.sender(slot, &path(2)), Sender::Impostor);
        assert_eq!(again.sender(slot, &tcp), Sender::Device);
    }

    #[test]
    fn suspects_are_forgotten_in_the_end_and_by_number() {
        let now = Instant::now();
        let mut suspects = Suspects::default();
        let ip = path(1).peer.ip();
        for _ in 1..WRONG_PASSWORDS_MAX {
            assert!(!suspects.wrong(now, ip, id(1)));
        }
        assert!(suspects.wrong(now, ip, id(1)));
        assert!(suspects.is_paused(now, ip, id(1), true));
        assert!(!suspects.is_paused(now, ip, id(2), true));
        let later = now + Duration::from_secs(WRONG_PASSWORD_PAUSE_S);
        assert!(!suspects.is_paused(later, ip, id(1), true));
        suspects.wrong(later, ip, id(1));
        assert!(!suspects.is_paused(later, ip, id(1), true));

        for n in 0..4 * SUSPECTS_MAX {
            suspects.wrong(now, path(n).peer.ip(), id(n));
            assert!(suspects.len() <= SUSPECTS_MAX);
        }
        // A flood of others makes nobody's count smaller who goes on.
        for n in 0..WRONG_PASSWORDS_MAX as usize {
            suspects.wrong(now, ip, id(1));
            suspects.wrong(now, path(n).peer.ip(), id(n + 7));
        }
        assert!(suspects.is_paused(now, ip, id(1), true));
    }
}
