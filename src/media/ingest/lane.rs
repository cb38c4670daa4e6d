//! Packets in their place to the elementary streams: what kind of payload they hold, and its demultiplexer.

use super::content::{Content, Flow};
use super::picture::Origin;
use super::{Fact, Output, Sink};
use crate::limits;
use crate::media::frame::Codec;
use crate::media::jitter::Delivery;
use crate::media::ps::demux::Demux;
use crate::media::rtp::Packet;

/// Everything behind the reordering.
#[derive(Debug)]
pub(super) struct Stream {
    pub demux: Demux,
    pub content: Content,
    /// RTP time of the last packet.
    pub rtp: Option<u32>,
    /// Payload type in which the program stream comes.
    pub ps_payload_type: Option<u8>,
    pub packets: u64,
    pub first_ps_told: bool,
    pub no_ps_told: bool,
}

impl Stream {
    pub fn new() -> Stream {
        Stream {
            demux: Demux::new(),
            content: Content::new(),
            rtp: None,
            ps_payload_type: None,
            packets: 0,
            first_ps_told: false,
            no_ps_told: false,
        }
    }

    /// Takes a packet in its place.
    pub fn take(&mut self, delivery: &Delivery<'_>, sink: &mut impl Sink) {
        let Ok(packet) = Packet::parse(delivery.packet) else {
            return;
        };
        self.packets += 1;
        let payload = packet.payload();
        let origin = Origin {
            received: delivery.received,
            rtp: Some(packet.timestamp()),
        };
        let mut flow = Flow {
            content: &mut self.content,
            sink,
        };
        if delivery.lost > 0 {
            let same = !delivery.restart && self.rtp == Some(packet.timestamp());
            self.demux.lose(same);
            flow.lose(same);
        }
        if let Some(codec) = bare_sound(&packet, self.ps_payload_type) {
            flow.bare_sound(codec, origin, payload);
            return;
        }
        self.rtp = Some(packet.timestamp());
        flow.content.origin = Some(origin);
        flow.content.picture_touched = false;
        self.demux.push(payload, &mut flow);
        if packet.marker() && flow.content.picture_touched {
            flow.marker(self.demux.at_end_of_unit());
        }
        if !self.first_ps_told {
            self.look_for_ps(packet.payload_type(), sink);
        }
    }

    #[cold]
    fn look_for_ps(&mut self, payload_type: u8, sink: &mut impl Sink) {
        if self.demux.units() > 0 {
            self.first_ps_told = true;
            self.ps_payload_type = Some(payload_type);
            sink.put(Output::Fact(Fact::FirstPs));
        } else if self.packets >= limits::NO_PS_PACKETS_MAX && !self.no_ps_told {
            self.no_ps_told = true;
            sink.put(Output::Fact(Fact::NoProgramStream));
        }
    }
}

/// G.711 in packets of its own, beside a program stream of another payload type.
fn bare_sound(packet: &Packet<'_>, ps_payload_type: Option<u8>) -> Option<Codec> {
    let codec = match packet.payload_type() {
        0 => Codec::G711U,
        8 => Codec::G711A,
        _ => return None,
    };
    let beside = ps_payload_type.is_some_and(|ps| ps != packet.payload_type());
    (beside && !packet.payload().starts_with(&[0, 0, 1])).then_some(codec)
}
