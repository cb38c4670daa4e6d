//! One sentence, in English and in Chinese, that says what is wrong with a view and what to try: a pure function from
//! facts.
//!
//! What a failed opening is called and what helps against it stands with [`ViewFailure`] and nowhere else; here it is
//! made more exact by what else is known, and what goes wrong with a picture that did come is judged.
//!
//! The order of the questions is the order of a view (design, section 5): the first thing that is wrong is the one to
//! say.

use std::net::{IpAddr, SocketAddr};

use crate::gb28181::MediaTransport;
use crate::id::Ssrc;
use crate::media::frame::Codec;
use crate::session::{IngestStats, Stage, ViewFailure};

/// Lost packets in a thousand from which a picture suffers: at one in a hundred every other key frame is hit.
pub const LOST_PER_MILLE_HEAVY: u64 = 10;
/// Program stream errors that are more than those of a first, cut group of pictures.
pub const PS_ERRORS_MANY: u64 = 10;

/// What is known of a view.
#[derive(Clone, Debug)]
pub struct Facts {
    pub stage: Stage,
    pub failure: Option<ViewFailure>,
    /// It is over, and no failure was filed.
    pub closed: bool,
    /// It had come to a picture.
    pub was_live: bool,
    pub transport: Option<MediaTransport>,
    /// Where our SDP told the device to send to.
    pub offered: Option<SocketAddr>,
    /// Where the device's SDP says that it sends from or listens.
    pub answered: Option<SocketAddr>,
    /// Where its SIP comes from.
    pub sip_peer: Option<SocketAddr>,
    /// Agreed upon.
    pub ssrc: Option<Ssrc>,
    pub stats: IngestStats,
    pub video: Option<Codec>,
    pub audio: Option<Codec>,
    /// Whether the viewer can decode H.265; `None` = not said.
    pub viewer_decodes_h265: Option<bool>,
    /// The line by which the device refused, with its Warning if it sent one.
    pub refusal: Option<String>,
}

impl Facts {
    /// Nothing known but the stage.
    pub fn at(stage: Stage) -> Facts {
        Facts {
            stage,
            failure: None,
            closed: false,
            was_live: false,
            transport: None,
            offered: None,
            answered: None,
            sip_peer: None,
            ssrc: None,
            stats: IngestStats::default(),
            video: None,
            audio: None,
            viewer_decodes_h265: None,
            refusal: None,
        }
    }
}

/// What is the matter. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Well,
    /// Not there yet, and in time.
    Opening,
    /// Closed before it came to a picture.
    GivenUp,
    NoAnswer,
    Rejected,
    NoSdp,
    BadAnswer,
    /// An address in an SDP that the other side cannot reach.
    UnreachableAddress,
    TcpRefused,
    NoRtp,
    ForeignSsrc,
    NoPs,
    NoPsm,
    NoKeyFrame,
    UnsupportedCodec,
    EndedByDevice,
    DeviceLost,
    /// H.265, and the viewer has no decoder for it.
    BrowserCodec,
    /// Packets were lost in this machine.
    KernelDrops,
    /// Packets were lost on their way.
    Loss,
    /// The program stream is damaged though no packet is missing.
    DamagedStream,
    AudioOnly,
    /// A recording in which every REGISTER is refused.
    NotRegistered,
    /// A recording without SIP and media.
    Nothing,
}

