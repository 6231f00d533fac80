//! Reads `/metrics`, strictly.

use crate::support::hub::Hub;
use std::collections::{BTreeMap, BTreeSet};

/// A page of metrics.
#[derive(Debug, Default)]
pub struct Figures {
    /// Name → (kind, help).
    pub families: BTreeMap<String, (String, String)>,
    /// Values by name and labels as they are written.
    pub values: BTreeMap<String, f64>,
    /// Families that have a sample.
    pub sampled: BTreeSet<String>,
}

impl Figures {
    /// Asks a hub.
    pub async fn of(hub: &Hub) -> Self {
        let answer = hub.get("/metrics").await.expect(200);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Self::read(&answer.text())
    }

    fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut family = String::new();
        let mut help = String::new();
        assert!(text.ends_with('\n'), "the last line ends, too");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, words) = rest.split_once(' ').unwrap();
                (family, help) = (name.to_owned(), words.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, family, "TYPE follows HELP");
                let before = page.families.insert(family.clone(), (kind.to_owned(), help.clone()));
                assert!(before.is_none(), "{family} comes twice");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line:?}"));
                let name = series.split('{').next().unwrap();
                let tail = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} under {family}"));
                assert!(["", "_bucket", "_sum", "_count"].contains(&tail), "{line} under {family}");
                let value = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
                assert!(page.values.insert(series.to_owned(), value).is_none(), "{series} comes twice");
                page.sampled.insert(family.clone());
            }
        }
        page
    }

    /// The value of a series.
    #[track_caller]
    pub fn get(&self, series: &str) -> f64 {
        *self.values.get(series).unwrap_or_else(|| panic!("there is no {series}"))
    }

    /// The series of a family.
    pub fn series(&self, family: &str) -> Vec<(&str, f64)> {
        let begins = format!("{family}{{");
        self.values.iter().filter(|(s, _)| s.starts_with(&begins)).map(|(s, v)| (s.as_str(), *v)).collect()
    }
}
