//! A gate before Redis, which holds back what Redis answers: to whoever is behind it, Redis has become slow.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// An open gate; it ends with the test's runtime.
pub struct Gate {
    port: u16,
    open: watch::Sender<bool>,
    asked: Arc<Mutex<Vec<u8>>>,
}

impl Gate {
    /// One before the server at this port.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (open, asked) = (watch::Sender::new(true), Arc::<Mutex<Vec<u8>>>::default());
        let (opened, note) = (open.subscribe(), Arc::clone(&asked));
        actix_web::rt::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                let note = Arc::clone(&note);
                let noting = move |bytes: &[u8]| note.lock().expect("what was asked").extend_from_slice(bytes);
                actix_web::rt::spawn(pass(from_client, to_server, noting, None));
                actix_web::rt::spawn(pass(from_server, to_client, |_| (), Some(opened.clone())));
            }
        });
        Self { port, open, asked }
    }

    /// The value of `store.url`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// No answer comes through from now on.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// What was held back comes through.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Whether Redis has been sent these bytes.
    pub fn has_passed(&self, bytes: &[u8]) -> bool {
        let asked = self.asked.lock().expect("what was asked");
        asked.windows(bytes.len()).any(|window| window == bytes)
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    note: impl Fn(&[u8]),
    mut gate: Option<watch::Receiver<bool>>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if let Some(gate) = &mut gate
            && gate.wait_for(|open| *open).await.is_err()
        {
            return;
        }
        note(&buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
