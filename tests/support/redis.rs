//! A Redis server of a test's own: free port, temporary folder, every write synced to the append-only file. Clusters of
//! them, servers that Sentinels watch, and such that speak TLS and know users, are in `cluster`, `sentinel` and `secured`.

#[path = "redis_cluster.rs"]
pub mod cluster;
#[path = "redis_secured.rs"]
pub mod secured;
#[path = "redis_sentinel.rs"]
pub mod sentinel;

use super::guard::Guard;
use super::port::Port;
use secured::{ADMIN, Secured};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(30);

/// A server, running or killed; stopped and removed when dropped.
pub struct RedisServer {
    running: Option<(Child, Guard)>,
    port: Port,
    folder: TempDir,
    how: How,
}

/// How a server is started, besides what all are.
#[derive(Clone, Default)]
struct How {
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    /// Its port for TLS; then it has users, and no default one.
    tls: Option<Port>,
    /// Its port for the other nodes of its cluster.
    bus: Option<Port>,
}

impl How {
    /// With TLS on a port of its own.
    fn secured(mut self, by: Option<&Secured>) -> Self {
        if let Some(by) = by {
            let port = Port::free();
            self.arguments.extend(by.arguments(port.number()));
            self.tls = Some(port);
        }
        self
    }
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further arguments, such as `["--maxmemory", "10mb"]`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let how = How { arguments: arguments.iter().map(ToString::to_string).collect(), ..How::default() };
        Self::launch(how)
    }

    fn launch(how: How) -> Self {
        let folder = tempfile::Builder::new().prefix("hub-test-redis-").tempdir().expect("a temporary folder");
        let port = Port::free();
        let running = run(port.number(), folder.path(), &how);
        assert!(running.is_some(), "redis-server does not start with {:?}: is it installed?", how.arguments);
        Self { running, port, folder, how }
    }

    /// Starts a server that speaks TLS, too, and knows users.
    pub fn start_secured(by: Option<&Secured>, arguments: &[&str]) -> Self {
        let how = How { arguments: arguments.iter().map(ToString::to_string).collect(), ..How::default() };
        Self::launch(how.secured(by))
    }

    /// The port on which others of its kind, and the hub, meet it.
    pub fn data_port(&self) -> u16 {
        self.how.tls.as_ref().unwrap_or(&self.port).number()
    }

    /// A plain connection of somebody who may do everything.
    pub fn plain(&self) -> ::redis::Connection {
        let admin = self.how.tls.as_ref().map_or(String::new(), |_| format!("{}:{}@", ADMIN.0, ADMIN.1));
        ::redis::Client::open(format!("redis://{admin}127.0.0.1:{}", self.port))
            .expect("a URL")
            .get_connection()
            .expect("a connection")
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
        self.port.number()
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
        self.running = run(self.port.number(), self.folder.path(), &self.how);
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

fn run(port: u16, folder: &Path, how: &How) -> Option<(Child, Guard)> {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"])
        .arg("--dir")
        .arg(folder)
        .args(&how.arguments)
        .envs(how.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server runs: `make test` installs it");
    let guard = Guard::new(child.id(), false, Some(folder));
    let end = Instant::now() + START;
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
        // Where nobody is somebody without a name, it says so.
        && (&answer == b"+PONG" || &answer == b"-NOAU")
}
