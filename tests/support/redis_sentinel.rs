//! A master with a replica, and three Sentinels that watch them.

use super::super::guard::Guard;
use super::super::port::Port;
use super::secured::{ADMIN, HUB, Secured, in_url};
use super::{RedisServer, START, answers};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a failover may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Two servers, the first of which is master at first.
pub struct Sentinels {
    pub servers: Vec<RedisServer>,
    sentinels: Vec<Sentinel>,
    secured: Option<Secured>,
}

struct Sentinel {
    child: Child,
    port: Port,
    tls: Option<Port>,
    _guard: Guard,
    _folder: TempDir,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sentinels {
    /// Starts all of it; a master counts as down after `timeout` ms.
    pub fn start(timeout: u32) -> Self {
        Self::of(timeout, None)
    }

    /// The same, which speak TLS and know users.
    pub fn secured(timeout: u32) -> Self {
        Self::of(timeout, Some(Secured::new()))
    }

    fn of(timeout: u32, secured: Option<Secured>) -> Self {
        let fast = ["--repl-diskless-sync-delay", "0"];
        let start = || RedisServer::start_secured(secured.as_ref(), &fast);
        let (master, mut replica) = (start(), start());
        // Given as an argument so that it is a replica again after a restart, until a Sentinel says otherwise.
        let () = ::redis::cmd("REPLICAOF")
            .arg("127.0.0.1")
            .arg(master.data_port())
            .query(&mut replica.plain())
            .expect("a replica");
        replica.how.arguments.extend(["--replicaof".to_owned(), format!("127.0.0.1 {}", master.data_port())]);
        let sentinels = (0..3).map(|_| Sentinel::start(master.data_port(), timeout, secured.as_ref())).collect();
        let servers = Self { servers: vec![master, replica], sentinels, secured };
        servers.until_replicated(0);
        let known = |sentinel: &Sentinel| {
            let told: Vec<String> =
                ::redis::cmd("SENTINEL").arg("MASTER").arg("main").query(&mut sentinel.plain()).expect("a master");
            let field = |name: &str| told.iter().position(|field| field == name).map(|at| told[at + 1].clone());
            field("num-slaves").as_deref() == Some("1") && field("num-other-sentinels").as_deref() == Some("2")
        };
        let end = Instant::now() + PATIENCE;
        while !servers.sentinels.iter().all(known) {
            assert!(Instant::now() < end, "waited in vain for the Sentinels to know each other");
            std::thread::sleep(Duration::from_millis(50));
        }
        servers
    }

    /// The value of `store.url`.
    pub fn url(&self) -> String {
        let nodes: Vec<String> =
            self.sentinels.iter().map(|s| format!("127.0.0.1:{}", s.tls.as_ref().unwrap_or(&s.port))).collect();
        let nodes = nodes.join(",");
        if self.secured.is_none() {
            return format!("redis+sentinel://{nodes}/main");
        }
        let password = HUB.1.replace('/', "%2F").replace('@', "%40");
        let user = format!("sentinel_user={}&sentinel_password={password}", HUB.0);
        format!("rediss+sentinel://{}{nodes}/main?{user}", in_url())
    }

    /// Whom those trust that trust the servers.
    pub fn authority(&self) -> std::path::PathBuf {
        self.secured.as_ref().expect("servers that speak TLS").authority()
    }

    /// The server that the Sentinels name.
    pub fn master(&self) -> usize {
        let (_, port): (String, u16) = ::redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg("main")
            .query(&mut self.sentinels[0].plain())
            .expect("a master");
        self.servers.iter().position(|server| server.data_port() == port).expect("one of these")
    }

    /// Has a Sentinel change the master, with everybody alive.
    pub fn fail_over(&self) {
        let mut plain = self.sentinels[0].plain();
        let () = ::redis::cmd("SENTINEL").arg("FAILOVER").arg("main").query(&mut plain).expect("a failover");
    }

    /// Waits until another server than `before` is named.
    pub fn until_moved(&self, before: usize) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            let after = self.master();
            if after != before {
                return after;
            }
            assert!(Instant::now() < end, "waited in vain for a failover");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the master has its replica.
    pub fn until_replicated(&self, master: usize) {
        let end = Instant::now() + PATIENCE;
        loop {
            let told: String =
                ::redis::cmd("INFO").arg("replication").query(&mut self.servers[master].plain()).expect("its state");
            if told.contains("role:master") && told.contains("state=online") {
                return;
            }
            assert!(Instant::now() < end, "waited in vain for a replica: {told}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Sentinel {
    fn start(master: u16, timeout: u32, secured: Option<&Secured>) -> Self {
        let tls = secured.map(|_| Port::free());
        let secured = secured.zip(tls.as_ref()).map_or(String::new(), |(by, port)| by.sentinel(port.number()));
        let (port, folder) = (Port::free(), tempfile::tempdir().expect("a temporary folder"));
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds main {timeout}\nsentinel failover-timeout main 10000\n{secured}",
            folder.path().display()
        );
        std::fs::write(&file, text).expect("its settings");
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server runs: `make test` installs it");
        let guard = Guard::new(child.id(), false, Some(folder.path()));
        let mut sentinel = Self { child, port, tls, _guard: guard, _folder: folder };
        let end = Instant::now() + START;
        while !answers(sentinel.port.number()) {
            let gone = sentinel.child.try_wait().ok().flatten();
            assert!(gone.is_none() && Instant::now() < end, "redis-server does not start as a Sentinel: {gone:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        sentinel
    }

    fn plain(&self) -> ::redis::Connection {
        let admin = self.tls.as_ref().map_or(String::new(), |_| format!("{}:{}@", ADMIN.0, ADMIN.1));
        let client = ::redis::Client::open(format!("redis://{admin}127.0.0.1:{}", self.port)).expect("a URL");
        client.get_connection().expect("a connection")
    }
}
