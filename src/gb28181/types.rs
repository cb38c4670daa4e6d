//! What goes in and out of the [platform](crate::gb28181) core as plain values.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::answer::{Answer, AskFailure};
use super::gb35114::SharedKey;
use super::mansrtsp;
use super::notice::Notice;
use super::question::Ask;
use super::quirk::Quirks;
use super::subscribe::{Subject, SubscriptionState, Wanted};
use crate::id::{ChannelId, DeviceId, GbId, Ssrc};

/// Who connects and how media comes. The roles are ours: `TcpPassive` means that we listen and the device connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MediaTransport {
    #[default]
    Udp,
    TcpPassive,
    TcpActive,
}

/// Names one INVITE of ours. Chosen by the caller, never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InviteId(pub u64);

/// Names one question or order of ours. Chosen by the caller, never used twice in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What the platform is asked to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// MESSAGE Query Catalog; ends with [`Event::Catalog`].
    QueryCatalog {
        device: DeviceId,
    },
    /// MESSAGE Query DeviceInfo; ends with [`Event::DeviceInfo`] if the device answers.
    QueryDeviceInfo {
        device: DeviceId,
    },
    /// MESSAGE Query DeviceStatus; ends with [`Event::DeviceStatus`] if the device answers.
    QueryDeviceStatus {
        device: DeviceId,
    },
    /// INVITE s=Play, Playback or Download; leads to [`Event::InviteAnswered`] or [`Event::InviteFailed`], and in either case ends with
    /// [`Event::InviteEnded`].
    Invite(Invite),
    /// BYE, or CANCEL while it is not answered. Always followed by [`Event::InviteEnded`].
    EndInvite {
        id: InviteId,
    },
    /// INFO to a device that plays back or uploads; ends with exactly one [`Event::AskEnded`].
    Control {
        ask: AskId,
        invite: InviteId,
        order: mansrtsp::Order,
    },
    /// MESSAGE Control IFameCmd: the channel should send a key frame now. No event follows; the picture shows it.
    RequestKeyFrame {
        device: DeviceId,
        channel: ChannelId,
    },
    /// An order, a setting or a question to a device or one of its channels; ends with exactly one
    /// [`Event::AskEnded`].
    Ask {
        id: AskId,
        device: DeviceId,
        target: GbId,
        ask: Box<Ask>,
    },
    /// Wants to be told of something by a device that is known, until [`Command::Unsubscribe`].
    Subscribe {
        device: DeviceId,
        wanted: Wanted,
    },
    Unsubscribe {
        device: DeviceId,
        subject: Subject,
    },
    /// What is stored about a device, before it speaks: given at the start, so that it is known and can be revived.
    Restore(StoredDevice),
    /// Policies that count for a known device whatever it says of itself; those that are `Auto` are left to that.
    ForceQuirks {
        device: DeviceId,
        quirks: Quirks,
    },
    /// BYE to a dialog of an earlier run, as [`Persist::DialogBegun`] told it.
    EndLeftOver {
        device: DeviceId,
        dialog: String,
    },
    /// Ends the registration of a device: it counts as offline until it registers anew.
    Kick {
        device: DeviceId,
    },
    /// As [`Command::Kick`], and what was wanted of the device is forgotten: its way to log in, its subscriptions.
    Forget {
        device: DeviceId,
    },
    /// Replaces who may register at all. Whoever may not any more is kicked.
    SetAccess(Access),
    /// Changes how a device logs in. `None` takes the default password.
    SetAuth {
        device: DeviceId,
        auth: DeviceAuth,
    },
    /// A key of GB 35114 that an earlier run agreed on, after [`Command::Restore`].
    RestoreKey {
        device: DeviceId,
        key: SharedKey,
    },
    /// Who we are to GB 35114 devices. `None`: they cannot come in.
    SetIdentity(Option<Box<super::gb35114::Identity>>),
    /// BYE to everybody. [`Event::Drained`] follows when all are answered or given up.
    Shutdown,
}

/// How a device proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceAuth {
    /// The default password of the config.
    #[default]
    Default,
    Password(String),
    /// This device is let in without.
    NotNeeded,
    /// GB 35114 with this SM2 certificate, in DER; what it sends must be signed.
    Certificate {
        der: Vec<u8>,
        revoked: bool,
    },
}

