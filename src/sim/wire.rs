//! What carries the SIP of a simulated device: a datagram socket, or a connection over TCP or TLS.
//!
//! Polled without waiting. A connection that ends is reported, and the device opens a new one after a pause.
//!
//! Bounds: [`SIM_SIP_BACKLOG_BYTES_MAX`] that a connection does not take; beyond it, it is given up.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};
use tokio_rustls::rustls;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::limits::SIM_SIP_BACKLOG_BYTES_MAX;
use crate::net::udp;
use crate::sip::framing::{Frame, Framer};
use crate::sip::{ConnId, Transport};

/// What carries the SIP of all devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Carrier {
    #[default]
    Udp,
    Tcp,
    Tls,
}

/// How devices speak TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// PEM with the authorities of the platform. `None`: any certificate will do, as for most cameras.
    pub ca: Option<PathBuf>,
    /// PEM with the certificate of every device, and with its key.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    pub fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let provider = Arc::new(crypto::ring::default_provider());
        let wrong =
            |e: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidInput, e.to_string());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| wrong(&e))?;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.ca {
            None => Arc::new(AnyCertificate(provider)),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in
                    CertificateDer::pem_reader_iter(BufReader::new(File::open(path)?))
                {
                    let certificate = certificate.map_err(|e| wrong(&e))?;
                    roots.add(certificate).map_err(|e| wrong(&e))?;
                }
                let roots = Arc::new(roots);
                WebPkiServerVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|e| wrong(&e))?
            }
        };
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_file_iter(certificate)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|e| wrong(&e))?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(&e))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|e| wrong(&e))?
            }
        };
        Ok(Arc::new(config))
    }
}

/// Takes every certificate; the handshake must be signed by it all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, cert, dss, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, cert, dss, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The socket of one device.
pub(super) enum Wire {
    Datagrams(UdpSocket),
    Connection(Box<Connection>),
}

impl Wire {
    pub fn udp(local: SocketAddr, registry: &Registry, token: Token) -> io::Result<Wire> {
        let options = udp::Options {
            reuse_port: false,
            receive_buffer_bytes: 128 << 10,
            send_buffer_bytes: 128 << 10,
        };
        let (socket, _) = udp::bind(local, options)?;
        let mut socket = UdpSocket::from_std(socket);
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Wire::Datagrams(socket))
    }

    /// Begins to connect. `tls`: nothing is sent before its handshake is done.
    pub fn connect(
        server: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Wire> {
        let mut socket = TcpStream::connect(server)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let tls = match tls {
            None => None,
            Some(config) => {
                let name = ServerName::IpAddress(server.ip().into());
                let tls = ClientConnection::new(config.clone(), name);
                Some(tls.map_err(io::Error::other)?)
            }
        };
        Ok(Wire::Connection(Box::new(Connection {
            socket,
            tls,
            framer: Framer::new(),
            out: Vec::new(),
        })))
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Wire::Datagrams(socket) => socket.local_addr(),
            Wire::Connection(connection) => connection.socket.local_addr(),
        }
    }

    pub fn transport(&self, conn: ConnId) -> Transport {
        match self {
            Wire::Datagrams(_) => Transport::Udp,
            Wire::Connection(connection) if connection.tls.is_some() => Transport::Tls(conn),
            Wire::Connection(_) => Transport::Tcp(conn),
        }
    }
}

/// A connection with what is half read and half written.
pub(super) struct Connection {
    socket: TcpStream,
    tls: Option<ClientConnection>,
    framer: Framer,
    /// Without TLS: bytes that the socket has not taken. TLS keeps its own.
    out: Vec<u8>,
}

impl Connection {
    /// Takes bytes to be sent; an error means that the connection is over.
    pub fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        if self.out.len() + payload.len() > SIM_SIP_BACKLOG_BYTES_MAX {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(payload)?,
            None => self.out.extend_from_slice(payload),
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => {
                while tls.wants_write() {
                    match tls.write_tls(&mut self.socket) {
                        Ok(_) => {}
                        Err(e) if waits(&e) => return Ok(()),
                        Err(e) => return Err(e),
                    }
                }
            }
            None => {
                while !self.out.is_empty() {
                    match self.socket.write(&self.out) {
                        Ok(n) => drop(self.out.drain(..n)),
                        Err(e) if waits(&e) => return Ok(()),
                        Err(e) => return Err(e),
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes what waits and reads what came, until the socket has no more; an error means that the connection is over.
    pub fn turn(
        &mut self,
        scratch: &mut [u8],
        mut on_message: impl FnMut(Bytes),
    ) -> io::Result<()> {
        loop {
            self.flush()?;
            let plain = match &mut self.tls {
                None => match self.socket.read(scratch) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(n) => n,
                    Err(e) if waits(&e) => return Ok(()),
                    Err(e) => return Err(e),
                },
                Some(tls) => {
                    match tls.read_tls(&mut self.socket) {
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(_) => {}
                        Err(e) if waits(&e) => return Ok(()),
                        Err(e) => return Err(e),
                    }
                    if let Err(e) = tls.process_new_packets() {
                        // The alert that tells the peer why.
                        let _ = tls.write_tls(&mut self.socket);
                        return Err(io::Error::new(io::ErrorKind::InvalidData, e));
                    }
                    let mut n = 0;
                    loop {
                        match tls.reader().read(&mut scratch[n..]) {
                            Ok(0) => break n,
                            Ok(more) => n += more,
                            Err(e) if waits(&e) => break n,
                            Err(e) => return Err(e),
                        }
                    }
                }
            };
            self.framer.push(&scratch[..plain]);
            while let Some(frame) = self.framer.next() {
                match frame {
                    Ok(Frame::Message(raw)) => on_message(raw),
                    Ok(Frame::Ping) => {}
                    Err(_) => return Err(io::ErrorKind::InvalidData.into()),
                }
            }
        }
    }
}

fn waits(e: &io::Error) -> bool {
    // A connection that is still being made says that it is not connected.
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted
    )
}
