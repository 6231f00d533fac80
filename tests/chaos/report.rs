//! What is told at the end: a short table when all is well, and what is wrong, where to look and how to repeat it when not.

use crate::check::{Evidence, Violation, figures};
use crate::faults::Happened;
use crate::ledger::Ledger;
use crate::scenario::STREAMS;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// Most violations of a kind that are printed; all are in the file.
const SHOWN: usize = 20;

/// Says something at once, also when the test harness keeps what tests print.
pub fn say(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The table: what was done, and what came of it.
pub fn table(
    name: &str,
    seed: u64,
    evidence: &Evidence<'_>,
    happened: &[Happened],
    times: &[(&str, Duration)],
) -> String {
    let mut out = String::new();
    let ledger: &Ledger = evidence.ledger;
    let times: Vec<_> = times.iter().map(|(what, took)| format!("{what} {:.1} s", took.as_secs_f64())).collect();
    let _ = writeln!(out, "chaos {name}: CHAOS_SEED={seed}; {}", times.join(", "));
    let _ = writeln!(
        out,
        "  events    {} sent, {} acknowledged, {} in the feed, {} answered again as duplicates",
        ledger.events().len(),
        ledger.acknowledged(),
        evidence.feed.len(),
        ledger.repeated(),
    );
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for fault in happened {
        *kinds.entry(fault.fault.kind()).or_default() += 1;
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let _ = writeln!(out, "  faults    {}: {}", happened.len(), kinds.join(", "));
    let _ = writeln!(
        out,
        "  {:<20} {:>9} {:>10} {:>9} {:>9} {:>6}",
        "stream", "attempts", "delivered", "repeated", "at most", "dead"
    );
    for &stream in &evidence.streams {
        let figures = figures(evidence, stream);
        let _ = writeln!(
            out,
            "  {:<20} {:>9} {:>10} {:>9} {:>9} {:>6}",
            STREAMS[stream].label(),
            figures.attempts,
            figures.delivered,
            figures.repeated,
            evidence.bounds[stream],
            figures.dead,
        );
    }
    out
}

/// What is wrong, by kind; everything in full goes into `folder`, beside the logs of the hubs.
pub fn failure(seed: u64, violations: &[Violation], happened: &[Happened], folder: &Path) -> String {
    let mut kinds: BTreeMap<String, Vec<&Violation>> = BTreeMap::new();
    for violation in violations {
        kinds.entry(violation.kind()).or_default().push(violation);
    }
    let list = |shown: usize| {
        let mut out = String::new();
        for (kind, of_kind) in &kinds {
            let _ = writeln!(out, "  {}: {kind}", of_kind.len());
            for violation in of_kind.iter().take(shown) {
                let _ = writeln!(out, "    {violation}");
            }
        }
        out
    };
    let faults: String = happened.iter().map(|fault| format!("  {fault}\n")).collect();
    let written = std::fs::write(folder.join("violations.txt"), format!("seed {seed}\n{}\n{faults}", list(usize::MAX)));
    let kept = match written {
        Ok(()) => format!("hub logs and all violations: {}\n", folder.display()),
        Err(error) => format!("hub logs: {} (the violations could not be written: {error})\n", folder.display()),
    };
    format!("promises were broken, CHAOS_SEED={seed}\n{}faults:\n{faults}{kept}", list(SHOWN))
}
