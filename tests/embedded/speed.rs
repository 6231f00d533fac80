//! Measurements, run by hand: `cargo test --test embedded -- --ignored --nocapture --test-threads 1`.

use crate::support::*;
use bytes::Bytes;
use event_source_api::store::*;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

const PAYLOAD: usize = 151;

fn say(line: std::fmt::Arguments<'_>) {
    writeln!(std::io::stdout(), "{line}").unwrap();
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
        .map(|_| {
            let hub = Arc::clone(hub);
            tokio::spawn(async move {
                let payload = Bytes::from(format!("\"{}\"", "x".repeat(PAYLOAD - 2)));
                for _ in 0..total / 64 {
                    let payloads = vec![payload.clone(); per];
                    hub.append(vec![AppendGroup { payloads, ..group(ty, "1h", streams, 1) }]).await.unwrap();
                    hub.advance(i64::from(rand_bit()));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn rand_bit() -> bool {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos() % 7 == 0
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
        let started = Instant::now();
        fill(&hub, ty, streams, per, total).await;
        let rate = total as f64 / started.elapsed().as_secs_f64();
        say(format_args!("{name}: {rate:.0} appends/s, {} KiB resident", memory_kib()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn disk_and_delivery() {
    let mut hub = Arc::new(Hub::new());
    let ty = hub.register("a", "1h").await;
    let key = stream(ty, "s");
    let total = 1_024_000;
    fill(&hub, ty, &["s"], 64, total).await;
    let path = hub.folder.path().to_path_buf();
    say(format_args!(
        "{total} events of {PAYLOAD} bytes, undelivered: {} bytes an event",
        disk_bytes(&path) / total as u64
    ));
    let started = Instant::now();
    let delivered = hub.drain(&key).await;
    say(format_args!("claimed and settled {:.0}/s", delivered as f64 / started.elapsed().as_secs_f64()));
    say(format_args!("delivered: {} bytes an event, {} KiB resident", disk_bytes(&path) / total as u64, memory_kib()));
    let started = Instant::now();
    Arc::get_mut(&mut hub).unwrap().reopen();
    say(format_args!("closed and reopened in {:?}", started.elapsed()));
    for n in 0..8 {
        hub.advance(3 * HOUR);
        let started = Instant::now();
        hub.sweep().await.unwrap();
        let swept = started.elapsed();
        fill(&hub, ty, &["s"], 64, total / 4).await;
        hub.drain(&key).await;
        say(format_args!("round {n}: swept in {swept:?}, {} MiB on disk", disk_bytes(&path) >> 20));
    }
}
