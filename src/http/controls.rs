//! Control messages of a live session: what a WebSocket client may ask for, and what it is told besides events.

use super::json::{self, write_str};
use crate::event::{ClientId, TypeFilter};
use crate::live::Resumed;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// These types, too.
    Subscribe(TypeFilter),
    /// These no more.
    Unsubscribe(TypeFilter),
    /// It has processed an event. The id is as it was sent: one that is none is one that is not there.
    Ok {
        /// The event's.
        id: String,
        /// Who.
        client: ClientId,
    },
}

impl Command {
    /// Reads a client's message.
    ///
    /// # Errors
    /// What is wrong with it, for its sender.
    pub fn parse(message: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(message).map_err(|_| "a message is JSON, and so UTF-8")?;
        let members =
            json::members(text, &["subscribe", "unsubscribe", "ok", "client"]).map_err(|_| "a message is JSON")?;
        let [subscribe, unsubscribe, ok, client] = members.values;
        let command = match (subscribe, unsubscribe, ok, client) {
            (Some(list), None, None, None) => filters(list, "subscribe").map(Self::Subscribe),
            (None, Some(list), None, None) => filters(list, "unsubscribe").map(Self::Unsubscribe),
            (None, None, Some(id), Some(client)) => processed(id, client),
            _ => Err(r#"a message is {"subscribe": [filters]}, {"unsubscribe": [filters]} or {"ok": "ID", "client": "CLIENT"}"#
                .to_owned()),
        };
        if command.is_ok()
            && let Err(error) = members.finish()
        {
            let first = error.errors.first().map(|e| format!("{} {}", e.pointer, e.detail));
            return Err(first.unwrap_or(error.detail));
        }
        command
    }
}

fn filters(list: &str, name: &str) -> Result<TypeFilter, String> {
    let wrong = || format!("'{name}' is a list of types and patterns of types");
    if !json::is_array(list) {
        return Err(wrong());
    }
    // A message has at most 64 KiB, and so never more than this.
    let elements = json::elements(list, 1 << 16).map_err(|_| wrong())?;
    let mut all = TypeFilter::none();
    for item in elements.items {
        let entry = json::string(item).ok_or_else(wrong)?;
        let filter: TypeFilter = entry.parse().map_err(|e: crate::event::Malformed| e.to_string())?;
        all = all.with(&filter).map_err(|e| e.to_string())?;
    }
    if all.patterns().is_empty() { Err(wrong()) } else { Ok(all) }
}

fn processed(id: &str, client: &str) -> Result<Command, String> {
    let id = json::string(id).ok_or("'ok' is an event's id, a string")?.into_owned();
    let client = json::string(client).ok_or("'client' is a string")?;
    let client = client.parse().map_err(|e: crate::event::Malformed| e.to_string())?;
    Ok(Command::Ok { id, client })
}

