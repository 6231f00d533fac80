//! Parameters in queries.

use crate::error::ApiError;
use url::form_urlencoded;

/// The values of the parameters `names`, decoded, in the order of the names. Others are left alone.
///
/// # Errors
/// A 400 when one is there twice.
pub fn query<const N: usize>(text: &str, names: &[&str; N]) -> Result<[Option<String>; N], ApiError> {
    let mut values = [const { None }; N];
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let known = names.iter().zip(&mut values).find(|(known, _)| **known == name);
        if let Some((name, slot)) = known
            && slot.replace(value.into_owned()).is_some()
        {
            return Err(ApiError::parameter(name, "is there more than once"));
        }
    }
    Ok(values)
}
