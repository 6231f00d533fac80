//! How long an event of a type is kept.

use super::{Malformed, Millis, parse_duration};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// A type's time to live; remembers how it was written. Cloned with every send, so the text is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ttl {
    text: Arc<str>,
    keep: Keep,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Permanent,
    Ephemeral,
    For(Millis),
}

impl Ttl {
    /// Kept for ever.
    pub fn permanent() -> Self {
        Self { text: "permanent".into(), keep: Keep::Permanent }
    }

    /// Delivered to streams and live sessions, never in a feed.
    pub fn is_ephemeral(&self) -> bool {
        self.keep == Keep::Ephemeral
    }

    /// The lifetime in milliseconds; `None` when permanent, 0 when ephemeral.
    pub fn millis(&self) -> Option<Millis> {
        match self.keep {
            Keep::Permanent => None,
            Keep::Ephemeral => Some(0),
            Keep::For(ms) => Some(ms),
        }
    }

    /// Whether an event committed at `created` still shows at `now`.
    pub fn shows(&self, created: Millis, now: Millis) -> bool {
        self.millis().is_none_or(|ms| now < created.saturating_add(ms))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Ttl {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let keep = match text {
            "permanent" => Keep::Permanent,
            "ephemeral" => Keep::Ephemeral,
            other => {
                let duration = parse_duration(other).map_err(|_| {
                    Malformed::new(
                        "a ttl is \"permanent\", \"ephemeral\" or a duration such as \"24days\", \"1h30m\" or \"2 weeks\"",
                    )
                })?;
                if duration < Duration::from_secs(1) || duration > LONGEST || other.contains("ms") {
                    return Err(Malformed::new("a ttl is at least 1 second and at most 100 years, in whole seconds"));
                }
                Keep::For(Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX))
            }
        };
        Ok(Self { text: text.into(), keep })
    }
}

impl Serialize for Ttl {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_event_shows_until_its_last_millisecond() {
        let ttl: Ttl = "2s".parse().unwrap();
        assert!(ttl.shows(1000, 2999));
        assert!(!ttl.shows(1000, 3000));
        assert!(Ttl::permanent().shows(0, Millis::MAX));
        assert!(!"ephemeral".parse::<Ttl>().unwrap().shows(5, 5));
    }

    #[test]
    fn bounds_and_words_are_checked() {
        for good in ["1s", "100 weeks", "36500days", "permanent", "ephemeral"] {
            assert_eq!(good.parse::<Ttl>().unwrap().as_str(), good);
        }
        for bad in ["", "0s", "500ms", "5000ms", "40000days", "Permanent", "24", "forever"] {
            assert!(bad.parse::<Ttl>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_lifetime_is_what_it_says_and_keeps_its_text(
            n in 1u32..36_000, unit in prop::sample::select(vec![("s", 1), ("minutes", 60), ("h", 3600), ("day", 86_400)]), gap in " ?",
        ) {
            let text = format!("{n}{gap}{}", unit.0);
            let ttl: Ttl = text.parse().unwrap();
            prop_assert_eq!(ttl.as_str(), text);
            let ms = Millis::from(n) * unit.1 * 1000;
            prop_assert!(ttl.shows(5, 5 + ms - 1) && !ttl.shows(5, 5 + ms));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}|[0-9]{1,25}[a-z]{1,3}( [0-9]{1,20}[a-z]{1,2})?", at in any::<i64>(), now in any::<i64>()) {
            if let Ok(ttl) = text.parse::<Ttl>() {
                let _ = ttl.shows(at, now);
            }
        }
    }
}
