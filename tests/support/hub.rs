//! The hub under test: the real binary, on a free port, with a store of its own.

use super::guard::Guard;
use super::http::{self, Response};
use super::redis::RedisServer;
use super::redis::cluster::RedisCluster;
use super::wait::{PATIENCE, eventually, within};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Notify;

/// What a test function may take: see [`both_stores`](crate::both_stores).
pub trait Prepare: Sized {
    /// From the set-up of a store that nobody else uses.
    async fn prepare(setup: Setup) -> Self;
}

impl Prepare for Setup {
    async fn prepare(setup: Setup) -> Self {
        setup
    }
}

impl Prepare for Hub {
    async fn prepare(setup: Setup) -> Self {
        setup.start().await
    }
}

/// Runs a test on a store.
pub async fn run<T: Prepare>(setup: Setup, test: impl AsyncFnOnce(T)) {
    test(T::prepare(setup).await).await;
}

/// Where a hub keeps its events. Outlives the hub, so that another one can take over.
#[derive(Clone)]
pub enum Backing {
    /// A folder for the embedded store.
    Embedded(Arc<TempDir>),
    /// A Redis server of this test alone.
    Redis(Arc<Mutex<RedisServer>>),
    /// A Redis Cluster of this test alone.
    Cluster(Arc<Mutex<RedisCluster>>),
}

impl Backing {
    /// The value of `store.url`.
    pub fn url(&self) -> String {
        match self {
            Self::Embedded(folder) => format!("embedded:{}", folder.path().join("data").display()),
            Self::Redis(server) => lock(server).url(),
            Self::Cluster(cluster) => lock(cluster).url(),
        }
    }
}

/// How a hub is started; kept by the hub for a restart on the same data.
#[derive(Clone)]
pub struct Setup {
    backing: Backing,
    env: BTreeMap<String, String>,
    arguments: Vec<String>,
    log_file: Option<PathBuf>,
}

impl Setup {
    /// On an empty embedded store.
    pub fn embedded() -> Self {
        let folder = tempfile::Builder::new().prefix("hub-test-").tempdir().expect("a temporary folder");
        Self::on(Backing::Embedded(Arc::new(folder)))
    }

    /// On an empty Redis.
    pub fn redis() -> Self {
        Self::on(Backing::Redis(Arc::new(Mutex::new(RedisServer::start()))))
    }

    /// On an empty cluster.
    pub fn cluster(cluster: RedisCluster) -> Self {
        Self::on(Backing::Cluster(Arc::new(Mutex::new(cluster))))
    }

    fn on(backing: Backing) -> Self {
        Self { backing, env: BTreeMap::new(), arguments: Vec::new(), log_file: None }
    }

    /// Sets a setting: `section.key`, as the contract writes it.
    pub fn set(mut self, setting: &str, value: impl ToString) -> Self {
        self.env.insert(format!("EVENTS__{}", setting.to_uppercase().replace('.', "__")), value.to_string());
        self
    }

    /// Sets a variable of the environment that is no setting.
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds a command-line argument.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Appends what each hub logs to a file, which outlives them.
    pub fn log_to(mut self, file: PathBuf) -> Self {
        self.log_file = Some(file);
        self
    }

    /// The store's backing.
    pub fn backing(&self) -> &Backing {
        &self.backing
    }

    /// The Redis server under the store.
    pub fn redis_server(&self) -> MutexGuard<'_, RedisServer> {
        match &self.backing {
            Backing::Redis(server) => lock(server),
            Backing::Embedded(_) | Backing::Cluster(_) => panic!("this test's store is not one Redis"),
        }
    }

    /// The cluster under the store.
    pub fn redis_cluster(&self) -> MutexGuard<'_, RedisCluster> {
        match &self.backing {
            Backing::Cluster(cluster) => lock(cluster),
            Backing::Embedded(_) | Backing::Redis(_) => panic!("this test's store is not a cluster"),
        }
    }

    /// Starts a hub and waits until it is ready.
    pub async fn start(&self) -> Hub {
        let hub = self.spawn().await;
        let ready = || async { (hub.get("/readyz").await.status == 200).then_some(()) };
        eventually(PATIENCE, "the hub to be ready", ready).await;
        hub
    }

    /// Starts a hub and waits until it listens; its store may be away.
    pub async fn spawn(&self) -> Hub {
        let mut command = command();
        command.env("EVENTS__HTTP__BIND", "127.0.0.1:0").env("EVENTS__STORE__URL", self.backing.url()).envs(&self.env);
        command.args(&self.arguments);
        let mut child = command.spawn().expect("the hub's binary starts");
        let log = Log::read(child.stderr.take().expect("stderr is piped"), self.log_file.as_deref());
        let guard = Guard::new(child.id(), false, None);
        let mut hub = Hub { child, address: None, log, setup: self.clone(), _guard: guard };
        hub.address = Some(hub.log.listening().await);
        hub
    }
}

