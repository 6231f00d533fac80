//! An event as it is read from a hub, and as it is shown.

use super::failure::Failure;
use super::out::{Out, Tone, one_line, printable};
use crate::event::EventId;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An event of a feed, a live session or a dead letter.
#[derive(Debug, Deserialize)]
pub struct Event<'a> {
    /// The cursor.
    pub id: EventIdText,
    #[serde(rename = "type")]
    /// Its type's name.
    pub ty: String,
    /// As it was sent.
    #[serde(borrow)]
    pub payload: &'a RawValue,
    /// When it was committed.
    pub created_at: String,
    /// When the client of the feed marked it.
    #[serde(default)]
    pub processed_at: Option<String>,
}

/// An id, read from its decimal text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventIdText(pub EventId);

impl<'de> Deserialize<'de> for EventIdText {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl Event<'_> {
    /// One line: for programs `raw`, the event's own JSON; for people time, id, type and payload.
    pub fn line(&self, raw: &str, out: Out) -> String {
        if out.json {
            return one_line(raw) + "\n";
        }
        let mark = self.processed_at.as_ref().map_or_else(String::new, |at| format!("  processed {}", printable(at)));
        format!(
            "{}  {}  {}  {}{}\n",
            out.paint(&printable(&self.created_at), Tone::Dim),
            self.id.0,
            out.paint(&printable(&self.ty), Tone::Good),
            printable(self.payload.get()),
            out.paint(&mark, Tone::Dim)
        )
    }
}

/// Reads an event.
///
/// # Errors
/// When it is none.
pub fn read(json: &str) -> Result<Event<'_>, Failure> {
    serde_json::from_str(json).map_err(|error| Failure::Refused(format!("that is not an event: {error}")))
}
