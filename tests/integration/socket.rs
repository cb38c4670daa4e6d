//! A WebSocket client (RFC 6455) for events: JSON texts both ways.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::node::{Node, PATIENCE};

/// An open event socket.
pub struct EventSocket(TcpStream);

impl EventSocket {
    /// Opens one; `path` with its token.
    pub fn open(node: &Node, path: &str, token: &str) -> EventSocket {
        let mut socket = TcpStream::connect(node.http).expect("the node listens");
        let patience = socket.set_read_timeout(Some(PATIENCE));
        patience.expect("a valid time");
        let request = format!(
            "GET {path}?token={token} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            node.http
        );
        socket.write_all(request.as_bytes()).expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101 "), "{path}: {head}");
        EventSocket(socket)
    }

    /// Sends a short text, with the mask 0.
    pub fn send(&mut self, message: &Value) {
        let text = message.to_string();
        let length = u16::try_from(text.len()).expect("a short text");
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        self.0.write_all(&frame).expect("sent");
    }

    /// The next event.
    pub fn next(&mut self) -> Value {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).expect("a frame");
            let length = match head[1] {
                126 => {
                    let mut long = [0; 2];
                    self.0.read_exact(&mut long).expect("a length");
                    usize::from(u16::from_be_bytes(long))
                }
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).expect("a payload");
            match head[0] & 0x0f {
                1 => return serde_json::from_slice(&payload).expect("JSON"),
                9 | 10 => {}
                other => panic!("opcode {other}"),
            }
        }
    }
}
