//! Reading Redis' answers, and its errors.

use crate::store::StoreError;
use bytes::Bytes;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

/// Stored data or an answer that makes no sense.
pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

/// How Redis says that a script has met the limits of the user that runs it.
const NOT_ALLOWED: &str = "The user executing the script can't";

/// What an error of Redis or of its connection means to the hub.
pub(super) fn store_error(error: &RedisError) -> StoreError {
    let code = error.code().unwrap_or_default();
    // A script that may not do something has no code of its own for that, as commands have with `NOPERM`.
    if error.detail().is_some_and(|detail| detail.contains(NOT_ALLOWED)) {
        return StoreError::Unavailable(format!("its user lacks a permission: {error}"));
    }
    match (error.kind(), code) {
        // `MISCONF`: the append-only file or a snapshot cannot be written, so Redis takes no writes: its disk is full.
        (_, "OOM" | "MISCONF") => StoreError::Full(error.to_string()),
        (ErrorKind::UnexpectedReturnType, _)
        | (ErrorKind::Server(ServerErrorKind::ResponseError), _)
        | (_, "WRONGTYPE") => StoreError::Corrupt(error.to_string()),
        // Loading, failing over, read-only, busy, out of reach, not allowed in: all of it may pass.
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// The elements of an array; none for nil.
pub(super) fn array(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        Value::Nil => Ok(Vec::new()),
        _ => Err(corrupt("Redis answered something else than an array")),
    }
}

/// A binary string, without copying it.
pub(super) fn bytes(value: Value) -> Result<Bytes, StoreError> {
    match value {
        Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
        Value::SimpleString(text) => Ok(Bytes::from(text)),
        _ => Err(corrupt("Redis answered something else than a string")),
    }
}

/// An integer, or a string that holds one; 0 for nil.
pub(super) fn int(value: &Value) -> Result<i64, StoreError> {
    match value {
        Value::Int(int) => Some(*int),
        Value::Nil => Some(0),
        Value::BulkString(bytes) => text(bytes).parse().ok(),
        _ => None,
    }
    .ok_or_else(|| corrupt("Redis answered something else than a number"))
}

/// A non-negative integer.
pub(super) fn uint(value: &Value) -> Result<u64, StoreError> {
    Ok(u64::try_from(int(value)?).unwrap_or(0))
}

/// A decimal in a string; `None` for an empty one.
pub(super) fn score(value: &Value) -> Result<Option<f64>, StoreError> {
    match value {
        Value::BulkString(bytes) if bytes.is_empty() => Ok(None),
        Value::BulkString(bytes) => {
            text(bytes).parse().map(Some).map_err(|_| corrupt("Redis answered something else than a score"))
        }
        Value::Int(int) => Ok(Some(*int as f64)),
        _ => Err(corrupt("Redis answered something else than a score")),
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Answers of a script, taken one by one.
pub(super) struct Answer(std::vec::IntoIter<Value>);

impl Answer {
    /// The answers in an array.
    pub(super) fn of(value: Value) -> Result<Self, StoreError> {
        Ok(Self(array(value)?.into_iter()))
    }

    /// The next one, or nil.
    pub(super) fn next(&mut self) -> Value {
        self.0.next().unwrap_or(Value::Nil)
    }

    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// The rest.
    pub(super) fn rest(self) -> std::vec::IntoIter<Value> {
        self.0
    }
}
