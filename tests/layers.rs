//! The layers of `ARCHITECTURE.md`, asserted: who may import whom, and which crates stay where they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on panics")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Layer → the layers it may import. The composition root may import everything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("error", &[]),
    ("alive", &[]),
    ("access", &["event", "error"]),
    ("logs", &[]),
    ("trust", &[]),
    ("measure", &["event", "error"]),
    ("store", &["event", "error", "alive", "measure", "trust"]),
    ("live", &["event", "store", "alive", "measure"]),
    ("streams", &["event", "error", "store", "measure", "trust"]),
    ("registry", &["event", "error", "store", "streams", "alive"]),
    ("http", &["event", "error", "store", "live", "streams", "registry", "alive", "measure", "logs", "access"]),
    ("config", &["event", "error", "store", "live", "streams", "registry", "http", "access"]),
    ("cli", &["event", "error", "config", "trust", "access"]),
    // `check` alone looks at what a hub needs, and not at a hub.
    ("cli/check", &["cli", "event", "error", "config", "store", "streams", "http", "app"]),
    ("app", &["event", "error", "store", "live", "streams", "registry", "http", "config", "alive", "access"]),
    ("main", &["event", "error", "store", "live", "streams", "registry", "http", "config", "app", "cli", "logs"]),
    ("lib", &[]),
];

/// Crate → the files (or folders, with a slash) that may name it.
const CONFINED: &[(&str, &[&str])] = &[
    ("actix_web_actors", &["http/session.rs"]),
    ("actix_web", &["http/", "app.rs", "app/", "main.rs"]),
    ("actix_http", &["http/", "app/serve.rs", "streams/webhook"]),
    ("awc", &["streams/webhook", "cli/"]),
    ("lapin", &["streams/rabbit"]),
    ("redis", &["store/redis/"]),
    ("fjall", &["store/embedded/"]),
    // `main.rs` names our own module of that name.
    ("config", &["config.rs", "config/", "main.rs"]),
    ("clap", &["main.rs", "cli/"]),
];

#[test]
fn layers_import_only_what_the_architecture_allows() {
    let mut wrong = Vec::new();
    for (file, layer, imported) in imports() {
        let allowed = MAY_IMPORT.iter().find(|(name, _)| *name == layer).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{file}: the layer {layer} is not in the table"));
        wrong.extend(
            imported
                .iter()
                .filter(|i| **i != layer && !allowed.contains(&i.as_str()))
                .map(|i| format!("{file} imports {i}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn there_are_no_circles_between_layers() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, layer, imported) in imports() {
        edges.entry(layer.clone()).or_default().extend(imported.into_iter().filter(|i| *i != layer));
    }
    // What imports nothing that is left can be taken away; a circle is what stays.
    while let Some(free) =
        edges.iter().find(|(_, to)| to.iter().all(|t| !edges.contains_key(t))).map(|(l, _)| l.clone())
    {
        edges.remove(&free);
    }
    assert!(edges.is_empty(), "layers that import each other: {edges:#?}");
}

#[test]
fn crates_stay_where_they_are() {
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        for (name, homes) in CONFINED {
            let at_home = homes.iter().any(|home| file.starts_with(home));
            if !at_home && names_crate(&code, name) {
                wrong.push(format!("{file} names {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> =
        files().into_iter().filter(|f| !std::fs::read_to_string(f).unwrap().starts_with("//!")).collect();
    assert!(silent.is_empty(), "files without a first line that says what they are: {silent:#?}");
}

/// For each source file: its path under `src`, its layer, and the modules of the crate that it names.
fn imports() -> Vec<(String, String, BTreeSet<String>)> {
    let layers: BTreeSet<&str> = MAY_IMPORT.iter().map(|(name, _)| *name).collect();
    let found = sources().into_iter().map(|(file, code)| {
        let layer = if file.starts_with("cli/check") { "cli/check" } else { file.split('/').next().unwrap() };
        let layer = layer.trim_end_matches(".rs").to_owned();
        let depth = file.matches('/').count() - usize::from(file.ends_with("/mod.rs"));
        let mut named = BTreeSet::new();
        for path in ["crate::", "event_source_api::"] {
            named.extend(names_after(&code, path));
        }
        // `super::` out of the layer's own top module leads to the crate's root; inline test modules add one.
        for up in depth + 1..=depth + 3 {
            let path = "super::".repeat(up);
            named.extend(names_after(&code, &path).into_iter().filter(|n| layers.contains(n.as_str())));
        }
        named.retain(|n| layers.contains(n.as_str()) || n.starts_with(char::is_lowercase));
        (file, layer, named)
    });
    found.collect()
}

/// The first segments that follow `path` wherever it begins a path, groups (`path{a::x, b}`) included.
fn names_after(code: &str, path: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(path) {
        if code[..at].ends_with(is_path_char) {
            continue;
        }
        let rest = code[at + path.len()..].trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            names.extend(group_members(group));
        } else {
            names.insert(identifier(rest));
        }
    }
    names.remove("");
    names
}

/// The first segment of each member of a `{…}` group whose opening brace is already taken.
fn group_members(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(identifier(group[start..at].trim_start()));
                return members;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(identifier(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
    }
    members
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn is_path_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ':'
}

/// Whether a crate is named at the beginning of a path.
fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    let imported = [format!("use {name};"), format!("use {name} as"), format!("extern crate {name}")];
    let begins = |at: usize| {
        let before = &code[..at];
        let global = before.strip_suffix("::").is_some_and(|b| !b.ends_with(is_path_char));
        // A module of ours may have a crate's name, and is then named by `super::`, `self::` or `crate::`.
        global || !before.ends_with(is_path_char)
    };
    code.match_indices(&path).any(|(at, _)| begins(at)) || imported.iter().any(|i| code.contains(i.as_str()))
}

/// Every source file by its path under `src`, comments and strings taken out.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let named = files().into_iter().map(|file| {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        (name, without_comments_and_strings(&text))
    });
    named.collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files() -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![root()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Good enough for what rustfmt leaves behind: line comments, block comments and plain strings.
fn without_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(raw) = raw_string(rest) {
            raw
        } else if c == '"' {
            plain_string(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.push(' ');
        rest = &rest[skip..];
    }
    out
}

/// The length of the string that `text` begins with, its quotes included.
fn plain_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw string that `text` begins with, if it does.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let count = hashes.len() - hashes.trim_start_matches('#').len();
    let body = hashes[count..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(count));
    Some(body.find(&end).map_or(text.len(), |at| 1 + count + 1 + at + end.len()))
}

#[test]
fn the_reader_of_imports_sees_every_form() {
    let code = without_comments_and_strings(
        r##"
        //! crate::comment
        use crate::{event::{EventId, Ttl}, store::Store, error};
        use crate::live;
        fn f() -> crate::registry::TypeView { let _ = "crate::string"; r#"crate::raw"#; '"'; crate::http::x() }
        use my_crate::other;
        "##,
    );
    let wanted = ["error", "event", "http", "live", "registry", "store"].map(str::to_owned);
    assert_eq!(names_after(&code, "crate::"), BTreeSet::from(wanted));
    assert!(names_crate("use awc::Client;", "awc") && names_crate("x: ::awc::Client", "awc"));
    assert!(!names_crate("use super::redis::Thing; crate::store::redis::X", "redis"));
}