impl Kind {
    pub const ALL: [Kind; 24] = [
        Kind::Well,
        Kind::Opening,
        Kind::GivenUp,
        Kind::NoAnswer,
        Kind::Rejected,
        Kind::NoSdp,
        Kind::BadAnswer,
        Kind::UnreachableAddress,
        Kind::TcpRefused,
        Kind::NoRtp,
        Kind::ForeignSsrc,
        Kind::NoPs,
        Kind::NoPsm,
        Kind::NoKeyFrame,
        Kind::UnsupportedCodec,
        Kind::EndedByDevice,
        Kind::DeviceLost,
        Kind::BrowserCodec,
        Kind::KernelDrops,
        Kind::Loss,
        Kind::DamagedStream,
        Kind::AudioOnly,
        Kind::NotRegistered,
        Kind::Nothing,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Well => "well",
            Kind::Opening => "opening",
            Kind::GivenUp => "given-up",
            Kind::NoAnswer => "no-answer",
            Kind::Rejected => "rejected",
            Kind::NoSdp => "no-sdp",
            Kind::BadAnswer => "bad-answer",
            Kind::UnreachableAddress => "unreachable-address",
            Kind::TcpRefused => "tcp-refused",
            Kind::NoRtp => "no-rtp",
            Kind::ForeignSsrc => "foreign-ssrc",
            Kind::NoPs => "no-ps",
            Kind::NoPsm => "no-psm",
            Kind::NoKeyFrame => "no-key-frame",
            Kind::UnsupportedCodec => "unsupported-codec",
            Kind::EndedByDevice => "ended-by-device",
            Kind::DeviceLost => "device-lost",
            Kind::BrowserCodec => "browser-codec",
            Kind::KernelDrops => "kernel-drops",
            Kind::Loss => "loss",
            Kind::DamagedStream => "damaged-stream",
            Kind::AudioOnly => "audio-only",
            Kind::NotRegistered => "not-registered",
            Kind::Nothing => "nothing",
        }
    }

    /// Whether nothing is wrong. Sound alone is what some sources have.
    pub fn is_healthy(self) -> bool {
        matches!(self, Kind::Well | Kind::Opening | Kind::AudioOnly)
    }
}

/// What is the matter, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub en: String,
    pub zh: String,
}

impl Finding {
    fn new(kind: Kind, en: impl Into<String>, zh: impl Into<String>) -> Finding {
        let (en, zh) = (en.into(), zh.into());
        Finding { kind, en, zh }
    }

    /// The words of a failure, and what else is known.
    fn of(kind: Kind, failure: &ViewFailure, en: &str, zh: &str) -> Finding {
        let join = |words: String, separator: &str, more: &str| {
            if more.is_empty() {
                words
            } else {
                format!("{words}{separator}{more}")
            }
        };
        Finding {
            kind,
            en: join(failure.to_string(), "; ", en),
            zh: join(failure.in_chinese(), "；", zh),
        }
    }
}

/// Says what is the matter.
pub fn find(facts: &Facts) -> Finding {
    match &facts.failure {
        Some(failure) => failed(failure, facts),
        None if facts.closed && !facts.was_live => Finding::new(
            Kind::GivenUp,
            "closed before a picture came: nobody waited any longer",
            "画面到来之前已关闭：没有人继续等待",
        ),
        None if facts.closed => running(facts),
        None => match facts.stage {
            Stage::Inviting | Stage::Answered | Stage::Receiving | Stage::Parsed => opening(facts),
            Stage::Live | Stage::Closed => running(facts),
        },
    }
}

fn failed(failure: &ViewFailure, facts: &Facts) -> Finding {
    let plain = |kind| Finding::of(kind, failure, "", "");
    match failure {
        ViewFailure::NoAnswer => {
            let (en, zh) = facts.sip_peer.map_or_else(Default::default, |peer| {
                let en = format!("it was asked at {peer}, where its last message came from");
                (en, format!("INVITE 发往其最近一次报文的来源 {peer}"))
            });
            Finding::of(Kind::NoAnswer, failure, &en, &zh)
        }
        ViewFailure::Rejected { .. } => {
            let (en, zh) = facts
                .refusal
                .as_ref()
                .map_or_else(Default::default, |line| {
                    (format!("it said \"{line}\""), format!("其应答为“{line}”"))
                });
            Finding::of(Kind::Rejected, failure, &en, &zh)
        }
        ViewFailure::BadAnswer { what } if what.contains("without SDP") => plain(Kind::NoSdp),
        ViewFailure::BadAnswer { .. } => plain(Kind::BadAnswer),
        ViewFailure::NoConnection => no_connection(failure, facts),
        ViewFailure::NoRtp => no_rtp(failure, facts),
        ViewFailure::ForeignSsrc { .. } => {
            let (en, zh) = facts.ssrc.map_or_else(Default::default, |ssrc| {
                let en = format!(
                    "{ssrc} was agreed: look for an old sender that still runs, or for a device that puts \
                     another number into its packets than into y="
                );
                let zh = format!(
                    "约定的是 {ssrc}：请检查是否有旧的发送端仍在推流，或设备包内 SSRC 与 y= 不一致"
                );
                (en, zh)
            });
            Finding::of(Kind::ForeignSsrc, failure, &en, &zh)
        }
        ViewFailure::NoProgramStream => Finding::of(
            Kind::NoPs,
            failure,
            "set the device to send PS (the usual payload of GB/T 28181)",
            "请将设备设为发送 PS 封装（GB/T 28181 的通常载荷）",
        ),
        ViewFailure::NoPsm => Finding::of(
            Kind::NoPsm,
            failure,
            "a newer firmware often helps",
            "升级设备固件通常有效",
        ),
        ViewFailure::NoKeyFrame => lost_key_frame(failure, facts),
        ViewFailure::UnsupportedCodec { .. } => plain(Kind::UnsupportedCodec),
        ViewFailure::EndedByDevice => Finding::of(
            Kind::EndedByDevice,
            failure,
            "it may have no stream left, or could not reach our media address",
            "可能是其码流路数已用尽，或无法到达本端媒体地址",
        ),
        ViewFailure::DeviceLost => plain(Kind::DeviceLost),
    }
}

