//! Commands, replies and events of the control facade, and the named stages at which a view can fail.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::alarms::AlarmMark;
use crate::gb28181::gb35114::Identity;
use crate::gb28181::manscdp::fields::BadField;
use crate::gb28181::mansrtsp::Scale;
use crate::gb28181::notice::{Alarm, Position, PtzPosition, SnapShots, UpgradeResult, VideoUpload};
use crate::gb28181::subscribe::{Subject, SubscriptionState, Wanted};
use crate::gb28181::{
    Access, Answer, Ask, AskFailure, Condition, DeviceAuth, DeviceInfo, Footage, MediaTransport,
};
use crate::id::{ChannelId, DeviceId, GbId, SessionId, Ssrc, StreamId, StreamKey, StreamName};
use crate::media::frame::Track;
use crate::media::ingest::RtpMaps;
use crate::media::ps::demux;
use crate::sip::log::Entry;

use super::policy::{DevicePolicy, LossChoice};
use super::trace::Attempt;

/// Something asked of the node. Every command gets exactly one `Result<Reply, Error>`.
#[derive(Clone, Debug)]
pub enum Command {
    /// Opens (or joins) the stream of a target and a session on it. Answers [`Reply::Opened`] once the stream has its
    /// tracks and a key frame; the caller then brings its viewer to the stream's shard within
    /// [`crate::limits::SESSION_CLAIM_S_MAX`].
    Open {
        target: Target,
        kind: ViewKind,
        owner: Owner,
    },
    /// Ends a session. Idempotent: a session that is gone answers [`Reply::Done`].
    Close {
        session: SessionId,
    },
    /// How a playback or download stands, or ended. `play` is the session that opened it, or one that watches it.
    Playback {
        play: SessionId,
    },
    /// Orders a playback; answers [`Reply::Playback`] when the device has obeyed.
    Play {
        play: SessionId,
        order: PlayOrder,
    },
    /// Ends a playback or download for everybody. Idempotent.
    ClosePlayback {
        play: SessionId,
    },
    /// Ends every session of a user's token (logout, kick-out).
    CloseOwner {
        token_id: u64,
    },
    /// A device is about to be asked for its alarms; the caller has these, by their ids.
    KnownAlarms {
        device: DeviceId,
        known: Vec<(AlarmMark, i64)>,
    },
    Sessions,
    Session {
        session: SessionId,
    },
    Devices,
    Device {
        device: DeviceId,
    },
    /// Asks the device for its directory again.
    RefreshCatalog {
        device: DeviceId,
    },
    /// As [`Command::Devices`], of these alone and in this order; those that are not known are left out.
    DevicesOf {
        devices: Vec<DeviceId>,
    },
    /// Whether devices are there and when they spoke last; those that are not known are left out.
    Presence {
        devices: Vec<DeviceId>,
    },
    /// Makes a device known before it registers, and how it logs in.
    Adopt {
        device: DeviceId,
        auth: DeviceAuth,
    },
    /// Ends the registration of a device and its streams; it may register anew.
    Kick {
        device: DeviceId,
    },
    /// As [`Command::Kick`], and the device is known no longer. What the store has of it is the caller's to remove.
    Forget {
        device: DeviceId,
    },
    /// Replaces who may register.
    SetAccess(Access),
    /// Wants to be told of something by a device, over its absences. To be kept by the caller over restarts.
    Subscribe {
        device: DeviceId,
        wanted: Wanted,
    },
    Unsubscribe {
        device: DeviceId,
        subject: Subject,
    },
    /// How the subscriptions at a device are, as far as is known.
    Subscriptions {
        device: DeviceId,
    },
    /// Orders or asks a device, or one of its channels. Answers [`Reply::Answer`] when the device has done or answered.
    Ask {
        device: DeviceId,
        /// `None`: the device itself.
        channel: Option<u32>,
        ask: Box<Ask>,
    },
    /// Who this node is to GB 35114 devices.
    SetIdentity(Option<Box<Identity>>),
    SetDeviceAuth {
        device: DeviceId,
        auth: DeviceAuth,
    },
    DevicePolicy {
        device: DeviceId,
    },
    /// Replaces the policies of a known device, from its next view on.
    SetDevicePolicy {
        device: DeviceId,
        policy: DevicePolicy,
    },
    /// The last SIP messages of a device, whether or not it was let in.
    Messages {
        device: DeviceId,
    },
    /// The last sessions that are over, newest first.
    ClosedSessions,
    /// A source without SIP.
    OpenIngest {
        name: StreamName,
        ssrc: Option<Ssrc>,
        transport: MediaTransport,
        remote: Option<SocketAddr>,
        /// What the source says of its payload types; without, their content decides.
        payloads: RtpMaps,
        /// What becomes of pictures with loss.
        loss: LossChoice,
    },
    CloseIngest {
        name: StreamName,
    },
    MediaServices,
    ResetStatistics,
    Shutdown,
}

