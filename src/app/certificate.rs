//! The HTTPS certificate: given by the config, or made at the first start and kept in the data folder.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{StartError, cannot};
use crate::config;

const CERTIFICATE: &str = "https.crt";
const KEY: &str = "https.key";

/// The acceptor for HTTPS. A certificate that cannot be read or does not fit its key is refused by name.
pub(super) fn acceptor(data_dir: &Path, config: &config::Http) -> Result<TlsAcceptor, StartError> {
    let given = !config.tls_cert.as_os_str().is_empty();
    let (cert_path, key_path) = if given {
        (config.tls_cert.clone(), config.tls_key.clone())
    } else {
        (data_dir.join(CERTIFICATE), data_dir.join(KEY))
    };
    if !given && !cert_path.exists() {
        make(&cert_path, &key_path)?;
    }
    let bad = |path: &Path, e: &dyn std::fmt::Display| {
        StartError(format!("bad certificate: {}: {e}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(&cert_path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| bad(&cert_path, &e))?;
    if chain.is_empty() {
        return Err(bad(&cert_path, &"no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|e| bad(&key_path, &e))?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&cert_path, &e))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| bad(&cert_path, &e))?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

fn make(cert_path: &Path, key_path: &Path) -> Result<(), StartError> {
    let names = vec![
        "localhost".to_string(),
        "127.0.0.1".to_string(),
        "gantry".to_string(),
    ];
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|e| StartError(format!("cannot make a certificate for HTTPS: {e}")))?;
    let write = |path: &Path, text: &str| {
        write_private(path, text).map_err(cannot(format_args!("cannot write {}", path.display())))
    };
    write(key_path, &made.signing_key.serialize_pem())?;
    write(cert_path, &made.cert.pem())?;
    tracing::info!(path = %cert_path.display(), "made a certificate for HTTPS; browsers will ask whether to trust it");
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
