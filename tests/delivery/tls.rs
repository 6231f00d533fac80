//! Delivery over TLS, to peers whose certificate an authority of one's own has signed.

use crate::support::amqp::Broker;
use crate::support::api::{rabbit, webhook};
use crate::support::hub::Setup;
use crate::support::rabbit::RabbitServer;
use crate::support::wait::{PATIENCE, eventually, within};
use actix_web::{App, HttpResponse, HttpServer, web};
use lapin::ExchangeKind;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

/// An authority in a file, and what it has signed for `localhost`.
struct Signed {
    authority: NamedTempFile,
    certificate: String,
    key: String,
}

fn signed() -> Signed {
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), authority.pem()).expect("the file can be written");
    Signed { authority: file, certificate: certificate.pem(), key: key.serialize_pem() }
}

/// A webhook over TLS; what it gets comes out of the channel.
fn serve(signed: &Signed) -> (u16, mpsc::UnboundedReceiver<Value>) {
    let (got, events) = mpsc::unbounded_channel();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let certificate = CertificateDer::from_pem_slice(signed.certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).expect("a key");
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).expect("a pair");
    let server = HttpServer::new(move || {
        let got = got.clone();
        App::new().default_service(web::post().to(move |event: web::Json<Value>| {
            let got = got.clone();
            async move {
                got.send(event.into_inner()).expect("the test listens");
                HttpResponse::Ok().finish()
            }
        }))
    });
    let server = server.workers(1).disable_signals().bind_rustls_0_23("127.0.0.1:0", config).expect("a free port");
    let port = server.addrs()[0].port();
    actix_web::rt::spawn(server.run());
    (port, events)
}

#[actix_web::test]
async fn a_webhook_over_tls_is_trusted_by_the_system_s_authorities_alone() {
    let signed = signed();
    let (port, mut events) = serve(&signed);
    let uri = format!("https://localhost:{port}/");
    // Without the authority it is a stranger.
    let hub = Setup::embedded().start().await;
    hub.register_with("t", "1h", json!([webhook("hook", &uri)])).await;
    hub.send("t", json!(1)).await;
    let refused = || async {
        let stream = hub.get("/api/events/streams/t/hook").await.expect(200).json();
        stream["last_error"].as_str().map(str::to_owned)
    };
    let why = eventually(PATIENCE, "a failure", refused).await;
    assert!(why.contains("certificate"), "{why}");
    // With it the waiting event is delivered.
    let setup = hub.stop().await.env("SSL_CERT_FILE", signed.authority.path().display());
    let hub = setup.start().await;
    let event = within(PATIENCE, "the event", events.recv()).await.expect("a webhook");
    assert_eq!(event["payload"], 1);
    drop(hub);
}

#[actix_web::test]
async fn a_broker_over_tls_is_trusted_by_the_system_s_authorities() {
    let signed = signed();
    let (certificate, key) = (signed.certificate.clone(), signed.key.clone());
    let server = tokio::task::spawn_blocking(move || RabbitServer::start_with_tls(&certificate, &key)).await;
    let server = server.expect("RabbitMQ starts");
    let broker = Broker::connect(&server.url()).await;
    broker.exchange("x", ExchangeKind::Topic).await;
    broker.queue("q", "x", "k").await;
    let setup = Setup::embedded().set("rabbit.url", server.tls_url());
    let hub = setup.env("SSL_CERT_FILE", signed.authority.path().display()).start().await;
    hub.register_with("t", "1h", json!([rabbit("mq", "x", "k")])).await;
    let sent = hub.send("t", json!(1)).await;
    let collected = broker.collect("q").await;
    collected.until_within(PATIENCE, "the event", |m| m.iter().any(|m| m.id() == sent.id)).await;
}
