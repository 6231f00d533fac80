//! TLS: HTTP and WebSocket over it, a certificate that is exchanged while the hub runs, and files that cannot be used.

use crate::settings::assert_refused;
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually, within};
use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

/// An authority that clients trust, and files with what it has signed.
struct Signer {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Signer {
    fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, key).expect("an authority");
        let signer = Self { authority, folder: tempfile::tempdir().expect("a temporary folder") };
        signer.sign();
        signer
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// Writes a new pair; the certificate.
    fn sign(&self) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.authority).expect("a certificate");
        std::fs::write(self.cert(), certificate.pem()).expect("a file");
        std::fs::write(self.key(), key.serialize_pem()).expect("a file");
        certificate.der().clone()
    }

    fn setup(&self) -> Setup {
        let setup = Setup::embedded().set("http.tls.cert", self.cert().display());
        setup.set("http.tls.key", self.key().display())
    }

    async fn start(&self) -> Hub {
        let hub = self.setup().spawn().await;
        let ready = || async { self.exchange(&hub, "GET /readyz", "").await.starts_with("HTTP/1.1 200").then_some(()) };
        eventually(PATIENCE, "the hub to be ready", ready).await;
        hub
    }

    async fn connect(&self, hub: &Hub) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).expect("a certificate");
        roots.add(root).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(hub.address()).await.expect("the hub listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        within(PATIENCE, "the TLS handshake", connected).await.expect("a handshake")
    }

    /// One request on a connection of its own: all that comes back.
    async fn exchange(&self, hub: &Hub, what: &str, body: &str) -> String {
        let mut stream = self.connect(hub).await;
        let length = body.len();
        let request = format!(
            "{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.expect("the request is written");
        let mut answer = Vec::new();
        // A connection that ends without a farewell has still answered.
        let _ = within(PATIENCE, "the answer", stream.read_to_end(&mut answer)).await;
        String::from_utf8(answer).expect("text")
    }

    /// The certificate that the hub shows now.
    async fn shown(&self, hub: &Hub) -> CertificateDer<'static> {
        let stream = self.connect(hub).await;
        stream.get_ref().1.peer_certificates().expect("certificates")[0].clone().into_owned()
    }
}

