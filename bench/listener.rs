//! Opens WebSocket sessions, publishes to them at a fixed rate, and says how long messages took from send to receipt.
//!
//! `listener hub|nchan ADDRESS SESSIONS RATE SECONDS`: on a hub it sends events of the type `bench:live`; on an nginx
//! with nchan it posts to `/pub` and listens at `/sub`. Messages have 150 bytes. Prints the messages that each session
//! should have got, those that were missing in all, deliveries a second, and milliseconds at p50, p99 and the most.
//! `listener hub ADDRESS SESSIONS idle SECONDS` only keeps them open, and prints `open` and their number, and in the end
//! `received` and the number of messages that came, from whomever. `listener hub ADDRESS EVENTS replay SECONDS` opens
//! one session that goes on from the very beginning of the type `bench:replay`, and prints how many seconds it took to
//! get so many events, each with a greater id than the one before. Plain sockets, and frames are looked at only for
//! the time they were sent: what is measured is to have the processor to itself.

use std::cell::{Cell, RefCell};
use std::io::{Error, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const USAGE: &str =
    "usage: listener hub|nchan ADDRESS SESSIONS RATE|idle SECONDS, listener hub ADDRESS EVENTS replay SECONDS";
/// Length of a message as it is published.
const MESSAGE: usize = 150;
/// Connections that publish; each waits for its answer.
const PUBLISHERS: u32 = 8;
/// What stands before the time of sending.
const MARK: &[u8] = b"\"t\":";

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Default)]
struct Figures {
    sessions: Cell<usize>,
    received: Cell<u64>,
    /// What they and everything around them took, from when the sessions were open.
    bytes: Cell<u64>,
    /// Microseconds of each delivery.
    took: RefCell<Vec<u32>>,
}

struct Plan {
    hub: bool,
    address: String,
    sessions: usize,
    what: What,
    seconds: u64,
}

/// What is done with the sessions.
enum What {
    Idle,
    /// So many messages a second.
    Rate(u32),
    /// One session; their number is that of the events.
    Replay,
}

fn plan() -> Option<Plan> {
    let mut arguments = std::env::args().skip(1);
    let hub = match arguments.next()?.as_str() {
        "hub" => true,
        "nchan" => false,
        _ => return None,
    };
    let (address, sessions) = (arguments.next()?, arguments.next()?.parse().ok()?);
    let what = match arguments.next()?.as_str() {
        "idle" => What::Idle,
        "replay" if hub => What::Replay,
        rate => What::Rate(rate.parse().ok()?),
    };
    Some(Plan { hub, address, sessions, what, seconds: arguments.next()?.parse().ok()? })
}

/// A session and what of it has been read.
struct Session {
    stream: TcpStream,
    buffer: Vec<u8>,
    from: usize,
    filled: usize,
}

impl Session {
    async fn open(address: &str, path: &str) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = vec![0; 16 << 10];
        let mut filled = 0;
        loop {
            let read = stream.read(&mut buffer[filled..]).await?;
            filled += read;
            if read == 0 {
                return Err(Error::other("closed before it was a session"));
            }
            if let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                if !buffer.starts_with(b"HTTP/1.1 101") {
                    return Err(Error::other(String::from_utf8_lossy(&buffer[..end]).into_owned()));
                }
                return Ok(Self { stream, buffer, from: end + 4, filled });
            }
        }
    }

    /// Shows the messages that have come, then waits for more; how many bytes these are.
    async fn read(&mut self, mut show: impl FnMut(&[u8])) -> std::io::Result<u64> {
        while let Some((payload, next)) = frame(&self.buffer[self.from..self.filled]) {
            let kind = self.buffer[self.from] & 0x0f;
            let payload = &self.buffer[self.from + payload.start..self.from + payload.end];
            self.from += next;
            match kind {
                1 | 2 => show(payload),
                // A ping wants a pong; masked with zeros, which changes nothing.
                9 => {
                    let mut pong = vec![0x8a, 0x80 | payload.len() as u8, 0, 0, 0, 0];
                    pong.extend(payload);
                    self.stream.write_all(&pong).await?;
                }
                8 => return Err(Error::other("closed by the server")),
                _ => {}
            }
        }
        self.buffer.copy_within(self.from..self.filled, 0);
        (self.from, self.filled) = (0, self.filled - self.from);
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if read == 0 {
            return Err(Error::other("the connection has ended"));
        }
        self.filled += read;
        Ok(read as u64)
    }
}

/// Opens, then reads until the connection ends.
async fn listen(plan: Rc<Plan>, figures: Rc<Figures>) -> std::io::Result<()> {
    let path = if plan.hub { "/api/events/?types=bench:live" } else { "/sub" };
    let mut session = Session::open(&plan.address, path).await?;
    figures.sessions.set(figures.sessions.get() + 1);
    loop {
        let now = now_us();
        let read = session.read(|message| received(message, now, &figures)).await?;
        figures.bytes.set(figures.bytes.get() + read);
    }
}

