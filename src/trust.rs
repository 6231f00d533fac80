//! Whom the hub's TLS connections trust: the public authorities that come with the hub, and those of the system.
//!
//! The system's are read once, at first use, from where OpenSSL has them, or from `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`: so an authority of one's own works as it does for other programs of the machine, and a
//! machine without any has the public ones.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, LazyLock};

static SYSTEM: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    if let Some(error) = found.errors.first() {
        log::warn!("some of the system's certificate authorities cannot be read: error={:?}", error.to_string());
    }
    found.certs
});

/// For webhooks, which speak HTTP/1.1. The `Err` of a protocol version that the provider lacks cannot happen with this one.
pub(crate) fn client_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // What is malformed among the system's is left out, as other programs do.
    roots.add_parsable_certificates(SYSTEM.iter().cloned());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = config.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The system's authorities in PEM, for brokers, whose client has the public ones already, and for Redis. Without those
/// that are malformed; empty where the system has none.
pub(crate) fn system_pem() -> String {
    let mut pem = String::new();
    for certificate in SYSTEM.iter().filter(|certificate| RootCertStore::empty().add((*certificate).clone()).is_ok()) {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(certificate);
        for line in text.as_bytes().chunks(64) {
            pem.push_str(std::str::from_utf8(line).unwrap_or_default());
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}
