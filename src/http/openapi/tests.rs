//! The document by itself: that it hangs together, and that its patterns are those of the parsers.

use super::*;
use crate::event::{ClientId, EventId, EventType, Slice, StreamName, Ttl, TypeFilter, parse_duration};
use crate::http::testing;
use jsonschema::Validator;
use proptest::prelude::*;

fn validator(name: &str) -> Validator {
    let mut schema = document(&testing::settings());
    schema["$ref"] = json!(format!("#/components/schemas/{name}"));
    jsonschema::draft202012::new(&schema).unwrap()
}

#[test]
fn every_reference_leads_somewhere_and_every_part_is_used() {
    let document = document(&testing::settings());
    let mut used = BTreeSet::new();
    let mut left = vec![&document];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(to)) = members.get("$ref") {
                    let pointer = to.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{to} leads nowhere");
                    used.insert(to.clone());
                }
                left.extend(members.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(used.contains(&format!("#/components/schemas/{name}")), "nothing uses {name}");
    }
}

#[test]
fn the_server_is_the_public_url_or_where_the_document_is() {
    let mut settings = testing::settings();
    assert_eq!(document(&settings)["servers"], json!([{ "url": "/" }]));
    settings.public_url = Some("https://events.example/hub".into());
    assert_eq!(document(&settings)["servers"], json!([{ "url": "https://events.example/hub" }]));
}

/// What the document says of a text, and whether the hub takes it.
type Form = (&'static str, fn(&str) -> bool);

const FORMS: &[Form] = &[
    ("EventType", |text| text.parse::<EventType>().is_ok()),
    ("StreamName", |text| text.parse::<StreamName>().is_ok()),
    ("Client", |text| text.parse::<ClientId>().is_ok()),
    ("TypeFilter", |text| text.parse::<TypeFilter>().is_ok()),
    ("EventId", |text| text.parse::<EventId>().is_ok()),
];
/// Those of which the document leaves out what no pattern can say: sums that are too small or too large.
const LOOSE: &[Form] = &[
    ("Slice", |text| text.parse::<Slice>().is_ok()),
    ("Ttl", |text| text.parse::<Ttl>().is_ok()),
    ("Duration", |text| parse_duration(text).is_ok()),
];

#[test]
fn the_examples_of_names_are_taken() {
    let schemas = document(&testing::settings())["components"]["schemas"].clone();
    for (name, takes) in FORMS.iter().chain(LOOSE) {
        for example in schemas[*name]["examples"].as_array().unwrap() {
            assert!(takes(example.as_str().unwrap()), "{name}: {example}");
        }
    }
}

#[test]
fn names_have_the_form_that_is_read() {
    let validators: Vec<_> = FORMS.iter().map(|(name, takes)| (name, validator(name), takes)).collect();
    let text = prop_oneof!["[a-z0-9A:*,._~ -]{0,8}", "[0-9]{0,20}", "[a-z]{126,130}", "[a:]{253,258}", ".{0,4}"];
    proptest!(|(text in text)| {
        // A pattern has no number below 2^64.
        prop_assume!(text.len() != 20 || !text.bytes().all(|b| b.is_ascii_digit()));
        for (name, validator, takes) in &validators {
            prop_assert_eq!(validator.is_valid(&json!(text)), takes(&text), "{} {:?}", name, text);
        }
    });
}

#[test]
fn spans_of_time_that_are_read_have_the_form_of_the_document() {
    let validators: Vec<_> = LOOSE.iter().map(|(name, takes)| (name, validator(name), takes)).collect();
    let text = "(permanent|hour|[0-9]{1,2}|ms|s|sec|min|minutes|h|hours|days|w|weeks|M|y| ){1,5}";
    proptest!(|(text in text)| {
        for (name, validator, takes) in &validators {
            // Spaces at the ends, and within a number, are read but need not be written.
            let digits = |at: Option<&u8>| at.is_some_and(u8::is_ascii_digit);
            let bytes = text.as_bytes();
            let split = bytes.windows(3).any(|w| digits(w.first()) && w[1] == b' ' && digits(w.last()));
            let plain = text.trim() == text && !split;
            // Nor is nothing without a unit.
            if plain && text != "0" && takes(&text) {
                prop_assert!(validator.is_valid(&json!(text)), "{} {:?}", name, text);
            }
        }
    });
}
