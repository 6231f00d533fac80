//! A Redis Cluster of a test's own: real processes, formed by hand, since `redis-cli --cluster create` waits for seconds.

use super::super::port::Port;
use super::secured::{Secured, in_url};
use super::{How, RedisServer};
use std::time::{Duration, Instant};

/// Slots of a cluster.
const SLOTS: u16 = 16384;
/// How long anything that a cluster does by itself may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Three masters, and as many replicas if that was asked for.
pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
    secured: Option<Secured>,
}

/// What one node says of another.
#[derive(Debug, Clone)]
struct Member {
    id: String,
    port: u16,
    flags: Vec<String>,
    linked: bool,
    slots: Vec<(u16, u16)>,
}

impl Member {
    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    fn serves(&self, slot: u16) -> bool {
        self.is("master") && !self.is("fail") && self.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

impl RedisCluster {
    /// Three masters that stay.
    pub fn start() -> Self {
        Self::form(0, 15_000)
    }

    /// Three masters with a replica each, which take over after about `timeout` ms.
    pub fn with_replicas(timeout: u32) -> Self {
        Self::form(3, timeout)
    }

    /// The same, which speak TLS and know users, and call themselves by a name.
    pub fn secured(timeout: u32) -> Self {
        Self::of((0..6).map(|_| named(How::default())).collect(), timeout, Some(Secured::new()))
    }

    /// Three masters, each with an environment of its own: a clock that is wrong, for example.
    pub fn in_environments(environments: [Vec<(String, String)>; 3]) -> Self {
        Self::of(environments.map(|env| How { env, ..How::default() }).into(), 15_000, None)
    }

    fn form(replicas: usize, timeout: u32) -> Self {
        Self::of((0..3 + replicas).map(|_| How::default()).collect(), timeout, None)
    }

    fn of(nodes: Vec<How>, timeout: u32, secured: Option<Secured>) -> Self {
        let nodes = nodes.into_iter().map(|how| member(how, timeout, secured.as_ref())).collect();
        let cluster = Self { nodes, secured };
        for (at, node) in cluster.nodes.iter().enumerate() {
            let mut plain = node.plain();
            let (first, last) = (at as u32 * u32::from(SLOTS) / 3, (at as u32 + 1) * u32::from(SLOTS) / 3 - 1);
            if at < 3 {
                run(&mut plain, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            }
            run(&mut plain, &["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        }
        let mut first = cluster.nodes[0].plain();
        for node in &cluster.nodes[1..] {
            let bus: String = ::redis::cmd("CONFIG")
                .arg("GET")
                .arg("cluster-port")
                .query::<Vec<String>>(&mut node.plain())
                .expect("its bus")
                .remove(1);
            run(&mut first, &["CLUSTER", "MEET", "127.0.0.1", &node.data_port().to_string(), &bus]);
        }
        let all_met = |members: &[Member]| {
            members.len() == cluster.nodes.len()
                && members.iter().all(|member| !member.is("handshake") && member.linked)
        };
        for at in 0..cluster.nodes.len() {
            cluster.until(at, "the nodes to meet", all_met);
        }
        for (at, node) in cluster.nodes.iter().enumerate().skip(3) {
            let id = cluster.members(0).into_iter().find(|member| member.port == cluster.nodes[at - 3].port());
            run(&mut node.plain(), &["CLUSTER", "REPLICATE", &id.expect("its master").id]);
        }
        cluster.until_whole();
        cluster
    }

    /// The value of `store.url`.
    pub fn url(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.data_port())).collect();
        let scheme =
            if self.secured.is_some() { format!("rediss-cluster://{}", in_url()) } else { "redis-cluster://".into() };
        format!("{scheme}{}", nodes.join(","))
    }

    /// Whom those trust that trust the cluster.
    pub fn authority(&self) -> std::path::PathBuf {
        self.secured.as_ref().expect("a cluster that speaks TLS").authority()
    }

    /// The node that serves the slot of a hash tag, by what a running one says.
    pub fn serving(&self, tag: &str) -> usize {
        let asked = self.nodes.iter().position(RedisServer::is_running).expect("a running node");
        self.serving_by(asked, tag)
    }

    fn serving_by(&self, asked: usize, tag: &str) -> usize {
        let slot = slot_of(tag);
        let member = self.until(asked, "somebody to serve a slot", |members| members.iter().any(|m| m.serves(slot)));
        let member = member.into_iter().find(|member| member.serves(slot)).expect("it was there");
        self.nodes.iter().position(|node| node.port() == member.port).expect("one of these")
    }

    /// Waits until all running nodes agree that each slot is served, and each replica is up to date.
    pub fn until_whole(&self) {
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_running()) {
            self.until(at, "the cluster to be whole", |members| {
                let served: u32 = members
                    .iter()
                    .filter(|m| m.is("master") && !m.is("fail"))
                    .flat_map(|m| &m.slots)
                    .map(|(first, last)| u32::from(last - first) + 1)
                    .sum();
                let calm = members.iter().all(|m| !m.is("handshake"));
                served == u32::from(SLOTS) && calm && info(&mut node.plain(), "CLUSTER").contains("cluster_state:ok")
            });
            let end = Instant::now() + PATIENCE;
            loop {
                let mut plain = node.plain();
                let role = info(&mut plain, "INFO");
                if role.contains("role:master") || role.contains("master_link_status:up") {
                    break;
                }
                assert!(Instant::now() < end, "waited in vain for a replica: {role}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Waits until every master that runs has a replica that is online.
    pub fn until_replicated(&self) {
        self.until_whole();
        let end = Instant::now() + PATIENCE;
        for node in self.nodes.iter().filter(|node| node.is_running()) {
            loop {
                let role = info(&mut node.plain(), "INFO");
                if !role.contains("role:master") || role.contains("state=online") {
                    break;
                }
                assert!(Instant::now() < end, "waited in vain for a replica of {}", node.port());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Kills a master, and waits until another serves what it served. Which one that is.
    pub fn fail_over(&mut self, tag: &str) -> (usize, usize) {
        let before = self.serving(tag);
        self.nodes[before].kill();
        let after = self.until_moved(tag, before);
        (before, after)
    }

    /// Has the replica of a master take over while it runs, and waits until it has. Once for each: Redis 7.0 takes the
    /// votes of a node's last election for those of the next.
    pub fn hand_over(&self, tag: &str) {
        let before = self.serving(tag);
        let replica = &self.nodes[(before + self.nodes.len() / 2) % self.nodes.len()];
        // Its request is heard, and it is voted for, only by who knows it as a replica.
        let known = |member: &Member| member.port == replica.port() && member.is("slave");
        for at in 0..self.nodes.len() {
            self.until(at, "a replica to be known", |members| members.iter().any(known));
        }
        run(&mut replica.plain(), &["CLUSTER", "FAILOVER"]);
        self.until_moved(tag, before);
    }

    /// Has the replica of a master that is silent take over what it serves, and waits until it has.
    pub fn take_over(&self, tag: &str, before: usize) {
        let replica = &self.nodes[(before + self.nodes.len() / 2) % self.nodes.len()];
        run(&mut replica.plain(), &["CLUSTER", "FAILOVER", "TAKEOVER"]);
        self.until_moved(tag, before);
    }

    /// Waits until another node than `before` serves the slot of a hash tag.
    pub fn until_moved(&self, tag: &str, before: usize) -> usize {
        let asked = (0..self.nodes.len()).find(|at| *at != before && self.nodes[*at].is_running());
        let asked = asked.expect("another that runs");
        let end = Instant::now() + PATIENCE;
        loop {
            let after = self.serving_by(asked, tag);
            if after != before {
                return after;
            }
            assert!(Instant::now() < end, "waited in vain for a failover");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Moves the slot of a hash tag to another master while it is in use, as `redis-cli --cluster reshard` does, some
    /// keys at a time, with a pause between them.
    pub fn reshard(&self, tag: &str, to: usize, pause: Duration) {
        let (slot, from) = (slot_of(tag).to_string(), self.serving(tag));
        let id = |at: usize| -> String {
            ::redis::cmd("CLUSTER").arg("MYID").query(&mut self.nodes[at].plain()).expect("an id")
        };
        let (source, target) = (id(from), id(to));
        let (mut old, mut new) = (self.nodes[from].plain(), self.nodes[to].plain());
        run(&mut new, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]);
        run(&mut old, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]);
        loop {
            let keys: Vec<Vec<u8>> =
                ::redis::cmd("CLUSTER").arg("GETKEYSINSLOT").arg(&slot).arg(3).query(&mut old).expect("keys");
            if keys.is_empty() {
                break;
            }
            let mut migrate = ::redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(self.nodes[to].port()).arg("").arg(0).arg(10_000).arg("KEYS").arg(keys);
            let _: String = migrate.query(&mut old).expect("keys that move");
            std::thread::sleep(pause);
        }
        for plain in [&mut new, &mut old] {
            run(plain, &["CLUSTER", "SETSLOT", &slot, "NODE", &target]);
        }
        // The others hear of it by themselves.
        for asked in 0..self.nodes.len() {
            let end = Instant::now() + PATIENCE;
            while self.serving_by(asked, tag) != to {
                assert!(Instant::now() < end, "waited in vain for a node to hear of a slot that has moved");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn members(&self, at: usize) -> Vec<Member> {
        let text: String = ::redis::cmd("CLUSTER").arg("NODES").query(&mut self.nodes[at].plain()).expect("its view");
        let parse = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let address = fields[1].split(['@', ',']).next().expect("an address");
            let port = address.rsplit(':').next().expect("a port").parse().expect("a port");
            let slots = fields[8..].iter().filter(|range| !range.starts_with('[')).map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                (first.parse().expect("a slot"), last.parse().expect("a slot"))
            });
            Member {
                id: fields[0].to_owned(),
                port,
                flags: fields[2].split(',').map(str::to_owned).collect(),
                linked: fields[7] == "connected",
                slots: slots.collect(),
            }
        };
        text.lines().map(parse).collect()
    }

    fn until(&self, at: usize, what: &str, holds: impl Fn(&[Member]) -> bool) -> Vec<Member> {
        let end = Instant::now() + PATIENCE;
        loop {
            let members = self.members(at);
            if holds(&members) {
                return members;
            }
            assert!(Instant::now() < end, "waited in vain for {what}: {members:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// It is told to clients by its name, not its address.
fn named(mut how: How) -> How {
    let name = ["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"];
    how.arguments.extend(name.map(str::to_owned));
    how
}

fn member(how: How, timeout: u32, secured: Option<&Secured>) -> RedisServer {
    let bus = Port::free();
    let arguments = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        &timeout.to_string(),
        "--cluster-port",
        &bus.to_string(),
        "--cluster-require-full-coverage",
        "no",
        "--cluster-replica-validity-factor",
        "0",
        "--repl-diskless-sync-delay",
        "0",
    ]
    .map(str::to_owned);
    let mut how = how.secured(secured);
    how.arguments.extend(arguments);
    how.bus = Some(bus);
    RedisServer::launch(how)
}

fn run(plain: &mut ::redis::Connection, words: &[&str]) {
    let mut cmd = ::redis::cmd(words[0]);
    cmd.arg(&words[1..]);
    let () = cmd.query(plain).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

fn info(plain: &mut ::redis::Connection, of: &str) -> String {
    let mut cmd = ::redis::cmd(of);
    if of == "CLUSTER" {
        cmd.arg("INFO");
    } else {
        cmd.arg("replication");
    }
    cmd.query(plain).expect("what it says of itself")
}

/// The slot of a hash tag.
fn slot_of(tag: &str) -> u16 {
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % SLOTS
}