#[actix_web::test]
async fn http_and_websocket_go_over_tls() {
    let signer = Signer::new();
    let hub = signer.start().await;
    assert_eq!(signer.connect(&hub).await.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let answer = signer.exchange(&hub, "PUT /api/events/register", r#"{"type":"t","ttl":"1h"}"#).await;
    assert!(answer.starts_with("HTTP/1.1 201") && answer.contains("\"https://localhost/api/events/register/t\""));
    let socket = signer.connect(&hub).await;
    let opened = tokio_tungstenite::client_async("wss://localhost/api/events/?types=t", socket);
    let (mut session, _) = within(PATIENCE, "the WebSocket handshake", opened).await.expect("a session");
    let answer = signer.exchange(&hub, "POST /api/events/send", r#"{"type":"t","payload":1}"#).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let event = within(PATIENCE, "the event", session.next()).await.expect("a frame").expect("a frame");
    let event: Value = serde_json::from_str(event.to_text().expect("text")).expect("JSON");
    assert_eq!(event["payload"], 1);
    // Who closes is answered, and the connection ends in order.
    session.send(Message::Close(None)).await.expect("a farewell");
    let last = within(PATIENCE, "the answer", async {
        let mut last = None;
        while let Some(Ok(message)) = session.next().await {
            last = Some(message);
        }
        last
    });
    assert!(matches!(last.await, Some(Message::Close(_))));
    // A page that signs in gets a cookie for TLS alone.
    let out = signer.exchange(&hub, "DELETE /api/session", "").await;
    assert!(out.contains("; Secure"), "{out}");
    hub.stop().await;
}

/// By the second descriptor of a TLS connection's socket, which the server is given when it accepts one.
#[actix_web::test]
async fn a_peer_that_stops_reading_is_cut_under_tls_too() {
    let signer = Signer::new();
    let hub = signer.setup().set("live.mailbox", 8).spawn().await;
    let ready = || async { signer.exchange(&hub, "GET /readyz", "").await.starts_with("HTTP/1.1 200").then_some(()) };
    eventually(PATIENCE, "the hub to be ready", ready).await;
    signer.exchange(&hub, "PUT /api/events/register", r#"{"type":"t","ttl":"1h"}"#).await;
    let socket = signer.connect(&hub).await;
    let (session, _) = tokio_tungstenite::client_async("wss://localhost/api/events/", socket).await.expect("a session");
    // Nobody reads it, so that it fills its own and the kernel's queues.
    let payload = "x".repeat(500_000);
    for _ in 0..24 {
        let event = json!({"type": "t", "payload": payload}).to_string();
        assert!(signer.exchange(&hub, "POST /api/events/send", &event).await.starts_with("HTTP/1.1 202"));
    }
    hub.logged("live session closed").await;
    hub.logged("live session cut").await;
    drop(session);
    hub.stop().await;
}

#[actix_web::test]
async fn a_certificate_is_exchanged_while_the_hub_runs() {
    let signer = Signer::new();
    let hub = signer.start().await;
    let mut standing = signer.connect(&hub).await;
    let first = signer.shown(&hub).await;
    // By itself, when the files change.
    let second = signer.sign();
    let exchanged = || async { (signer.shown(&hub).await == second).then_some(()) };
    eventually(PATIENCE, "the new certificate", exchanged).await;
    assert_ne!(first, second);
    // Half a pair changes nothing but the log.
    let good = std::fs::read(signer.key()).expect("the key");
    std::fs::write(signer.key(), KeyPair::generate().expect("a key").serialize_pem()).expect("a file");
    hub.signal("HUP");
    hub.logged("the certificate stays as it was: http.tls.key").await;
    assert_eq!(signer.shown(&hub).await, second);
    std::fs::write(signer.key(), good).expect("a file");
    // At once, when told to.
    let third = signer.sign();
    hub.signal("HUP");
    eventually(PATIENCE, "the third certificate", || async { (signer.shown(&hub).await == third).then_some(()) }).await;
    // Who was connected stays so.
    standing.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("a request");
    let mut answer = [0; 12];
    within(PATIENCE, "an answer", standing.read_exact(&mut answer)).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[actix_web::test]
async fn files_that_cannot_be_used_stop_the_start_with_one_line() {
    let (signer, other) = (Signer::new(), Signer::new());
    let (cert, key) = (signer.cert().display().to_string(), signer.key().display().to_string());
    let empty = signer.folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing\n").expect("a file");
    let (empty, foreign) = (empty.display().to_string(), other.key().display().to_string());
    for (cert, key, named) in [
        ("/nowhere/cert.pem", &*key, "http.tls.cert"),
        (&*cert, "/nowhere/key.pem", "http.tls.key"),
        (&*empty, &*key, "http.tls.cert"),
        (&*cert, &*empty, "http.tls.key"),
        (&*cert, &*foreign, "http.tls.key"),
        (&*cert, &*cert, "http.tls.key"),
        (&*cert, "", "http.tls.key"),
    ] {
        let env = [("EVENTS__HTTP__TLS__CERT", cert), ("EVENTS__HTTP__TLS__KEY", key)];
        assert_refused(signer.folder.path(), &[], &env, named).await;
    }
}

#[actix_web::test]
async fn who_does_not_speak_tls_is_let_go() {
    let signer = Signer::new();
    let hub = signer.setup().set("http.client_timeout", "500ms").spawn().await;
    let mut silent = TcpStream::connect(hub.address()).await.expect("the hub listens");
    let mut plain = TcpStream::connect(hub.address()).await.expect("the hub listens");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("a request");
    for stream in [&mut silent, &mut plain] {
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok() && !answer.starts_with(b"HTTP"), "{answer:?}");
    }
}
