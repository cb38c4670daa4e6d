//! Pictures that a simulated device was told to take, on their way by HTTP (GB/T 28181-2022, 9.14).
//!
//! A thread an order, which ends with its last picture or at the first failure. Plain HTTP/1.1 without TLS, as cameras do
//! it. Bound: [`UPLOADS_MAX`] at once; beyond, nothing is sent, as a camera that is busy.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const PICTURE: &[u8] = include_bytes!("clips/snapshot.jpg");
const UPLOADS_MAX: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5);

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Sends so many pictures, each in a request of its own.
pub(super) fn start(url: String, pictures: u32) {
    if UNDER_WAY.fetch_add(1, Relaxed) >= UPLOADS_MAX {
        UNDER_WAY.fetch_sub(1, Relaxed);
        return;
    }
    let work = move || {
        for _ in 0..pictures {
            if let Err(error) = send(&url) {
                tracing::warn!(%error, "a picture could not be uploaded");
                break;
            }
        }
        UNDER_WAY.fetch_sub(1, Relaxed);
    };
    if std::thread::Builder::new()
        .name("sim-upload".into())
        .spawn(work)
        .is_err()
    {
        UNDER_WAY.fetch_sub(1, Relaxed);
    }
}

fn send(url: &str) -> io::Result<()> {
    let bad = |what: &'static str| io::Error::new(io::ErrorKind::InvalidInput, what);
    let rest = url.strip_prefix("http://").ok_or_else(|| bad("not http"))?;
    let (host, path) = rest.split_once('/').ok_or_else(|| bad("no path"))?;
    let at = host
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| bad("no address"))?;
    let mut socket = TcpStream::connect_timeout(&at, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        PICTURE.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(PICTURE)?;
    let mut answer = [0; 12];
    socket.read_exact(&mut answer)?;
    if answer.starts_with(b"HTTP/1.1 200") {
        Ok(())
    } else {
        Err(bad("the platform refused it"))
    }
}
