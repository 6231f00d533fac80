//! The text that Prometheus reads (exposition format 0.0.4).

use super::table::{self, Metric};
use super::{ANSWERS, COMMITS, DELIVERIES, FEEDS, LIVE, Reading, SENDS, STORE};
use std::fmt::Write;

/// A page under way. Writing to it cannot fail.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// An empty one.
    pub fn new() -> Self {
        Self(String::with_capacity(16 << 10))
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }

    /// A metric without labels.
    pub fn single(&mut self, metric: &Metric, value: f64) {
        self.family(metric);
        self.sample(metric, &[], value);
    }

    /// A metric with a value for each of some labels' values.
    pub fn many<'a>(&mut self, metric: &Metric, samples: impl IntoIterator<Item = (Vec<&'a str>, f64)>) {
        self.family(metric);
        for (labels, value) in samples {
            self.sample(metric, &labels, value);
        }
    }

    /// A histogram.
    pub fn histogram(&mut self, metric: &Metric, reading: &Reading) {
        self.family(metric);
        let unit = reading.unit as f64;
        let mut sum = 0;
        for (n, count) in reading.counts.iter().enumerate() {
            sum += count;
            let bound = reading.bounds.get(n).map_or_else(|| "+Inf".to_owned(), |b| (*b as f64 / unit).to_string());
            let _ = writeln!(self.0, "{}_bucket{{le=\"{bound}\"}} {sum}", metric.name);
        }
        let _ = writeln!(self.0, "{0}_sum {1}\n{0}_count {sum}", metric.name, reading.sum as f64 / unit);
    }

    fn family(&mut self, metric: &Metric) {
        let (name, help, kind) = (metric.name, metric.help, metric.kind.as_str());
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, metric: &Metric, values: &[&str], value: f64) {
        self.0.push_str(metric.name);
        for (n, (label, text)) in metric.labels.iter().zip(values).enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if n == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !values.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// Everything that layers note as it happens; of types, those that the reader sees.
    pub fn figures(&mut self, sees: impl Fn(&str) -> bool) {
        let number = |counter: u64| counter as f64;
        self.single(&table::ACCEPTED, number(SENDS.accepted.get()));
        self.single(&table::DUPLICATE, number(SENDS.duplicate.get()));
        let (types, other) = SENDS.discarded_by_type();
        let (types, hidden): (Vec<_>, Vec<_>) = types.into_iter().partition(|(ty, _)| sees(ty));
        let other = other + hidden.iter().map(|(_, count)| count).sum::<u64>();
        let by_type = types.iter().map(|(ty, count)| (vec![ty.as_str()], number(*count)));
        // No type can have this name: it holds a space.
        self.many(&table::DISCARDED, by_type.chain([(vec!["other types"], number(other))]));
        self.many(&table::REFUSED, SENDS.refused().map(|(code, count)| (vec![code.code()], number(count))));
        self.many(&table::HTTP_ANSWERS, ANSWERS.by_class().map(|(class, count)| (vec![class], number(count))));
        self.histogram(&table::COMMIT_SECONDS, &COMMITS.time.read());
        self.histogram(&table::COMMIT_EVENTS, &COMMITS.size.read());
        self.single(&table::APPENDS_WAITING, COMMITS.waiting.get() as f64);
        self.single(&table::APPENDS_REFUSED, number(COMMITS.refused.get()));
        let errors = [("unavailable", &STORE.unavailable), ("full", &STORE.full), ("corrupt", &STORE.corrupt)];
        self.many(&table::STORE_ERRORS, errors.map(|(kind, count)| (vec![kind], number(count.get()))));
        let attempts = DELIVERIES.attempts();
        self.many(&table::ATTEMPTS, attempts.map(|(s, outcome, n)| (vec![s, outcome.as_str()], number(n))));
        self.histogram(&table::ATTEMPT_SECONDS, &DELIVERIES.time.read());
        self.histogram(&table::DELIVERY_SECONDS, &DELIVERIES.latency.read());
        self.single(&table::SESSIONS, LIVE.sessions.get() as f64);
        self.histogram(&table::LIVE_LAG, &LIVE.lag.read());
        self.single(&table::LIVE_BEHIND, number(LIVE.fell_behind.get()));
        self.single(&table::LIVE_CLOSED, number(LIVE.closed_slow.get()));
        self.single(&table::LIVE_CUT, number(LIVE.cut.get()));
        self.histogram(&table::FEED_SECONDS, &FEEDS.time.read());
        let feeds = [("page", &FEEDS.pages), ("not_modified", &FEEDS.not_modified)];
        self.many(&table::FEED_ANSWERS, feeds.map(|(answer, count)| (vec![answer], number(count.get()))));
    }

    /// What the system says of this process; what it does not say is left out.
    pub fn process(&mut self) {
        let process = metrics_process::collector::collect();
        let mut show = |metric: &Metric, value: Option<f64>| {
            if let Some(value) = value {
                self.single(metric, value);
            }
        };
        let whole = |value: Option<u64>| value.map(|value| value as f64);
        show(&table::CPU, process.cpu_seconds_total);
        show(&table::MEMORY, whole(process.resident_memory_bytes));
        show(&table::OPEN_FDS, whole(process.open_fds));
        show(&table::MAX_FDS, whole(process.max_fds));
        show(&table::THREADS, whole(process.threads));
        show(&table::START_TIME, whole(process.start_time_seconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Histogram;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::new();
        page.single(&table::READY, 1.0);
        page.many(&table::STREAM_DEAD, [(vec!["a:b", "odd\"\\\n"], 2.5)]);
        let histogram = Histogram::of_times(&[500, 1_000_000]);
        histogram.note(400);
        histogram.note(2_000_000);
        page.histogram(&table::COMMIT_SECONDS, &histogram.read());
        let text = page.finish();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "events_ready 1",
                "events_stream_dead_letters{type=\"a:b\",stream=\"odd\\\"\\\\\\n\"} 2.5",
                "events_commit_seconds_bucket{le=\"0.0005\"} 1",
                "events_commit_seconds_bucket{le=\"1\"} 1",
                "events_commit_seconds_bucket{le=\"+Inf\"} 2",
                "events_commit_seconds_sum 2.0004",
                "events_commit_seconds_count 2",
            ]
        );
        assert!(text.contains("# TYPE events_commit_seconds histogram\n"), "{text}");
    }
}
