//! Over TLS: whoever trusts the certificate is served, and nobody else.

use std::io::ErrorKind;
use std::sync::Arc;

use model_sim::{SimConfig, TlsIdentity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::common::{chat_body, head, wait_for};

fn connector(trusted: Option<&str>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = trusted {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

#[tokio::test]
async fn who_trusts_the_certificate_is_served_and_nobody_else() {
    let identity = TlsIdentity::self_signed().unwrap();
    let model = model_sim::start_tls(SimConfig::default(), identity.clone()).await.unwrap();
    assert!(model.url().starts_with("https://127.0.0.1:"));
    for (trusted, name) in
        [(true, "localhost"), (true, "127.0.0.1"), (false, "localhost"), (true, "other.test")]
    {
        let tcp = TcpStream::connect(model.address()).await.unwrap();
        let connector = connector(trusted.then(|| identity.certificate_pem()));
        let connected = connector.connect(ServerName::try_from(name).unwrap(), tcp).await;
        if !trusted || name == "other.test" {
            let error = connected.err().unwrap();
            assert!(
                error.kind() == ErrorKind::InvalidData && error.to_string().contains("certificate"),
                "{error}"
            );
            continue;
        }
        let mut stream = connected.unwrap();
        let request = head("POST", "/v1/chat/completions", "", &chat_body("hi", false));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        // A peer that closes without the alert that ends TLS is none of this test's business.
        let _ = stream.read_to_string(&mut text).await;
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("You said: hi"), "{name}: {text}");
    }
    wait_for(&model, "two calls were made", |stats| stats.completed == 2).await;
}
