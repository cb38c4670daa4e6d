//! WebRTC by a client that is not ours: the crate `webrtc`, with its own ICE, DTLS, SRTP and SDP.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCIceGatheringState, RTCSessionDescription, Registry, register_default_interceptors,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

use super::node::{Devices, Node, PATIENCE, Response};
use super::relay::{Relay, with_candidates};

pub const PUID: &str = "PU_34020000001320000001";

/// A packet as it came out of SRTP.
pub struct Received {
    pub video: bool,
    mime: String,
    pub sequence: u16,
    pub time: u32,
    pub payload: Vec<u8>,
}

/// What the client's connection reports.
struct Reports {
    gathered: mpsc::UnboundedSender<()>,
    packets: mpsc::UnboundedSender<Received>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Reports {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            // Nobody waits any more if the test has failed.
            let _ = self.gathered.send(());
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let packets = self.packets.clone();
        tokio::spawn(async move {
            let video = track.kind().await == RtpCodecKind::Video;
            let ssrc = track.ssrcs().await.first().copied().unwrap_or_default();
            let mime = track
                .codec(ssrc)
                .await
                .map(|c| c.mime_type)
                .unwrap_or_default();
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    let received = Received {
                        video,
                        mime: mime.clone(),
                        sequence: packet.header.sequence_number,
                        time: packet.header.timestamp,
                        payload: packet.payload.to_vec(),
                    };
                    if packets.send(received).is_err() {
                        return;
                    }
                }
            }
        });
    }
}

pub struct Client {
    connection: Box<dyn PeerConnection>,
    packets: mpsc::UnboundedReceiver<Received>,
    offer: String,
}

impl Client {
    /// Offers to receive one picture and one sound.
    async fn new() -> Client {
        Client::at(Ipv4Addr::LOCALHOST.into(), false).await
    }

    /// The same at an address of this machine; `nacks`: asks again for what it misses.
    async fn at(ip: IpAddr, nacks: bool) -> Client {
        let (gathered, mut is_gathered) = mpsc::unbounded_channel();
        let (packets, received) = mpsc::unbounded_channel();
        let mut engine = MediaEngine::default();
        engine
            .register_default_codecs()
            .expect("the crate's own codecs");
        let interceptors = match nacks {
            true => register_default_interceptors(Registry::new(), &mut engine)
                .expect("the crate's own interceptors"),
            false => Registry::new(),
        };
        let connection = PeerConnectionBuilder::<SocketAddr>::new()
            .with_media_engine(engine)
            .with_interceptor_registry(interceptors)
            .with_handler(Arc::new(Reports { gathered, packets }))
            .with_runtime(webrtc::runtime::default_runtime().expect("the feature is on"))
            .with_udp_addrs(vec![SocketAddr::new(ip, 0)])
            .build()
            .await
            .expect("a connection");
        for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
            let init = RTCRtpTransceiverInit {
                direction: RTCRtpTransceiverDirection::Recvonly,
                ..Default::default()
            };
            connection
                .add_transceiver_from_kind(kind, Some(init))
                .await
                .expect("a transceiver");
        }
        let offer = connection.create_offer(None).await.expect("an offer");
        connection
            .set_local_description(offer)
            .await
            .expect("its own offer");
        is_gathered.recv().await.expect("gathering ends");
        let offer = connection.local_description().await.expect("set above").sdp;
        Client {
            connection: Box::new(connection),
            packets: received,
            offer,
        }
    }

    /// Watches the camera, if there is a `path` through it.
    pub async fn joined(
        node: &Node,
        token: &str,
        nacks: bool,
        path: Option<&Relay>,
    ) -> Result<Client, tokio::time::error::Elapsed> {
        let joined = async {
            let mut client = Client::at(Ipv4Addr::LOCALHOST.into(), nacks).await;
            let whep = format!("/whep/{PUID}/0");
            let opened = node.request("POST", &whep, Some(token), "application/sdp", &client.offer);
            let answer = String::from_utf8(opened.body).expect("SDP is text");
            assert_eq!(opened.status, 201, "{answer}");
            client
                .accept(path.map_or(answer.clone(), |path| path.between(&answer)))
                .await;
            while !client.packets.recv().await.expect("it begins").video {}
            client
        };
        tokio::time::timeout(PATIENCE, joined).await
    }

    /// Watches a record that is played back.
    pub async fn of_playback(node: &Node, token: &str, play: &str) -> Client {
        let client = Client::new().await;
        let whep = format!("/whep/playback/{play}");
        let opened = node.request("POST", &whep, Some(token), "application/sdp", &client.offer);
        let answer = String::from_utf8(opened.body).expect("SDP is text");
        assert_eq!(opened.status, 201, "{answer}");
        client.accept(answer).await;
        client
    }

    /// The next packet of a stream that goes on.
    pub async fn packet(&mut self) -> Received {
        bounded("a packet", self.packets.recv())
            .await
            .expect("the stream goes on")
    }

    /// How many packets of the picture have come, and how many there must have been.
    pub fn pictures(&mut self) -> (usize, usize) {
        let (mut seen, mut newest, mut span) = (HashSet::new(), None, 0);
        while let Ok(packet) = self.packets.try_recv() {
            if !packet.video {
                continue;
            }
            let sequence = packet.sequence;
            let step = sequence.wrapping_sub(newest.unwrap_or(sequence.wrapping_sub(1)));
            if step < 0x8000 {
                span += usize::from(step);
                newest = Some(sequence);
            }
            // Numbers come again after 65,536: one that is older than a window is another packet.
            seen.insert((span / 0x8000, sequence));
        }
        (seen.len(), span)
    }

    pub async fn close(&self) {
        // It may be gone already.
        let _ = self.connection.close().await;
    }

    async fn accept(&self, answer: String) {
        let answer = RTCSessionDescription::answer(answer).expect("an answer");
        self.connection
            .set_remote_description(answer)
            .await
            .expect("the answer fits the offer");
    }

    /// Receives until picture, sound and the start of a key frame are there.
    async fn receives(&mut self) {
        let (mut pictures, mut sounds, mut key, mut last) = (0, 0, false, None);
        while pictures < 100 || sounds < 20 || !key {
            let packet = self.packets.recv().await.expect("the stream goes on");
            if packet.video {
                assert_eq!(packet.mime.to_lowercase(), "video/h264");
                pictures += 1;
                key |= starts_key_frame(&packet.payload);
                if let Some(last) = last.replace(packet.sequence) {
                    assert_eq!(
                        packet.sequence,
                        u16::wrapping_add(last, 1),
                        "nothing is lost on the loopback"
                    );
                }
            } else {
                assert_eq!(packet.mime.to_lowercase(), "audio/pcma");
                assert!(!packet.payload.is_empty());
                sounds += 1;
            }
        }
    }
}

