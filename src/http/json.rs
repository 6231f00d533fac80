//! JSON of requests, read without building a tree: values stay the bytes that were sent.
//!
//! Nothing here recurses, whatever the nesting of what it reads.

use crate::error::{ApiError, Code, FieldError};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Most field errors in one answer.
const MAX_ERRORS: usize = 32;
/// Longest field name that is quoted in a pointer.
const MAX_POINTER: usize = 100;

/// Appends `text` as a JSON string.
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    // Writing a string into a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// The deepest nesting of arrays and objects; 0 for a scalar. Meaningful for valid JSON, bounded for any
/// bytes.
pub fn depth(text: &[u8]) -> usize {
    let (mut now, mut deepest) = (0usize, 0);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' => now = now.saturating_sub(1),
            b'"' => loop {
                match bytes.next() {
                    Some(b'\\') => {
                        bytes.next();
                    }
                    Some(b'"') | None => break,
                    Some(_) => {}
                }
            },
            _ => {}
        }
    }
    deepest
}

/// # Errors
/// A 422 when `text` is nested deeper than `max`.
pub fn check_depth(text: &str, max: usize) -> Result<(), ApiError> {
    let depth = depth(text.as_bytes());
    if depth > max {
        return Err(ApiError::new(Code::TooDeep, format!("{depth} levels, where at most {max} are taken")));
    }
    Ok(())
}

/// A 400 that says where the JSON is broken.
pub fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::new(Code::MalformedJson, error.to_string())
}

/// Whether the value is an array, by its first character.
pub fn is_array(text: &str) -> bool {
    first(text) == Some(b'[')
}

fn first(text: &str) -> Option<u8> {
    text.bytes().find(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
}

/// The text of a JSON string; `None` for another value.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// The value of a JSON integer; `None` for another value, one with a fraction, and one out of range.
pub fn integer(raw: &str) -> Option<u64> {
    serde_json::from_str(raw).ok()
}

/// The value of a JSON boolean; `None` for another value.
pub fn boolean(raw: &str) -> Option<bool> {
    serde_json::from_str(raw).ok()
}

/// The values of an object's known members, and what is wrong with the others.
#[derive(Debug)]
pub struct Members<'a, const N: usize> {
    /// The exact text of each named member's value, in the order of the names.
    pub values: [Option<&'a str>; N],
    /// Unknown and repeated members, or that it is no object.
    pub errors: Vec<FieldError>,
}

impl<const N: usize> Members<'_, N> {
    /// Notes something wrong, unless enough is wrong already.
    pub fn wrong(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(FieldError::new(pointer, detail));
        }
    }

    /// # Errors
    /// A 422 with everything noted, if anything was.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.errors)) }
    }
}

/// Reads the members `names` of the object `text`.
///
/// # Errors
/// When `text` is not JSON. That it is not an object, or has other members, stands in the answer.
pub fn members<'a, const N: usize>(text: &'a str, names: &[&str; N]) -> Result<Members<'a, N>, serde_json::Error> {
    if first(text) == Some(b'{') {
        let mut reader = serde_json::Deserializer::from_str(text);
        let members = ObjectSeed { names }.deserialize(&mut reader)?;
        reader.end()?;
        return Ok(members);
    }
    serde_json::from_str::<&RawValue>(text)?;
    let errors = vec![FieldError::new("", format!("must be an object with {}", names.join(", ")))];
    Ok(Members { values: [None; N], errors })
}

/// The elements of an array, each the exact text of its value.
#[derive(Debug)]
pub struct Elements<'a> {
    /// The first of them, as many as were asked for.
    pub items: Vec<&'a str>,
    /// How many there are.
    pub total: usize,
}

/// Reads the array `text`, keeping at most `max` elements.
///
/// # Errors
/// When `text` is not JSON, or not an array.
pub fn elements(text: &str, max: usize) -> Result<Elements<'_>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let elements = ArraySeed { max }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(elements)
}

struct ObjectSeed<'n, const N: usize> {
    names: &'n [&'n str; N],
}

impl<'de, const N: usize> DeserializeSeed<'de> for ObjectSeed<'_, N> {
    type Value = Members<'de, N>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for ObjectSeed<'_, N> {
    type Value = Members<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members { values: [None; N], errors: Vec::new() };
        while let Some(key) = map.next_key_seed(KeySeed { names: self.names })? {
            let value: &'de RawValue = map.next_value()?;
            match key {
                Key::Unknown(name) => {
                    members.wrong(format!("/{}", escape(&name)), "is not a field of this resource");
                }
                Key::Known(index) => match members.values.get_mut(index) {
                    Some(slot @ None) => *slot = Some(value.get()),
                    _ => {
                        let name = self.names.get(index).copied().unwrap_or_default();
                        members.wrong(format!("/{name}"), "is there more than once");
                    }
                },
            }
        }
        Ok(members)
    }
}