/// What a viewer wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `index` counts a device's channels from 0, in the order of [`DeviceView::channels`].
    Channel {
        device: DeviceId,
        index: u32,
    },
    Named(StreamName),
    /// What a channel recorded: each time a stream of its own. Not for [`Footage::Live`].
    Record {
        device: DeviceId,
        index: u32,
        footage: Footage,
    },
    /// A playback that runs, by the session that opened it.
    Playback(SessionId),
}

/// What a playback is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayOrder {
    Play {
        /// `None`: as before.
        scale: Option<Scale>,
        /// Milliseconds into the record, of which whole seconds count; beyond the end: its last second.
        from_ms: Option<u64>,
        /// What is paused stays so.
        keep_paused: bool,
    },
    Pause,
}

/// How a playback or download stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayView {
    pub footage: Footage,
    pub scale: Scale,
    pub paused: bool,
    /// Into the record, from the times of its pictures.
    pub position_ms: u64,
    pub duration_ms: u64,
    /// Of a download, as the device said.
    pub file_bytes: Option<u64>,
    /// It is over.
    pub end: Option<PlayEnd>,
}

/// Why a playback or download is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlayEnd {
    /// The device said that it has sent all (MediaStatus 121), or hung up where the record ends.
    EndOfFile,
    /// The device sent BYE before the end.
    StoppedEarly {
        at_ms: u64,
        of_ms: u64,
    },
    /// The dialog stood, and no packet came any more.
    NoMedia {
        at_ms: u64,
        of_ms: u64,
    },
    /// The device went offline, or lost the dialog.
    DeviceLost {
        at_ms: u64,
        of_ms: u64,
    },
    /// It never began.
    Failed,
    /// By who watched it.
    Closed,
    Shutdown,
}

impl std::fmt::Display for PlayEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = |ms: &u64| *ms as f64 / 1_000.0;
        match self {
            PlayEnd::EndOfFile => f.write_str("end of file"),
            PlayEnd::StoppedEarly { at_ms, of_ms } => write!(
                f,
                "stopped early: the device sent BYE at {:.1} s of {:.1} s",
                s(at_ms),
                s(of_ms)
            ),
            PlayEnd::NoMedia { at_ms, of_ms } => write!(
                f,
                "no more media: nothing came for {} s at {:.1} s of {:.1} s",
                crate::limits::INGEST_SILENCE_S_MAX,
                s(at_ms),
                s(of_ms)
            ),
            PlayEnd::DeviceLost { at_ms, of_ms } => write!(
                f,
                "device lost: it went offline or lost the dialog at {:.1} s of {:.1} s",
                s(at_ms),
                s(of_ms)
            ),
            PlayEnd::Failed => f.write_str("failed: it never began"),
            PlayEnd::Closed => f.write_str("closed"),
            PlayEnd::Shutdown => f.write_str("the node was shut down"),
        }
    }
}

/// By which protocol a viewer watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ViewKind {
    WebRtc,
    HttpFlv,
    WsFlv,
    HttpFmp4,
    WsFmp4,
    /// Opened for others to watch: no viewer of its own comes.
    Control,
    /// Written to a file of this node.
    File,
}

impl ViewKind {
    pub fn name(self) -> &'static str {
        match self {
            ViewKind::WebRtc => "webrtc",
            ViewKind::HttpFlv => "http-flv",
            ViewKind::WsFlv => "ws-flv",
            ViewKind::HttpFmp4 => "http-fmp4",
            ViewKind::WsFmp4 => "ws-fmp4",
            ViewKind::Control => "control",
            ViewKind::File => "file",
        }
    }
}

/// On whose behalf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub user: String,
    /// Identifies the login; 0 = no login (media opened by config).
    pub token_id: u64,
    pub peer: Option<SocketAddr>,
}

