//! Sends events to a hub and says how fast it took them.
//!
//! - `sender ADDRESS fill TYPES COUNT BATCH`: so many events of each type (comma-separated), in batches.
//! - `sender ADDRESS open TYPES RATE SECONDS CONNECTIONS`: single events at a fixed rate, however the hub does.
//! - `sender ADDRESS closed TYPES CONNECTIONS SECONDS`: single events, each connection as fast as it is answered.
//!
//! Types take turns. Each payload carries `sent_us`, when it was sent. Prints events sent, seconds, events a
//! second, and microseconds to the answer at p50 and p99. Anything but an acceptance of each event is an error.
//! Plain sockets, so that the sender costs little beside what is measured.

use futures_util::future::try_join_all;
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::{Error, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Connections that fill in batches.
const FILLERS: usize = 4;
const USAGE: &str = "usage: sender ADDRESS fill TYPES COUNT BATCH | open TYPES RATE SECONDS CONNECTIONS | closed TYPES \
                     CONNECTIONS SECONDS";

fn now_us() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}

/// One kept connection to the hub.
struct Hub {
    address: String,
    stream: BufReader<TcpStream>,
    request: String,
    answer: Vec<u8>,
}

impl Hub {
    async fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(64 << 10, stream);
        Ok(Self { address: address.to_owned(), stream, request: String::new(), answer: Vec::new() })
    }

    /// Sends `count` events of a type in one request.
    async fn send(&mut self, ty: &str, count: usize) -> std::io::Result<()> {
        let event = || format!("{{\"type\":\"{ty}\",\"payload\":{{\"sent_us\":{},\"text\":\"abcdefgh\"}}}}", now_us());
        let body = match count {
            1 => event(),
            _ => format!("[{}]", (0..count).map(|_| event()).collect::<Vec<_>>().join(",")),
        };
        self.request.clear();
        // Writing to a string does not fail.
        let _ = write!(
            self.request,
            "POST /api/events/send HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.stream.get_mut().write_all(self.request.as_bytes()).await?;
        self.read_answer().await?;
        let text = String::from_utf8_lossy(&self.answer);
        match text.matches("\"status\":\"accepted\"").count() {
            accepted if accepted == count => Ok(()),
            _ => Err(Error::other(format!("not accepted: {}", text.chars().take(400).collect::<String>()))),
        }
    }

    async fn read_answer(&mut self) -> std::io::Result<()> {
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(Error::other("the hub closed the connection"));
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok()
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let length: usize = length.ok_or_else(|| Error::other("an answer without a length"))?;
        self.answer.resize(length, 0);
        self.stream.read_exact(&mut self.answer).await.map(drop)
    }
}

/// What all connections do together.
struct Load {
    address: String,
    types: Vec<String>,
    turn: Cell<usize>,
    sent: Cell<usize>,
    /// Microseconds to each answer.
    took_us: RefCell<Vec<u32>>,
}

impl Load {
    /// The number of the next event or batch, and its type.
    fn next(&self) -> (usize, &str) {
        let turn = self.turn.replace(self.turn.get() + 1);
        (turn, self.types.get(turn % self.types.len().max(1)).map_or("", String::as_str))
    }

    async fn send(&self, hub: &mut Hub, ty: &str, count: usize) -> std::io::Result<()> {
        let began = Instant::now();
        hub.send(ty, count).await?;
        self.took_us.borrow_mut().push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        self.sent.set(self.sent.get() + count);
        Ok(())
    }

    async fn fill(&self, count: usize, batch: usize) -> std::io::Result<()> {
        let batches = count.div_ceil(batch.max(1)) * self.types.len();
        let one = async || {
            let mut hub = Hub::connect(&self.address).await?;
            loop {
                let (turn, ty) = self.next();
                if turn >= batches {
                    return Ok(());
                }
                let before = turn / self.types.len() * batch;
                self.send(&mut hub, ty, batch.min(count - before)).await?;
            }
        };
        try_join_all((0..FILLERS).map(|_| one())).await.map(drop)
    }

    async fn open(&self, rate: f64, seconds: f64, connections: usize) -> std::io::Result<()> {
        let began = Instant::now();
        let one = async || {
            let mut hub = Hub::connect(&self.address).await?;
            loop {
                let (turn, ty) = self.next();
                let after = turn as f64 / rate;
                if after >= seconds {
                    return Ok(());
                }
                tokio::time::sleep_until(began + Duration::from_secs_f64(after)).await;
                self.send(&mut hub, ty, 1).await?;
            }
        };
        try_join_all((0..connections).map(|_| one())).await.map(drop)
    }

    async fn closed(&self, connections: usize, seconds: f64) -> std::io::Result<()> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let one = async || {
            let mut hub = Hub::connect(&self.address).await?;
            while Instant::now() < end {
                let (_, ty) = self.next();
                self.send(&mut hub, ty, 1).await?;
            }
            Ok(())
        };
        try_join_all((0..connections).map(|_| one())).await.map(drop)
    }
}

fn number(text: Option<&String>) -> std::io::Result<f64> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Error::other(USAGE))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, mode, types, figures @ ..] = &arguments[..] else { return Err(Error::other(USAGE)) };
    let load = Load {
        address: address.clone(),
        types: types.split(',').map(str::to_owned).collect(),
        turn: Cell::new(0),
        sent: Cell::new(0),
        took_us: RefCell::default(),
    };
    let figure = |n: usize| number(figures.get(n));
    let began = Instant::now();
    match mode.as_str() {
        "fill" => load.fill(figure(0)? as usize, figure(1)? as usize).await?,
        "open" => load.open(figure(0)?, figure(1)?, figure(2)? as usize).await?,
        "closed" => load.closed(figure(0)? as usize, figure(1)?).await?,
        _ => return Err(Error::other(USAGE)),
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut took = load.took_us.take();
    took.sort_unstable();
    let quantile = |part: f64| took.get((took.len() as f64 * part) as usize).copied().unwrap_or(0);
    let (sent, p50, p99) = (load.sent.get(), quantile(0.5), quantile(0.99));
    writeln!(std::io::stdout(), "{sent} {seconds:.3} {:.1} {p50} {p99}", sent as f64 / seconds)
}
