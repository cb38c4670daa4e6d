//! Packets on a connection whose sender loses bytes: framing is found again, and nothing is made up.

use super::Script;
use crate::media::rfc4571::Framer;

const SSRC: [u8; 4] = [0x0b, 0xeb, 0xc2, 0x01];
/// What payloads are cut from. Copied, as counting it out for each packet took most of an iteration.
const BODY: [u8; 255 * 6] = {
    let mut body = [0; 255 * 6];
    let mut i = 0;
    while i < body.len() {
        body[i] = (i % 200) as u8;
        i += 1;
    }
    body
};

/// A packet that says in each of its bytes which one it is.
fn packet(n: u16, len: usize) -> Vec<u8> {
    let mut packet = Vec::with_capacity(12 + len);
    packet.extend([0x80, 96]);
    packet.extend(n.to_be_bytes());
    packet.extend([0, 0, 0, 1]);
    packet.extend(SSRC);
    packet.extend_from_slice(&BODY[..len]);
    packet
}

fn framed(packet: &[u8], out: &mut Vec<u8>) {
    out.extend((packet.len() as u16).to_be_bytes());
    out.extend_from_slice(packet);
}

/// What comes out whole was sent whole as long as nothing was lost; after a loss framing is found again within the next
/// packets, and the framer gives up only when there is nothing to find.
pub fn rfc4571(data: &[u8]) {
    let mut script = Script::new(data);
    let mut bytes = Vec::new();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let mut lost_at = None;
    while !script.is_over() && sent.len() < 60 {
        let op = script.byte();
        let packet = packet(sent.len() as u16, usize::from(script.byte()) * 6);
        let mut frame = Vec::new();
        framed(&packet, &mut frame);
        if op < 24 {
            // The sender's buffer was full: the rest of this packet never leaves.
            frame.truncate(script.below(frame.len()));
            lost_at.get_or_insert(sent.len());
        }
        bytes.extend(frame);
        sent.push(packet);
    }
    let clean = sent.len();
    // More than the longest length that can be read by mistake.
    for n in 0..60 {
        let packet = packet(1_000 + n, 1_200);
        framed(&packet, &mut bytes);
        sent.push(packet);
    }
    let mut framer = Framer::new();
    let mut got: Vec<Vec<u8>> = Vec::new();
    let size = 64 + script.below(200) * 16;
    for piece in bytes.chunks(size) {
        let pushed = framer.push(piece, &mut |p| {
            assert!(p.len() >= 8);
            got.push(p.to_vec());
        });
        if pushed.is_err() {
            // Only a start that was lost leaves nothing to look for.
            assert!(lost_at.is_some(), "it gives up what was whole");
            return;
        }
    }
    match lost_at {
        None => assert_eq!(got, sent),
        Some(first) => {
            let before = got.len().min(first);
            assert_eq!(
                got[..before],
                sent[..before],
                "what came before is as it was"
            );
            // A packet that lost its end takes at most as many bytes of the next ones as it was to have, and its start.
            if first > 0 {
                let found = got.iter().any(|p| sent[clean..].contains(p));
                assert!(found, "framing is found again");
            }
        }
    }
}
