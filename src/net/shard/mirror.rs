//! What other media threads say: mirrors of renditions whose stream is at home elsewhere, and viewers that are.

use std::time::{Duration, Instant};

use super::{Shard, ShardMessage};
use crate::limits;
use crate::net::stream::Fan;
use crate::session::port::MediaEvent;

impl Shard {
    pub(super) fn on_shard_message(&mut self, now: Instant, message: ShardMessage) {
        match message {
            ShardMessage::AddMirrored { new, snapshot } => {
                let key = new.key();
                if let Some((init, units)) = snapshot {
                    let mut fan = Fan::mirror(key, init, self.ring_bytes * limits::FAN_RINGS);
                    units.into_iter().for_each(|unit| fan.ring.push(unit));
                    if let Some(old) = self.fan_by_key.get(&key).copied() {
                        self.remove_fan(old);
                    }
                    let fan_key = self.fans.insert(fan);
                    self.fan_by_key.insert(key, fan_key);
                }
                match self.fan_by_key.get(&key).copied() {
                    Some(fan_key) => self.place_viewer(now, fan_key, *new),
                    None => self.events.send(MediaEvent::ViewerClosed {
                        session: new.session,
                    }),
                }
            }
            ShardMessage::Units {
                key,
                mut units,
                init,
            } => {
                let Some(fan_key) = self.fan_by_key.get(&key).copied() else {
                    return;
                };
                if let Some(fan) = self.fans.get_mut(fan_key) {
                    if let Some(init) = init {
                        fan.init = init;
                    }
                    fan.append(&mut units, now, Duration::ZERO);
                    self.flush_fan(now, fan_key);
                }
            }
            ShardMessage::MirrorEnd { key } => {
                if let Some(fan_key) = self.fan_by_key.get(&key).copied() {
                    self.remove_fan(fan_key);
                }
            }
            ShardMessage::ViewerLeft { key, from } => {
                let Some(fan_key) = self.fan_by_key.get(&key).copied() else {
                    return;
                };
                let Some(fan) = self.fans.get_mut(fan_key) else {
                    return;
                };
                let Some(n) = fan.mirrors.get_mut(usize::from(from)) else {
                    return;
                };
                *n = n.saturating_sub(1);
                if *n == 0 {
                    self.tell(usize::from(from), ShardMessage::MirrorEnd { key });
                }
                self.end_unwatched(fan_key);
            }
            ShardMessage::CloseSession(session) => self.close_session(now, session, false),
            ShardMessage::Path(arrival) => {
                self.peers.adopt(now, arrival, &self.links, &self.counters);
            }
            ShardMessage::AddMirroredPeer {
                new,
                tracks,
                snapshot,
                newest,
            } => {
                self.peers.add_mirrored(
                    now,
                    *new,
                    &tracks,
                    snapshot,
                    newest,
                    &mut self.events,
                    &self.links,
                );
            }
            ShardMessage::Payloads {
                stream,
                payloads,
                newest,
            } => self.peers.mirror_payloads(now, stream, payloads, newest),
            ShardMessage::PayloadsEnd { stream } => {
                self.peers.mirror_end(now, stream, &mut self.events)
            }
            ShardMessage::PeerLeft { stream, from } => {
                if let Some(stream) = self
                    .by_id
                    .get(&stream)
                    .and_then(|key| self.streams.get_mut(*key))
                {
                    self.peers.mirrored_left(stream, from, &self.links);
                    stream.drop_unused_conversions(&self.fans);
                }
            }
            ShardMessage::Datagram { from, data, via } => {
                let mut data = data.to_vec();
                self.peers.take_datagram(
                    now,
                    from,
                    &mut data,
                    Some(via),
                    &self.links,
                    &self.counters,
                );
            }
            ShardMessage::Bound {
                address,
                shard,
                bound,
            } => self.peers.bind_foreign(address, shard, bound),
        }
    }
}
