//! Names that clients choose: event types, streams and clients. Checked once, then shared by reference.

use super::Malformed;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr, $form:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(Malformed::new($form)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// An event's type, e.g. `financial:end-budget`.
    EventType,
    |t| (1..=255).contains(&t.len())
        && t.split(':').all(|segment| !segment.is_empty() && segment.bytes().all(is_name_byte)),
    "a type is 1 to 255 characters: segments of letters, digits, '.', '_' and '-', joined by ':'"
);
name!(
    /// A stream's name, unique in its type.
    StreamName,
    |t| (1..=128).contains(&t.len()) && t.bytes().all(is_name_byte),
    "a stream name is 1 to 128 letters, digits, '.', '_' and '-'"
);
name!(
    /// Who reads a feed and marks events processed.
    ClientId,
    |t| (1..=128).contains(&t.len()) && t.bytes().all(|b| is_name_byte(b) || b == b'~'),
    "a client is 1 to 128 letters, digits, '.', '_', '~' and '-'"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_follow_the_grammar() {
        for good in ["a", "financial:end-budget", "a.b_c-d:E9", &"x".repeat(255)] {
            assert_eq!(good.parse::<EventType>().unwrap().as_str(), good);
        }
        for bad in ["", ":", "a:", ":a", "a::b", "a b", "a*", "é", "a/b", "a\0", &"x".repeat(256)] {
            assert!(bad.parse::<EventType>().is_err(), "{bad}");
        }
    }

    #[test]
    fn clients_may_have_a_tilde_and_streams_may_not() {
        assert!("a~1".parse::<ClientId>().is_ok());
        assert!("a~1".parse::<StreamName>().is_err());
        for bad in ["", "a b", "a:b", "a%", &"x".repeat(129)] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad}");
            assert!(bad.parse::<StreamName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_escaped_name_is_read_like_a_plain_one() {
        let name: EventType = serde_json::from_str(r#""\u0061:b""#).unwrap();
        assert_eq!(name.as_str(), "a:b");
    }
}