/// Reads all that is stored of the type.
async fn replay(plan: &Plan) -> std::io::Result<()> {
    let began = Instant::now();
    let mut session = Session::open(&plan.address, "/api/events/?types=bench:replay&since=0").await?;
    let (mut events, mut last, mut wrong) = (0, 0, None);
    while events < plan.sessions {
        let read = session.read(|message| {
            let Some(rest) = message.strip_prefix(b"{\"id\":\"") else { return };
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
            let id = digits.fold(0_u64, |id, digit| id * 10 + u64::from(digit - b'0'));
            if id <= last {
                wrong = Some(id);
            }
            (events, last) = (events + 1, id);
        });
        let left = Duration::from_secs(plan.seconds).saturating_sub(began.elapsed());
        tokio::time::timeout(left, read)
            .await
            .map_err(|_| Error::other(format!("only {events} events have come")))?
            .map_err(|e| Error::other(format!("{e} after {events} events")))?;
        if let Some(id) = wrong {
            return Err(Error::other(format!("out of order: {id}")));
        }
    }
    writeln!(std::io::stdout(), "{:.2}", began.elapsed().as_secs_f64())
}

/// Where the payload of the first frame is, and where the next frame begins; `None` until it is whole.
fn frame(bytes: &[u8]) -> Option<(std::ops::Range<usize>, usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (2, usize::from(length)),
    };
    (bytes.len() >= start + length).then_some((start..start + length, start + length))
}

fn received(message: &[u8], now: u64, figures: &Figures) {
    if message.starts_with(b"{\"control\":") {
        return;
    }
    figures.received.set(figures.received.get() + 1);
    let Some(at) = message.windows(MARK.len()).position(|part| part == MARK) else { return };
    let digits = message[at + MARK.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let sent = digits.fold(0_u64, |time, digit| time * 10 + u64::from(digit - b'0'));
    figures.took.borrow_mut().push(u32::try_from(now.saturating_sub(sent)).unwrap_or(u32::MAX));
}

/// Publishes messages on one connection, each at its time however late the one before was answered.
fn publish(plan: &Plan, first: u32, rate: u32, began: Instant) -> std::io::Result<u64> {
    let mut stream = std::net::TcpStream::connect(&plan.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut buffer = [0; 8 << 10];
    let mut sent = 0;
    for n in (first..).step_by(PUBLISHERS as usize) {
        let at = began + Duration::from_secs_f64(f64::from(n) / f64::from(rate));
        if at >= began + Duration::from_secs(plan.seconds) {
            break;
        }
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let head = format!("{{\"t\":{},\"text\":\"", now_us());
        let message = format!("{head}{}\"}}", "x".repeat(MESSAGE - head.len() - 2));
        let (path, body) = match plan.hub {
            true => ("/api/events/send", format!("{{\"type\":\"bench:live\",\"payload\":{message}}}")),
            false => ("/pub", message),
        };
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ");
        stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes())?;
        let read = stream.read(&mut buffer)?;
        if !buffer[..read].starts_with(b"HTTP/1.1 20") {
            return Err(Error::other(String::from_utf8_lossy(&buffer[..read]).into_owned()));
        }
        sent += 1;
    }
    Ok(sent)
}

/// Opens the sessions, publishes, and waits until what was published has arrived or does not come.
async fn run(plan: Plan) -> std::io::Result<()> {
    if matches!(plan.what, What::Replay) {
        return replay(&plan).await;
    }
    let (plan, figures) = (Rc::new(plan), Rc::<Figures>::default());
    let failed = Rc::new(RefCell::new(None));
    for n in 0..plan.sessions {
        let (session, failed) = (listen(Rc::clone(&plan), Rc::clone(&figures)), Rc::clone(&failed));
        tokio::task::spawn_local(async move { *failed.borrow_mut() = session.await.err() });
        // Accept queues are short.
        if n % 64 == 63 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let end = Instant::now() + Duration::from_secs(30);
    while figures.sessions.get() < plan.sessions && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if figures.sessions.get() < plan.sessions {
        return Err(failed.take().unwrap_or_else(|| Error::other("the sessions do not open")));
    }
    let What::Rate(rate) = plan.what else {
        writeln!(std::io::stdout(), "open {}", figures.sessions.get())?;
        tokio::time::sleep(Duration::from_secs(plan.seconds)).await;
        writeln!(std::io::stdout(), "received {}\nbytes {}", figures.received.get(), figures.bytes.get())?;
        return failed.take().map_or(Ok(()), Err);
    };
    let (done, mut published) = tokio::sync::oneshot::channel();
    let (hub, address, seconds) = (plan.hub, plan.address.clone(), plan.seconds);
    let began = Instant::now();
    std::thread::spawn(move || {
        let plan = Plan { hub, address, sessions: 0, what: What::Rate(rate), seconds };
        let sent: std::io::Result<Vec<u64>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..PUBLISHERS)
                .map(|n| {
                    scope.spawn({
                        let plan = &plan;
                        move || publish(plan, n, rate, began)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(Error::other("a publisher died"))))
                .collect()
        });
        let _ = done.send(sent.map(|sent| sent.iter().sum::<u64>()));
    });
    let sent = (&mut published).await.map_err(Error::other)??;
    let wanted = sent * plan.sessions as u64;
    let patience = Instant::now() + Duration::from_secs(10);
    while figures.received.get() < wanted && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut took = figures.took.take();
    took.sort_unstable();
    let at =
        |part: f64| f64::from(took.get(((took.len() as f64 - 1.0) * part) as usize).copied().unwrap_or(0)) / 1000.0;
    writeln!(
        std::io::stdout(),
        "{sent} {} {:.0} {:.2} {:.2} {:.2}",
        wanted.saturating_sub(figures.received.get()),
        figures.received.get() as f64 / seconds,
        at(0.5),
        at(0.99),
        at(1.0)
    )?;
    failed.take().map_or(Ok(()), Err)
}

fn main() -> std::io::Result<()> {
    let Some(plan) = plan() else { return Err(Error::other(USAGE)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(plan))
}
