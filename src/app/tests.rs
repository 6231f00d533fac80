//! What becomes of a hub one of whose parts dies or stands still. Each test runs a whole hub in a process of its
//! own, this test binary over again, on a store with a trap in it.

use super::run_on;
use crate::config::Settings;
use crate::store::Store;
use crate::store::testing::{Gate, TempStore, Trap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The trap of a child, as `METHOD TRAP`.
const TRAP: &str = "HUB_TEST_TRAP";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Not a test of its own: the hub that the others run.
#[test]
#[ignore = "the process that other tests start"]
fn hub_with_a_trap() {
    let Ok(trap) = std::env::var(TRAP) else { return };
    let (method, trap) = trap.split_once(' ').unwrap();
    let trap = match trap {
        "panic" => Trap::Panic,
        "hang" => Trap::Hang,
        _ => Trap::Block(PATIENCE),
    };
    env_logger::Builder::new().filter_level(log::LevelFilter::Info).init();
    actix::System::new().block_on(async {
        let store = TempStore::open(1_700_000_000_000);
        let gate = Gate::before(store.shared());
        let settings = [("EVENTS__HTTP__BIND".to_owned(), "127.0.0.1:0".to_owned())];
        let settings = Settings::load(None, settings).unwrap();
        let method: &'static str = method.to_owned().leak();
        if method == "ping" {
            // Only asked at the start of the actor that is to die of it.
            gate.trap(method, trap);
        }
        // Once the hub stands, and the test says so.
        actix::spawn({
            let gate = Arc::clone(&gate);
            async move {
                let mut line = String::new();
                let read = tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line));
                read.await.unwrap().unwrap();
                gate.trap(method, trap);
                log::info!("the trap is set");
            }
        });
        let store: Arc<dyn Store> = gate;
        let load = || Settings::load(None, []);
        run_on(settings, store, None, Arc::new(load)).await.unwrap();
    });
}

struct Hub {
    child: Child,
    address: SocketAddr,
    log: std::sync::mpsc::Receiver<String>,
}

impl Hub {
    /// Starts one that is ready, and then sets the trap.
    fn start(trap: &str) -> Self {
        let mut hub = Self::spawn(trap);
        hub.until_ready(200);
        hub.child.stdin.take().unwrap().write_all(b"now\n").unwrap();
        // What is asked before that would not fall into it.
        hub.logged("the trap is set");
        hub
    }

    /// Starts one that listens.
    fn spawn(trap: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "app::tests::hub_with_a_trap", "--ignored", "--nocapture"])
            .env(TRAP, trap)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = std::sync::mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let mut hub = Self { child, address: ([127, 0, 0, 1], 0).into(), log };
        let line = hub.logged("listening: address=");
        let address = line.split("address=").nth(1).unwrap().split(' ').next().unwrap();
        hub.address = address.parse().unwrap();
        hub
    }

    /// Waits for a line of the log.
    fn logged(&self, part: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left).unwrap_or_else(|_| panic!("no line of the log says {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// An answer's head and body; empty when the hub is gone.
    fn ask(&self, request: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        }
        answer
    }

    fn until_ready(&self, status: u16) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask("GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            if answer.starts_with(&format!("HTTP/1.1 {status} ")) {
                return answer;
            }
            assert!(Instant::now() < end, "not {status}: {answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends an event of a type that is registered first; what becomes of it is not waited for.
    fn send(&self) {
        let request = |line: &str, body: &str| {
            let head = "Host: localhost\r\nContent-Type: application/json\r\nConnection: close";
            format!("{line} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        self.ask(&request("PUT /api/events/register", r#"{"type":"t","ttl":"1h"}"#));
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request("POST /api/events/send", r#"{"type":"t","payload":1}"#).as_bytes()).unwrap();
        // Dropped: the hub goes on with it all the same.
        std::mem::forget(stream);
    }

    /// The exit code of a hub that ends by itself.
    fn exit_code(mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "the hub goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_store_actor_that_dies_ends_the_process() {
    let hub = Hub::start("append panic");
    hub.send();
    hub.logged("core actor died, the process ends: actor=StoreActor exit_code=70");
    assert_eq!(hub.exit_code(), Some(70));
}

#[test]
fn a_registry_actor_that_dies_ends_the_process() {
    let hub = Hub::start("registry_version panic");
    hub.logged("core actor died, the process ends: actor=RegistryActor exit_code=70");
    assert_eq!(hub.exit_code(), Some(70));
}

#[test]
fn a_broadcast_actor_that_dies_ends_the_process() {
    let hub = Hub::spawn("ping panic");
    hub.logged("core actor died, the process ends: actor=BroadcastActor exit_code=70");
    assert_eq!(hub.exit_code(), Some(70));
}

#[test]
fn a_flush_that_never_ends_is_no_progress() {
    let hub = Hub::start("append hang");
    hub.send();
    let answer = hub.until_ready(503);
    assert!(answer.contains("/problems/no-progress") && answer.contains("StoreActor: a flush"), "{answer}");
    hub.logged("no progress, /readyz is 503: part=\"StoreActor");
}

#[test]
fn an_actor_whose_thread_stands_still_is_no_progress() {
    let hub = Hub::start("registry_version block");
    let answer = hub.until_ready(503);
    assert!(answer.contains("RegistryActor: no progress for"), "{answer}");
}
