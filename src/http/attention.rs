//! What needs somebody, in words: the first thing that an overview shows.

use super::outlook::{StreamView, View};
use crate::event::rfc3339;
use crate::streams::StreamState;
use std::time::Duration;

/// Most entries; the overview says how many more there are.
pub const MOST: usize = 100;
/// The share of `streams.max_backlog` from which a backlog is worth a word.
const NEAR: f64 = 0.8;

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Whether something does not work, or only may not for much longer.
    pub broken: bool,
    /// What kind of thing, for programs.
    pub what: &'static str,
    /// In words, for people.
    pub text: String,
    /// The type and stream, where it is about one.
    pub stream: Option<(String, String)>,
}

/// Everything, the broken first.
pub fn needs(view: &View, max_backlog: u64) -> Vec<Need> {
    let mut all = Vec::new();
    if let Err(why) = &view.ready {
        let text = format!("The hub is not ready: {}.", why.detail.trim_end_matches('.'));
        all.push(Need { broken: true, what: why.code.code(), text, stream: None });
    }
    for stream in &view.streams {
        of_stream(stream, max_backlog, &mut all);
    }
    if view.left_out > 0 {
        let text = format!("{} more streams are not looked at here.", view.left_out);
        all.push(Need { broken: false, what: "streams-left-out", text, stream: None });
    }
    all.sort_by_key(|need| !need.broken);
    all
}

fn of_stream(stream: &StreamView, max_backlog: u64, all: &mut Vec<Need>) {
    let name = format!("{} of {}", stream.key.name, stream.ty);
    let counts = stream.counts.clone().unwrap_or_default();
    let waiting = match (counts.backlog, stream.oldest) {
        (0, _) => "nothing waits".to_owned(),
        (1, Some(age)) => format!("1 event waits, for {}", words(age)),
        (n, Some(age)) => format!("{} events wait, the oldest for {}", grouped(n), words(age)),
        (n, None) => format!("{} events wait", grouped(n)),
    };
    let mut add = |broken, what, text| {
        let stream = Some((stream.ty.clone(), stream.key.name.to_string()));
        all.push(Need { broken, what, text, stream });
    };
    match stream.state {
        StreamState::Failing => {
            let since = stream.failing_since.map_or_else(String::new, |at| format!(" since {}", rfc3339(at)));
            let why = stream.last_error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
            add(true, "stream-failing", format!("Stream {name} has failed{since}{why}; {waiting}."));
        }
        StreamState::Paused => {
            let why = stream.reason.as_deref().unwrap_or("by an operator");
            add(false, "stream-paused", format!("Stream {name} is paused, {why}; {waiting}."));
        }
        StreamState::Active | StreamState::Draining => {}
    }
    if counts.backlog as f64 >= NEAR * max_backlog as f64 {
        let full = counts.backlog >= max_backlog;
        let then = if full { "sends of its type are refused" } else { "at the limit sends of its type are refused" };
        add(
            full,
            "backlog",
            format!(
                "{} of at most {} events wait for stream {name}; {then}.",
                grouped(counts.backlog),
                grouped(max_backlog)
            ),
        );
    }
    if counts.dead > 0 {
        let (n, are) = (grouped(counts.dead), if counts.dead == 1 { "dead letter" } else { "dead letters" });
        add(false, "dead-letters", format!("Stream {name} has {n} {are}: send them again or delete them."));
    }
}

/// A number with its thousands apart: "4,210".
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in words, to its largest unit.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StreamCounts, StreamKey};

    fn stream(state: StreamState, backlog: u64, dead: u64) -> StreamView {
        StreamView {
            key: StreamKey { type_no: crate::event::TypeNo::new(1).unwrap(), name: "hook".parse().unwrap() },
            ty: "a:b".into(),
            state,
            reason: None,
            counts: Some(StreamCounts { backlog, dead, ..StreamCounts::default() }),
            oldest: (backlog > 0).then(|| Duration::from_secs(120)),
            mailbox: (0, 1),
            full: Duration::ZERO,
            in_flight: 0,
            last_error: Some("connection refused".into()),
            failing_since: (state == StreamState::Failing).then_some(1_517_483_521_000),
        }
    }

    fn texts(stream: &StreamView) -> Vec<(bool, &'static str, String)> {
        let mut all = Vec::new();
        of_stream(stream, 1000, &mut all);
        all.into_iter().map(|need| (need.broken, need.what, need.text)).collect()
    }

    #[test]
    fn thousands_stand_apart() {
        let all = [0, 999, 1000, 4210, 65_536, 1_000_000].map(grouped);
        assert_eq!(all, ["0", "999", "1,000", "4,210", "65,536", "1,000,000"]);
    }

    #[test]
    fn what_is_well_needs_nobody() {
        assert!(texts(&stream(StreamState::Active, 799, 0)).is_empty());
        assert!(texts(&stream(StreamState::Draining, 1, 0)).is_empty());
    }

    #[test]
    fn a_stream_says_since_when_why_and_how_many() {
        let found = texts(&stream(StreamState::Failing, 7, 0));
        let text = "Stream hook of a:b has failed since 2018-02-01T11:12:01.000Z: connection refused; \
                    7 events wait, the oldest for 2 minutes.";
        assert_eq!(found, [(true, "stream-failing", text.to_owned())]);
        let found = texts(&stream(StreamState::Paused, 0, 0));
        let text = "Stream hook of a:b is paused, by an operator; nothing waits.";
        assert_eq!(found, [(false, "stream-paused", text.to_owned())]);
    }

    #[test]
    fn backlogs_and_dead_letters_are_told() {
        let kinds = |backlog, dead| -> Vec<_> {
            texts(&stream(StreamState::Active, backlog, dead)).into_iter().map(|(b, what, _)| (b, what)).collect()
        };
        assert_eq!(kinds(800, 0), [(false, "backlog")]);
        assert_eq!(kinds(1000, 3), [(true, "backlog"), (false, "dead-letters")]);
    }
}
