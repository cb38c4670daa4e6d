//! The certificates of HTTPS and of SIP over TLS: given by the config, or made at the first start and kept in the data folder.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::{StartError, cannot};
use crate::config;

/// A certificate and its key in PEM files. With an empty path: the ones in the data folder, made if they are not there.
struct Source<'a> {
    purpose: &'static str,
    data_dir: &'a Path,
    /// Names of the files in the data folder, without their ending.
    stem: &'static str,
    certificate: &'a Path,
    key: &'a Path,
    /// What a made one is for.
    names: Vec<String>,
}

/// The acceptor for HTTPS. A certificate that cannot be read or does not fit its key is refused by name.
pub(super) fn acceptor(data_dir: &Path, config: &config::Http) -> Result<TlsAcceptor, StartError> {
    let source = Source {
        purpose: "HTTPS; browsers will ask whether to trust it",
        data_dir,
        stem: "https",
        certificate: &config.tls_cert,
        key: &config.tls_key,
        names: vec!["localhost".into(), "127.0.0.1".into(), "gantry".into()],
    };
    let mut tls = server(&source, None)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

/// How SIP over TLS is spoken. With `tls_client_ca`, devices must show a certificate that it signed.
pub(super) fn sip(data_dir: &Path, config: &config::Sip) -> Result<Arc<ServerConfig>, StartError> {
    let mut names = vec![
        "localhost".into(),
        "127.0.0.1".into(),
        config.id.to_string(),
    ];
    names.extend(config.advertised_ip.map(|ip| ip.to_string()));
    let source = Source {
        purpose: "SIP over TLS; install it in devices that check it",
        data_dir,
        stem: "sip",
        certificate: &config.tls_cert,
        key: &config.tls_key,
        names,
    };
    let ca = Some(config.tls_client_ca.as_path()).filter(|path| !path.as_os_str().is_empty());
    server(&source, ca).map(Arc::new)
}

fn server(source: &Source<'_>, client_ca: Option<&Path>) -> Result<ServerConfig, StartError> {
    let given = !source.certificate.as_os_str().is_empty();
    let (cert_path, key_path) = if given {
        (source.certificate.to_owned(), source.key.to_owned())
    } else {
        let file = |ending| source.data_dir.join(format!("{}.{ending}", source.stem));
        (file("crt"), file("key"))
    };
    if !given && !cert_path.exists() {
        make(source, &cert_path, &key_path)?;
    }
    let chain = certificates(&cert_path)?;
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|e| bad(&key_path, &e))?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&cert_path, &e))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| bad(path, &e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|e| bad(path, &e))?)
        }
    };
    builder
        .with_single_cert(chain, key)
        .map_err(|e| bad(&cert_path, &e))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| bad(path, &e))?;
    if chain.is_empty() {
        return Err(bad(path, &"no certificate in it"));
    }
    Ok(chain)
}

fn bad(path: &Path, e: &dyn std::fmt::Display) -> StartError {
    StartError(format!("bad certificate: {}: {e}", path.display()))
}

fn make(source: &Source<'_>, cert_path: &Path, key_path: &Path) -> Result<(), StartError> {
    let purpose = source.purpose;
    let made = rcgen::generate_simple_self_signed(source.names.clone())
        .map_err(|e| StartError(format!("cannot make a certificate for {purpose}: {e}")))?;
    let write = |path: &Path, text: &str| {
        write_private(path, text).map_err(cannot(format_args!("cannot write {}", path.display())))
    };
    write(key_path, &made.signing_key.serialize_pem())?;
    write(cert_path, &made.cert.pem())?;
    tracing::info!(path = %cert_path.display(), "made a certificate for {purpose}");
    Ok(())
}

/// Writes a file that only this user may read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