/// The answer to a command.
#[derive(Clone, Debug)]
pub enum Reply {
    Done,
    Opened(Opened),
    Sessions(Vec<SessionView>),
    Session(Box<SessionView>),
    Devices(Vec<DeviceView>),
    Device(Box<DeviceView>),
    Presence(Vec<Presence>),
    DevicePolicy(Box<DevicePolicy>),
    Subscriptions(Vec<(Subject, SubscriptionState)>),
    Answer(Box<Answer>),
    Playback(Box<PlayView>),
    /// Oldest first.
    Messages(Vec<Entry>),
    Ingest {
        port: u16,
        ssrc: Option<Ssrc>,
    },
    MediaServices(Vec<MediaServiceView>),
}

/// A stream that is there and a session on it.
#[derive(Clone, Debug)]
pub struct Opened {
    pub session: SessionId,
    pub stream: StreamId,
    pub tracks: Vec<Track>,
}

/// Whether a device is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    pub device: DeviceId,
    pub online: bool,
    /// Seconds since the Unix epoch.
    pub last_seen_unix_s: i64,
}

/// A device with its channels, as lists show it.
#[derive(Clone, Debug, Default)]
pub struct DeviceView {
    pub device: Option<DeviceId>,
    pub online: bool,
    pub info: DeviceInfo,
    pub peer: Option<SocketAddr>,
    pub over_tcp: bool,
    /// Seconds since the Unix epoch.
    pub last_seen_unix_s: i64,
    /// Cameras and alarm inputs in the order first seen: the place in this list is the `index` of the API.
    pub channels: Vec<ChannelView>,
    /// The last Catalog did not come whole.
    pub partial: bool,
}

#[derive(Clone, Debug)]
pub struct ChannelView {
    pub channel: ChannelId,
    pub name: String,
    pub online: bool,
    pub ptz: bool,
    pub longitude: Option<f64>,
    pub latitude: Option<f64>,
    pub parent_id: String,
    /// Why it is offline, if the device said so; a deleted one is in the list for its place alone.
    pub condition: Condition,
}

impl DeviceView {
    /// The channel of an index; `None`: there is none, or not any more.
    pub fn channel(&self, index: usize) -> Option<&ChannelView> {
        let channel = self.channels.get(index)?;
        (channel.condition != Condition::Deleted).then_some(channel)
    }
}

/// One session as lists and details show it.
#[derive(Clone, Debug)]
pub struct SessionView {
    pub session: SessionId,
    pub key: StreamKey,
    /// Place of the channel in its device; 0 for named streams.
    pub index: u32,
    pub kind: ViewKind,
    pub owner: Owner,
    pub stage: Stage,
    pub created_unix_s: i64,
    /// Milliseconds from the command to the first key frame of the stream, once it is known.
    pub first_frame_ms: Option<u32>,
    pub tracks: Vec<Track>,
    pub ingest: IngestStats,
    /// Bytes sent to this viewer.
    pub sent_bytes: u64,
    /// Times this viewer was moved forward to a key frame because it was too slow.
    pub skipped: u32,
    /// Times that was because its path could not take the stream, and it got no picture for a while. WebRTC alone: what comes
    /// over TCP shows in `skipped`.
    pub congested: u32,
    /// It gets no picture now for that reason.
    pub is_congested: bool,
    /// Why no picture came, when that is how it ended; `stage` is then how far it had come.
    pub failure: Option<ViewFailure>,
    /// Why it is over: a short stable name.
    pub ended: Option<&'static str>,
    pub closed_unix_s: Option<i64>,
    /// How the stream was opened; the last one is the one that runs, or failed last.
    pub attempts: Vec<Attempt>,
    /// When it was asked for.
    pub opened: Instant,
    /// When the first bytes of media left for this viewer. Reported within a second.
    pub first_byte: Option<Instant>,
    /// Of a record.
    pub playing: Option<PlayView>,
    /// Of the device's SIP.
    pub sip_peer: Option<SocketAddr>,
}

/// How far an opening has come (and where a failed one stopped).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    Inviting,
    Answered,
    Receiving,
    Parsed,
    Live,
    Closed,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Inviting => "inviting",
            Stage::Answered => "answered",
            Stage::Receiving => "receiving",
            Stage::Parsed => "parsed",
            Stage::Live => "live",
            Stage::Closed => "closed",
        }
    }
}