fn no_rtp(failure: &ViewFailure, facts: &Facts) -> Finding {
    let Some(told) = facts.offered else {
        return Finding::of(Kind::NoRtp, failure, "", "");
    };
    if let Some(peer) = facts.sip_peer
        && cannot_reach(peer.ip(), told.ip())
    {
        let peer = peer.ip();
        let en = format!(
            "it was told to send to {told}, which cannot be reached from {peer}: set media.advertised_ip to an \
             address that the device can reach"
        );
        let zh = format!(
            "设备被告知发往 {told}，而从 {peer} 无法到达该地址：请将 media.advertised_ip 设为设备可达的地址"
        );
        return Finding::of(Kind::UnreachableAddress, failure, &en, &zh);
    }
    let (by, by_zh) = words(facts.transport);
    let protocol = match facts.transport {
        Some(MediaTransport::TcpPassive | MediaTransport::TcpActive) => "TCP",
        Some(MediaTransport::Udp) | None => "UDP",
    };
    let en = format!(
        "it was told to send to {told} by {by}: let {protocol} port {} in through every firewall on the way",
        told.port()
    );
    let zh = format!(
        "设备被告知以{by_zh}发往 {told}：请在沿途防火墙放行 {protocol} 端口 {}",
        told.port()
    );
    Finding::of(Kind::NoRtp, failure, &en, &zh)
}

fn no_connection(failure: &ViewFailure, facts: &Facts) -> Finding {
    let Some(named) = facts.answered else {
        return Finding::of(Kind::TcpRefused, failure, "", "");
    };
    if let Some(peer) = facts.sip_peer
        && (cannot_reach(named.ip(), peer.ip()) || cannot_reach(peer.ip(), named.ip()))
    {
        let peer = peer.ip();
        let en =
            format!("its SDP names {named}, which is not where it is ({peer}): it is behind NAT");
        let zh = format!("其 SDP 中的地址 {named} 与来源 {peer} 不符：设备位于 NAT 之后");
        return Finding::of(Kind::UnreachableAddress, failure, &en, &zh);
    }
    let en = format!("it said that it listens at {named}");
    let zh = format!("设备声称在 {named} 监听");
    Finding::of(Kind::TcpRefused, failure, &en, &zh)
}

/// No key frame because of loss is another matter than a device that sends none.
fn lost_key_frame(failure: &ViewFailure, facts: &Facts) -> Finding {
    let (lost, per_mille) = loss(&facts.stats);
    if per_mille >= LOST_PER_MILLE_HEAVY {
        let en = format!("{lost} packets were lost on the way, key frames suffer first: try TCP");
        let zh = format!("途中丢失 {lost} 个包，关键帧最先受损：请改用 TCP");
        return Finding::of(Kind::NoKeyFrame, failure, &en, &zh);
    }
    Finding::of(Kind::NoKeyFrame, failure, "", "")
}

