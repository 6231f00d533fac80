//! Measurements, run by hand: `cargo test --test embedded -- --ignored --nocapture --test-threads 1`.

use crate::support::*;
use bytes::Bytes;
use event_source_api::store::*;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

const PAYLOAD: usize = 151;

fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout();
    out.write_fmt(line).and_then(|()| out.write_all(b"\n")).unwrap();
}

fn disk_bytes(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() { disk_bytes(&entry.path()) } else { meta.blocks() * 512 }
        })
        .sum()
}

/// Tables and journals.
fn split(path: &std::path::Path) -> String {
    let (all, tables) = (disk_bytes(path), disk_bytes(&path.join("keyspaces")));
    format!("{} MiB of tables and {} MiB of journals", tables >> 20, (all - tables) >> 20)
}

/// Processor seconds of the committer's thread, which Linux counts in hundredths.
fn committer_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
    let ticks = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        name.ends_with("(store-committer")
            .then(|| fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap())
    });
    ticks.sum::<f64>() / 100.0
}

fn payload(n: u64) -> Bytes {
    // Field names and words repeat, values do not: roughly how JSON compresses.
    let mut hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut digits = String::new();
    while digits.len() < 48 {
        hash = hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        digits.push_str(&format!("{:08x}", hash >> 32));
    }
    let text = format!(
        r#"{{"order":{:010},"customer":"{}","amount":"129.90","currency":"EUR","state":"accepted","token":"{}"}}"#,
        n % 10_000_000_000,
        &digits[..12],
        &digits[12..48]
    );
    assert!(text.len() <= PAYLOAD);
    Bytes::from(format!("{text:PAYLOAD$}"))
}

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn fill(
    hub: &Arc<Hub>,
    ty: event_source_api::event::TypeNo,
    streams: &'static [&'static str],
    per: usize,
    total: usize,
) {
    let tasks: Vec<_> = (0..64 / per)
        .map(|task| {
            let hub = Arc::clone(hub);
            tokio::spawn(async move {
                for round in 0..total / 64 {
                    let payloads = (0..per).map(|n| payload((task * total + round * per + n) as u64)).collect();
                    hub.append(vec![AppendGroup { payloads, ..group(ty, "1h", streams, 1) }]).await.unwrap();
                    hub.advance(i64::from(round % 7 == 0));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn appends_a_second() {
    for (name, per, streams) in [
        ("64 writers of one event, no stream", 1, &[][..]),
        ("groups of 64, no stream", 64, &[]),
        ("64 writers of one event, one stream", 1, &["s"]),
        ("groups of 64, one stream", 64, &["s"]),
    ] {
        let hub = Arc::new(Hub::new());
        let ty = hub.register("a", "1h").await;
        let total = 256_000;
        let (started, before) = (Instant::now(), committer_seconds());
        fill(&hub, ty, streams, per, total).await;
        let rate = total as f64 / started.elapsed().as_secs_f64();
        let cpu = (committer_seconds() - before) * 1e6 / total as f64;
        say(format_args!(
            "{name}: {rate:.0} appends/s, {cpu:.1} us of the committer an event, {} KiB resident",
            memory_kib()
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn disk_at_rest() {
    let hub = Arc::new(Hub::new());
    let ty = hub.register("a", "1h").await;
    for millions in 1..=2 {
        fill(&hub, ty, &[], 64, 1_024_000).await;
        say(format_args!("{millions} x 1 024 000 events of {PAYLOAD} bytes, no stream: {}", split(hub.folder.path())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn disk_and_delivery() {
    let mut hub = Arc::new(Hub::new());
    let ty = hub.register("a", "1h").await;
    let key = stream(ty, "s");
    let total: usize = 1_024_000;
    fill(&hub, ty, &["s"], 64, total).await;
    let path = hub.folder.path().to_path_buf();
    say(format_args!(
        "{total} events of {PAYLOAD} bytes, undelivered: {} bytes an event",
        disk_bytes(&path) / total as u64
    ));
    let started = Instant::now();
    let delivered = hub.drain(&key).await;
    say(format_args!("claimed and settled {:.0}/s", delivered as f64 / started.elapsed().as_secs_f64()));
    say(format_args!("delivered: {}, {} KiB resident", split(&path), memory_kib()));
    let started = Instant::now();
    drop(Arc::get_mut(&mut hub).unwrap().store.take());
    let closed = started.elapsed();
    Arc::get_mut(&mut hub).unwrap().store = Some(open(&path, &hub.clock));
    say(format_args!("closed in {closed:?}, reopened in {:?}", started.elapsed() - closed));
    for n in 0..8 {
        hub.advance(3 * HOUR);
        let started = Instant::now();
        hub.sweep().await.unwrap();
        let swept = started.elapsed();
        fill(&hub, ty, &["s"], 64, total / 4).await;
        hub.drain(&key).await;
        say(format_args!("round {n}: swept in {swept:?}, {}", split(&path)));
    }
}