/// The first message of a session that goes on.
pub fn resumed(resumed: &Resumed) -> String {
    format!(r#"{{"control":"resumed","from":"{}","complete":{}}}"#, resumed.from, resumed.complete)
}

/// The answer to a change of types; `types` are all that the session has now.
pub fn types(control: &str, types: &TypeFilter) -> String {
    let mut out = format!(r#"{{"control":"{control}","types":["#).into_bytes();
    for (n, pattern) in types.patterns().iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_str(pattern, &mut out);
    }
    out.extend_from_slice(b"]}");
    text(out)
}

/// The answer to a mark.
pub fn acknowledged(id: &str, client: &ClientId, known: bool) -> String {
    let mut out = br#"{"control":"ok","id":"#.to_vec();
    write_str(id, &mut out);
    out.extend_from_slice(br#","client":"#);
    write_str(client.as_str(), &mut out);
    out.extend_from_slice(format!(r#","acknowledge":{known}}}"#).as_bytes());
    text(out)
}

/// The answer to what could not be understood or done.
pub fn error(detail: &str) -> String {
    let mut out = br#"{"control":"error","detail":"#.to_vec();
    write_str(detail, &mut out);
    out.push(b'}');
    text(out)
}

/// The same for a mark: its client knows which one to repeat.
pub fn not_marked(id: &str, client: &ClientId, detail: &str) -> String {
    let mut out = br#"{"control":"error","id":"#.to_vec();
    write_str(id, &mut out);
    out.extend_from_slice(br#","client":"#);
    write_str(client.as_str(), &mut out);
    out.extend_from_slice(br#","detail":"#);
    write_str(detail, &mut out);
    out.push(b'}');
    text(out)
}

/// The last message of a stream of Server-Sent Events, which has no close frame.
pub fn closed(code: u16, reason: &str) -> String {
    let mut out = format!(r#"{{"control":"closed","code":{code},"reason":"#).into_bytes();
    write_str(reason, &mut out);
    out.push(b'}');
    text(out)
}

/// What was written here is UTF-8.
fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::json_text;
    use proptest::prelude::*;

    #[test]
    fn commands_are_read() {
        let filter = |text: &str| text.parse::<TypeFilter>().unwrap();
        for (text, command) in [
            (r#"{"subscribe": ["a:*", "b"]}"#, Command::Subscribe(filter("a:*,b"))),
            (r#"{"subscribe": ["a,b", "a"]}"#, Command::Subscribe(filter("a,b"))),
            (r#"{"unsubscribe":["*"]}"#, Command::Unsubscribe(filter("*"))),
            (r#"{"client":"12~x","ok":"\u0035"}"#, Command::Ok { id: "5".into(), client: "12~x".parse().unwrap() }),
            (r#"{"ok":"none","client":"c"}"#, Command::Ok { id: "none".into(), client: "c".parse().unwrap() }),
        ] {
            assert_eq!(Command::parse(text.as_bytes()), Ok(command), "{text}");
        }
    }

    #[test]
    fn what_is_no_command_says_why() {
        for text in [
            "",
            "no json",
            "{}",
            "[]",
            "1",
            "null",
            r#"{"unknown":true}"#,
            r#"{"subscribe":"a"}"#,
            r#"{"subscribe":[]}"#,
            r#"{"subscribe":[""]}"#,
            r#"{"subscribe":["a b"]}"#,
            r#"{"subscribe":[1]}"#,
            r#"{"subscribe":null}"#,
            r#"{"subscribe":["a"],"unsubscribe":["b"]}"#,
            r#"{"subscribe":["a"],"more":1}"#,
            r#"{"ok":"1"}"#,
            r#"{"client":"c"}"#,
            r#"{"ok":1,"client":"c"}"#,
            r#"{"ok":"1","client":"a b"}"#,
            r#"{"ok":"1","client":5}"#,
            r#"{"ok":"1","client":"c"} x"#,
        ] {
            let detail = Command::parse(text.as_bytes()).expect_err(text);
            let answer: serde_json::Value = serde_json::from_str(&error(&detail)).unwrap();
            assert_eq!(answer["control"], "error");
            assert!(!answer["detail"].as_str().unwrap().is_empty(), "{text}");
        }
        assert!(Command::parse(&[0xff, 0xfe]).is_err());
    }

    proptest! {
        #[test]
        fn no_message_panics_and_each_error_is_a_control_message(
            text in prop_oneof![
                json_text(), "\\PC{0,60}",
                ("(subscribe|unsubscribe|ok|client)", json_text()).prop_map(|(name, value)| format!("{{\"{name}\":{value}}}")),
            ],
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            for message in [text.as_bytes(), &bytes] {
                if let Err(detail) = Command::parse(message) {
                    let answer: serde_json::Value = serde_json::from_str(&error(&detail)).unwrap();
                    prop_assert_eq!(&answer["detail"], &serde_json::Value::from(detail));
                }
            }
        }

        #[test]
        fn patterns_come_as_they_were_sent(patterns in prop::collection::vec("[a-c*]{1,3}(:[a-c*]{1,3})?", 1..6)) {
            let message = serde_json::json!({ "subscribe": patterns }).to_string();
            let mut distinct: Vec<String> = Vec::new();
            for pattern in patterns {
                if !distinct.contains(&pattern) {
                    distinct.push(pattern);
                }
            }
            let Ok(Command::Subscribe(filter)) = Command::parse(message.as_bytes()) else {
                return Err(TestCaseError::fail(message));
            };
            prop_assert_eq!(filter.patterns(), distinct);
        }
    }
}
