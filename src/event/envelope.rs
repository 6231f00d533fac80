//! The JSON form of an event, in which feeds, streams and live sessions all show it.

use super::{EventId, EventType, trace, write_rfc3339};

/// Appends `"id":…,"type":…,"payload":…,"created_at":…` without braces, so that a feed can add its own
/// members. `stored` is the payload as stores keep it; it is copied, never parsed, and a trace before it is left out.
pub fn write_members(id: EventId, ty: &EventType, stored: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"id\":\"");
    out.extend_from_slice(id.to_string().as_bytes());
    // A type's characters need no escaping in JSON.
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(ty.as_str().as_bytes());
    out.extend_from_slice(b"\",\"payload\":");
    out.extend_from_slice(trace::payload(stored));
    out.extend_from_slice(b",\"created_at\":\"");
    write_rfc3339(id.ms(), out);
    out.push(b'"');
}

/// `{"id","type","payload","created_at"}`.
pub fn envelope(id: EventId, ty: &EventType, stored: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stored.len() + ty.as_str().len() + 100);
    out.push(b'{');
    write_members(id, ty, stored, &mut out);
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Position, TypeNo};
    use super::*;

    #[test]
    fn a_payload_keeps_its_bytes() {
        let payload = br#"{"b":1e400, "a":123456789012345678901234567890,"s":"\u00e9"}"#;
        let id = EventId::new(TypeNo::new(1).unwrap(), Position::first_of(1_517_483_521_000));
        let json = envelope(id, &"a:b".parse().unwrap(), payload);
        let text = String::from_utf8(json).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"id":"{id}","type":"a:b","payload":{},"created_at":"2018-02-01T11:12:01.000Z"}}"#,
                std::str::from_utf8(payload).unwrap()
            )
        );
    }
}