/// A stretch of what was recorded, in seconds since the Unix epoch. The end lies after the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub begin_unix_s: u32,
    pub end_unix_s: u32,
}

impl Span {
    /// `None`: it ends before it begins.
    pub fn new(begin_unix_s: u32, end_unix_s: u32) -> Option<Span> {
        (begin_unix_s < end_unix_s).then_some(Span {
            begin_unix_s,
            end_unix_s,
        })
    }

    pub fn seconds(self) -> u32 {
        self.end_unix_s - self.begin_unix_s
    }
}

/// What a channel is asked to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Footage {
    #[default]
    Live,
    /// What it recorded, at the pace of its [orders](mansrtsp::Order).
    Playback(Span),
    /// The same, `speed` times as fast as it was recorded, to be kept.
    Download { span: Span, speed: u8 },
}

impl Footage {
    /// `s=` of the SDP.
    pub fn name(self) -> &'static str {
        match self {
            Footage::Live => "Play",
            Footage::Playback(_) => "Playback",
            Footage::Download { .. } => "Download",
        }
    }

    /// `None`: live.
    pub fn span(self) -> Option<Span> {
        match self {
            Footage::Live => None,
            Footage::Playback(span) | Footage::Download { span, .. } => Some(span),
        }
    }
}

/// Which devices may register, whatever password they know: the black and white lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    #[default]
    All,
    AllBut(BTreeSet<DeviceId>),
    Only(BTreeSet<DeviceId>),
}

impl Access {
    pub fn admits(&self, device: DeviceId) -> bool {
        match self {
            Access::All => true,
            Access::AllBut(barred) => !barred.contains(&device),
            Access::Only(admitted) => admitted.contains(&device),
        }
    }
}

/// A view to be opened.
#[derive(Clone, Debug)]
pub struct Invite {
    pub id: InviteId,
    pub device: DeviceId,
    pub channel: ChannelId,
    pub footage: Footage,
    pub ssrc: Ssrc,
    pub transport: MediaTransport,
    /// Port of the shard that waits for the media (for `TcpActive` a port we do not listen on: 9, as RFC 4145 says).
    pub media_port: u16,
    /// Address in the SDP; `None` takes the address by which this device reaches us.
    pub media_ip: Option<IpAddr>,
}

/// What the platform reports.
#[derive(Clone, Debug)]
pub enum Event {
    /// Registered, or revived by a keepalive after our restart. `first` = was not online before.
    Online {
        device: DeviceId,
        peer: SocketAddr,
        over_tcp: bool,
        first: bool,
    },
    Offline {
        device: DeviceId,
        why: OfflineReason,
    },
    DeviceInfo {
        device: DeviceId,
        info: DeviceInfo,
    },
    DeviceStatus {
        device: DeviceId,
        online: bool,
        recording: bool,
    },
    /// Items so far of `total`; for people who wait.
    CatalogProgress {
        device: DeviceId,
        received: u32,
        total: u32,
    },
    /// The whole directory of a device. `partial` = some of `SumNum` items never came, at worst all of them: to be merged
    /// into what is known, never to take its place.
    Catalog {
        device: DeviceId,
        channels: Vec<CatalogItem>,
        partial: bool,
    },
    /// A question or order is over.
    AskEnded {
        id: AskId,
        outcome: Box<Result<Answer, AskFailure>>,
    },
    /// A device has sent all of a record (MediaStatus 121). `invite` is known if it said so inside of the dialog; else only
    /// `about`, the channel or device that it names, says which view is meant.
    FileEnded {
        device: DeviceId,
        invite: Option<InviteId>,
        about: Option<GbId>,
    },
    /// A device told something. `about`: the channel or device that it names, which need not be itself.
    Notified {
        device: DeviceId,
        about: Option<GbId>,
        notice: Box<Notice>,
    },
    Subscription {
        device: DeviceId,
        subject: Subject,
        state: SubscriptionState,
    },
    InviteProgress {
        id: InviteId,
        status: u16,
    },
    InviteAnswered {
        id: InviteId,
        answer: MediaAnswer,
    },
    InviteFailed {
        id: InviteId,
        failure: InviteFailure,
    },
    /// The dialog is over, whoever ended it.
    InviteEnded {
        id: InviteId,
        by: EndedBy,
    },
    /// To be written to the store.
    Persist(Persist),
    Drained,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfflineReason {
    Unregistered,
    /// By an operator.
    Kicked,
    /// The certificate by which it came in counts no longer (GB 35114).
    Revoked,
    RegistrationExpired,
    KeepaliveMissed,
}

/// DeviceInfo response (GB/T 28181-2016, A.2.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceInfo {
    pub name: String,
    pub manufacturer: String,
    pub model: String,
    pub firmware: String,
    pub channels: Option<u32>,
}