enum Key {
    Known(usize),
    Unknown(String),
}

struct KeySeed<'n, const N: usize> {
    names: &'n [&'n str; N],
}

impl<'de, const N: usize> DeserializeSeed<'de> for KeySeed<'_, N> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Key, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for KeySeed<'_, N> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        let known = self.names.iter().position(|n| *n == name);
        Ok(known.map_or_else(|| Key::Unknown(name.chars().take(MAX_POINTER).collect()), Key::Known))
    }
}

/// A name as a token of a JSON pointer (RFC 6901).
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

struct ArraySeed {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for ArraySeed {
    type Value = Elements<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ArraySeed {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.max {
            match seq.next_element::<&'de RawValue>()? {
                Some(item) => items.push(item.get()),
                None => return Ok(Elements { total: items.len(), items }),
            }
        }
        let mut total = items.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            total += 1;
        }
        Ok(Elements { items, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn depth_of(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
            Value::Object(fields) => 1 + fields.values().map(depth_of).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            // What a scan could stumble over: quotes, backslashes, brackets.
            "[\\[\\]{}\"\\\\a:,\u{e9}\n]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 40, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[\"\\\\{\\[a]{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_scan_finds_the_depth_of_the_tree(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            prop_assert_eq!(depth(text.unwrap().as_bytes()), depth_of(&value));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[\\[\\]{}\":, a1\\\\]{0,40}") {
            let _ = depth(&bytes);
            let _ = members(&text, &["a", "b"]);
            let _ = elements(&text, 2);
        }

        #[test]
        fn an_element_keeps_its_text(value in any_json()) {
            let text = serde_json::to_string_pretty(&value).unwrap();
            let array = format!(" [ {text} ,\n{text}]\t");
            let read = elements(&array, 1).unwrap();
            prop_assert_eq!((read.items, read.total), (vec![text.as_str()], 2));
        }
    }

    #[test]
    fn nesting_of_any_depth_is_read_without_recursion() {
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        assert_eq!(depth(deep.as_bytes()), 500_000);
        assert_eq!(elements(&deep, 10).unwrap().total, 1);
        assert_eq!(check_depth(&deep, 128).unwrap_err().code, Code::TooDeep);
        assert!(check_depth(&("[".repeat(128) + &"]".repeat(128)), 128).is_ok());
        let object = format!("{{\"a\":{deep}}}");
        assert_eq!(members(&object, &["a"]).unwrap().values[0].unwrap().len(), 1_000_000);
    }

    #[test]
    fn members_are_the_text_that_was_sent() {
        let read = members(" {\"b\" : 1.50 , \"\\u0061\":{ \"x\" : [ ] } }\n", &["a", "b"]).unwrap();
        assert_eq!(read.values, [Some("{ \"x\" : [ ] }"), Some("1.50")]);
        assert!(read.finish().is_ok());
    }

    #[test]
    fn other_members_are_named_by_pointers() {
        let read = members(r#"{"a":1,"x/y~":2,"a":3,"":4}"#, &["a"]).unwrap();
        let pointers: Vec<_> = read.errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/x~1y~0", "/a", "/"]);
        for other in ["5", "\"str\"", "[]", "null", "1e999", " true "] {
            assert_eq!(members(other, &["a"]).unwrap().errors[0].pointer, "", "{other}");
        }
    }

    #[test]
    fn errors_are_bounded() {
        let many: Vec<_> = (0..1000).map(|n| format!("\"f{n}\":0")).collect();
        let many = format!("{{{}}}", many.join(","));
        let read = members(&many, &["a"]).unwrap();
        assert_eq!(read.errors.len(), MAX_ERRORS);
        let long = format!("{{\"{}\":0}}", "x".repeat(100_000));
        assert!(members(&long, &["a"]).unwrap().errors[0].pointer.len() <= MAX_POINTER + 1);
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for bad in ["", "{", "{\"a\":}", "{\"a\":1,}", "{} {}", "nul", "[1", "{\"a\":01}", "\u{feff}{}", "{a:1}", "'a'"]
        {
            assert!(members(bad, &["a"]).is_err(), "{bad}");
        }
        assert!(malformed(&members("{\n \"a\" 1}", &["a"]).unwrap_err()).detail.contains("line 2 column"));
    }

    #[test]
    fn strings_are_unescaped_only_where_needed() {
        assert!(matches!(string("\"a:b\""), Some(Cow::Borrowed("a:b"))));
        assert_eq!(string(r#""\u0061\"""#).unwrap(), "a\"");
        for other in ["5", "null", "[\"a\"]", "{}", r#""\ud800""#] {
            assert_eq!(string(other), None, "{other}");
        }
    }
}
