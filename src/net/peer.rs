use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;
use slab::Slab;
use tokio::sync::oneshot;
use super::ViewerError;
use super::counters::ShardCounters;
use super::shard::{EventSender, ShardLink};
use super::stream::Stream;
use crate::egress::rtp::RtpPayload;
use crate::id::{SessionId, StreamId};
use crate::media::frame::Track;
pub(super) struct NewPeer { pub stream: StreamId, pub session: SessionId, pub offer: String, pub host: Option<String>, pub answer: oneshot::Sender<Result<String, ViewerError>> }
impl NewPeer { pub fn refuse(self, why: ViewerError) { let _ = self.answer.send(Err(why)); } }
pub(super) struct Setup { pub announced: Vec<IpAddr> }
pub(super) struct Peers {}
impl Peers {
 pub fn new(_i: u8, _s: UdpSocket, _x: Setup) -> io::Result<Self> { Ok(Peers{}) }
 pub fn turn(&mut self, _n: Instant, _s: &mut Slab<Stream>, _b: &HashMap<StreamId, usize>, _e: &mut EventSender, _l: &[ShardLink]) {}
 pub fn next_deadline(&self) -> Option<Instant> { None }
 pub fn take_datagrams(&mut self, _n: Instant, _l: &[ShardLink]) {}
 pub fn close_stream(&mut self, _i: StreamId, _p: &[usize], _e: &mut EventSender) {}
 pub fn flush_due(&mut self, _n: Instant, _s: &mut Slab<Stream>, _l: &[ShardLink], _c: &Arc<ShardCounters>) -> Option<Instant> { None }
 pub fn close_session(&mut self, _s: SessionId, _x: &mut Slab<Stream>, _b: &HashMap<StreamId, usize>, _e: &mut EventSender, _l: &[ShardLink]) -> bool { false }
 pub fn add(&mut self, _n: Instant, new: NewPeer, _s: &mut Stream, _e: &mut EventSender, _l: &[ShardLink], _c: &Arc<ShardCounters>) { new.refuse(ViewerError::StreamGone) }
 pub fn add_mirrored(&mut self, _n: Instant, _x: NewPeer, _t: &[Track], _s: Option<Vec<RtpPayload>>, _e: &mut EventSender) {}
 pub fn mirror_payloads(&mut self, _n: Instant, _s: StreamId, _p: Vec<RtpPayload>) {}
 pub fn mirror_end(&mut self, _s: StreamId, _e: &mut EventSender) {}
 pub fn mirrored_left(&mut self, _s: &mut Stream, _f: u8, _l: &[ShardLink]) {}
 pub fn take_forwarded(&mut self, _n: Instant, _f: SocketAddr, _d: &[u8]) {}
 pub fn each_second(&mut self, _n: Instant, _e: &mut EventSender) {}
 pub fn sent_bytes(&self) -> u64 { 0 }
 pub fn skipped(&self) -> u64 { 0 }
 pub fn len(&self) -> usize { 0 }
 pub fn close_all(&mut self, _e: &mut EventSender) {}
}
