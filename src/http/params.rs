//! Parameters in paths and queries.

use crate::error::ApiError;
use crate::event::ClientId;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use url::form_urlencoded;

/// The values of the parameters `names`, decoded, in the order of the names. Others are left alone, as
/// proxies and caches add their own.
///
/// # Errors
/// A 400 when one is there twice: either could be meant.
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

/// A segment of a path, decoded. What is not UTF-8 then becomes replacement characters, which no name has.
pub fn segment(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// The 404 of a path at which there is no resource.
pub fn nowhere(path: &str) -> ApiError {
    let path: String = path.chars().take(200).collect();
    ApiError::not_found(format!("there is nothing at {path}"))
}

/// # Errors
/// A 400 when it is not a client's name.
pub fn client(text: &str) -> Result<ClientId, ApiError> {
    text.parse().map_err(|e| ApiError::parameter("client", e))
}

/// # Errors
/// A 400 when it is not a number from 1 to `max`.
pub fn limit(text: &str, max: usize) -> Result<usize, ApiError> {
    let digits = (1..=7).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|limit| (1..=max).contains(limit))
        .ok_or_else(|| ApiError::parameter("limit", format!("is a number from 1 to {max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_others_left_alone() {
        let read = query("x=1&types=a%3Ab,c&limit=&y&x=2", &["limit", "types", "after"]).unwrap();
        assert_eq!(read, [Some(String::new()), Some("a:b,c".into()), None]);
        assert!(query("types=a&types=b", &["types"]).is_err());
    }
}