/// Counters of a stream's ingest since it was opened or reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestStats {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub reordered: u64,
    pub duplicate: u64,
    /// Packets of an SSRC that is not this stream's.
    pub foreign: u64,
    pub ps_errors: u64,
    pub frames: u64,
    pub key_frames: u64,
    /// Over the last second or so.
    pub bits_per_s: u64,
    /// Frames per 1,000 seconds over the last second or so.
    pub fps_milli: u32,
    /// A program stream map was seen.
    pub psm_seen: bool,
    /// How far into a record that is played back, in milliseconds.
    pub position_ms: u64,
    pub path: PathStats,
    pub detail: IngestDetail,
}

/// What only those who look for a fault ask of a stream's ingest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestDetail {
    /// Neither RTP nor RTCP.
    pub invalid: u64,
    /// Pictures left out: before the first parameter sets, or too long.
    pub dropped_frames: u64,
    /// In the order of [`demux::Error::ALL`].
    pub ps_errors_by_kind: [u64; demux::Error::ALL.len()],
    /// Datagrams that the kernel dropped at the port of this stream since it was opened; at a port that streams share,
    /// whoever sent them.
    pub kernel_dropped: u64,
    /// Where its packets come from.
    pub source: Option<SocketAddr>,
}

/// What the way from the device did to a stream, beyond what is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathStats {
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Frames with packets missing in or just before them.
    pub damaged_frames: u64,
    /// Pictures held back because they, or one that they refer to, miss something.
    pub held_frames: u64,
    /// Key frames asked for.
    pub key_frames_asked: u64,
    /// Times that the sender started its numbers anew.
    pub restarts: u64,
    /// Times that the time line was anchored anew.
    pub time_jumps: u64,
    /// Times that the packets began to come from another address.
    pub source_moves: u64,
    /// Packets of the right SSRC from an address that is not the sender's.
    pub source_refused: u64,
    /// Receiver reports sent to the device.
    pub reports_sent: u64,
    /// RTCP packets that came from the device.
    pub rtcp_received: u64,
    /// How much faster the device's clock runs than ours, in parts per million, once it is known.
    pub drift_ppm: Option<i64>,
}

/// Why a command failed. The message of [`std::fmt::Display`] says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    NotFound {
        what: &'static str,
    },
    Exists {
        what: &'static str,
    },
    BadParameter {
        what: &'static str,
    },
    /// A value outside of what the standard allows.
    BadField(BadField),
    DeviceOffline,
    /// An order or question that ended without an answer.
    Ask(AskFailure),
    /// An order to a playback that is over.
    PlaybackOver {
        end: PlayEnd,
    },
    /// A view that did not come about, with the stage that failed, and how long its caller waited, once that is known.
    View(ViewFailure, Option<Duration>),
    /// At a bound of ours, named.
    Busy {
        limit: &'static str,
    },
    ShuttingDown,
}

/// The named failures of a live view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewFailure {
    /// The device did not answer our INVITE.
    NoAnswer,
    Rejected {
        status: u16,
        reason: String,
    },
    BadAnswer {
        what: &'static str,
    },
    /// TCP active: the device did not take our connection.
    NoConnection,
    NoRtp,
    /// RTP came, but of another SSRC than agreed.
    ForeignSsrc {
        seen: Ssrc,
    },
    /// RTP came, but no program stream could be found in it.
    NoProgramStream,
    /// A program stream came, but nothing in it says what it carries.
    NoPsm,
    NoKeyFrame,
    UnsupportedCodec {
        stream_type: u8,
    },
    /// The device ended the dialog while we waited.
    EndedByDevice,
    DeviceLost,
}

impl ViewFailure {
    /// Whether something that was waited for did not come.
    pub fn is_silence(&self) -> bool {
        match self {
            ViewFailure::NoAnswer
            | ViewFailure::NoConnection
            | ViewFailure::NoRtp
            | ViewFailure::NoKeyFrame => true,
            ViewFailure::Rejected { .. }
            | ViewFailure::BadAnswer { .. }
            | ViewFailure::ForeignSsrc { .. }
            | ViewFailure::NoProgramStream
            | ViewFailure::NoPsm
            | ViewFailure::UnsupportedCodec { .. }
            | ViewFailure::EndedByDevice
            | ViewFailure::DeviceLost => false,
        }
    }

