//! What `gantry probe` says: for people, and as JSON.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use super::media::{Run, StreamFacts};
use crate::diagnosis::sentence::{Finding, Kind};
use crate::gb28181::MediaTransport;

/// A whole recording.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `capture`, `rtpdump`, `program stream` or `transport stream`.
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<u64>,
    /// Frames of a capture that hold no UDP or TCP that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
    /// Each INVITE, then streams without one.
    pub views: Vec<View>,
    pub streams: Vec<StreamFacts>,
    pub sip: Vec<SipLine>,
    pub sip_left_out: u64,
    /// Whether a REGISTER succeeded, and the status of the last answer to one.
    #[serde(skip)]
    pub registered: Option<(bool, u16)>,
}

/// One view, or a stream that belongs to none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssrc: Option<String>,
    #[serde(serialize_with = "transport", skip_serializing_if = "Option::is_none")]
    pub transport: Option<MediaTransport>,
    /// Where the device was told to send to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<String>,
    /// Where it says that it sends from or listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_ms: Option<i64>,
    #[serde(serialize_with = "finding")]
    pub finding: Finding,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SipLine {
    pub unix_ms: i64,
    pub carrier: &'static str,
    pub from: String,
    pub to: String,
    pub start: String,
    pub head: String,
    pub body: String,
}

#[derive(Serialize)]
struct Words<'a> {
    kind: &'static str,
    healthy: bool,
    en: &'a str,
    zh: &'a str,
}

impl<'a> Words<'a> {
    fn of(finding: &'a Finding) -> Words<'a> {
        Words {
            kind: finding.kind.name(),
            healthy: finding.kind.is_healthy(),
            en: &finding.en,
            zh: &finding.zh,
        }
    }
}

fn finding<S: Serializer>(finding: &Finding, to: S) -> Result<S::Ok, S::Error> {
    Words::of(finding).serialize(to)
}

fn transport<S: Serializer>(transport: &Option<MediaTransport>, to: S) -> Result<S::Ok, S::Error> {
    transport.map(transport_name).serialize(to)
}

fn transport_name(transport: MediaTransport) -> &'static str {
    match transport {
        MediaTransport::Udp => "udp",
        MediaTransport::TcpPassive => "tcp-passive",
        MediaTransport::TcpActive => "tcp-active",
    }
}

impl View {
    pub fn of_stream(run: &Run, finding: Finding) -> View {
        View {
            call_id: None,
            ssrc: Some(run.shown.ssrc.clone()),
            transport: None,
            offered: None,
            answered: None,
            answer_ms: None,
            finding,
        }
    }
}