fn opening(facts: &Facts) -> Finding {
    let (en, zh) = match facts.stage {
        Stage::Inviting => ("the device's answer to INVITE", "设备应答 INVITE"),
        Stage::Answered => ("the first RTP packet", "第一个 RTP 包"),
        Stage::Receiving => ("a program stream in the packets", "包中的 PS 流"),
        Stage::Parsed => ("a key frame", "关键帧"),
        Stage::Live | Stage::Closed => ("a viewer", "观看者"),
    };
    Finding::new(
        Kind::Opening,
        format!("opening: waits for {en}"),
        format!("正在打开：等待{zh}"),
    )
}

fn running(facts: &Facts) -> Finding {
    let stats = &facts.stats;
    if facts.video == Some(Codec::H265) && facts.viewer_decodes_h265 == Some(false) {
        return Finding::new(
            Kind::BrowserCodec,
            "browser codec: the picture is H.265, which this viewer cannot decode; set the device to H.264, or use \
             a browser with H.265",
            "浏览器无法解码：画面为 H.265；请将设备编码改为 H.264，或使用支持 H.265 的浏览器",
        );
    }
    let (lost, per_mille) = loss(stats);
    let percent = format!("{}.{} %", per_mille / 10, per_mille % 10);
    if per_mille >= LOST_PER_MILLE_HEAVY && stats.detail.kernel_dropped > 0 {
        let dropped = stats.detail.kernel_dropped;
        let en = format!(
            "loss in this machine: {lost} packets ({percent}) are missing and the kernel dropped {dropped} because \
             nobody read them in time; raise net.core.rmem_max and media.shards, or spread the load"
        );
        let zh = format!(
            "本机丢包：缺失 {lost} 个包（{percent}），内核因未及时读取丢弃 {dropped} 个；请提高 net.core.rmem_max 和 \
             media.shards，或分散负载"
        );
        return Finding::new(Kind::KernelDrops, en, zh);
    }
    if per_mille >= LOST_PER_MILLE_HEAVY {
        let en = format!(
            "loss on the way: {lost} packets ({percent}) never came and this machine dropped none; try TCP, or lower \
             the device's bit rate"
        );
        let zh = format!(
            "网络丢包：{lost} 个包（{percent}）未到达，本机没有丢弃；请改用 TCP，或降低设备码率"
        );
        return Finding::new(Kind::Loss, en, zh);
    }
    if stats.ps_errors >= PS_ERRORS_MANY && stats.ps_errors > lost {
        let n = stats.ps_errors;
        let en = format!(
            "damaged stream: the program stream has {n} errors though hardly a packet is missing; the device \
             itself sends it so, look for a newer firmware"
        );
        let zh = format!(
            "码流损坏：几乎没有丢包，但 PS 流有 {n} 处错误；由设备自身造成，请尝试升级固件"
        );
        return Finding::new(Kind::DamagedStream, en, zh);
    }
    if facts.video.is_none() {
        return Finding::new(
            Kind::AudioOnly,
            "audio only: sound comes and no picture was declared; if there should be one, look at the channel's \
             video settings",
            "只有声音：码流未声明画面；如应有画面，请检查该通道的视频设置",
        );
    }
    Finding::new(Kind::Well, "all is well", "一切正常")
}

/// Lost packets, and how many of a thousand.
fn loss(stats: &IngestStats) -> (u64, u64) {
    let expected = stats.packets + stats.lost;
    let per_mille = (stats.lost * 1000).checked_div(expected).unwrap_or(0);
    (stats.lost, per_mille)
}

fn words(transport: Option<MediaTransport>) -> (&'static str, &'static str) {
    match transport {
        Some(MediaTransport::Udp) | None => ("UDP", " UDP "),
        Some(MediaTransport::TcpPassive) => ("TCP (it connects to us)", " TCP 被动方式"),
        Some(MediaTransport::TcpActive) => ("TCP (we connect to it)", " TCP 主动方式"),
    }
}

/// Whether somebody at `from` surely has no way to `to`.
fn cannot_reach(from: IpAddr, to: IpAddr) -> bool {
    let (from, to) = (reach(from), reach(to));
    to == Reach::Nowhere || (to != from && to < from)
}

/// From how far away an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Nowhere,
    Host,
    Site,
    World,
}

