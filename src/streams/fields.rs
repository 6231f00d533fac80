//! Reads the members of a JSON object one by one, collecting everything that is wrong.
//!
//! What has been read is taken out; what is left at the end is unknown, and an error as well, so that
//! a typo is not lost in silence.

use crate::error::FieldError;
use crate::event::parse_duration;
use serde_json::{Map, Value};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The members of one object at a JSON pointer.
pub(super) struct Fields {
    map: Map<String, Value>,
    at: String,
    errors: Vec<FieldError>,
}

impl Fields {
    /// The members of `value` at pointer `at`; an error when it is no object.
    pub fn of(value: &Value, at: impl Into<String>) -> Result<Self, FieldError> {
        let at = at.into();
        match value {
            Value::Object(map) => Ok(Self { map: map.clone(), at, errors: Vec::new() }),
            other => Err(FieldError::new(at, format!("must be an object, not {}", kind(other)))),
        }
    }

    /// Notes that the member `name` is wrong.
    pub fn error(&mut self, name: &str, detail: impl fmt::Display) {
        self.errors.push(FieldError::new(self.pointer(name), detail.to_string()));
    }

    /// Notes an error found elsewhere.
    pub fn push(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    /// The member's JSON pointer.
    pub fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.at, name.replace('~', "~0").replace('/', "~1"))
    }

    /// Takes a member of any kind.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name)
    }

    /// A string, if it is there.
    pub fn string(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => self.wrong(name, "a string", &other),
        }
    }

    /// A string that must be there.
    pub fn required(&mut self, name: &str) -> Option<String> {
        if !self.map.contains_key(name) {
            self.error(name, "is required");
        }
        self.string(name)
    }

    /// A boolean, if it is there.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(value) => Some(value),
            other => self.wrong(name, "true or false", &other),
        }
    }

    /// A whole number in a range, if it is there.
    pub fn count(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(name)?;
        match value.as_u64().filter(|n| range.contains(n)) {
            Some(n) => Some(n),
            None => {
                self.error(name, format!("must be a whole number from {} to {}", range.start(), range.end()));
                None
            }
        }
    }

    /// A duration in a range, if it is there.
    pub fn duration(&mut self, name: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.string(name)?;
        match parse_duration(&text) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(_) => {
                let (from, to) = (range.start(), range.end());
                let (from, to) = (crate::event::format_duration(*from), crate::event::format_duration(*to));
                self.error(name, format!("must be from {from} to {to}"));
                None
            }
            Err(malformed) => {
                self.error(name, malformed);
                None
            }
        }
    }

    /// Notes that a member has the wrong kind.
    pub fn wrong<T>(&mut self, name: &str, expected: &str, found: &Value) -> Option<T> {
        self.error(name, format!("must be {expected}, not {}", kind(found)));
        None
    }

    /// Nothing more is known: what is left is an error. The errors so far.
    pub fn finish(mut self) -> Vec<FieldError> {
        for name in std::mem::take(&mut self.map).keys() {
            self.error(name, "is not a known field");
        }
        self.errors
    }

    /// The errors so far, where it is not known what the members should be.
    pub fn abandon(self) -> Vec<FieldError> {
        self.errors
    }
}

/// What a JSON value is, for people.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
