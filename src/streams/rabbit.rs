//! `{"source": "rabbit"}`.
use super::*;
pub(super) fn parse(
    _: &mut Map<String, Value>,
    _: &str,
    _: &StreamSettings,
) -> Result<Arc<dyn Target>, Vec<FieldError>> {
    Err(Vec::new())
}

/// Connections to brokers, shared by all sinks of a process.
#[derive(Clone)]
pub struct Brokers {}
