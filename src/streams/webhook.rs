//! `{"source": "webhook"}`.
use super::*;
pub(super) fn parse(
    _: &mut Map<String, Value>,
    _: &str,
    _: &StreamSettings,
) -> Result<Arc<dyn Target>, Vec<FieldError>> {
    Err(Vec::new())
}
