//! Parsers without a folder of their own: codes and names, ADTS, the SDP answer to a live view, frames of WebSocket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::egress::websocket::{Incoming, Said};
use crate::gb28181::offer::Offer;
use crate::gb28181::quirk::Quirks;
use crate::gb28181::{Counters, MediaTransport};
use crate::id::{ChannelId, DeviceId, GbId, Ssrc, StreamName};
use crate::limits;
use crate::media::codec::aac::{Adts, adts_header};

/// What is taken as an id is written as it was, and read again as the same.
pub fn ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(id) = text.parse::<GbId>() {
        assert!(!id.as_str().is_empty() && id.as_str().len() <= 20);
        assert_eq!(id.as_str().parse(), Ok(id));
        let device = DeviceId(id);
        assert_eq!(DeviceId::from_pu_id(&device.pu_id()), Ok(device));
    }
    if let Ok(device) = DeviceId::from_pu_id(text) {
        let bare = device.to_string();
        assert!(text == device.pu_id() || text == bare);
    }
    if let Ok(name) = text.parse::<StreamName>() {
        assert!(!name.as_str().is_empty());
        assert!(name.as_str().len() <= limits::STREAM_NAME_BYTES_MAX);
        assert_eq!(name.as_str(), text);
    }
}

/// A frame lies within its header's length, and its header can be written again.
pub fn aac(data: &[u8]) {
    let mut rest = data;
    while let Some(adts) = Adts::parse(rest) {
        assert!(adts.frame_bytes >= adts.header_bytes);
        assert!(adts.sample_rate() > 0);
        let raw = adts.frame_bytes - adts.header_bytes;
        if let Some(header) = adts_header(&adts.config(), raw) {
            let again = Adts::parse(&header).expect("our own header");
            assert_eq!(again.frame_bytes - again.header_bytes, raw);
            assert_eq!(again.sample_rate(), adts.sample_rate());
        }
        let Some((_, after)) = rest.split_at_checked(adts.frame_bytes.max(1)) else {
            break;
        };
        rest = after;
    }
}

/// An answer that is taken names a place and a payload type, and keeps to the transport that was offered.
pub fn answer(data: &[u8]) {
    let platform: GbId = "34020000002000000001".parse().expect("a code");
    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
    for transport in [
        MediaTransport::Udp,
        MediaTransport::TcpPassive,
        MediaTransport::TcpActive,
    ] {
        let offer = Offer {
            platform,
            channel: ChannelId(platform),
            footage: crate::gb28181::Footage::default(),
            ssrc: Ssrc(200_000_001),
            transport,
            media: SocketAddr::from(([10, 0, 0, 1], 30_000)),
        };
        let mut counters = Counters::default();
        let Ok(answer) = offer.check(data, Quirks::default(), peer, &mut counters) else {
            continue;
        };
        assert_eq!(answer.transport, transport);
        let place = answer
            .remote
            .map(|r| (r.port() != 0, r.ip().is_unspecified()));
        match transport {
            MediaTransport::TcpActive => assert_eq!(place, Some((true, false))),
            MediaTransport::Udp | MediaTransport::TcpPassive => {
                assert_ne!(place.map(|p| p.1), Some(true));
            }
        }
        assert!(answer.payloads.len() <= limits::ANSWER_PAYLOADS_MAX);
        assert!(answer.payloads.iter().all(|p| p.payload_type < 128));
    }
}

/// What a client says does not depend on how its bytes are cut, and nothing is kept beyond a control frame.
pub fn websocket(data: &[u8]) {
    let Some((size, data)) = data.split_first() else {
        return;
    };
    let said = |size: usize| {
        let mut incoming = Incoming::default();
        let mut pings = Vec::new();
        for piece in data.chunks(size) {
            match incoming.push(piece) {
                Said::Nothing => {}
                Said::Ping(pong) => {
                    assert!(pong.len() <= 127 && pong[0] == 0x8a);
                    assert_eq!(usize::from(pong[1]), pong.len() - 2);
                    pings.push(pong);
                }
                Said::Close => return (pings, true),
            }
            assert!(incoming.kept_bytes() <= 125 + 14);
        }
        (pings, false)
    };
    let (cut, closed) = said(usize::from(*size).max(1));
    let (whole, also_closed) = said(usize::MAX);
    assert_eq!(closed, also_closed);
    // Of several in one read the last is answered, unless the connection ends in it.
    if !closed {
        assert_eq!(whole.last(), cut.last());
    }
}
