//! A TLS client of the tests, for nodes that sign their certificate themselves.

use std::net::TcpStream;

use gantry::sim::TlsFiles;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConnection, StreamOwned};

/// TLS over a connection; the handshake is done with the first bytes. Who the node is is not what is tested.
pub fn over(socket: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
    let config = TlsFiles::default().config().expect("nothing is read");
    let name = ServerName::from(socket.peer_addr().expect("connected").ip());
    let tls = ClientConnection::new(config, name).expect("a configuration");
    StreamOwned::new(tls, socket)
}
