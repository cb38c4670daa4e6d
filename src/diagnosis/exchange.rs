//! The SIP exchange of one view, found in the messages of its device, and what it says of addresses and refusals.
//!
//! A view is known by its SSRC, which its INVITE names in `y=` and Subject and which no other view has at the same time;
//! from the INVITE on its messages are those of the same Call-ID.

use std::net::SocketAddr;
use std::time::Instant;

use memchr::memmem;

use crate::id::Ssrc;
use crate::sip::log::{Direction, Entry, Glance};
use crate::sip::sdp::Sdp;
use crate::sip::{Carrier, HeaderName, Message};

/// Messages of a view and what they agree on.
#[derive(Debug, Default)]
pub struct Exchange<'a> {
    /// Oldest first.
    pub messages: Vec<&'a Entry>,
    /// Where the last INVITE told the device to send to.
    pub offered: Option<SocketAddr>,
    /// How it was refused: the answer's first line, with its Warning.
    pub refusal: Option<String>,
}

/// Finds the messages of the views with these SSRCs, begun at `since` or later.
pub fn find<'a>(entries: &'a [Entry], ssrcs: &[Ssrc], since: Instant) -> Exchange<'a> {
    let numbers: Vec<String> = ssrcs.iter().map(Ssrc::to_string).collect();
    let is_ours = |entry: &&Entry| {
        let glance = Glance::at(&entry.raw);
        entry.at >= since
            && entry.direction == Direction::Out
            && entry.status == 0
            && glance.method == b"INVITE"
            && numbers
                .iter()
                .any(|n| memmem::find(&entry.raw, n.as_bytes()).is_some())
    };
    let invites: Vec<&Entry> = entries.iter().filter(is_ours).collect();
    let calls: Vec<&[u8]> = invites
        .iter()
        .map(|entry| Glance::at(&entry.raw).call_id)
        .collect();
    let messages: Vec<&Entry> = entries
        .iter()
        .filter(|entry| calls.contains(&Glance::at(&entry.raw).call_id))
        .collect();
    let refused = |entry: &&&Entry| {
        entry.direction == Direction::In
            && entry.status >= 300
            && Glance::at(&entry.raw).method == b"INVITE"
    };
    Exchange {
        offered: invites.last().and_then(|invite| media_address(&invite.raw)),
        refusal: messages.iter().rev().find(refused).map(|e| refusal(&e.raw)),
        messages,
    }
}

/// Address and port of the first picture line of a message's SDP.
pub fn media_address(raw: &[u8]) -> Option<SocketAddr> {
    let message = parse(raw)?;
    let sdp = Sdp::parse(message.body()).ok()?;
    let video = sdp.first("video")?;
    let ip = video.ip().or_else(|| sdp.connection_ip())?;
    Some(SocketAddr::new(ip, video.port()))
}

/// The first line of an answer, with its Warning.
pub fn refusal(raw: &[u8]) -> String {
    let line = raw.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.trim_ascii()).into_owned();
    let warning = parse(raw).and_then(|message| {
        let warning = message.header_named("Warning")?;
        Some(String::from_utf8_lossy(warning).into_owned())
    });
    match warning {
        Some(warning) => format!("{line} (Warning: {warning})"),
        None => line,
    }
}

/// The SSRC that an INVITE or its answer names in `y=`.
pub fn agreed_ssrc(raw: &[u8]) -> Option<Ssrc> {
    let message = parse(raw)?;
    let sdp = Sdp::parse(message.body()).ok()?;
    sdp.ssrc().filter(|ssrc| *ssrc != 0).map(Ssrc)
}

/// Reads a message however it came: a datagram's end ends its body.
pub fn parse(raw: &[u8]) -> Option<Message> {
    let message = Message::parse(bytes::Bytes::copy_from_slice(raw), Carrier::Datagram).ok()?;
    // A message that names no Call-ID belongs to nothing.
    message.header(HeaderName::CallId).map(|_| ())?;
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::DeviceId;
    use crate::sip::log::{Log, Passing};
    use crate::sip::{Path, Transport};
    use bytes::Bytes;

    fn message(start: &str, call: u32, method: &str, more: &str) -> Bytes {
        Bytes::from(format!(
            "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{call}\r\nFrom: <sip:1@a>;tag=1\r\nTo: <sip:2@b>\r\n\
             Call-ID: {call}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n{more}"
        ))
    }

    fn invite(call: u32, ssrc: &str) -> Bytes {
        let sdp = format!(
            "v=0\r\no=1 0 0 IN IP4 192.0.2.1\r\ns=Play\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=video 30000 RTP/AVP 96\r\ny={ssrc}\r\n"
        );
        let more = format!("Content-Length: {}\r\n\r\n{sdp}", sdp.len());
        message("INVITE sip:2@b SIP/2.0", call, "INVITE", &more)
    }

    #[test]
    fn a_view_has_its_messages_and_no_others() {
        let device = DeviceId("34020000001320000001".parse().expect("a code"));
        let path = Path {
            peer: "192.0.2.9:5060".parse().expect("an address"),
            local: "192.0.2.1:5060".parse().expect("an address"),
            transport: Transport::Udp,
        };
        let mut log = Log::new(1 << 20);
        let start = Instant::now();
        let mut push = |direction, raw: &Bytes| {
            let glance = Glance::at(raw);
            let passing = Passing {
                direction,
                path,
                raw,
                glance,
            };
            log.push(start, device, true, &passing);
        };
        push(Direction::Out, &invite(1, "0200000001"));
        push(Direction::Out, &invite(2, "0200000002"));
        let warning = "Warning: 370 gate \"no bandwidth\"\r\nContent-Length: 0\r\n\r\n";
        push(
            Direction::In,
            &message("SIP/2.0 488 Not Here", 1, "INVITE", warning),
        );
        push(
            Direction::In,
            &message("SIP/2.0 100 Trying", 2, "INVITE", "\r\n"),
        );
        let entries: Vec<Entry> = log.of(device).cloned().collect();

        let found = find(&entries, &[Ssrc(200_000_001)], start);
        assert_eq!(found.messages.len(), 2);
        assert_eq!(found.offered, "192.0.2.1:30000".parse().ok());
        assert_eq!(
            found.refusal.as_deref(),
            Some("SIP/2.0 488 Not Here (Warning: 370 gate \"no bandwidth\")")
        );
        let found = find(&entries, &[Ssrc(200_000_002)], start);
        assert_eq!((found.messages.len(), found.refusal), (2, None));
        let later = start + std::time::Duration::from_secs(1);
        assert!(
            find(&entries, &[Ssrc(200_000_001)], later)
                .messages
                .is_empty()
        );
        assert_eq!(
            agreed_ssrc(&invite(1, "0200000001")),
            Some(Ssrc(200_000_001))
        );
    }
}