/// One item of a Catalog response (GB/T 28181-2016, A.2.1).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatalogItem {
    /// As sent: a channel, a civil code, a virtual organisation or a business group.
    pub id: String,
    pub name: String,
    pub manufacturer: String,
    pub model: String,
    pub owner: String,
    pub civil_code: String,
    pub address: String,
    pub parent_id: String,
    /// Of a virtual organisation or what hangs in one: its business group.
    pub business_group_id: String,
    pub parental: bool,
    pub secrecy: bool,
    pub online: bool,
    pub longitude: Option<f64>,
    pub latitude: Option<f64>,
    /// 0 unknown, 1 dome with PTZ, 2 half dome, 3 fixed gun, 4 gun with PTZ.
    pub ptz_type: u8,
    /// What a notification said of it since it was described; in no response.
    pub condition: Condition,
}

/// What became of an item of a directory beyond being there or not (GB/T 28181-2016, 9.11.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Condition {
    #[default]
    Described,
    /// VLOST: it sends no picture.
    VideoLost,
    /// DEFECT.
    Defect,
    /// DEL: it is no more. Its place is kept for it.
    Deleted,
}

/// What the device answered to our offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaAnswer {
    /// From `y=`, if it is there and readable. It may differ from the one we asked for.
    pub ssrc: Option<Ssrc>,
    /// From `c=` and `m=`: where the device sends from (UDP) or listens (TCP active).
    pub remote: Option<SocketAddr>,
    pub transport: MediaTransport,
    /// Payload types of the video line, then of an audio line, at most [`crate::limits::ANSWER_PAYLOADS_MAX`]. Devices write what
    /// they like there: at least one of the video line is ours, has a name, or there is none.
    pub payloads: Vec<AnsweredPayload>,
    /// `a=filesize` of a download, in bytes; many devices write 0, which is left out.
    pub file_bytes: Option<u64>,
}

/// One payload type of an answer, as the device wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredPayload {
    pub payload_type: u8,
    /// Value of its `a=rtpmap`, such as `MPEG4-GENERIC/16000/1`; empty = it has none.
    pub rtpmap: String,
    /// Parameters of its `a=fmtp`; empty = it has none.
    pub fmtp: String,
}

/// Why no media dialog came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InviteFailure {
    DeviceUnknown,
    DeviceOffline,
    /// No final answer before Timer B.
    NoAnswer,
    Rejected {
        status: u16,
        reason: String,
    },
    /// 200 OK whose SDP cannot be used.
    BadAnswer {
        what: &'static str,
    },
    /// [`Command::EndInvite`] came first.
    Cancelled,
    /// At a bound of ours.
    TooMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    Us,
    Device,
    /// The device went offline or did not answer BYE.
    Lost,
    /// The device was sent away: its certificate counts no longer (GB 35114).
    Revoked,
}

/// Facts that survive a restart.
#[derive(Clone, Debug)]
pub enum Persist {
    Device(StoredDevice),
    /// Last sign of life, seconds since the Unix epoch.
    Seen {
        device: DeviceId,
        unix_s: i64,
    },
    Offline {
        device: DeviceId,
    },
    /// A dialog of media has begun; the text is for [`Command::EndLeftOver`].
    DialogBegun {
        device: DeviceId,
        call_id: String,
        dialog: String,
    },
    DialogOver {
        call_id: String,
    },
    /// The key that was agreed with a device of GB 35114; `None`: it is void.
    Key {
        device: DeviceId,
        key: Option<SharedKey>,
    },
}

/// A device as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDevice {
    pub device: DeviceId,
    pub auth: DeviceAuth,
    /// Where it registered from last.
    pub peer: Option<SocketAddr>,
    pub over_tcp: bool,
    pub online: bool,
    /// When its registration ends, seconds since the Unix epoch.
    pub expires_unix_s: i64,
    pub last_seen_unix_s: i64,
    /// `X-GB-Ver` if it sent one: "1.0" 2011, "2.0" 2016, "3.0" 2022.
    pub gb_version: Option<String>,
}
