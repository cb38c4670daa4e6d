//! A capture taken apart: views with their SIP, streams, and who belongs to whom.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::media::{Run, Timed};
use super::report::{Report, SipLine, View};
use crate::diagnosis::capture::{self, Capture, Carrier};
use crate::diagnosis::sentence::{self, Facts};
use crate::diagnosis::{exchange, message};
use crate::gb28181::MediaTransport;
use crate::id::Ssrc;
use crate::limits::{PROBE_SIP_MESSAGES_MAX, PROBE_STREAMS_MAX};
use crate::media::{rfc4571, rtp};
use crate::session::{Stage, ViewFailure};
use crate::sip::framing;
use crate::sip::log::Glance;
use crate::sip::sdp::{Sdp, Setup};

/// Packets from which something of an unknown SSRC counts as a stream: single ones that look so are chance.
const STREAM_PACKETS_MIN: usize = 8;
const METHODS: [&[u8]; 11] = [
    b"REGISTER ",
    b"INVITE ",
    b"ACK ",
    b"BYE ",
    b"CANCEL ",
    b"MESSAGE ",
    b"OPTIONS ",
    b"INFO ",
    b"SUBSCRIBE ",
    b"NOTIFY ",
    b"SIP/2.0 ",
];

/// One SIP message of the capture.
struct Sip {
    us: i64,
    from: SocketAddr,
    to: SocketAddr,
    carrier: Carrier,
    raw: Bytes,
}

/// Packets of one SSRC on their way from one address to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct StreamKey {
    ssrc: Ssrc,
    from: SocketAddr,
    to: SocketAddr,
    carrier: Carrier,
}

#[derive(Default)]
struct Sorted {
    sip: Vec<Sip>,
    streams: HashMap<StreamKey, Vec<Timed>>,
    sip_left_out: u64,
}

/// Reads a capture. `None`: the file is none.
pub fn read(epoch: Instant, file: &Bytes) -> Option<Report> {
    let capture = capture::read(file).ok()?;
    let (frames, skipped) = (capture.frames, capture.skipped);
    let sorted = sort(capture);
    let views = views_of(&sorted.sip);
    let agreed: HashSet<Ssrc> = views.iter().filter_map(|view| view.ssrc).collect();
    let mut runs: Vec<(StreamKey, Run)> = sorted
        .streams
        .iter()
        .filter(|(key, packets)| packets.len() >= STREAM_PACKETS_MIN || agreed.contains(&key.ssrc))
        .map(|(key, packets)| {
            let reliable = key.carrier == Carrier::Tcp;
            let mut run = Run::of(epoch, key.ssrc, reliable, packets);
            run.shown.from = Some(key.from.to_string());
            run.shown.to = Some(key.to.to_string());
            (*key, run)
        })
        .collect();
    runs.sort_by_key(|(key, run)| (std::cmp::Reverse(run.shown.packets), key.ssrc.0));
    runs.truncate(PROBE_STREAMS_MAX);

    let mut report = Report {
        kind: "capture",
        frames: Some(frames),
        skipped: Some(skipped),
        registered: registered(&sorted.sip),
        sip: sorted.sip.iter().map(line).collect(),
        sip_left_out: sorted.sip_left_out,
        ..Report::default()
    };
    let mut claimed = HashSet::new();
    for view in views {
        let of_view = view.stream(&runs);
        claimed.extend(of_view.map(|(key, _)| *key));
        report.views.push(view.show(of_view));
    }
    for (key, run) in &runs {
        if !claimed.contains(key) {
            let mut facts = Facts::at(Stage::Answered);
            run.add_to(&mut facts);
            report
                .views
                .push(View::of_stream(run, sentence::find(&facts)));
        }
        report.streams.push(run.shown.clone());
    }
    Some(report)
}

