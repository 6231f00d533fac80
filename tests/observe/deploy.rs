//! `deploy/`: the dashboard and the alarms can be read, and use only what there is.

use event_source_api::error::Code;
use event_source_api::measure::{Kind, TABLE};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Alarms {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(default, rename = "for")]
    held: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn alarms() -> Vec<Rule> {
    let alarms: Alarms = serde_saphyr::from_str(include_str!("../../deploy/alerts.yaml")).expect("YAML");
    assert!(alarms.groups.iter().all(|group| !group.name.is_empty()));
    alarms.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// Expressions of the dashboard, wherever they stand.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "expr" || name == "query" => found.push(text.clone()),
                    other => expressions(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// The metrics that an expression names; what the table does not hold as it is used is a fault.
fn used(expression: &str, faults: &mut Vec<String>) -> BTreeSet<&'static str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let ours = words.filter(|word| word.starts_with("events_") || word.starts_with("process_"));
    let mut found = BTreeSet::new();
    for word in ours {
        let exact = TABLE.iter().find(|m| m.name == word && m.kind != Kind::Histogram);
        let part = || {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end))?;
            TABLE.iter().find(|m| m.name == base && m.kind == Kind::Histogram)
        };
        match exact.or_else(part) {
            Some(metric) => {
                found.insert(metric.name);
            }
            None => faults.push(format!("{word} in {expression}")),
        }
    }
    // Labels by which is summed or chosen are labels of what is summed.
    let known: BTreeSet<_> =
        TABLE.iter().filter(|m| found.contains(m.name)).flat_map(|m| m.labels.iter().copied()).collect();
    for by in expression.split("by (").skip(1) {
        let labels = by.split(')').next().unwrap_or_default().split(',').map(str::trim);
        let common = ["le", "instance", "job"];
        faults.extend(
            labels.filter(|l| !known.contains(l) && !common.contains(l)).map(|l| format!("{l} in {expression}")),
        );
    }
    found
}

#[test]
fn alarms_use_only_metrics_that_exist() {
    let (rules, mut faults, mut names) = (alarms(), Vec::new(), BTreeSet::new());
    assert!(rules.len() >= 15, "{}", rules.len());
    for rule in &rules {
        assert!(names.insert(&rule.alert), "{} comes twice", rule.alert);
        let metrics = used(&rule.expr, &mut faults);
        assert!(!metrics.is_empty() || rule.expr.starts_with("up{"), "{} is about nothing", rule.alert);
        assert!(matches!(rule.labels["severity"].as_str(), "critical" | "warning"), "{}", rule.alert);
        assert!(rule.annotations.contains_key("summary") && rule.annotations.contains_key("description"));
        assert!(rule.held.as_deref().is_none_or(|held| held.ends_with('m')), "{}", rule.alert);
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn reasons_in_alarms_are_codes_of_problems() {
    let reasons: Vec<String> = alarms()
        .iter()
        .filter_map(|rule| rule.expr.split("reason=~\"").nth(1)?.split('"').next().map(str::to_owned))
        .flat_map(|reasons| reasons.split('|').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(reasons.len() >= 3);
    for reason in reasons {
        assert!(Code::ALL.iter().any(|code| code.code() == reason), "{reason}");
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_no_other() {
    let dashboard: Value = serde_json::from_str(include_str!("../../deploy/grafana.json")).expect("JSON");
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    expressions(&dashboard, &mut found);
    let shown: BTreeSet<_> = found.iter().flat_map(|expression| used(expression, &mut faults)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let missing: Vec<_> = TABLE.iter().map(|m| m.name).filter(|name| !shown.contains(name)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "not on the dashboard");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
}

#[test]
fn operators_are_told_what_to_do_at_each_alarm() {
    let page = include_str!("../../docs/operations.md");
    let words: BTreeSet<&str> = page.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let missing: Vec<_> =
        alarms().into_iter().map(|rule| rule.alert).filter(|name| !words.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/operations.md says nothing of {missing:?}");
}
