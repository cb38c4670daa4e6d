//! `/gantry/v1/ingest`: RTP sources without SIP, for users with their own signalling and for load tests.

use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gb28181::MediaTransport;
use crate::id::{Ssrc, StreamName};
use crate::media::ingest::{RtpMap, RtpMaps};
use crate::session::{Command, LossChoice, Reply};

use super::ApiState;
use super::caller::HttpCaller;
use super::problem::{HttpPath, Problem, read_body};

/// How the source sends.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    Udp,
    /// It connects to us.
    TcpPassive,
    /// We connect to it, at `host` and `port`.
    TcpActive,
}

/// What becomes of pictures with loss.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// What `media.loss` of the configuration says.
    #[default]
    Auto,
    /// Left out up to the next whole key frame.
    HoldBack,
    /// Given on as they are.
    Show,
}

impl From<Loss> for LossChoice {
    fn from(loss: Loss) -> LossChoice {
        match loss {
            Loss::Auto => LossChoice::Auto,
            Loss::HoldBack => LossChoice::HoldBack,
            Loss::Show => LossChoice::Show,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestRequest {
    /// Name: 1 to 64 of letters, digits, `.`, `_` and `-`.
    #[schema(example = "cam1")]
    stream: String,
    /// Without: the first unclaimed SSRC that comes is taken.
    #[serde(default)]
    #[schema(example = 1234567890)]
    ssrc: Option<u32>,
    transport: Transport,
    /// IP address of the source, for `tcp-active`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "192.168.1.64")]
    host: Option<IpAddr>,
    /// Port of the source, for `tcp-active`.
    #[serde(default)]
    port: Option<u16>,
    /// What its RTP payload types stand for, up to four. Not needed but for what bytes do not tell: AAC by RFC 3640 or RFC 6416,
    /// G.726, and other sound under a dynamic type. What the bytes are counts more.
    #[serde(default)]
    payloads: Vec<Payload>,
    /// What becomes of pictures with loss.
    #[serde(default)]
    loss: Loss,
}

/// One payload type, as an SDP says it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Payload {
    #[schema(example = 97, maximum = 127)]
    payload_type: u8,
    /// `PS`, `MP2T`, `H264`, `H265`, `PCMA`, `PCMU`, `G722`, `G726-32`, `AAL2-G726-32`, `MPEG4-GENERIC` or `MP4A-LATM` with its
    /// clock.
    #[schema(example = "MPEG4-GENERIC/16000/1")]
    rtpmap: String,
    /// The parameters of `a=fmtp`, for AAC with `config`.
    #[serde(default)]
    #[schema(example = "sizelength=13;indexlength=3;indexdeltalength=3;config=1408")]
    fmtp: String,
}

impl IngestRequest {
    fn payloads(&self) -> Result<RtpMaps, Problem> {
        let mut maps = RtpMaps::default();
        if self.payloads.len() > maps.len() {
            return Err(bad(format!("at most {} payloads", maps.len())));
        }
        for (slot, one) in maps.iter_mut().zip(&self.payloads) {
            if one.payload_type > 127 {
                return Err(bad("payloadType is at most 127"));
            }
            let map = RtpMap::parse(one.payload_type, &one.rtpmap, &one.fmtp);
            *slot = Some(map.ok_or_else(|| {
                bad(format!(
                    "the rtpmap {:?} is not known, or its fmtp lacks the config",
                    one.rtpmap
                ))
            })?);
        }
        Ok(maps)
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Ingest {
    /// Where to send, UDP or TCP.
    #[schema(example = 30000)]
    pub port: u16,
    #[schema(example = 1234567890)]
    pub ssrc: Option<u32>,
}

/// Opens a source of RTP. It plays as `/live/{stream}.flv`, `.mp4` and `/whep/{stream}`.
#[utoipa::path(post, path = "/gantry/v1/ingest", operation_id = "openIngest", tag = "ingest", security(("token" = [])), request_body = IngestRequest,
    responses((status = 200, body = Ingest, example = json!({"port": 30000, "ssrc": 1234567890})),
        (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 409, body = Problem, description = "the name or the SSRC is taken"),
        (status = 429, body = Problem, description = "at a limit")))]
pub async fn open(
    State(state): State<ApiState>,
    caller: HttpCaller,
    body: Bytes,
) -> Result<Json<Ingest>, Problem> {
    let request: IngestRequest = read_body(&body)?;
    let name: StreamName = request
        .stream
        .parse()
        .map_err(|e: crate::id::NotAStreamName| bad(e.to_string()))?;
    let (transport, remote) = match request.transport {
        Transport::Udp => (MediaTransport::Udp, None),
        Transport::TcpPassive => (MediaTransport::TcpPassive, None),
        Transport::TcpActive => {
            let remote = request.host.zip(request.port).map(SocketAddr::from);
            let remote =
                remote.ok_or_else(|| bad("tcp-active needs host (an IP address) and port"))?;
            (MediaTransport::TcpActive, Some(remote))
        }
    };
    tracing::info!(stream = %name, user = %caller.login.user, "source opened without SIP");
    let command = Command::OpenIngest {
        name,
        ssrc: request.ssrc.map(Ssrc),
        transport,
        remote,
        payloads: request.payloads()?,
        loss: request.loss.into(),
    };
    let Reply::Ingest { port, ssrc } = state.session.call(command).await? else {
        return Err(Problem::wrong_reply());
    };
    let ssrc = ssrc.map(|ssrc| ssrc.0);
    Ok(Json(Ingest { port, ssrc }))
}

/// Closes a source and its viewers.
#[utoipa::path(delete, path = "/gantry/v1/ingest/{stream}", operation_id = "closeIngest", tag = "ingest", security(("token" = [])),
    params(("stream" = String, Path, example = "cam1")),
    responses((status = 204, description = "closed"), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn close(
    State(state): State<ApiState>,
    _: HttpCaller,
    HttpPath(stream): HttpPath<String>,
) -> Result<StatusCode, Problem> {
    let name = stream
        .parse()
        .map_err(|e: crate::id::NotAStreamName| bad(e.to_string()))?;
    state.session.call(Command::CloseIngest { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
