//! Server-Sent Events as a hub sends them (WHATWG HTML, 9.2): bytes in, messages out.

/// Longest message: an event's payload is bounded by `http.max_body`, at most 64 MiB.
const MAX: usize = 128 << 20;

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// `event:`; empty for a plain one.
    pub event: String,
    /// `data:`, its lines joined.
    pub data: String,
}

/// What has arrived of a stream.
#[derive(Debug, Default)]
pub struct Parser {
    /// Bytes after the last whole line.
    rest: Vec<u8>,
    /// Of `rest`, how many are known to hold no line end.
    seen: usize,
    event: String,
    data: Option<String>,
}

/// The stream is not one that a hub sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message is larger than any that a hub sends")]
pub struct TooLarge;

impl Parser {
    /// Takes bytes as they come, in pieces of any size.
    ///
    /// # Errors
    /// When a message grows beyond all bounds.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLarge> {
        self.rest.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut start = 0;
        while let Some(end) = self.rest.iter().skip(self.seen).position(|b| *b == b'\n').map(|at| at + self.seen) {
            let line = String::from_utf8_lossy(self.rest.get(start..end).unwrap_or_default()).into_owned();
            messages.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
            start = end + 1;
            self.seen = start;
        }
        self.rest.drain(..start);
        self.seen = self.rest.len();
        if self.rest.len() + self.data.as_ref().map_or(0, String::len) > MAX { Err(TooLarge) } else { Ok(messages) }
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return self.data.take().map(|data| Message { event, data });
        }
        // A line that begins with a colon is a comment: the heartbeat.
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let messages = pieces.iter().flat_map(|piece| parser.feed(piece).unwrap());
        messages.map(|m| (m.event, m.data)).collect()
    }

    #[test]
    fn messages_end_with_an_empty_line() {
        let text = b"retry: 2000\n\nid: 5\ndata: {}\n\n:\n\nevent: control\r\ndata: {\r\ndata:  1}\r\n\r\ndata: half";
        let expected = [("", "{}"), ("control", "{\n 1}")].map(|(e, d)| (e.to_owned(), d.to_owned()));
        assert_eq!(read(&[text]), expected);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(lines in prop::collection::vec("(data|event|id|): ?[a-zé{}:]{0,6}|", 0..30), cut in 1usize..9) {
            let text = lines.join("\n") + "\n";
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            prop_assert_eq!(read(&pieces), read(&[text.as_bytes()]));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Parser::default().feed(&bytes);
        }
    }
}
