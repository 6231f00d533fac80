//! What a registration's streams may look like, and what they turn into.

use super::*;
use crate::streams::testing;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn settings() -> StreamSettings {
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
    StreamSettings {
        webhook_deny: nets(&["169.254.0.0/16", "10.0.0.0/8", "fd00::/8"]),
        webhook_allow: nets(&["10.1.0.0/16"]),
        brokers: BTreeMap::from([("".into(), "amqp://127.0.0.1".into()), ("other".into(), "amqp://127.0.0.2".into())]),
        ..testing::settings()
    }
}

fn parse(streams: Value) -> Result<Vec<StreamSpec>, Vec<FieldError>> {
    parse_streams(&streams, &settings())
}

fn one(stream: Value) -> StreamSpec {
    parse(json!([stream])).unwrap().remove(0)
}

/// The pointers of what is wrong, sorted.
fn wrong(streams: Value) -> Vec<String> {
    let mut pointers: Vec<String> = parse(streams).unwrap_err().into_iter().map(|e| e.pointer).collect();
    pointers.sort();
    pointers
}

#[test]
fn the_contracts_streams_are_read_and_filled_in() {
    let rabbit = one(json!({"source": "rabbit", "exchange": "events", "routingKey": "financial"}));
    assert_eq!(
        rabbit.to_json(Secrets::Masked),
        json!({
            "name": rabbit.name.as_str(), "source": "rabbit", "exchange": "events", "routingKey": "financial",
            "mandatory": true, "mailbox": 1024, "concurrency": 16,
            "retry": {"attempts": 40, "first": "1s", "max": "1h"},
        })
    );
    let webhook = one(json!({"source": "webhook", "uri": "https://example.org/hook"}));
    assert!(webhook.made_secret());
    let shown = webhook.to_json(Secrets::Shown);
    assert!(shown["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(webhook.to_json(Secrets::Masked)["secret"], "whsec_***");
    assert_eq!(parse(json!([])).unwrap().len(), 0);
}

#[test]
fn everything_wrong_is_said_at_once_with_its_pointer() {
    assert_eq!(
        wrong(json!([
            {"source": "webhook", "url": "http://x.org", "mailbox": 0, "retry": {"attempts": "4", "frist": "1s"}},
            {"source": "rabbit", "exchange": 5, "mandatory": "yes", "broker": "nowhere", "uri": "http://x.org"},
            {"source": "kafka", "mailbox": 1.5, "name": "a b"},
            {"uri": "http://x.org"},
            "webhook",
        ])),
        [
            "/streams/0/mailbox",
            "/streams/0/retry/attempts",
            "/streams/0/retry/frist",
            "/streams/0/uri",
            "/streams/0/url",
            "/streams/1/broker",
            "/streams/1/exchange",
            "/streams/1/mandatory",
            "/streams/1/routingKey",
            "/streams/1/uri",
            "/streams/2/mailbox",
            "/streams/2/name",
            "/streams/2/source",
            "/streams/3/source",
            "/streams/4",
        ]
    );
    for (streams, pointer) in [
        (json!({}), "/streams"),
        (Value::Null, "/streams"),
        (json!([[]]), "/streams/0"),
        (json!([null]), "/streams/0"),
        (json!([{"source": "webhook", "uri": "http://x.org", "a/b~c": 1}]), "/streams/0/a~1b~0c"),
        (json!([{"source": "webhook", "uri": "http://x.org", "retry": 5}]), "/streams/0/retry"),
        (json!([{"source": "webhook", "uri": "http://x.org", "name": null}]), "/streams/0/name"),
    ] {
        assert_eq!(wrong(streams), [pointer]);
    }
    assert_eq!(wrong(Value::Array(vec![json!({}); 101])), ["/streams"]);
}

#[test]
fn figures_have_bounds() {
    let with = |field: &str, value: Value| {
        let mut stream = json!({"source": "rabbit", "exchange": "", "routingKey": "q"});
        stream[field] = value;
        parse(json!([stream])).is_ok()
    };
    for (field, low, high) in [("mailbox", 1, 100_000), ("concurrency", 1, 1024)] {
        assert!(with(field, json!(low)) && with(field, json!(high)));
        assert!(!with(field, json!(low - 1)) && !with(field, json!(high + 1)) && !with(field, json!(-1)));
    }
    let long = "x".repeat(256);
    for field in ["exchange", "routingKey", "exchangeType"] {
        assert!(with(field, json!(&long[1..])) && !with(field, json!(long)), "{field}");
    }
    assert!(!with("exchange", json!("é".repeat(128))), "bytes, not characters");
    assert!(!with("exchangeType", json!("")) && with("broker", json!("other")));
}

#[test]
fn a_partial_retry_keeps_the_other_defaults_in_order() {
    let retry = |retry: Value| {
        parse(json!([{"source": "rabbit", "exchange": "e", "routingKey": "", "retry": retry}]))
            .map(|specs| (specs[0].retry.attempts, specs[0].retry.first.as_millis(), specs[0].retry.max.as_millis()))
            .map_err(|errors| errors[0].pointer.clone())
    };
    assert_eq!(retry(json!({})), Ok((40, 1000, 3_600_000)));
    assert_eq!(retry(json!({"attempts": 3})), Ok((3, 1000, 3_600_000)));
    assert_eq!(retry(json!({"max": "500ms"})), Ok((40, 500, 500)));
    assert_eq!(retry(json!({"first": "2h"})), Ok((40, 7_200_000, 7_200_000)));
    assert_eq!(retry(json!({"first": "2s", "max": "1s"})), Err("/streams/0/retry/first".into()));
    for bad in [json!({"first": "0s"}), json!({"first": 5}), json!({"first": "soon"})] {
        assert_eq!(retry(bad), Err("/streams/0/retry/first".into()));
    }
    assert_eq!(retry(json!({"attempts": 0})), Err("/streams/0/retry/attempts".into()));
    assert_eq!(retry(json!({"max": "2 weeks"})), Err("/streams/0/retry/max".into()));
}

#[test]
fn derived_names_are_stable_and_tell_targets_apart() {
    let hook = |uri: &str| one(json!({"source": "webhook", "uri": uri})).name.to_string();
    assert_eq!(hook("https://Example.org:443/a"), hook("https://example.org/a"));
    assert_ne!(hook("https://example.org/a"), hook("https://example.org/a/"));
    assert_ne!(hook("https://example.org/a?b"), hook("https://example.org/a-b"));
    assert_eq!(hook("https://example.org/a"), "webhook-https-example.org-a-b5b10dd0");
    assert!(hook(&format!("https://example.org/{}", "ü".repeat(300))).len() <= 128);
    let rabbit = |exchange: &str, key: &str| {
        one(json!({"source": "rabbit", "exchange": exchange, "routingKey": key})).name.to_string()
    };
    assert_ne!(rabbit("a.b", "c"), rabbit("a", "b.c"));
    assert!(rabbit("", "").starts_with("rabbit-"));
    let other = one(json!({"source": "rabbit", "exchange": "a", "routingKey": "b", "broker": "other"})).name;
    assert_ne!(other.as_str(), rabbit("a", "b"));
}

#[test]
fn names_are_unique_in_a_type() {
    let hook = json!({"source": "webhook", "uri": "http://example.org/"});
    assert_eq!(wrong(json!([hook, hook])), ["/streams/1/name"]);
    let mut named = hook.clone();
    named["name"] = json!("second");
    assert_eq!(parse(json!([hook, named])).unwrap().len(), 2);
    assert_eq!(wrong(json!([named, named, named])), ["/streams/1/name", "/streams/2/name"]);
}

#[test]
fn a_denied_address_is_refused_in_any_spelling() {
    for uri in [
        "http://169.254.169.254/latest",
        "http://0xa9fea9fe/",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://2852039166/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]:8080/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://１６９.254.169.254/",
        "http://169.254.169.254./",
        "https://10.0.0.1/",
        "http://[fd00::1]/",
        // Not these either: other schemes, credentials, things that are no URL.
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://user@example.org/",
        "http://user:password@example.org/",
        "http://:password@example.org/",
        "example.org",
        "//example.org/",
        "http://",
        "",
        "http://exa mple.org/",
        "http://example.org/\n",
        "http://example.org:99999/",
        "http://999.1.1.1/",
    ] {
        assert_eq!(wrong(json!([{"source": "webhook", "uri": uri}])), ["/streams/0/uri"], "{uri}");
    }
    let long = format!("http://example.org/{}", "a".repeat(2048));
    assert_eq!(wrong(json!([{"source": "webhook", "uri": long}])), ["/streams/0/uri"]);
    for uri in ["http://127.0.0.1:8080/", "http://10.1.2.3/", "http://localhost/", "http://[::1]:80/a?b=c#d"] {
        assert_eq!(one(json!({"source": "webhook", "uri": uri})).to_json(Secrets::Masked)["uri"], uri);
    }
}

#[test]
fn secrets_and_headers_are_checked() {
    let with = |field: &str, value: Value| {
        let mut stream = json!({"source": "webhook", "uri": "http://example.org"});
        stream[field] = value;
        parse(json!([stream])).map(|mut specs| specs.remove(0))
    };
    assert!(!with("secret", json!(SECRET)).unwrap().made_secret());
    assert_eq!(with("secret", json!([SECRET, SECRET])).unwrap().to_json(Secrets::Shown)["secret"][1], SECRET);
    for bad in [json!(""), json!("secret"), json!([]), json!(5), json!([SECRET, 5]), json!([SECRET, "whsec_"])] {
        assert!(with("secret", bad.clone()).is_err(), "{bad}");
    }
    let headers = with("headers", json!({"X-Tenant": "a", "Authorization": "Bearer t"})).unwrap();
    assert_eq!(headers.to_json(Secrets::Masked)["headers"], json!({"authorization": "***", "x-tenant": "a"}));
    for bad in [
        json!([]),
        json!("a: b"),
        json!({"": "a"}),
        json!({"a b": "c"}),
        json!({"a": 1}),
        json!({"a": "b\r\nc: d"}),
        json!({"a": "é"}),
        json!({"X": "1", "x": "2"}),
        json!({"Host": "a"}),
        json!({"content-length": "1"}),
        json!({"Webhook-Signature": "v1,"}),
    ] {
        assert!(with("headers", bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn a_generated_secret_stays_with_its_name() {
    let first =
        one(json!({"source": "webhook", "name": "n", "uri": "http://example.org/a", "headers": {"x-key": "k"}}));
    for secret in [None, Some("whsec_***")] {
        let mut stream =
            json!({"source": "webhook", "name": "n", "uri": "http://example.org/b", "headers": {"x-key": "***"}});
        if let Some(secret) = secret {
            stream["secret"] = json!(secret);
        }
        let mut second = one(stream);
        assert!(second.made_secret());
        second.inherit(&first);
        assert!(!second.made_secret());
        let (first, second) = (first.to_json(Secrets::Shown), second.to_json(Secrets::Shown));
        assert_eq!(first["secret"], second["secret"]);
        assert_eq!((&second["uri"], &second["headers"]["x-key"]), (&json!("http://example.org/b"), &json!("k")));
    }
    let mut given = one(json!({"source": "webhook", "name": "n", "uri": "http://example.org/b", "secret": SECRET}));
    given.inherit(&first);
    assert_eq!(given.to_json(Secrets::Shown)["secret"], SECRET);
    let mut rabbit = one(json!({"source": "rabbit", "name": "n", "exchange": "e", "routingKey": "k"}));
    rabbit.inherit(&first);
    assert_eq!(rabbit.target.source(), "rabbit");
}

proptest! {
    #[test]
    fn what_is_stored_is_read_back(
        mailbox in 1u64..=100_000, concurrency in 1u64..=1024, attempts in 1u32..=10_000,
        first in 1u64..1000, more in 0u64..600_000_000, name in "[A-Za-z0-9._-]{1,128}",
        hook in any::<bool>(), exchange in "\\PC{0,60}", key in "\\PC{0,60}", path in "[!-~]{0,60}",
        mandatory in any::<bool>(), header in "[ -~]{0,40}",
    ) {
        let retry = json!({"attempts": attempts, "first": format!("{first}ms"), "max": format!("{}ms", first + more)});
        let mut stream = if hook {
            json!({"source": "webhook", "uri": format!("http://example.org/{path}"), "headers": {"x-a": header}})
        } else {
            json!({"source": "rabbit", "exchange": exchange, "routingKey": key, "mandatory": mandatory})
        };
        for (field, value) in [
            ("mailbox", json!(mailbox)), ("concurrency", json!(concurrency)), ("retry", retry), ("name", json!(name)),
        ] {
            stream[field] = value;
        }
        if let Ok(specs) = parse(json!([stream])) {
            let stored = specs[0].to_json(Secrets::Shown);
            let again = one(stored.clone());
            prop_assert_eq!(again.to_json(Secrets::Shown), stored);
            prop_assert!(again.same_target(&specs[0]) && !again.made_secret());
            prop_assert_eq!(&again.retry, &specs[0].retry);
            prop_assert_eq!(again.name.as_str(), name);
        } else {
            prop_assert!(hook, "only a path may be unfit");
        }
    }

    #[test]
    fn no_json_panics(text in "\\PC{0,80}", field in "(source|uri|secret|headers|retry|exchange|mailbox|name)") {
        let mut stream = json!({"source": "webhook", "uri": "http://example.org"});
        stream[field] = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let _ = parse(json!([stream]));
    }
}
