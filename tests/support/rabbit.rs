//! A RabbitMQ of a test's own: free ports, a temporary folder, gone with the test.
//!
//! It has its own epmd, so that it neither meets a broker of the machine nor leaves a daemon behind.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The server without the wrapper that changes users.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Longest start; the Erlang VM takes some seconds.
const START: Duration = Duration::from_secs(90);

/// A running broker. Dropping it kills exactly the processes that it started.
pub struct Rabbit {
    dir: TempDir,
    /// AMQP, Erlang distribution, epmd.
    ports: [u16; 3],
    epmd: Child,
    server: Option<Child>,
}

impl Rabbit {
    /// A broker with nothing declared in it, ready for connections.
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("rabbit-").tempdir().expect("a temporary folder");
        let ports = free_ports();
        let epmd = Command::new("epmd")
            .args(["-address", "127.0.0.1", "-port", &ports[2].to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("epmd, of the package erlang-base, is installed");
        let mut rabbit = Self { dir, ports, epmd, server: None };
        rabbit.restart().await;
        rabbit
    }

    /// Where it is, whether it runs or not.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports[0])
    }

    /// The broker dies; what is durable stays for [`restart`](Self::restart).
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Starts it again on the same port, with what it had stored.
    pub async fn restart(&mut self) {
        self.kill();
        self.server = Some(spawn(self.dir.path(), self.ports));
        let began = Instant::now();
        while let Err(error) = self.connect().await {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().ok().flatten());
            assert!(ended.is_none() && began.elapsed() < START, "no broker: {error} {ended:?} {}", self.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// A connection that is not the hub's.
    pub async fn connect(&self) -> lapin::Result<lapin::Connection> {
        lapin::Connection::connect(&self.url(), lapin::ConnectionProperties::default()).await
    }

    /// What the server printed.
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.kill();
        let _ = self.epmd.kill();
        let _ = self.epmd.wait();
    }
}

fn spawn(dir: &Path, [port, dist, epmd]: [u16; 3]) -> Child {
    let path = |name: &str| dir.join(name);
    let output = std::fs::OpenOptions::new().create(true).append(true).open(path("output")).expect("a log file");
    Command::new(SERVER)
        .env("HOME", dir)
        // The shell script then becomes the VM, whose pid is ours; it must not read commands all the same.
        .env("RABBITMQ_ALLOW_INPUT", "1")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noinput +S 2:2")
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq"))
        .env("RABBITMQ_NODENAME", format!("test-{port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", dist.to_string())
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_MNESIA_BASE", path("data"))
        .env("RABBITMQ_LOG_BASE", path("log"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_PID_FILE", path("pid"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
        .env("RABBITMQ_FEATURE_FLAGS_FILE", path("features"))
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a log file"))
        .stderr(output)
        .spawn()
        .expect("rabbitmq-server is installed")
}

/// Three ports that nobody listens on.
fn free_ports() -> [u16; 3] {
    // Bound at the same time, so that they differ.
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}
