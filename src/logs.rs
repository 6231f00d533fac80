//! Log lines: their form, what may be among them, and which request they are about.
//!
//! A line is one fact, in words, and then its particulars: `stream fails: stream=a:b/hook error="refused"`. Text that
//! may hold a space stands in quotes. While a request is served every line that its task logs ends in its
//! `request_id`. No secret, token or payload is ever logged; the crates that this one is built on are not trusted with
//! that, and are not heard below `info`.

use bytes::Bytes;
use bytestring::ByteString;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::borrow::Cow;
use std::future::Future;
use std::io::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is logged without RUST_LOG: the hub's own facts, and only the worries of the crates it is built on.
const DEFAULT: &str = "warn,event_source_api=info";
/// Longest id that is taken from a request.
const MAX_ID: usize = 128;

/// The id of a request, in its answer and in every line about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(ByteString);

tokio::task_local! {
    static REQUEST: RequestId;
}

impl RequestId {
    /// The id that a client gave: 1 to 128 visible ASCII characters, none of which would need quoting in a log.
    pub fn taken(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'\'');
        let well_formed = (1..=MAX_ID).contains(&text.len()) && text.bytes().all(plain);
        well_formed.then(|| Self(text.into()))
    }

    /// A new one: what this process drew at its start, and a number.
    pub fn made() -> Self {
        static PROCESS: LazyLock<String> = LazyLock::new(|| format!("{:016x}-", rand::random::<u64>()));
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(PROCESS.len() + 16);
        id.push_str(&PROCESS);
        // By hand: every request needs one.
        let digits = 16 - (number.leading_zeros() / 4).min(15);
        for digit in (0..digits).rev() {
            id.push(char::from_digit((number >> (digit * 4)) as u32 & 15, 16).unwrap_or('0'));
        }
        Self(id.into())
    }

    /// Its bytes, shared.
    pub fn bytes(&self) -> Bytes {
        self.0.as_bytes().clone()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Runs what serves the request, whose lines are then about it.
    pub fn scope<F: Future>(self, serving: F) -> impl Future<Output = F::Output> {
        REQUEST.scope(self, serving)
    }
}

/// Logs to stderr, as RUST_LOG says. To be called once.
pub fn start() {
    let env = env_logger::Env::default().default_filter_or(DEFAULT);
    let inner = env_logger::Builder::from_env(env).format(write_line).build();
    log::set_max_level(inner.filter());
    // An error means that somebody else logs already, who is not to be replaced.
    let _ = log::set_boxed_logger(Box::new(Guarded(inner)));
}

/// Keeps out what other crates may say of what passes through them.
struct Guarded(env_logger::Logger);

/// Whether a crate may be heard at that level.
fn is_heard(target: &str, level: Level) -> bool {
    let of = |name: &str| target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    // lapin logs returned messages whole, payload included.
    of("event_source_api") || (level <= LevelFilter::Info && !of("lapin"))
}

impl Log for Guarded {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_heard(metadata.target(), metadata.level()) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(error) = malformed_request(record) {
            // Said by this crate, and quietly: whoever sends such requests could fill the log with errors.
            let mut line = Record::builder();
            line.level(Level::Debug).target(module_path!());
            let text = format!("a request cannot be read: error=\"{error}\"");
            return self.0.log(&line.args(format_args!("{text}")).build());
        }
        if is_heard(record.target(), record.level()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// What is wrong with a request, where actix takes its client's fault for an error of its own. The client is told (400,
/// 408 or 431).
fn malformed_request(record: &Record<'_>) -> Option<String> {
    if record.target() != "actix_http::h1::dispatcher" {
        return None;
    }
    record.args().to_string().strip_prefix("stream error: ").map(str::to_owned)
}

fn write_line(out: &mut env_logger::fmt::Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let (time, style) = (out.timestamp_millis(), out.default_level_style(record.level()));
    let text = record.args().to_string();
    let (level, target, text) = (record.level(), record.target(), one_line(&text));
    write!(out, "[{time} {style}{level:<5}{style:#} {target}] {text}")?;
    // Outside of a request there is none.
    let _ = REQUEST.try_with(|id| write!(out, " request_id={}", id.as_str()));
    writeln!(out)
}

/// A line stays one, whatever an error's text holds, and nobody writes a second one into it.
fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_when_it_needs_no_quotes() {
        assert_eq!(
            RequestId::taken("0af7-65.1/x=%+:").map(|id| id.as_str().to_owned()),
            Some("0af7-65.1/x=%+:".into())
        );
        assert!(RequestId::taken(&"x".repeat(MAX_ID)).is_some());
        for bad in ["", "a b", "a\"", "a\\", "a\n", "é", "\u{7f}", &"x".repeat(MAX_ID + 1)] {
            assert_eq!(RequestId::taken(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn made_ids_are_never_the_same_and_could_be_taken() {
        let (one, other) = (RequestId::made(), RequestId::made());
        assert_ne!(one, other);
        let number = |id: &RequestId| u64::from_str_radix(id.as_str().split_once('-').unwrap().1, 16).unwrap();
        assert!(number(&other) > number(&one), "{one:?} {other:?}");
        assert_eq!(RequestId::taken(one.as_str()), Some(one));
    }

    #[test]
    fn other_crates_are_not_heard_where_payloads_pass() {
        assert!(is_heard("event_source_api::http", Level::Trace) && is_heard("event_source_api", Level::Trace));
        assert!(is_heard("actix_server", Level::Info) && !is_heard("actix_http::h1", Level::Debug));
        assert!(!is_heard("event_source_api_not", Level::Debug) && !is_heard("lapin::channel", Level::Error));
    }

    #[test]
    fn a_request_that_cannot_be_read_is_its_client_s_fault() {
        let of = |target: &str, text: &str| {
            let mut record = Record::builder();
            record.level(Level::Error).target(target);
            malformed_request(&record.args(format_args!("{text}")).build())
        };
        let actix = "actix_http::h1::dispatcher";
        assert_eq!(of(actix, "stream error: too large").as_deref(), Some("too large"));
        assert_eq!(of(actix, "Internal server error: unexpected eof"), None);
        assert_eq!(of("event_source_api", "stream error: too large"), None);
    }

    #[test]
    fn a_line_stays_one() {
        assert_eq!(one_line("a=1"), "a=1");
        assert_eq!(one_line("a\nb\u{1b}[1m"), "a\\nb\\u{1b}[1m");
    }
}