impl Report {
    /// The first thing that is wrong, else how it is.
    pub fn verdict(&self) -> Finding {
        let first = self
            .views
            .iter()
            .find(|view| !view.finding.kind.is_healthy());
        if let Some(view) = first.or(self.views.first()) {
            return view.finding.clone();
        }
        match self.registered {
            Some((true, _)) => Finding {
                kind: Kind::Well,
                en: "a device registers; nobody asked for its picture in this recording".into(),
                zh: "设备注册成功；此录制中无人请求画面".into(),
            },
            Some((false, status)) => Finding {
                kind: Kind::NotRegistered,
                en: format!(
                    "not registered: REGISTER is answered {status} and never 200; compare password, realm and \
                     codes on both sides"
                ),
                zh: format!("未注册：REGISTER 应答为 {status}，从未得到 200；请核对双方的密码、域和编码"),
            },
            None => Finding {
                kind: Kind::Nothing,
                en: "nothing found: neither a stream nor SIP is in this file; record both directions at the node, \
                     with whole packets (tcpdump -s 0)"
                    .into(),
                zh: "未发现内容：文件中既没有码流也没有 SIP；请在节点上双向抓取完整报文（tcpdump -s 0）".into(),
            },
        }
    }

    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Whole<'a> {
            verdict: Words<'a>,
            #[serde(flatten)]
            report: &'a Report,
        }
        let verdict = self.verdict();
        let whole = Whole {
            verdict: Words::of(&verdict),
            report: self,
        };
        serde_json::to_string_pretty(&whole).unwrap_or_default()
    }

    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let verdict = self.verdict();
        let mark = if verdict.kind.is_healthy() {
            "OK"
        } else {
            "PROBLEM"
        };
        writeln!(out, "{mark}: {}", verdict.en)?;
        writeln!(out, "{:width$}  {}", "", verdict.zh, width = mark.len())?;
        write!(out, "\n{}", self.kind)?;
        if let (Some(frames), Some(skipped)) = (self.frames, self.skipped) {
            write!(out, ", {frames} frames")?;
            if skipped > 0 {
                write!(out, " ({skipped} without UDP or TCP)")?;
            }
        }
        writeln!(out)?;
        self.write_views(out)?;
        for stream in &self.streams {
            write_stream(out, stream)?;
        }
        self.write_sip(out)
    }

    fn write_views(&self, out: &mut String) -> std::fmt::Result {
        for view in self.views.iter().filter(|view| view.call_id.is_some()) {
            let ssrc = view.ssrc.as_deref().unwrap_or("none");
            write!(out, "\nview with SSRC {ssrc}")?;
            if let Some(transport) = view.transport {
                write!(out, " by {}", transport_name(transport))?;
            }
            if let Some(told) = &view.offered {
                write!(out, ", to {told}")?;
            }
            if let Some(answered) = &view.answered {
                write!(out, ", answered {answered}")?;
            }
            if let Some(ms) = view.answer_ms {
                write!(out, " after {ms} ms")?;
            }
            writeln!(out, "\n  {}", view.finding.en)?;
        }
        Ok(())
    }

    fn write_sip(&self, out: &mut String) -> std::fmt::Result {
        let Some(first) = self.sip.first() else {
            return Ok(());
        };
        writeln!(out, "\nSIP, seconds from the first message")?;
        for sip in &self.sip {
            let s = (sip.unix_ms - first.unix_ms) as f64 / 1_000.0;
            writeln!(
                out,
                "  {s:9.3}  {:>21} > {:<21} {}  {}",
                sip.from, sip.to, sip.carrier, sip.start
            )?;
        }
        if self.sip_left_out > 0 {
            writeln!(out, "  and {} more", self.sip_left_out)?;
        }
        Ok(())
    }
}

fn write_stream(out: &mut String, s: &StreamFacts) -> std::fmt::Result {
    write!(out, "\nstream of SSRC {} by {}", s.ssrc, s.carrier)?;
    if let (Some(from), Some(to)) = (&s.from, &s.to) {
        write!(out, ", {from} > {to}")?;
    }
    writeln!(out, ", {:.1} s", s.duration_ms as f64 / 1_000.0)?;
    writeln!(
        out,
        "  packets   {} received, {} lost, {} reordered, {} duplicate, {} late",
        s.packets, s.lost, s.reordered, s.duplicate, s.late
    )?;
    writeln!(
        out,
        "  frames    {} pictures, {} of them key frames, {} of sound, {} damaged, {} left out",
        s.frames, s.key_frames, s.sound_frames, s.damaged_frames, s.dropped_frames
    )?;
    let ms = |at: Option<i64>| at.map_or("never".into(), |ms| format!("{ms} ms"));
    writeln!(
        out,
        "  steps     program stream {}, tracks {}, key frame {}",
        ms(s.steps.ps),
        ms(s.steps.tracks),
        ms(s.steps.key_frame)
    )?;
    if !s.ps_errors.is_empty() {
        let errors = s.ps_errors.iter().map(|(kind, n)| format!("{kind} {n}"));
        writeln!(out, "  PS errors {}", errors.collect::<Vec<_>>().join(", "))?;
    }
    if s.time_jumps + s.restarts > 0 {
        let (jumps, restarts) = (s.time_jumps, s.restarts);
        writeln!(
            out,
            "  time      {jumps} jumps, {restarts} restarts of the sender"
        )?;
    }
    for track in &s.tracks {
        write!(out, "  {:<9} {}", track.kind, track.codec)?;
        if let (Some(width), Some(height)) = (track.width, track.height) {
            write!(out, " {width} x {height}")?;
        }
        if let Some(fps) = track.fps {
            write!(out, ", {fps} frames/s")?;
        }
        if let (Some(profile), Some(level)) = (&track.profile, &track.level) {
            write!(out, ", {profile}, level {level}")?;
        }
        if let (Some(rate), Some(channels)) = (track.sample_rate, track.channels) {
            write!(out, " {rate} Hz, {channels} channels")?;
        }
        writeln!(out)?;
        for (name, set) in [
            ("VPS", &track.vps),
            ("SPS", &track.sps),
            ("PPS", &track.pps),
        ] {
            if let Some(hex) = set {
                writeln!(out, "            {name} {hex}")?;
            }
        }
    }
    Ok(())
}
