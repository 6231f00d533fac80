//! The trace that an event belongs to (W3C Trace Context), from its sender to whoever it is delivered to.
//!
//! It is stored before the payload, within the same bytes: `\x01 traceparent [; tracestate] \x02 payload`. No JSON
//! begins with such a byte, so an event without a trace is its payload alone, and stores need not know of it.

/// Begins what stands before a payload.
const BEGIN: u8 = 1;
/// Ends it.
const END: u8 = 2;
/// Between the two headers. It is in no `traceparent`.
const AND: u8 = b';';
/// A `traceparent` of version 00 is so long.
const PARENT: usize = 55;
/// Longest `tracestate` that is passed on: as much as everybody must.
const MAX_STATE: usize = 512;

/// The headers of a trace, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// `traceparent`, of version 00.
    pub parent: String,
    /// `tracestate`.
    pub state: Option<String>,
}

impl Trace {
    /// From the headers of a request: `traceparent`, and the values of `tracestate`. `None` when there is no trace, or
    /// none that can be understood; a `tracestate` that is too long is left out.
    pub fn read<'a>(parent: Option<&str>, states: impl Iterator<Item = &'a str>) -> Option<Self> {
        let parent = parent_of(parent?)?;
        let state = states.map(str::trim).filter(|state| !state.is_empty()).collect::<Vec<_>>().join(",");
        let passable =
            !state.is_empty() && state.len() <= MAX_STATE && state.bytes().all(|b| (0x20..0x7f).contains(&b));
        Some(Self { parent, state: passable.then_some(state) })
    }

    /// The payload as it is stored, with its trace.
    pub fn before(&self, payload: &[u8]) -> Vec<u8> {
        let state = self.state.as_deref().unwrap_or_default();
        let mut out = Vec::with_capacity(self.parent.len() + state.len() + payload.len() + 3);
        out.push(BEGIN);
        out.extend_from_slice(self.parent.as_bytes());
        if !state.is_empty() {
            out.push(AND);
            out.extend_from_slice(state.as_bytes());
        }
        out.push(END);
        out.extend_from_slice(payload);
        out
    }

    /// The trace of a stored event.
    pub fn of(stored: &[u8]) -> Option<Self> {
        let (head, _) = cut(stored)?;
        let head = std::str::from_utf8(head).ok()?;
        let (parent, state) = match head.split_once(char::from(AND)) {
            Some((parent, state)) => (parent, Some(state)),
            None => (head, None),
        };
        Some(Self { parent: parent.to_owned(), state: state.map(str::to_owned) })
    }
}

/// The payload of a stored event: the exact bytes that were sent.
pub fn payload(stored: &[u8]) -> &[u8] {
    cut(stored).map_or(stored, |(_, payload)| payload)
}

fn cut(stored: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = stored.strip_prefix(&[BEGIN])?;
    let end = rest.iter().position(|b| *b == END)?;
    Some((rest.get(..end)?, rest.get(end + 1..)?))
}

/// Reads any version by the fields of the first, as the standard says, and writes that.
fn parent_of(text: &str) -> Option<String> {
    let text = text.trim();
    let known = text.get(..PARENT)?;
    let mut fields = known.split('-');
    let mut field = |length: usize| {
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        fields.next().filter(|field| field.len() == length && field.bytes().all(hex))
    };
    let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let zero = |field: &str| field.bytes().all(|b| b == b'0');
    let rest = text.get(PARENT..)?;
    let longer = if version == "00" { !rest.is_empty() } else { !rest.is_empty() && !rest.starts_with('-') };
    if fields.next().is_some() || version == "ff" || zero(trace) || zero(span) || longer {
        return None;
    }
    Some(format!("00-{trace}-{span}-{flags}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(parent: &str, states: &[&str]) -> Option<Trace> {
        Trace::read(Some(parent), states.iter().copied())
    }

    #[test]
    fn a_trace_goes_with_its_payload_and_comes_back() {
        for (states, wanted) in [(&[][..], None), (&["a=1", " b=2;x "], Some("a=1,b=2;x")), (&["é"], None)] {
            let trace = read(GOOD, states).unwrap();
            assert_eq!((trace.parent.as_str(), trace.state.as_deref()), (GOOD, wanted));
            let stored = trace.before(b"{\"a\": 1}");
            assert_eq!(Trace::of(&stored), Some(trace));
            assert_eq!(payload(&stored), b"{\"a\": 1}");
        }
        assert!(read(GOOD, &[&"x".repeat(MAX_STATE + 1)]).unwrap().state.is_none());
    }

    #[test]
    fn a_payload_alone_is_a_payload() {
        for json in ["null", "\"\\u0001\"", "{}", " [1]"] {
            assert_eq!((payload(json.as_bytes()), Trace::of(json.as_bytes())), (json.as_bytes(), None));
        }
    }

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        let newer = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-holds";
        assert_eq!(read(newer, &[]).unwrap().parent, GOOD);
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-c-b7ad6b7169203331-01",
            "é0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        ] {
            assert_eq!(read(bad, &[]), None, "{bad}");
        }
        assert_eq!(Trace::read(None, ["a=1"].into_iter()), None);
    }
}