    /// Short stable name, for counters and API.
    pub fn stage(&self) -> &'static str {
        match self {
            ViewFailure::NoAnswer => "no answer",
            ViewFailure::Rejected { .. } => "rejected",
            ViewFailure::BadAnswer { .. } => "bad answer",
            ViewFailure::NoConnection => "no connection",
            ViewFailure::NoRtp => "no RTP",
            ViewFailure::ForeignSsrc { .. } => "foreign SSRC",
            ViewFailure::NoProgramStream => "no PS",
            ViewFailure::NoPsm => "no PSM",
            ViewFailure::NoKeyFrame => "no key frame",
            ViewFailure::UnsupportedCodec { .. } => "unsupported codec",
            ViewFailure::EndedByDevice => "ended by device",
            ViewFailure::DeviceLost => "device lost",
        }
    }
}

impl std::fmt::Display for ViewFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ViewFailure::NoAnswer => f.write_str("no answer: the device did not answer INVITE; is it reachable, and is its SIP port open?"),
            ViewFailure::Rejected { status, reason } => write!(f, "rejected {status} {reason}: the device refused INVITE; check the channel id and its number of streams"),
            ViewFailure::BadAnswer { what } => write!(f, "bad answer: the SDP of the device's 200 OK cannot be used ({what})"),
            ViewFailure::NoConnection => f.write_str("no connection: the device did not take our TCP connection; try UDP or TCP passive"),
            ViewFailure::NoRtp => f.write_str("no RTP: the device agreed to send but nothing came; check the media address in our SDP and the firewall, or try TCP"),
            ViewFailure::ForeignSsrc { seen } => write!(f, "foreign SSRC: packets came with SSRC {seen}, which was not agreed"),
            ViewFailure::NoProgramStream => f.write_str("no PS: packets came but hold neither a program nor a transport stream, nor H.264 or H.265"),
            ViewFailure::NoPsm => f.write_str("no PSM: the program stream does not say what it carries"),
            ViewFailure::NoKeyFrame => f.write_str("no key frame: pictures come but none that a decoder can start at; shorten the device's key frame interval"),
            ViewFailure::UnsupportedCodec { stream_type } => write!(f, "unsupported codec: {} (stream type 0x{stream_type:02x}); set the device to H.264 or H.265, and its sound to G.711 or AAC", crate::media::ps::name(*stream_type).unwrap_or("unknown")),
            ViewFailure::EndedByDevice => f.write_str("ended by device: it sent BYE before a picture came"),
            ViewFailure::DeviceLost => f.write_str("device lost: it went offline while the view was opened"),
        }
    }
}

impl ViewFailure {
    /// What [`std::fmt::Display`] says, in Chinese.
    pub fn in_chinese(&self) -> String {
        match self {
            ViewFailure::NoAnswer => "设备无应答：未应答 INVITE；请检查网络是否可达、SIP 端口是否开放".into(),
            ViewFailure::Rejected { status, reason } => format!("设备拒绝了 INVITE（{status} {reason}）；请检查通道编码及其码流路数"),
            ViewFailure::BadAnswer { what } => format!("应答无法使用：设备 200 OK 中的 SDP 有误（{what}）"),
            ViewFailure::NoConnection => "连接失败：设备没有接受 TCP 连接；请改用 UDP 或 TCP 被动方式".into(),
            ViewFailure::NoRtp => "未收到媒体流：设备同意发送但没有数据到达；请检查 SDP 中的媒体地址和防火墙，或改用 TCP".into(),
            ViewFailure::ForeignSsrc { seen } => format!("SSRC 不符：收到的包 SSRC 为 {seen}，与约定不同"),
            ViewFailure::NoProgramStream => "不是 PS 流：收到数据包，但其中没有 PS 流".into(),
            ViewFailure::NoPsm => "缺少 PSM：PS 流没有说明所载内容".into(),
            ViewFailure::NoKeyFrame => "没有关键帧：有画面数据，但没有可供解码起始的关键帧；请缩短设备的关键帧间隔".into(),
            ViewFailure::UnsupportedCodec { stream_type } => format!("不支持的编码：流类型 0x{stream_type:02x}；请将设备编码改为 H.264 或 H.265"),
            ViewFailure::EndedByDevice => "设备结束了会话：画面到来之前设备发送了 BYE".into(),
            ViewFailure::DeviceLost => "设备掉线：打开画面时设备离线".into(),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::NotFound { what } => write!(f, "{what} not found"),
            Error::Exists { what } => write!(f, "{what} exists already"),
            Error::BadParameter { what } => write!(f, "bad parameter: {what}"),
            Error::BadField(bad) => write!(f, "bad parameter: {bad}"),
            Error::Ask(failure) => failure.fmt(f),
            Error::DeviceOffline => f.write_str("the device is offline"),
            Error::PlaybackOver { end } => write!(f, "the playback is over: {end}"),
            Error::View(failure, waited) => {
                failure.fmt(f)?;
                match waited.filter(|_| failure.is_silence()) {
                    Some(waited) => write!(f, " (waited {:.1} s)", waited.as_secs_f64()),
                    None => Ok(()),
                }
            }
            Error::Busy { limit } => write!(f, "busy: at the limit {limit}"),
            Error::ShuttingDown => f.write_str("the node is shutting down"),
        }
    }
}

