//! Whose a SIP message is, for the log of each device's last messages.
//!
//! By the codes in From and To if one of them is a device of ours, by the Call-ID of a view of ours, by the address or
//! connection that a device spoke from, in this order; a recorder's channels and several devices behind one address are
//! told apart so. What names a device that nobody knows (it has not registered yet, or never may) is kept apart from the
//! devices' own. Anything else is left out.

use std::time::Instant;

use bytes::Bytes;

use super::Platform;
use crate::id::DeviceId;
use crate::sip::Path;
use crate::sip::log::{Direction, Entry, Glance, Passing};

/// Shorter ones are pings.
const MESSAGE_BYTES_MIN: usize = 16;

impl Platform {
    /// The last messages of a device, oldest first; also of one that is not let in.
    pub fn messages(&self, device: DeviceId) -> impl Iterator<Item = &Entry> {
        self.log.of(device)
    }

    pub(super) fn note(&mut self, now: Instant, direction: Direction, path: Path, raw: &Bytes) {
        if !self.log.is_on() || raw.len() < MESSAGE_BYTES_MIN {
            return;
        }
        let glance = Glance::at(raw);
        let Some((device, known)) = self.whose(&path, &glance) else {
            return;
        };
        let passing = Passing {
            direction,
            path,
            raw,
            glance,
        };
        self.log.push(now, device, known, &passing);
    }

    fn whose(&self, path: &Path, glance: &Glance<'_>) -> Option<(DeviceId, bool)> {
        let code = |user: &[u8]| std::str::from_utf8(user).ok()?.parse().ok().map(DeviceId);
        let named = [code(glance.from), code(glance.to)];
        let known = named
            .into_iter()
            .flatten()
            .find(|id| self.registrar.find(*id).is_some());
        if let Some(device) = known {
            return Some((device, true));
        }
        let call_id = std::str::from_utf8(glance.call_id).ok();
        let slot = call_id
            .and_then(|call_id| self.invites.device_of(call_id))
            .or_else(|| self.registrar.by_path(path));
        if let Some(slot) = slot {
            return Some((self.registrar.get(slot).id, true));
        }
        let stranger = named
            .into_iter()
            .flatten()
            .find(|id| id.0 != self.config.id);
        stranger.map(|device| (device, false))
    }
}