fn sort(capture: Capture) -> Sorted {
    let mut sorted = Sorted::default();
    let mut sip_flows: HashMap<(SocketAddr, SocketAddr), Option<framing::Framer>> = HashMap::new();
    let mut media_flows: HashMap<(SocketAddr, SocketAddr), Option<rfc4571::Framer>> =
        HashMap::new();
    for packet in capture.packets {
        let flow = (packet.from, packet.to);
        let mut sip = |raw: Bytes| {
            if sorted.sip.len() < PROBE_SIP_MESSAGES_MAX {
                sorted.sip.push(Sip {
                    us: packet.unix_us,
                    from: packet.from,
                    to: packet.to,
                    carrier: packet.carrier,
                    raw,
                });
            } else {
                sorted.sip_left_out += 1;
            }
        };
        match packet.carrier {
            Carrier::Udp if is_sip(&packet.data) => sip(packet.data.clone()),
            Carrier::Udp => {
                put_media(&mut sorted.streams, &packet, packet.data.clone());
            }
            Carrier::Tcp if is_sip(&packet.data) || sip_flows.contains_key(&flow) => {
                let slot = sip_flows
                    .entry(flow)
                    .or_insert_with(|| Some(framing::Framer::new()));
                let Some(framer) = slot else { continue };
                framer.push(&packet.data);
                let mut lost = false;
                while let Some(frame) = framer.next() {
                    match frame {
                        Ok(framing::Frame::Message(raw)) => sip(raw),
                        Ok(framing::Frame::Ping) => {}
                        Err(_) => {
                            lost = true;
                            break;
                        }
                    }
                }
                if lost {
                    *slot = None;
                }
            }
            Carrier::Tcp => {
                let slot = media_flows
                    .entry(flow)
                    .or_insert_with(|| Some(rfc4571::Framer::new()));
                let Some(framer) = slot else { continue };
                let streams = &mut sorted.streams;
                let put = &mut |media: &[u8]| {
                    put_media(streams, &packet, Bytes::copy_from_slice(media));
                };
                if framer.push(&packet.data, put).is_err() {
                    *slot = None;
                }
            }
        }
    }
    sorted
}

fn is_sip(data: &[u8]) -> bool {
    METHODS.iter().any(|method| data.starts_with(method))
}

fn put_media(streams: &mut HashMap<StreamKey, Vec<Timed>>, packet: &capture::Packet, media: Bytes) {
    // RTCP is about the stream and not of it; the sender's reports go with its packets by their SSRC.
    let Some(ssrc) = rtp::peek_ssrc(&media)
        .filter(|_| rtp::Packet::parse(&media).is_ok() || rtp::is_rtcp(&media))
    else {
        return;
    };
    let key = StreamKey {
        ssrc,
        from: packet.from,
        to: packet.to,
        carrier: packet.carrier,
    };
    streams.entry(key).or_default().push(Timed {
        us: packet.unix_us,
        packet: media,
    });
}

/// Whether a registration succeeded, and the last refusal; `None` without REGISTER.
fn registered(sip: &[Sip]) -> Option<(bool, u16)> {
    let answers = sip.iter().filter_map(|one| {
        let glance = Glance::at(&one.raw);
        (glance.method == b"REGISTER" && glance.status >= 200).then_some(glance.status)
    });
    let statuses: Vec<u16> = answers.collect();
    let last = *statuses.last()?;
    Some((statuses.iter().any(|status| *status < 300), last))
}

fn line(sip: &Sip) -> SipLine {
    let (head, body) = message::shown(&sip.raw);
    SipLine {
        unix_ms: sip.us / 1_000,
        carrier: match sip.carrier {
            Carrier::Udp => "udp",
            Carrier::Tcp => "tcp",
        },
        from: sip.from.to_string(),
        to: sip.to.to_string(),
        start: head.trim_start().lines().next().unwrap_or_default().into(),
        head,
        body,
    }
}

/// What the SIP of a capture says of one view.
struct Told {
    call_id: String,
    invited_us: i64,
    answered_us: Option<i64>,
    status: u16,
    refusal: Option<String>,
    bad: Option<&'static str>,
    bye_from_device: bool,
    offered: Option<SocketAddr>,
    answered: Option<SocketAddr>,
    peer: SocketAddr,
    ssrc: Option<Ssrc>,
    transport: MediaTransport,
}

/// In the order of their INVITEs.
fn views_of(sip: &[Sip]) -> Vec<Told> {
    let mut order: Vec<String> = Vec::new();
    let mut views: BTreeMap<String, Told> = BTreeMap::new();
    for one in sip {
        let glance = Glance::at(&one.raw);
        let call_id = String::from_utf8_lossy(glance.call_id).into_owned();
        match (glance.method, glance.status, views.get_mut(&call_id)) {
            (b"INVITE", 0, None) => {
                order.push(call_id.clone());
                views.insert(call_id.clone(), invited(one, call_id));
            }
            (b"INVITE", 200.., Some(view)) => answered(view, one, glance.status),
            (b"BYE", 0, Some(view)) => {
                // Before any picture could be seen it is the answer to something.
                view.bye_from_device |= one.from == view.peer || one.from.ip() == view.peer.ip();
            }
            _ => {}
        }
    }
    order.iter().filter_map(|id| views.remove(id)).collect()
}

