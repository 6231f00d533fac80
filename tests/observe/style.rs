//! The form of log lines, asserted over the sources: a fact in words, then `key=value`.

use std::path::{Path, PathBuf};

#[test]
fn a_line_is_a_fact_and_its_particulars() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut wrong, mut seen) = (vec![root], Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                check(&path, &mut wrong, &mut seen);
            }
        }
    }
    assert!(seen > 50, "the reader finds log lines: {seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn check(path: &PathBuf, wrong: &mut Vec<String>, seen: &mut usize) {
    let text = std::fs::read_to_string(path).unwrap();
    for level in ["error", "warn", "info", "debug", "trace"] {
        let begin = format!("log::{level}!(");
        for (at, _) in text.match_indices(&begin) {
            *seen += 1;
            let rest = text[at + begin.len()..].trim_start();
            let line = literal(rest).unwrap_or_default();
            if !is_well_formed(&line) {
                wrong.push(format!("{}: {line:?} of {}", path.display(), rest.lines().next().unwrap_or_default()));
            }
        }
    }
}

/// The string that the text begins with, unescaped.
fn literal(text: &str) -> Option<String> {
    let (mut out, mut chars) = (String::new(), text.strip_prefix('"')?.chars().peekable());
    loop {
        match chars.next()? {
            '"' => return Some(out),
            '\\' => match chars.next()? {
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                c => out.push(c),
            },
            c => out.push(c),
        }
    }
}

fn is_well_formed(line: &str) -> bool {
    let (fact, particulars) = line.split_once(": ").unwrap_or((line, ""));
    let plain = !fact.is_empty() && !fact.contains(['=', '{', ':']) && !fact.ends_with(['.', ' ']);
    plain && (line == fact || are_pairs(particulars))
}

/// `key=value` separated by spaces; a value in quotes may hold some. A whole list may be put in, too.
fn are_pairs(text: &str) -> bool {
    let (mut quoted, mut pairs, mut pair) = (false, Vec::new(), String::new());
    for c in text.chars() {
        quoted ^= c == '"';
        if c == ' ' && !quoted { pairs.push(std::mem::take(&mut pair)) } else { pair.push(c) }
    }
    pairs.push(pair);
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    !quoted
        && pairs.iter().all(|pair| match pair.split_once('=') {
            Some((key, value)) => is_key(key) && !value.is_empty(),
            None => pair.starts_with('{') && pair.ends_with('}'),
        })
}

#[test]
fn the_reader_knows_the_form() {
    for good in ["stopped", "type registered: type={name} n={}", "x failed: error=\"{error}\" y={y:?}", "x: {list}"] {
        assert!(is_well_formed(good), "{good}");
    }
    for bad in ["", "event=x a=1", "stream: x stream=a", "x: error={e} and more", "x: error", "x: error=", "x {y}"] {
        assert!(!is_well_formed(bad), "{bad}");
    }
    assert_eq!(literal("\"a \\\n   b=\\\"c\\\"\", x)").as_deref(), Some("a b=\"c\""));
}