/// Whether a payload (RFC 6184) is or begins an IDR slice, alone, in an aggregate or as the first fragment.
fn starts_key_frame(payload: &[u8]) -> bool {
    match payload.first().map(|b| b & 0x1f) {
        Some(5) => true,
        Some(24) => {
            let mut rest = &payload[1..];
            while let Some((len, after)) = rest.split_first_chunk::<2>() {
                let (nal, next) = after.split_at(usize::from(u16::from_be_bytes(*len)));
                if nal[0] & 0x1f == 5 {
                    return true;
                }
                rest = next;
            }
            false
        }
        Some(28) => payload[1] & 0x9f == 0x85,
        _ => false,
    }
}

/// A node with a camera, and a runtime for the client.
fn stage() -> (Node, Devices, String, tokio::runtime::Runtime) {
    stage_with(&[])
}

/// The same with further variables.
pub fn stage_with(variables: &[(&str, &str)]) -> (Node, Devices, String, tokio::runtime::Runtime) {
    let linger = [("GANTRY_MEDIA_LINGER_S", "0")];
    let node = Node::start(&[&linger[..], variables].concat());
    let devices = Devices::start(
        &node,
        &["--count", "1", "--channels", "1", "--id-base", &PUID[3..]],
    );
    let token = node.login();
    node.wait_for_device(&token, PUID, 1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    (node, devices, token, runtime.expect("a runtime"))
}

async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain: {what}"))
}

fn sessions(node: &Node, token: &str) -> Vec<Value> {
    let list = node.post(
        "/bvcsp/v1/dialog/list",
        Some(token),
        &json!({ "page": 0, "pageSize": 100 }),
    );
    list["data"]
        .as_array()
        .unwrap_or_else(|| panic!("{list}"))
        .clone()
}

fn open_sessions(node: &Node, token: &str) -> usize {
    sessions(node, token)
        .iter()
        .filter(|s| s["stage"] != "closed")
        .count()
}

#[test]
fn picture_and_sound_come_over_ipv6() {
    let (node, _devices, token, runtime) = stage_with(&[
        ("GANTRY_WEBRTC_LISTEN", "[::]:0"),
        ("GANTRY_WEBRTC_ADVERTISED_IPS", "::1"),
    ]);
    let here = Ipv6Addr::LOCALHOST.into();
    let mut client = runtime.block_on(bounded("an offer", Client::at(here, false)));
    let path = format!("/whep/{PUID}/0");
    let opened = node.request(
        "POST",
        &path,
        Some(&token),
        "application/sdp",
        &client.offer,
    );
    let answer = String::from_utf8(opened.body).expect("SDP is text");
    assert_eq!(opened.status, 201, "{answer}");
    let alone = with_candidates(&answer, |line| {
        line.contains(" udp ").then_some(())?;
        line.contains(" ::1 ").then(|| line.to_owned())
    });
    assert!(alone.contains("a=candidate:"), "{answer}");
    runtime.block_on(bounded("picture and sound", async {
        client.accept(alone).await;
        client.receives().await;
    }));
    runtime.block_on(client.close());
}