fn reach(ip: IpAddr) -> Reach {
    match ip.to_canonical() {
        ip if ip.is_unspecified() || ip.is_multicast() => Reach::Nowhere,
        ip if ip.is_loopback() => Reach::Host,
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // RFC 6598: addresses of a provider's own NAT.
            let shared = a == 100 && (64..128).contains(&b);
            if ip.is_private() || ip.is_link_local() || shared {
                Reach::Site
            } else {
                Reach::World
            }
        }
        IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Reach::Site,
        IpAddr::V6(_) => Reach::World,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::IngestDetail;

    fn addr(text: &str) -> Option<SocketAddr> {
        Some(text.parse().expect("an address"))
    }

    fn failure(stage: Stage, failure: ViewFailure) -> Facts {
        Facts {
            failure: Some(failure),
            offered: addr("192.0.2.1:30000"),
            answered: addr("198.51.100.7:15060"),
            sip_peer: addr("198.51.100.7:5060"),
            transport: Some(MediaTransport::Udp),
            ssrc: Some(Ssrc(200_000_001)),
            ..Facts::at(stage)
        }
    }

    fn live(stats: IngestStats) -> Facts {
        Facts {
            video: Some(Codec::H264),
            audio: Some(Codec::G711A),
            stats,
            ..Facts::at(Stage::Live)
        }
    }

    fn lossy(kernel_dropped: u64) -> IngestStats {
        IngestStats {
            packets: 900,
            lost: 100,
            frames: 9,
            detail: IngestDetail {
                kernel_dropped,
                ..IngestDetail::default()
            },
            ..IngestStats::default()
        }
    }

    /// Every kind, from the facts that lead to it, with words that must be in both sentences and words in each.
    #[test]
    fn table_of_sentences() {
        use Stage::{Answered, Inviting, Parsed, Receiving};
        use ViewFailure as F;
        let rejected = |status, reason: &str| F::Rejected {
            status,
            reason: reason.into(),
        };
        let mut local = failure(Answered, F::NoRtp);
        local.offered = addr("127.0.0.1:30000");
        let mut private = failure(Answered, F::NoConnection);
        private.answered = addr("192.168.1.64:15060");
        let mut refused = failure(Inviting, rejected(488, "Not Acceptable Here"));
        refused.refusal =
            Some("SIP/2.0 488 Not Acceptable Here (Warning: 370 no bandwidth)".into());
        let mut h265 = live(IngestStats::default());
        h265.video = Some(Codec::H265);
        h265.viewer_decodes_h265 = Some(false);
        let mut sound = live(IngestStats::default());
        sound.video = None;
        let mut given_up = Facts::at(Stage::Closed);
        given_up.closed = true;
        let damaged = live(IngestStats {
            packets: 10_000,
            ps_errors: 50,
            ..IngestStats::default()
        });
        let table: [(Facts, Kind, &[&str]); 24] = [
            (
                failure(Inviting, F::NoAnswer),
                Kind::NoAnswer,
                &["198.51.100.7:5060", "INVITE"],
            ),
            (refused, Kind::Rejected, &["488", "370 no bandwidth"]),
            (
                failure(Inviting, rejected(503, "Busy")),
                Kind::Rejected,
                &["503 Busy"],
            ),
            (
                failure(
                    Inviting,
                    F::BadAnswer {
                        what: "200 OK without SDP",
                    },
                ),
                Kind::NoSdp,
                &["SDP"],
            ),
            (
                failure(
                    Inviting,
                    F::BadAnswer {
                        what: "SDP without a video line",
                    },
                ),
                Kind::BadAnswer,
                &["video line"],
            ),
            (
                local,
                Kind::UnreachableAddress,
                &["127.0.0.1:30000", "198.51.100.7", "media.advertised_ip"],
            ),
            (
                private,
                Kind::UnreachableAddress,
                &["192.168.1.64:15060", "198.51.100.7", "NAT"],
            ),
            (
                failure(Answered, F::NoConnection),
                Kind::TcpRefused,
                &["198.51.100.7:15060", "TCP"],
            ),
            (
                failure(Answered, F::NoRtp),
                Kind::NoRtp,
                &["192.0.2.1:30000", "UDP", "30000", "TCP"],
            ),
            (
                failure(Answered, F::ForeignSsrc { seen: Ssrc(77) }),
                Kind::ForeignSsrc,
                &["0000000077", "0200000001", "y="],
            ),
            (
                failure(Receiving, F::NoProgramStream),
                Kind::NoPs,
                &["PS", "GB/T 28181"],
            ),
            (failure(Parsed, F::NoPsm), Kind::NoPsm, &[]),
            (failure(Parsed, F::NoKeyFrame), Kind::NoKeyFrame, &[]),
            (
                failure(Parsed, F::UnsupportedCodec { stream_type: 0x80 }),
                Kind::UnsupportedCodec,
                &["0x80", "H.264"],
            ),
            (
                failure(Answered, F::EndedByDevice),
                Kind::EndedByDevice,
                &["BYE"],
            ),
            (failure(Inviting, F::DeviceLost), Kind::DeviceLost, &[]),
            (h265, Kind::BrowserCodec, &["H.265", "H.264"]),
            (live(lossy(0)), Kind::Loss, &["100", "10.0 %", "TCP"]),
            (
                live(lossy(40)),
                Kind::KernelDrops,
                &["100", "40", "net.core.rmem_max"],
            ),
            (damaged, Kind::DamagedStream, &["50", "PS"]),
            (sound, Kind::AudioOnly, &[]),
            (live(IngestStats::default()), Kind::Well, &[]),
            (Facts::at(Receiving), Kind::Opening, &["PS"]),
            (given_up, Kind::GivenUp, &[]),
        ];
        let mut seen = Vec::new();
        for (facts, kind, words) in table {
            let found = find(&facts);
            assert_eq!(found.kind, kind, "{facts:?}\n{found:?}");
            for word in words {
                // English writes the names of formats out.
                let en = found.en.replace("program stream", "PS");
                assert!(en.contains(word), "{word} in {}", found.en);
                assert!(found.zh.contains(word), "{word} in {}", found.zh);
            }
            let chinese = found.zh.chars().filter(|c| *c >= '\u{4e00}').count();
            assert!(chinese >= 4, "{}", found.zh);
            assert!(!found.en.chars().any(|c| c >= '\u{3000}'), "{}", found.en);
            if let Some(failure) = &facts.failure {
                assert!(
                    found.en.starts_with(&failure.to_string()),
                    "one source of truth"
                );
                assert!(
                    found.zh.starts_with(&failure.in_chinese()),
                    "one source of truth"
                );
            }
            seen.push(kind);
        }
        // Recordings without any view are judged where they are read.
        seen.extend([Kind::NotRegistered, Kind::Nothing]);
        for kind in Kind::ALL {
            assert!(seen.contains(&kind), "{kind:?} has no row");
        }
    }

    #[test]
    fn loss_is_judged_from_both_sides() {
        let stats = |lost| IngestStats {
            packets: 10_000 - lost,
            lost,
            ..IngestStats::default()
        };
        assert_eq!(find(&live(stats(99))).kind, Kind::Well);
        assert_eq!(find(&live(stats(100))).kind, Kind::Loss);
        let errors = |ps_errors| IngestStats {
            ps_errors,
            ..IngestStats::default()
        };
        assert_eq!(find(&live(errors(PS_ERRORS_MANY - 1))).kind, Kind::Well);
        assert_eq!(
            find(&live(errors(PS_ERRORS_MANY))).kind,
            Kind::DamagedStream
        );
    }

    #[test]
    fn a_closed_view_is_judged_by_what_it_had() {
        let mut facts = live(lossy(0));
        facts.closed = true;
        facts.was_live = true;
        facts.stage = Stage::Closed;
        assert_eq!(find(&facts).kind, Kind::Loss);
    }

    #[test]
    fn who_can_reach_whom() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (from, to, cannot) in [
            ("203.0.113.9", "127.0.0.1", true),
            ("203.0.113.9", "192.168.1.2", true),
            ("203.0.113.9", "100.64.0.1", true),
            ("192.168.1.64", "0.0.0.0", true),
            ("192.168.1.64", "127.0.0.1", true),
            ("192.168.1.64", "10.0.0.1", false),
            ("192.168.1.64", "203.0.113.9", false),
            ("127.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "192.168.1.2", false),
            ("::ffff:203.0.113.9", "fd00::1", true),
        ] {
            assert_eq!(cannot_reach(ip(from), ip(to)), cannot, "{from} to {to}");
        }
    }
}
