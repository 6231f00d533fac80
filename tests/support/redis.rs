//! A Redis server of a test's own: free port, temporary folder, every write synced to the append-only file. Clusters of
//! them, and servers that Sentinels watch, are in `cluster` and `sentinel`.

#[path = "redis_cluster.rs"]
pub mod cluster;
#[path = "redis_sentinel.rs"]
pub mod sentinel;

use super::guard::Guard;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A server, running or killed; stopped and removed when dropped.
pub struct RedisServer {
    running: Option<(Child, Guard)>,
    port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further arguments, such as `["--maxmemory", "10mb"]`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let folder = tempfile::Builder::new().prefix("hub-test-redis-").tempdir().expect("a temporary folder");
        // Somebody may take a port between our finding it free and the server's binding it.
        for _ in 0..10 {
            let port = free_port();
            if let Some(running) = run(port, folder.path(), &arguments) {
                return Self { running: Some(running), port, folder, arguments };
            }
        }
        panic!("redis-server does not start: is it installed?");
    }

    /// Starts a server that may need another port than was free a moment ago: `None` when it does not start.
    fn try_start(arguments: &[String], port: u16) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("hub-test-redis-").tempdir().expect("a temporary folder");
        let running = run(port, folder.path(), arguments)?;
        Some(Self { running: Some(running), port, folder, arguments: arguments.to_vec() })
    }

    /// A plain connection.
    pub fn plain(&self) -> ::redis::Connection {
        ::redis::Client::open(self.url()).expect("a URL").get_connection().expect("a connection")
    }

    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some((mut child, _guard)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port and data.
    pub fn restart(&mut self) {
        self.kill();
        self.running = run(self.port, self.folder.path(), &self.arguments);
        assert!(self.running.is_some(), "redis-server does not start again on port {}", self.port);
    }

    /// Stops its process from running, without ending it: it is there, and silent.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it run again.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let (child, _) = self.running.as_ref().expect("a running server");
        let done = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

fn run(port: u16, folder: &Path, arguments: &[String]) -> Option<(Child, Guard)> {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"])
        .arg("--dir")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server runs: `make test` installs it");
    let guard = Guard::new(child.id(), false, Some(folder));
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if answers(port) {
            return Some((child, guard));
        }
        if child.try_wait().ok().flatten().is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = [0; 5];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && &answer == b"+PONG"
}
