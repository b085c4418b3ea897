//! TLS to the collector: Mozilla's roots, and those the operator names beside them.

use super::keys::Protocol;
use super::settings::ExportError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

pub(super) fn client_config(
    protocol: Protocol,
    roots_file: Option<&Path>,
) -> Result<Arc<ClientConfig>, ExportError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = roots_file {
        let wrong = |reason| ExportError::Certificate { path: path.to_owned(), reason };
        add(&mut roots, path).map_err(wrong)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| ExportError::Certificate {
        path: roots_file.unwrap_or(Path::new("")).to_owned(),
        reason: error.to_string(),
    })?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = match protocol {
        Protocol::Http => vec![b"http/1.1".to_vec()],
        Protocol::Grpc => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        count += 1;
    }
    if count == 0 {
        return Err("it holds no certificate; it must be in PEM form (BEGIN CERTIFICATE)".to_owned());
    }
    Ok(())
}