#[test]
fn an_independent_client_watches_over_whep() {
    let (node, _devices, token, runtime) = stage();
    let mut client = runtime.block_on(bounded("an offer", Client::new()));
    let sdp = "application/sdp";
    let path = format!("/whep/{PUID}/0");
    let ask = |token: Option<&str>, kind: &str, offer: &str| -> Response {
        node.request("POST", &path, token, kind, offer)
    };
    assert_eq!(ask(None, sdp, &client.offer).status, 401);
    assert_eq!(ask(Some(&token), "text/plain", &client.offer).status, 415);
    assert_eq!(ask(Some(&token), sdp, "v=0\r\nnothing\r\n").status, 400);

    let opened = ask(Some(&token), sdp, &client.offer);
    let answer = String::from_utf8(opened.body.clone()).expect("SDP is text");
    assert_eq!(opened.status, 201, "{answer}");
    assert_eq!(opened.header("content-type"), Some(sdp));
    let location = opened
        .header("location")
        .expect("where to end it")
        .to_string();
    runtime.block_on(bounded("picture and sound", async {
        client.accept(answer).await;
        client.receives().await;
    }));
    node.wait_for_metric("gantry_viewers", "protocol=\"webrtc\"", |n| n == 1.0);
    let trickled = node.request(
        "PATCH",
        &location,
        None,
        "application/trickle-ice-sdpfrag",
        "a=end-of-candidates\r\n",
    );
    assert_eq!(trickled.status, 204);
    let (bare, _) = location.split_once('?').expect("a key");
    assert_eq!(
        node.request("DELETE", bare, None, sdp, "").status,
        401,
        "neither key nor token"
    );

    assert_eq!(node.request("DELETE", &location, None, sdp, "").status, 200);
    assert_eq!(
        node.request("DELETE", &location, None, sdp, "").status,
        200,
        "gone already is as good"
    );
    // Who has the key acts for whom it was given to, and that is written down; what changed nothing is not.
    let filter = json!({"filter": {"keyword": "whep/dialog"}});
    let log = node.post("/bvcsp/v1/log/operate", Some(&token), &filter);
    let count = |method: &str| {
        let rows = log["data"].as_array().expect("rows").iter();
        rows.filter(|row| row["method"] == method && row["userId"] == "admin")
            .count()
    };
    assert_eq!((count("PATCH"), count("DELETE")), (1, 1), "{log}");
    node.wait_for_metric("gantry_viewers", "protocol=\"webrtc\"", |n| n == 0.0);
    node.wait_for_metric("gantry_sessions", "", |n| n == 0.0);
    node.wait_for_metric("gantry_streams", "", |n| n == 0.0);
    // The client hears no more, or the end: what was on its way apart.
    runtime.block_on(bounded("the end of the stream", async {
        let pause = Duration::from_secs(1);
        while let Ok(Some(_)) = tokio::time::timeout(pause, client.packets.recv()).await {}
        let _ = client.connection.close().await;
    }));
}

#[test]
fn an_independent_client_watches_through_the_api() {
    let (node, _devices, token, runtime) = stage();
    let mut client = runtime.block_on(bounded("an offer", Client::new()));
    let request =
        json!({ "id": PUID, "index": 0, "sdp": client.offer, "host": node.http.to_string() });
    let opened = node.post("/bvcsp/v1/dialog/device/webrtc", Some(&token), &request);
    assert_eq!(opened["code"], 0, "{opened}");
    let dialog = opened["data"]["dialogid"]
        .as_str()
        .expect("an id")
        .to_string();
    let answer = opened["data"]["sdp"]
        .as_str()
        .expect("an answer")
        .to_string();
    runtime.block_on(bounded("picture and sound", async {
        client.accept(answer).await;
        client.receives().await;
    }));
    let listed = sessions(&node, &token);
    assert!(
        listed
            .iter()
            .any(|s| s["dialogid"] == dialog.as_str() || s["id"] == dialog.as_str()),
        "{listed:?}"
    );
    assert_eq!(open_sessions(&node, &token), 1, "{listed:?}");
    for _ in 0..2 {
        let closed = node.post(
            &format!("/bvcsp/v1/dialog/close/{dialog}"),
            Some(&token),
            &json!({}),
        );
        assert_eq!(closed["code"], 0, "{closed}");
    }
    assert_eq!(open_sessions(&node, &token), 0);
    node.wait_for_metric("gantry_viewers", "protocol=\"webrtc\"", |n| n == 0.0);

    // A viewer that vanishes without a word is missed: its consent runs out (RFC 7675).
    let mut client = runtime.block_on(bounded("an offer", Client::new()));
    let request = json!({ "id": PUID, "index": 0, "sdp": client.offer });
    let opened = node.post("/bvcsp/v1/dialog/device/webrtc", Some(&token), &request);
    let answer = opened["data"]["sdp"]
        .as_str()
        .unwrap_or_else(|| panic!("{opened}"))
        .to_string();
    runtime.block_on(bounded("picture and sound", async {
        client.accept(answer).await;
        client.receives().await;
    }));
    // With its runtime, its sockets and tasks end; nothing says goodbye.
    drop(runtime);
    node.wait_for_metric("gantry_viewers", "protocol=\"webrtc\"", |n| n == 0.0);
    node.wait_for_metric("gantry_sessions", "", |n| n == 0.0);
    std::mem::forget(client);
}