fn invited(one: &Sip, call_id: String) -> Told {
    let sdp = exchange::parse(&one.raw).and_then(|m| Sdp::parse(m.body()).ok());
    let video = sdp.as_ref().and_then(|sdp| sdp.first("video"));
    let transport = match video.as_ref() {
        Some(video) if video.is_tcp() => match video.setup() {
            Some(Setup::Active) => MediaTransport::TcpActive,
            Some(_) | None => MediaTransport::TcpPassive,
        },
        Some(_) | None => MediaTransport::Udp,
    };
    Told {
        call_id,
        invited_us: one.us,
        answered_us: None,
        status: 0,
        refusal: None,
        bad: None,
        bye_from_device: false,
        offered: exchange::media_address(&one.raw),
        answered: None,
        peer: one.to,
        ssrc: exchange::agreed_ssrc(&one.raw),
        transport,
    }
}

fn answered(view: &mut Told, one: &Sip, status: u16) {
    view.status = status;
    view.answered_us.get_or_insert(one.us);
    if status >= 300 {
        view.refusal = Some(exchange::refusal(&one.raw));
        return;
    }
    view.answered = exchange::media_address(&one.raw);
    view.ssrc = exchange::agreed_ssrc(&one.raw).or(view.ssrc);
    let body = exchange::parse(&one.raw).map(|m| m.body_bytes());
    view.bad = match body {
        None => Some("200 OK that cannot be read"),
        Some(body) if body.trim_ascii().is_empty() => Some("200 OK without SDP"),
        Some(body) => match Sdp::parse(&body) {
            Err(_) => Some("SDP that cannot be read"),
            Ok(sdp) if sdp.first("video").is_none() => Some("SDP without a video line"),
            Ok(_) => None,
        },
    };
}

impl Told {
    /// The stream of this view: of its SSRC, else what came to the address that was offered.
    fn stream<'a>(&self, runs: &'a [(StreamKey, Run)]) -> Option<&'a (StreamKey, Run)> {
        let agreed = runs.iter().find(|(key, _)| Some(key.ssrc) == self.ssrc);
        agreed.or_else(|| {
            let there = |addr: Option<SocketAddr>, at: SocketAddr| addr == Some(at);
            runs.iter()
                .find(|(key, _)| there(self.offered, key.to) || there(self.answered, key.from))
        })
    }

    fn show(&self, stream: Option<&(StreamKey, Run)>) -> View {
        let mut facts = Facts {
            transport: Some(self.transport),
            offered: self.offered,
            answered: self.answered,
            sip_peer: Some(self.peer),
            ssrc: self.ssrc,
            refusal: self.refusal.clone(),
            ..Facts::at(Stage::Inviting)
        };
        match (self.status, self.bad, stream) {
            (0, _, None) => facts.failure = Some(ViewFailure::NoAnswer),
            (300.., _, _) => {
                facts.failure = Some(ViewFailure::Rejected {
                    status: self.status,
                    reason: self.reason(),
                });
            }
            (_, Some(what), None) => facts.failure = Some(ViewFailure::BadAnswer { what }),
            (_, _, None) => {
                facts.stage = Stage::Answered;
                facts.failure = Some(match (self.bye_from_device, self.transport) {
                    (true, _) => ViewFailure::EndedByDevice,
                    (false, MediaTransport::TcpActive) => ViewFailure::NoConnection,
                    (false, MediaTransport::Udp | MediaTransport::TcpPassive) => ViewFailure::NoRtp,
                });
            }
            (_, _, Some((key, run))) => {
                run.add_to(&mut facts);
                if self.ssrc.is_some_and(|ssrc| ssrc != key.ssrc) {
                    facts.stage = Stage::Answered;
                    facts.failure = Some(ViewFailure::ForeignSsrc { seen: key.ssrc });
                }
            }
        }
        View {
            call_id: Some(self.call_id.clone()),
            ssrc: self.ssrc.map(|ssrc| ssrc.to_string()),
            transport: Some(self.transport),
            offered: self.offered.map(|a| a.to_string()),
            answered: self.answered.map(|a| a.to_string()),
            answer_ms: self.answered_us.map(|us| (us - self.invited_us) / 1_000),
            finding: sentence::find(&facts),
        }
    }

    /// The words behind the status.
    fn reason(&self) -> String {
        let line = self.refusal.as_deref().unwrap_or_default();
        let line = line.split(" (Warning").next().unwrap_or_default();
        line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned()
    }
}
