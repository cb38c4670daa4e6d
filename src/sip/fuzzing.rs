//! Bodies of the fuzz targets, here so that a normal build checks their types. Each asserts what must hold for any input.
#![doc(hidden)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::digest::Credentials;
use super::endpoint::{Config, Endpoint, Event, Output};
use super::framing::{Frame, Framer};
use super::message::{Carrier, Message};
use super::sdp::Sdp;
use super::transaction::{Path, Transport};
use super::uri::Uri;
use super::write::Response;
use crate::limits::{SIP_HEADER_LINES_MAX, SIP_MESSAGE_BYTES_MAX};

fn path() -> Path {
    Path {
        peer: SocketAddr::from(([10, 0, 0, 2], 5060)),
        local: SocketAddr::from(([10, 0, 0, 1], 5060)),
        transport: Transport::Udp,
    }
}

/// Whether what an endpoint wrote can be read: an answer may repeat what was wrong with its request, its form is right.
pub(crate) fn is_readable(written: Bytes) -> bool {
    Message::scan(written, Carrier::Stream).is_ok_and(|(_, defect)| defect.is_none())
}

/// A datagram: views never panic, the body is a slice of the input, whatever the endpoint writes can be read back, and a
/// repetition makes no second event.
pub fn sip_message(data: &[u8]) {
    let raw = Bytes::copy_from_slice(data);
    if let Ok(message) = Message::parse(raw.clone(), Carrier::Datagram) {
        assert!(message.headers().count() <= SIP_HEADER_LINES_MAX);
        assert!(message.raw().ends_with(message.body()) || message.body().len() < data.len());
        assert!(message.via_top().is_ok() && message.cseq().is_some());
        assert!(!message.call_id().is_empty());
        let _ = (message.contact(), message.expires(), message.from_user());
        let _ = (message.uri_user(), message.contact_host_port());
        let _ = Credentials::of(&message);
        for (name, _, value) in message.headers() {
            let _ = Uri::parse(value);
            assert!(message.header(name).is_some());
        }
    }
    let now = Instant::now();
    let mut endpoint = Endpoint::new(Config::default(), [1; 32]);
    let mut delivered = 0;
    for _ in 0..2 {
        endpoint.handle_message(now, path(), raw.clone());
        while let Some(output) = endpoint.poll_output() {
            match output {
                Output::Transmit(t) => {
                    assert!(is_readable(t.payload));
                }
                Output::Event(Event::Request(incoming)) => {
                    let ack = incoming.message.method() == Some(super::Method::Ack);
                    delivered += usize::from(!ack);
                    let answered = endpoint.respond(now, &incoming, Response::new(200));
                    assert_eq!(answered.is_ok(), !ack);
                }
                Output::Event(_) => {}
            }
        }
    }
    assert!(delivered <= 1);
    endpoint.handle_timeout(now + Duration::from_secs(300));
    assert_eq!(endpoint.sizes()[1], 0);
}

/// A stream: frames do not depend on how the bytes are cut, and hold every byte but empty lines.
pub fn sip_stream(data: &[u8]) {
    let run = |step: usize| {
        let mut framer = Framer::new();
        let mut frames = Vec::new();
        'pieces: for piece in data.chunks(step) {
            framer.push(piece);
            while let Some(frame) = framer.next() {
                let stop = frame.is_err();
                if let Ok(Frame::Message(bytes)) = &frame {
                    assert!(bytes.len() <= SIP_MESSAGE_BYTES_MAX);
                    if let Ok(message) = Message::parse(bytes.clone(), Carrier::Stream) {
                        // Framer and reader agree where the message ends.
                        let head = message.raw().len() - message.body().len();
                        assert!(message.raw()[..head].ends_with(b"\n"));
                    }
                }
                frames.push(frame);
                if stop {
                    break 'pieces;
                }
            }
        }
        frames
    };
    let step = usize::from(data.first().copied().unwrap_or(0)) + 1;
    assert_eq!(run(usize::MAX), run(step));
}

/// A body: what was read can be written and reads back the same.
pub fn sdp(data: &[u8]) {
    let Ok(sdp) = Sdp::parse(data) else {
        return;
    };
    let _ = (sdp.ssrc(), sdp.connection_ip(), sdp.times(), sdp.name());
    for media in sdp.media() {
        let _ = (media.ip(), media.setup(), media.direction());
        assert!(media.payload_types().all(|pt| pt < 128));
        let _ = media.rtpmaps().count();
    }
    let written = sdp.write();
    let Ok(again) = Sdp::parse(&written) else {
        // Writing may lengthen a text that was at a bound.
        assert!(written.len() > data.len());
        return;
    };
    assert_eq!((&again.y, &again.f), (&sdp.y, &sdp.f));
    assert_eq!(again.session.medias.len(), sdp.session.medias.len());
}
