//! Output: lines and tables for people, JSON for programs, one document a line.

use super::failure::Failure;
use std::io::{IsTerminal, Write};

/// What a cell or word means; shown as a colour where there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// In the background.
    Dim,
}

/// Where results go: standard output.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    /// For programs.
    pub json: bool,
    colour: bool,
}

/// One cell of a table.
pub type Cell = (String, Tone);

/// A cell without a tone. What came from elsewhere is made harmless for a terminal.
pub fn cell(text: impl AsRef<str>) -> Cell {
    (printable(text.as_ref()), Tone::Plain)
}

impl Out {
    /// Colours only where a person looks, and does not mind them (`NO_COLOR`).
    pub fn new(json: bool) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { json, colour: !json && !unwanted && !dumb && std::io::stdout().is_terminal() }
    }

    /// Text as it is, and out at once.
    ///
    /// # Errors
    /// When it cannot be written; [`Failure::Pipe`] when nobody reads it any more.
    pub fn text(self, text: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// A line.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn line(self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Columns under a head; nothing but the head's absence tells of an empty table, so callers say that it is.
    ///
    /// # Errors
    /// As [`text`](Self::text).
    pub fn table(self, head: &[&str], rows: &[Vec<Cell>]) -> Result<(), Failure> {
        let mut widths: Vec<usize> = head.iter().map(|name| name.chars().count()).collect();
        for row in rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        let mut text = String::new();
        let head: Vec<Cell> = head.iter().map(|name| ((*name).to_owned(), Tone::Dim)).collect();
        for row in std::iter::once(&head).chain(rows) {
            let last = row.len().saturating_sub(1);
            for (n, ((cell, tone), width)) in row.iter().zip(&widths).enumerate() {
                text.push_str(&self.paint(cell, *tone));
                if n < last {
                    // A cell that is empty at the end of a row leaves no blanks behind.
                    text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
                }
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        self.text(&text)
    }

    /// `text` in the colour of its tone.
    pub fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
            Tone::Plain => return text.to_owned(),
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A line on standard error, for people; that it may not be read is no reason to stop.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "event-source-api: {}", printable(line));
}

/// Control characters (an answer's text could command the terminal) made visible; line ends become blanks.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// JSON on one line: line ends may stand between tokens, and nowhere else.
pub fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// A span for people: `850 ms`, `12 s`, `3.5 h`.
pub fn span(ms: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let ms_f = ms as f64;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms_f / 1_000.0),
        60_000..3_600_000 => format!("{:.1} min", ms_f / 60_000.0),
        3_600_000..172_800_000 => format!("{:.1} h", ms_f / 3_600_000.0),
        _ => format!("{:.1} days", ms_f / 86_400_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_came_from_elsewhere_commands_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}d é"), "a\\u{1b}[2Jb c\\u{9b}d é");
        assert_eq!(one_line("{\n\"a\":\r\n1}"), "{ \"a\":  1}");
    }

    #[test]
    fn spans_are_short() {
        let shown: Vec<_> = [0, 999, 1_500, 90_000, 5_400_000, 259_200_000].into_iter().map(span).collect();
        assert_eq!(shown, ["0 ms", "999 ms", "1.5 s", "1.5 min", "1.5 h", "3.0 days"]);
    }
}
