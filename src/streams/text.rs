//! One-line texts from what others sent.

/// Longest text of an error that is kept.
const MAX_LINE: usize = 300;

/// `text` as one line for operators: control characters become spaces, runs of spaces one, and it is
/// cut at 300 characters.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut kept = 0;
    for c in text.chars() {
        let c = if c.is_control() || c.is_whitespace() || is_invisible(c) { ' ' } else { c };
        if c == ' ' && (line.is_empty() || line.ends_with(' ')) {
            continue;
        }
        if kept == MAX_LINE {
            line.truncate(line.trim_end().len());
            line.push('…');
            return line;
        }
        line.push(c);
        kept += 1;
    }
    line.truncate(line.trim_end().len());
    line
}

/// Characters that would reorder or hide what stands around them in a terminal.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_one_space() {
        assert_eq!(one_line(" a\r\n\tb\u{1b}[31mc\u{202e}\0 "), "a b [31mc");
        assert_eq!(one_line(""), "");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let line = one_line(&"é".repeat(1000));
        assert_eq!(line.chars().count(), MAX_LINE + 1);
        assert!(line.ends_with('…'));
    }
}
