//! TLS for outbound calls: whom it trusts and which protocols it offers.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::ConfigError;
use crate::transport::HttpVersion;

/// The protocols offered by ALPN, the preferred one first.
const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// What the handshake agreed on.
pub(crate) fn is_http2(alpn: Option<&[u8]>) -> bool {
    alpn == Some(ALPN_HTTP2)
}

/// Mozilla's roots, and those of `extra_roots_file` beside them. The roots of the operating system are not read, so that an
/// image needs no certificate package and trusts the same everywhere.
pub(crate) fn roots(extra_roots_file: Option<&Path>) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = extra_roots_file {
        add_roots(&mut roots, path)
            .map_err(|reason| ConfigError::ExtraRoots { path: path.to_owned(), reason })?;
    }
    Ok(roots)
}

/// A TLS configuration that trusts `roots` and offers `http`. It remembers its own sessions only, so that none is resumed
/// with a server that another configuration trusted.
pub(crate) fn client_config(roots: RootCertStore, http: HttpVersion) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = match http {
        HttpVersion::Auto => vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()],
        HttpVersion::Http1 => vec![ALPN_HTTP1.to_vec()],
        HttpVersion::Http2 => vec![ALPN_HTTP2.to_vec()],
    };
    Ok(config)
}

/// Adds the certificates of a PEM file, or says why they cannot be used.
pub(crate) fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        count += 1;
        roots.add(certificate).map_err(|error| format!("certificate {count}: {error}"))?;
    }
    if count == 0 {
        return Err("it holds no certificate; it must be in PEM form (BEGIN CERTIFICATE)".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_roots_file_that_cannot_be_used_is_refused_by_name_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, content: Option<&str>, part: &str| {
            let path = folder.path().join(name);
            if let Some(content) = content {
                fs::write(&path, content).unwrap();
            }
            let message = roots(Some(&path)).unwrap_err().to_string();
            assert!(message.contains("extra_roots_file") && message.contains(name), "{message}");
            assert!(message.contains(part), "{message} lacks {part:?}");
        };
        check("absent.pem", None, "No such file");
        check("empty.pem", Some(""), "holds no certificate");
        check("text.pem", Some("hello"), "holds no certificate");
        check(
            "not-a-cert.pem",
            Some("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"),
            "certificate 1",
        );
    }

    #[test]
    fn what_is_offered_follows_the_version_and_http2_comes_first() {
        let check = |http, expected: &[&[u8]]| {
            assert_eq!(client_config(roots(None).unwrap(), http).unwrap().alpn_protocols, expected);
        };
        check(HttpVersion::Auto, &[b"h2", b"http/1.1"]);
        check(HttpVersion::Http1, &[b"http/1.1"]);
        check(HttpVersion::Http2, &[b"h2"]);
    }
}