/// The hub's command with an environment that holds none of the caller's own settings.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_event-source-api"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("EVENTS__")) {
        command.env_remove(name);
    }
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "info");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A running hub. Dropping it kills it, prints its log when the test is failing, and fails the test
/// when the log tells of a panic.
pub struct Hub {
    child: Child,
    address: Option<SocketAddr>,
    log: Log,
    setup: Setup,
    _guard: Guard,
}

impl Hub {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("the hub listens")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it was started.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Setup {
        self.child.kill().expect("the hub is killed");
        self.child.wait().expect("the hub is gone");
        self.setup.clone()
    }

    /// Sends SIGTERM and returns at once.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Waits until it has logged a line with this text.
    pub async fn logged(&self, text: &str) -> String {
        let found = || async { self.log().into_iter().find(|line| line.contains(text)) };
        eventually(PATIENCE, &format!("a line with '{text}' in the log"), found).await
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the hub runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
        let kilobytes: usize = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
        kilobytes * 1024
    }

    /// Sends a signal by its name and returns at once.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    /// Waits for the process to end.
    pub async fn exited(&mut self) -> ExitStatus {
        let child = &mut self.child;
        within(PATIENCE, "the hub to exit", async {
            loop {
                if let Some(status) = child.try_wait().expect("the hub can be waited for") {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }

    /// SIGTERM, then waits; asserts exit code 0.
    pub async fn stop(self) -> Setup {
        self.terminate();
        self.stop_after_signal().await
    }

    /// Waits for the end of a hub that has been told to stop; asserts exit code 0.
    pub async fn stop_after_signal(mut self) -> Setup {
        let status = self.exited().await;
        assert_eq!(status.code(), Some(0), "exit status after SIGTERM: {status}");
        self.setup.clone()
    }

    /// Ends it in order and starts another on the same data.
    pub async fn restart(self) -> Hub {
        self.stop().await.start().await
    }

    /// A request with headers and a body.
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Response {
        http::call(self.address(), method, path, headers, body).await
    }

    /// A request with a token, and a JSON body if there is one.
    pub async fn by(&self, token: &str, method: &str, path: &str, body: Option<&serde_json::Value>) -> Response {
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", &*authorization), ("Content-Type", "application/json")];
        let body = body.map(ToString::to_string);
        self.call(method, path, &headers, body.as_deref().map(str::as_bytes)).await
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Response {
        self.call("GET", path, &[], None).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Response {
        self.call("DELETE", path, &[], None).await
    }

    /// POST of JSON text, byte by byte.
    pub async fn post(&self, path: &str, json: impl ToString) -> Response {
        let json = json.to_string();
        self.call("POST", path, &[("Content-Type", "application/json")], Some(json.as_bytes())).await
    }

    /// PUT of JSON text, byte by byte.
    pub async fn put(&self, path: &str, json: impl ToString) -> Response {
        let json = json.to_string();
        self.call("PUT", path, &[("Content-Type", "application/json")], Some(json.as_bytes())).await
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let lines = self.log.lines();
        if std::thread::panicking() {
            eprintln!("--- log of the hub (last lines) ---");
            for line in lines.iter().skip(lines.len().saturating_sub(200)) {
                eprintln!("{line}");
            }
        } else {
            let panic = lines.iter().find(|line| line.contains("panicked at"));
            assert!(panic.is_none(), "the hub panicked: {}", lines.join("\n"));
        }
    }
}

/// A process's log, read by a thread of its own so that the process never waits for us.
#[derive(Clone)]
struct Log {
    state: Arc<(Mutex<LogState>, Notify)>,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn read(from: impl std::io::Read + Send + 'static, file: Option<&Path>) -> Self {
        let append =
            |path| OpenOptions::new().create(true).append(true).open(path).expect("the log's file can be written");
        let mut file = file.map(append);
        let state = Arc::new((Mutex::new(LogState::default()), Notify::new()));
        let writer = Arc::clone(&state);
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                if let Some(file) = &mut file {
                    let _ = file.write_all(&line).and_then(|()| file.write_all(b"\n"));
                }
                lock(&writer.0).lines.push(String::from_utf8_lossy(&line).into_owned());
                writer.1.notify_waiters();
            }
            lock(&writer.0).ended = true;
            writer.1.notify_waiters();
        });
        Self { state }
    }

    fn lines(&self) -> Vec<String> {
        lock(&self.state.0).lines.clone()
    }

    /// The address of the line that says that the hub listens.
    async fn listening(&self) -> SocketAddr {
        let found = async {
            loop {
                let notified = self.state.1.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                {
                    let state = lock(&self.state.0);
                    if let Some(address) = state.lines.iter().find_map(|line| address_in(line)) {
                        return address;
                    }
                    assert!(!state.ended, "the hub ended before it listened");
                }
                notified.await;
            }
        };
        within(PATIENCE, "the hub to listen", found).await
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let rest = line.split_once("listening")?.1;
    let address = rest.split_once("address=")?.1;
    let end = address.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(address.len());
    address[..end].parse().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
