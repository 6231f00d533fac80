//! A RabbitMQ server of the tests' own: free ports, temporary folder, and an `epmd` that nobody else uses.
//!
//! It takes seconds to start, so tests of a binary share [`shared`] and use exchanges and queues of their own.

use super::guard::Guard;
use super::port::Port;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where Debian keeps the scripts without the wrapper that insists on the system's own user and folder.
const SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Its control program, likewise.
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const START: Duration = Duration::from_secs(90);

/// The server all tests of this binary share; stopped by its guards when the process ends.
pub fn shared() -> &'static RabbitServer {
    static SHARED: OnceLock<RabbitServer> = OnceLock::new();
    SHARED.get_or_init(RabbitServer::start)
}

/// A server, running or stopped; killed and removed when dropped.
pub struct RabbitServer {
    epmd: Child,
    running: Option<(Child, Guard)>,
    ports: Ports,
    folder: TempDir,
    _epmd_guard: Guard,
}

struct Ports {
    amqp: Port,
    /// AMQP over TLS, with the certificate `server.pem` and the key `server.key` of the folder.
    amqps: Option<Port>,
    epmd: Port,
    distribution: Port,
}

impl RabbitServer {
    /// Starts a server and waits until it accepts connections.
    pub fn start() -> Self {
        Self::launch(None)
    }

    /// Starts one that also accepts TLS, with a certificate and its key in PEM.
    pub fn start_with_tls(certificate: &str, key: &str) -> Self {
        Self::launch(Some((certificate, key)))
    }

    fn launch(tls: Option<(&str, &str)>) -> Self {
        let folder = tempfile::Builder::new().prefix("hub-test-rabbit-").tempdir().expect("a temporary folder");
        let amqps = tls.map(|(certificate, key)| {
            for (name, text) in [("server.pem", certificate), ("server.key", key)] {
                std::fs::write(folder.path().join(name), text).expect("the folder can be written");
            }
            Port::free()
        });
        let ports = Ports { amqp: Port::free(), amqps, epmd: Port::free(), distribution: Port::free() };
        // RabbitMQ would start epmd as a daemon that outlives it; it finds this one instead.
        let epmd = Command::new("epmd")
            .args(["-port", &ports.epmd.to_string(), "-address", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("epmd runs: `make test` installs it with rabbitmq-server");
        let guard = Guard::new(epmd.id(), false, None);
        let running = Some(run(&ports, folder.path()));
        Self { epmd, running, ports, folder, _epmd_guard: guard }
    }

    /// `amqp://guest:guest@127.0.0.1:PORT/%2f`.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports.amqp)
    }

    /// Where it accepts AMQP without TLS.
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.ports.amqp.number()).into()
    }

    /// `amqps://guest:guest@localhost:PORT/%2f`, of a server that accepts TLS.
    pub fn tls_url(&self) -> String {
        format!("amqps://guest:guest@localhost:{}/%2f", self.ports.amqps.as_ref().expect("it accepts TLS"))
    }

    /// Sounds the memory alarm, which blocks publishers, or ends it. Takes seconds.
    pub fn memory_alarm(&self, on: bool) {
        let alarm = "{{resource_limit, memory, node()}, []}";
        let (set, of) = if on { ("set", alarm) } else { ("clear", "{resource_limit, memory, node()}") };
        let done = environment(&mut Command::new(CONTROL), &self.ports, self.folder.path())
            .args(["eval", &format!("rabbit_alarm:{set}_alarm({of}).")])
            .stdin(Stdio::null())
            .output()
            .expect("rabbitmqctl runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Ends it in order (SIGTERM): durable queues and persistent messages are kept.
    pub fn stop(&mut self) {
        if let Some((mut child, _guard)) = self.running.take() {
            signal("-TERM", &child.id().to_string());
            let end = Instant::now() + Duration::from_secs(20);
            while Instant::now() < end && child.try_wait().ok().flatten().is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
            self.sweep(child);
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some((child, _guard)) = self.running.take() {
            self.sweep(child);
        }
    }

    /// Starts it again on the same port and data.
    pub fn restart(&mut self) {
        self.stop();
        self.running = Some(run(&self.ports, self.folder.path()));
    }

    /// Ends whatever is left of the server's process group (Erlang's port helpers).
    fn sweep(&self, mut child: Child) {
        signal("-KILL", &format!("-{}", child.id()));
        let _ = child.wait();
    }
}

impl Drop for RabbitServer {
    fn drop(&mut self) {
        self.kill();
        let _ = self.epmd.kill();
        let _ = self.epmd.wait();
    }
}

fn signal(name: &str, target: &str) {
    let _ = Command::new("kill").args([name, "--", target]).stderr(Stdio::null()).status();
}

/// What the server and its control program have in common: which node, and the cookie in its home.
fn environment<'a>(command: &'a mut Command, ports: &Ports, folder: &Path) -> &'a mut Command {
    command
        .env("HOME", folder)
        .env("RABBITMQ_NODENAME", format!("hub-test-{}@localhost", ports.amqp))
        .env("RABBITMQ_CONF_ENV_FILE", folder.join("none"))
        .env("ERL_EPMD_PORT", ports.epmd.to_string())
}

fn run(ports: &Ports, folder: &Path) -> (Child, Guard) {
    let write = |name: &str, text: String| -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("the folder can be written");
        path
    };
    // One node on the loopback: nothing but AMQP, no management, no fsync storm, no memory watermark of the machine's.
    let mut config = format!(
        "listeners.tcp.default = 127.0.0.1:{}\ndisk_free_limit.absolute = 1MB\nlog.console.level = warning\n",
        ports.amqp
    );
    if let Some(amqps) = &ports.amqps {
        let folder = folder.display();
        config.push_str(&format!(
            "listeners.ssl.default = 127.0.0.1:{amqps}\nssl_options.certfile = {folder}/server.pem\n\
             ssl_options.keyfile = {folder}/server.key\nssl_options.verify = verify_none\n"
        ));
    }
    let config = write("rabbitmq.conf", config);
    let plugins = write("enabled_plugins", "[].\n".to_owned());
    let log = std::fs::File::create(folder.join("console.log")).expect("the folder can be written");
    let mut command = Command::new(SCRIPT);
    environment(&mut command, ports, folder)
        .env("ERL_CRASH_DUMP", "/dev/null")
        .env("RABBITMQ_CONFIG_FILE", &config)
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}")
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        // Makes the script replace itself by Erlang, so that the child's pid is the server's.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log);
    let mut child = command.spawn().expect("rabbitmq-server runs: `make test` installs it");
    let guard = Guard::new(child.id(), true, Some(folder));
    let end = Instant::now() + START;
    while TcpStream::connect(("127.0.0.1", ports.amqp.number())).is_err() {
        let gone = child.try_wait().ok().flatten();
        if gone.is_some() || Instant::now() > end {
            signal("-KILL", &format!("-{}", child.id()));
            let said = std::fs::read_to_string(folder.join("console.log")).unwrap_or_default();
            panic!("rabbitmq-server does not start ({gone:?}):\n{said}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    (child, guard)
}
