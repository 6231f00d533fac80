//! The webhooks: one server for all streams, which behaves as the plan says and keeps a record of every request.
//!
//! A request is recorded before its answer begins, so that whatever the hub knows of it is known here.

use crate::ledger::Mark;
use crate::plan::Behaviour;
use crate::scenario::STREAMS;
use crate::support::http::{read_body, read_headers, read_line};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const HUGE: usize = 50 << 20;

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No 2xx: the hub has to try again.
    Failed,
    /// A 200 whose body broke off. The hub has it as delivered when it saw the status, and else tries again.
    Cut,
    /// A 200, whole: there is no reason for the event to come again, other than a fault of something else.
    Delivered,
}

/// A request, or a message of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The event's id.
    pub id: u64,
    /// Its mark.
    pub mark: Mark,
    /// How it was answered.
    pub outcome: Outcome,
}

struct State {
    behaviour: Cell<Behaviour>,
    arrivals: RefCell<Vec<Vec<Arrival>>>,
    malformed: RefCell<Vec<String>>,
}

/// The server; ends with the test's runtime.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    state: Rc<State>,
}

impl Receiver {
    /// Listens on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let state = State {
            behaviour: Cell::new(Behaviour::Well),
            arrivals: RefCell::new(vec![Vec::new(); STREAMS.len()]),
            malformed: RefCell::default(),
        };
        let receiver = Self { address, state: Rc::new(state) };
        let server = receiver.clone();
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                // The client's going away is its own business.
                actix_web::rt::spawn(async move { drop(server.serve(stream).await) });
            }
        });
        receiver
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The path of a stream's webhook.
    pub fn path(stream: usize) -> String {
        format!("/{stream}")
    }

    /// Behaves like that from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state.behaviour.set(behaviour);
    }

    /// What has arrived for each stream, in order of arrival.
    pub fn arrivals(&self) -> Vec<Vec<Arrival>> {
        self.state.arrivals.borrow().clone()
    }

    /// Requests that were no deliveries of an event.
    pub fn malformed(&self) -> Vec<String> {
        self.state.malformed.borrow().clone()
    }

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        loop {
            let line = read_line(&mut stream).await?;
            let headers = read_headers(&mut stream).await?;
            let body = read_body(&mut stream, &headers, false).await?;
            let behaviour = self.record(&line, &headers, &body);
            let socket = stream.get_mut();
            match behaviour {
                Behaviour::Well => socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await?,
                Behaviour::Refuse => {
                    socket.write_all(b"HTTP/1.1 500 Scripted\r\nContent-Length: 4\r\n\r\noops").await?;
                }
                Behaviour::Hang => std::future::pending().await,
                Behaviour::CutHead => {
                    socket.write_all(b"HTTP/1.1 200 O").await?;
                    return drop_connection(socket, body.len()).await;
                }
                Behaviour::CutBody => {
                    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nand then").await?;
                    return drop_connection(socket, body.len()).await;
                }
                Behaviour::Huge => {
                    socket.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n").as_bytes()).await?;
                    let block = vec![b'x'; 64 << 10];
                    for _ in 0..HUGE / block.len() {
                        socket.write_all(&block).await?;
                    }
                }
            }
        }
    }

    /// Records a request; what to do with it.
    fn record(&self, line: &str, headers: &[(String, String)], body: &[u8]) -> Behaviour {
        let path = line.split(' ').nth(1).unwrap_or_default();
        let stream = path.trim_start_matches('/').parse::<usize>().ok().filter(|stream| *stream < STREAMS.len());
        let id = headers.iter().find(|(name, _)| name == "webhook-id").map(|(_, id)| id.as_str());
        let event: Value = serde_json::from_slice(body).unwrap_or_default();
        let (Some(stream), Some((number, mark))) = (stream, identify(&event, id)) else {
            let body = String::from_utf8_lossy(body);
            self.state.malformed.borrow_mut().push(format!("{line}, webhook-id {id:?}: {body}"));
            return Behaviour::Well;
        };
        let doomed = STREAMS[stream].refuses_marked && event["payload"]["doomed"] == true;
        let behaviour = if doomed { Behaviour::Refuse } else { self.state.behaviour.get() };
        let outcome = match behaviour {
            Behaviour::Refuse | Behaviour::Hang | Behaviour::CutHead => Outcome::Failed,
            Behaviour::CutBody => Outcome::Cut,
            Behaviour::Well | Behaviour::Huge => Outcome::Delivered,
        };
        self.state.arrivals.borrow_mut()[stream].push(Arrival { id: number, mark, outcome });
        behaviour
    }
}

/// An event's id and mark out of its JSON, which must agree with the id it travels under.
pub fn identify(event: &Value, id: Option<&str>) -> Option<(u64, Mark)> {
    let own = event["id"].as_str()?;
    Some((own.parse().ok().filter(|_| id == Some(own))?, Mark::of_payload(&event["payload"])?))
}

/// Half of the time in order, half of the time with a reset.
async fn drop_connection(socket: &mut TcpStream, random: usize) -> io::Result<()> {
    if random.is_multiple_of(2) {
        // What was written gets through before the reset.
        tokio::time::sleep(Duration::from_millis(2)).await;
        socket2::SockRef::from(&*socket).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}
