//! Every metric there is. `docs/metrics.md` holds the same table for its readers, and a test holds the two and a
//! running hub's `/metrics` against each other.

/// What kind of metric it is, as Prometheus names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bounds.
    Histogram,
}

impl Kind {
    /// As Prometheus writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// By the conventions of Prometheus: unit last, counters end in `_total`.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub help: &'static str,
}

macro_rules! table {
    ($($row:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $row: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// All metrics, in the order in which they are shown.
        pub const TABLE: &[Metric] = &[$($row),*];
    };
}

table! {
    BUILD_INFO = "events_build_info" Gauge ["version"] "Always 1; the label says which version runs.";
    READY = "events_ready" Gauge [] "1 when /readyz would answer 200, else 0.";
    ACCEPTED = "events_accepted_total" Counter [] "Events stored, each of which was answered with 202.";
    DUPLICATE = "events_duplicate_total" Counter [] "Events that an Idempotency-Key has shown to be stored already.";
    DISCARDED = "events_discarded_total" Counter ["type"] "Events of types that nobody registered; beyond 100 types the rest is 'other types'.";
    REFUSED = "events_refused_total" Counter ["reason"] "Problems answered, to requests and to single items of a batch, by the code of the problem.";
    HTTP_ANSWERS = "events_http_answers_total" Counter ["status"] "Requests answered, by class of status.";
    HTTP_IN_FLIGHT = "events_http_in_flight" Gauge [] "Requests being answered.";
    HTTP_LIMIT = "events_http_in_flight_limit" Gauge [] "Requests beyond http.max_in_flight get 503.";
    COMMIT_SECONDS = "events_commit_seconds" Histogram [] "Time of one atomic write of a batch to the store.";
    COMMIT_EVENTS = "events_commit_batch_events" Histogram [] "Events in one write to the store.";
    APPENDS_WAITING = "events_commit_waiting" Gauge [] "Sends that had to wait for the next write to the store when the last one went out.";
    APPENDS_REFUSED = "events_commit_queue_full_total" Counter [] "Sends turned away because the queue to the store was full.";
    STORE_ERRORS = "events_store_errors_total" Counter ["kind"] "Calls of the store that failed.";
    ATTEMPTS = "events_delivery_attempts_total" Counter ["source", "outcome"] "Attempts to deliver, by kind of stream and outcome.";
    ATTEMPT_SECONDS = "events_delivery_attempt_seconds" Histogram [] "Time of single attempts to deliver.";
    DELIVERY_SECONDS = "events_delivery_seconds" Histogram [] "From an event's commit to its delivery, by the clocks of store and node.";
    STREAMS = "events_streams" Gauge ["state"] "Streams by state, as this node knows it.";
    BACKLOG = "events_backlog_events" Gauge [] "Undelivered events of all streams, in the store.";
    BACKLOG_LIMIT = "events_backlog_limit_events" Gauge [] "Undelivered events of one stream past which sends of its type get 503.";
    OLDEST = "events_oldest_age_seconds" Gauge [] "Age of the oldest undelivered event of any stream.";
    DEAD = "events_dead_letters" Gauge [] "Dead letters of all streams.";
    UNTOLD = "events_streams_not_shown" Gauge [] "Streams beyond the first 200 by type and name, which have no series of their own; the totals hold the first 1000.";
    STREAM_BACKLOG = "events_stream_backlog_events" Gauge ["type", "stream"] "Undelivered events of a stream, in the store.";
    STREAM_OLDEST = "events_stream_oldest_age_seconds" Gauge ["type", "stream"] "Age of a stream's oldest undelivered event.";
    STREAM_DEAD = "events_stream_dead_letters" Gauge ["type", "stream"] "Dead letters of a stream.";
    STREAM_FAILING = "events_stream_failing" Gauge ["type", "stream"] "1 while a stream fails again and again on this node.";
    STREAM_MAILBOX = "events_stream_mailbox_events" Gauge ["type", "stream"] "Events of a stream that wait in this node's memory.";
    STREAM_MAILBOX_LIMIT = "events_stream_mailbox_limit_events" Gauge ["type", "stream"] "Most events of a stream in this node's memory.";
    STREAM_FULL = "events_stream_mailbox_full_seconds_total" Counter ["type", "stream"] "Time for which a stream's mailbox was full.";
    STREAM_IN_FLIGHT = "events_stream_in_flight" Gauge ["type", "stream"] "Attempts of a stream that are under way.";
    SESSIONS = "events_live_sessions" Gauge [] "Live sessions, WebSocket and Server-Sent Events.";
    SESSIONS_LIMIT = "events_live_sessions_limit" Gauge [] "Sessions beyond live.max_sessions get 503.";
    LIVE_LAG = "events_live_lag_seconds" Histogram [] "From a commit to its being handed to live sessions, by the clocks of store and node.";
    LIVE_BEHIND = "events_live_fell_behind_total" Counter [] "Sessions that were too slow for what is live and went on reading from the store.";
    LIVE_CLOSED = "events_live_closed_slow_total" Counter [] "Sessions closed as too slow.";
    LIVE_CUT = "events_live_cut_total" Counter [] "Connections of sessions cut because their peer did not read.";
    FEED_SECONDS = "events_feed_seconds" Histogram [] "Time to answer a feed, of those that did not wait for an event.";
    FEED_ANSWERS = "events_feed_answers_total" Counter ["answer"] "Feeds answered with events (page) and with 304 (not_modified).";
    CPU = "process_cpu_seconds_total" Counter [] "User and system time of the process.";
    MEMORY = "process_resident_memory_bytes" Gauge [] "Memory of the process that is in RAM.";
    OPEN_FDS = "process_open_fds" Gauge [] "Open file descriptors.";
    MAX_FDS = "process_max_fds" Gauge [] "Most file descriptors that the process may open.";
    THREADS = "process_threads" Gauge [] "Threads of the process.";
    START_TIME = "process_start_time_seconds" Gauge [] "When the process started, in seconds since 1970.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for metric in TABLE {
            let base = metric.name;
            assert!(base.starts_with("events_") || base.starts_with("process_"), "{base}");
            assert_eq!(metric.kind == Kind::Counter, base.ends_with("_total"), "{base}");
            assert!(base.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{base}");
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '\\', '|']), "{base}");
        }
        let mut names: Vec<_> = TABLE.iter().map(|m| m.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }
}