impl std::error::Error for Error {}

/// One media thread with its load.
#[derive(Clone, Copy, Debug, Default)]
pub struct MediaServiceView {
    pub shard: u8,
    pub streams: u32,
    pub viewers: u32,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    /// Bytes per second over the last second or so.
    pub received_bytes_per_s: u64,
    pub sent_bytes_per_s: u64,
    pub rtp_port: u16,
}

/// What happens, for those who subscribe.
#[derive(Clone, Debug)]
pub enum Event {
    DeviceOnline {
        device: DeviceView,
    },
    DeviceOffline {
        device: DeviceView,
    },
    /// Channels or info changed.
    DeviceChanged {
        device: DeviceId,
    },
    /// A device told that parts of its directory changed. Never empty.
    DirectoryChanged {
        device: DeviceId,
        changes: Vec<DirectoryChange>,
        /// The device as it is now; `None` = it has more than [`EVENT_CHANNELS_MAX`](crate::limits::EVENT_CHANNELS_MAX) channels.
        view: Option<Box<DeviceView>>,
    },
    /// Somebody asked for a stream.
    SessionOpened {
        session: SessionId,
    },
    SessionClosed {
        session: SessionId,
    },
    /// A device raised an alarm.
    Alarm(Box<AlarmView>),
    /// A device has uploaded the pictures that it was told to take.
    SnapShots {
        device: DeviceId,
        shots: SnapShots,
    },
    /// A device told how the installation of new software ended.
    Upgraded {
        device: DeviceId,
        result: Box<UpgradeResult>,
    },
    /// A camera told where it looks.
    PtzPosition {
        device: DeviceId,
        /// Place of the channel; `None`: the device itself, or something that is no channel.
        index: Option<u32>,
        position: PtzPosition,
    },
    /// A device has uploaded what it recorded.
    VideoUploaded {
        device: DeviceId,
        /// Place of the channel, as in [`Event::PtzPosition`].
        index: Option<u32>,
        upload: Box<VideoUpload>,
    },
    /// A device told where it is, or where its channels are. Never empty.
    Positions {
        device: DeviceId,
        positions: Vec<PlacedPosition>,
    },
}

/// One item of a directory as it is after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryChange {
    /// Its code.
    pub id: String,
    /// Empty of a node that is no more.
    pub name: String,
    /// Place of the channel; `None`: it is a node.
    pub index: Option<u32>,
    /// Of a channel, as the device says.
    pub online: bool,
    /// Of a channel: why it is offline, if the device said so.
    pub condition: Condition,
    /// It is no more.
    pub gone: bool,
}

/// A position with whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedPosition {
    /// Code of who is there: the device, a channel of it, or something of its directory that is no channel.
    pub about: GbId,
    /// Place of the channel; `None`: it is none.
    pub index: Option<u32>,
    pub position: Position,
}

/// An alarm with what is known of who raised it.
#[derive(Clone, Debug)]
pub struct AlarmView {
    /// Names the alarm; grows with time, also over restarts, and fits a number of JavaScript.
    pub id: i64,
    pub device: DeviceId,
    /// Name of the device.
    pub name: String,
    /// Place of the channel that it concerns; `None`: the device itself, or something that is no channel.
    pub index: Option<u32>,
    /// When it came here; its own time is local to the device.
    pub unix_s: i64,
    /// The device told it again because it was asked for its alarms; by the id that it had.
    pub again: bool,
    pub alarm: Alarm,
}
