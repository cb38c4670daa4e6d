//! The node itself against Chromium: with AES-GCM and AES-CM, with a twentieth of the packets lost, and over ICE-TCP alone.
//!
//! The browser's page is the one of `webrtc_chromium`; its offers go to the node's WHEP resource. Loss is made by a relay
//! between the two, from a seed. What counts is what the browser says it has decoded. Without Chromium the tests say that
//! they were skipped.

use std::net::TcpListener;
use std::sync::mpsc;

use serde_json::json;

use super::node::{Node, PATIENCE};
use super::playback::Rig;
use super::relay::{Relay, with_candidates};
use super::webrtc_chromium::{Chromium, Request, http};
use super::whep::{PUID, stage_with};

/// What the browser said, as pairs of a name and a number or word.
struct Said(String);

impl Said {
    fn number(&self, name: &str) -> i64 {
        let mut words = self.0.split(' ');
        words.by_ref().find(|w| *w == name);
        words.next().and_then(|w| w.parse().ok()).unwrap_or(-1)
    }
}

/// Plays the node's camera in Chromium; `answer` may change the node's answer on its way.
fn play(variables: &[(&str, &str)], answer: impl Fn(String) -> String) -> Option<Said> {
    let (node, _devices, token, _runtime) = stage_with(variables);
    watch(&node, &token, &format!("/whep/{PUID}/0"), answer)
}

/// Plays what lies at a WHEP resource in Chromium.
fn watch(node: &Node, token: &str, path: &str, answer: impl Fn(String) -> String) -> Option<Said> {
    let web = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", web.local_addr().expect("bound"));
    let (tx, requests) = mpsc::channel();
    std::thread::spawn(move || http(web, tx));
    let Some(_browser) = Chromium::start(&url) else {
        println!("skipped: no Chromium");
        return None;
    };
    loop {
        match requests
            .recv_timeout(PATIENCE)
            .expect("the browser goes on")
        {
            Request::Offer(offer, reply) => {
                let opened = node.request("POST", path, Some(token), "application/sdp", &offer);
                let text = String::from_utf8(opened.body).expect("SDP is text");
                assert_eq!(opened.status, 201, "{text}");
                reply.send(answer(text)).expect("the browser waits");
            }
            Request::Result(text) => {
                println!("{text}");
                let said = Said(text);
                assert!(said.number("frames") >= 100, "{}", said.0);
                assert_eq!(said.number("streams"), 1);
                return Some(said);
            }
        }
    }
}

#[test]
fn chromium_plays_from_the_node_over_gcm() {
    let Some(said) = play(&[], |a| a) else { return };
    assert!(said.0.contains("srtp SRTP_AEAD_AES_128_GCM transport udp"));
}

#[test]
fn chromium_plays_from_the_node_over_aes_cm() {
    let Some(said) = play(&[("GANTRY_WEBRTC_AES_GCM", "false")], |a| a) else {
        return;
    };
    assert!(
        said.0
            .contains("srtp SRTP_AES128_CM_HMAC_SHA1_80 transport udp")
    );
}

#[test]
fn chromium_plays_from_the_node_over_ice_tcp_alone() {
    let only_tcp = |answer: String| {
        with_candidates(&answer, |line| {
            line.contains(" tcp ").then(|| line.to_owned())
        })
    };
    let Some(said) = play(&[], only_tcp) else {
        return;
    };
    assert!(said.0.contains("srtp SRTP_AEAD_AES_128_GCM transport tcp"));
}

#[test]
fn chromium_plays_from_the_node_through_a_path_that_loses_five_percent() {
    let relay = Relay::start();
    let Some(said) = play(&[], |answer| relay.between(&answer)) else {
        return;
    };
    let (passed, lost) = relay.counts();
    println!("{passed} packets passed, {lost} lost");
    assert!(lost * 100 > passed * 3, "the relay loses");
    assert!(
        said.number("nack") > 0 && said.number("rtx") > 0,
        "{}",
        said.0
    );
}

#[test]
fn chromium_plays_a_record_at_twice_its_speed_without_sound() {
    let rig = Rig::new(&[], &[]);
    let play = rig.play(3_600);
    let faster = rig.order(&play, &json!({"cmd": "PLAY", "scale": 2}));
    assert_eq!(faster["code"], 0, "{faster}");
    let path = format!("/whep/playback/{play}");
    let Some(said) = watch(&rig.node, &rig.token, &path, |answer| answer) else {
        return;
    };
    assert!(said.number("audio") <= 0, "{}", said.0);
}
