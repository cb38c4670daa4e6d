//! Digest on the real socket of the real binary, answered by hand with MD5 and with SHA-256 (RFC 2617, RFC 7616; GB/T
//! 28181-2022 asks for SHA-256, devices of 2016 know MD5).

use std::net::UdpSocket;

use md5::{Digest, Md5};
use sha2::Sha256;

use super::node::{Node, PATIENCE};

fn hex<D: Digest>(text: &str) -> String {
    D::digest(text.as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn parameter<'a>(challenge: &'a str, name: &str) -> &'a str {
    let (_, rest) = challenge.split_once(&format!("{name}=")).expect(name);
    rest.trim_start_matches('"')
        .split(['"', ','])
        .next()
        .expect("a value")
}

/// What a device answers to a challenge.
fn authorization<D: Digest>(challenge: &str, device: &str, password: &str, count: u32) -> String {
    let of = |name| parameter(challenge, name);
    let (realm, nonce, algorithm) = (of("realm"), of("nonce"), of("algorithm"));
    let uri = "sip:34020000002000000001@3402000000";
    let a1 = hex::<D>(&format!("{device}:{realm}:{password}"));
    let a2 = hex::<D>(&format!("REGISTER:{uri}"));
    let response = hex::<D>(&format!("{a1}:{nonce}:{count:08x}:0a4f113b:auth:{a2}"));
    format!(
        "Authorization: Digest username=\"{device}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
         algorithm={algorithm}, qop=auth, nc={count:08x}, cnonce=\"0a4f113b\"\r\n"
    )
}

fn challenge_of<'a>(refused: &'a str, algorithm: &str) -> &'a str {
    assert!(refused.starts_with("SIP/2.0 401"), "{refused}");
    let mut lines = refused.lines();
    lines
        .find(|l| l.starts_with("WWW-Authenticate") && parameter(l, "algorithm") == algorithm)
        .unwrap_or_else(|| panic!("{algorithm} is not offered: {refused}"))
}

/// Registers a device with the password of the tests. The socket is connected to the node.
pub fn log_in(socket: &UdpSocket, device: &str) {
    let refused = register(socket, 1, device, "");
    let challenge = challenge_of(&refused, "MD5");
    let right = authorization::<Md5>(challenge, device, "12345678", 1);
    let answer = register(socket, 2, device, &right);
    assert!(answer.starts_with("SIP/2.0 200"), "{device}: {answer}");
}

fn register(socket: &UdpSocket, n: u32, device: &str, authorization: &str) -> String {
    let local = socket.local_addr().expect("bound");
    let own = format!("<sip:{device}@3402000000>");
    let text = format!(
        "REGISTER sip:34020000002000000001@3402000000 SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{device}{n}\r\n\
         From: {own};tag=t\r\nTo: {own}\r\nCall-ID: {device}\r\nCSeq: {n} REGISTER\r\nContact: <sip:{device}@{local}>\r\n\
         X-GB-Ver: 3.0\r\nMax-Forwards: 70\r\nExpires: 3600\r\n{authorization}Content-Length: 0\r\n\r\n"
    );
    socket.send(text.as_bytes()).expect("sent");
    let mut answer = [0; 4096];
    loop {
        let n = socket.recv(&mut answer).expect("an answer");
        let text = String::from_utf8_lossy(&answer[..n]).into_owned();
        // Questions of the platform are not answered here.
        if text.starts_with("SIP/2.0 ") {
            return text;
        }
    }
}

fn logs_in<D: Digest>(node: &Node, algorithm: &str, device: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(node.sip).expect("an address");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a valid time");
    let refused = register(&socket, 1, device, "");
    let challenge = challenge_of(&refused, algorithm);
    let answer = |password, count| authorization::<D>(challenge, device, password, count);
    let wrong = register(&socket, 2, device, &answer("wrong", 1));
    assert!(wrong.starts_with("SIP/2.0 401"), "{wrong}");
    let right = register(&socket, 3, device, &answer("12345678", 2));
    assert!(right.starts_with("SIP/2.0 200"), "{algorithm}: {right}");
    assert!(right.contains("X-GB-Ver: 3.0"), "{right}");
}

#[test]
fn md5_and_sha_256_are_offered_and_taken() {
    let node = Node::start(&[]);
    logs_in::<Md5>(&node, "MD5", "34020000001320000051");
    logs_in::<Sha256>(&node, "SHA-256", "34020000001320000052");
}
