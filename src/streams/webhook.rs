//! `{"source": "webhook"}`: a signed `POST` of each event to a URI.
//!
//! The messages follow [Standard Webhooks](https://www.standardwebhooks.com). Which addresses may be
//! reached is checked twice: a literal one at registration, every resolved one when connecting.

mod client;
mod guard;
mod sign;

pub use client::WebhookClient;

use super::fields::Fields;
use super::{BoxedSink, Secrets, SinkEnv, StreamSettings, Target};
use awc::http::Uri;
use awc::http::header::{HeaderName, HeaderValue};
use client::WebhookSink;
use guard::Guard;
use serde_json::{Map, Value, json};
use sign::Secret;
use std::sync::Arc;
use url::Url;

/// Longest `uri`.
const MAX_URI: usize = 2048;
/// Most secrets at a time: the new and the old ones while rotating.
const MAX_SECRETS: usize = 8;
/// Most extra headers.
const MAX_HEADERS: usize = 32;
/// Longest value of an extra header.
const MAX_HEADER: usize = 4096;
/// Stands for a secret in answers. Sent back in a registration it means: as before.
const MASK: &str = "***";
/// Stands for a signing secret in answers, likewise.
const SECRET_MASK: &str = "whsec_***";
/// Headers that the hub or the protocol sets.
const RESERVED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A webhook as it was registered.
#[derive(Debug, Clone)]
struct Webhook {
    /// As it was written.
    text: String,
    /// As it is used: normalised, without a fragment.
    url: Url,
    /// The same for the client.
    uri: Uri,
    /// Each signs; never empty.
    secrets: Vec<Secret>,
    /// Whether reading it made the secret.
    made: bool,
    /// Extra headers in the order of their names.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Reads `uri`, `secret` and `headers`.
pub(super) fn parse(fields: &mut Fields, settings: &StreamSettings) -> Option<Arc<dyn Target>> {
    let uri = parse_uri(fields, settings);
    let secrets = parse_secrets(fields);
    let headers = parse_headers(fields);
    let (text, url, uri) = uri?;
    let made = secrets.is_none();
    let secrets = secrets.unwrap_or_else(|| vec![Secret::generate(rand::random())]);
    Some(Arc::new(Webhook { text, url, uri, secrets, made, headers }))
}

fn parse_uri(fields: &mut Fields, settings: &StreamSettings) -> Option<(String, Url, Uri)> {
    let text = fields.required("uri")?;
    match check_uri(&text, settings) {
        Ok((url, uri)) => Some((text, url, uri)),
        Err(problem) => {
            fields.error("uri", problem);
            None
        }
    }
}

fn check_uri(text: &str, settings: &StreamSettings) -> Result<(Url, Uri), String> {
    if text.len() > MAX_URI {
        return Err(format!("must be at most {MAX_URI} bytes"));
    }
    // The parser drops tabs and line breaks wherever they stand; what is shown must be what is used.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("must not contain spaces or control characters".into());
    }
    let mut url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must be an http or https URL".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain credentials; use \"headers\"".into());
    }
    // The parser has read every spelling of an address: decimal, hexadecimal, octal, short forms.
    let literal = match url.host() {
        None => return Err("must have a host".into()),
        Some(url::Host::Domain(_)) => None,
        Some(url::Host::Ipv4(ip)) => Some(ip.into()),
        Some(url::Host::Ipv6(ip)) => Some(ip.into()),
    };
    if let Some(ip) = literal
        && Guard::new(settings).denies(ip)
    {
        return Err(format!("{ip} may not be reached by webhooks (webhook.deny)"));
    }
    url.set_fragment(None);
    let uri = url.as_str().parse().map_err(|_| "contains characters that must be percent-encoded".to_owned())?;
    Ok((url, uri))
}

/// `None` when a secret is to be made, or kept.
fn parse_secrets(fields: &mut Fields) -> Option<Vec<Secret>> {
    let items = match fields.take("secret")? {
        Value::String(text) if text == SECRET_MASK => return None,
        Value::String(text) => vec![Value::String(text)],
        Value::Array(items) if items.iter().all(|item| item == SECRET_MASK) && !items.is_empty() => return None,
        Value::Array(items) if (1..=MAX_SECRETS).contains(&items.len()) => items,
        Value::Array(_) => {
            fields.error("secret", format!("must be 1 to {MAX_SECRETS} secrets"));
            return None;
        }
        other => return fields.wrong("secret", "a string or a list of strings", &other),
    };
    let mut secrets = Vec::with_capacity(items.len());
    for item in &items {
        match item.as_str().map(Secret::parse) {
            Some(Ok(secret)) => secrets.push(secret),
            Some(Err(problem)) => fields.error("secret", problem),
            None => return fields.wrong("secret", "a string or a list of strings", item),
        }
    }
    Some(secrets)
}

fn parse_headers(fields: &mut Fields) -> Vec<(HeaderName, HeaderValue)> {
    let members = match fields.take("headers") {
        None => return Vec::new(),
        Some(Value::Object(members)) => members,
        Some(other) => {
            fields.wrong::<()>("headers", "an object of strings", &other);
            return Vec::new();
        }
    };
    if members.len() > MAX_HEADERS {
        fields.error("headers", format!("must be at most {MAX_HEADERS} headers"));
        return Vec::new();
    }
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(members.len());
    for (name, value) in &members {
        match parse_header(name, value) {
            Ok((name, _)) if headers.iter().any(|(known, _)| *known == name) => {
                fields.error("headers", format!("has '{name}' more than once"));
            }
            Ok(header) => headers.push(header),
            Err(problem) => fields.error("headers", problem),
        }
    }
    headers.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    headers
}

fn parse_header(name: &str, value: &Value) -> Result<(HeaderName, HeaderValue), String> {
    let shown = super::text::one_line(name);
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("'{shown}' is not a header name"))?;
    if RESERVED.contains(&parsed.as_str()) || parsed.as_str().starts_with("webhook-") {
        return Err(format!("'{shown}' is set by the hub"));
    }
    let value = value.as_str().ok_or_else(|| format!("the value of '{shown}' must be a string"))?;
    let value = (value.len() <= MAX_HEADER)
        .then(|| HeaderValue::from_str(value).ok())
        .flatten()
        // Other bytes may be sent, but could not be shown as the text they came as.
        .filter(|value| value.to_str().is_ok())
        .ok_or_else(|| format!("the value of '{shown}' must be at most {MAX_HEADER} visible ASCII characters"))?;
    Ok((parsed, value))
}

/// Whether a header's value is nobody's business.
fn is_secret(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["auth", "cookie", "key", "password", "secret", "signature", "token"].iter().any(|word| name.contains(word))
}

impl Target for Webhook {
    fn source(&self) -> &'static str {
        "webhook"
    }

    fn identity(&self) -> String {
        self.url.as_str().to_owned()
    }

    fn fields(&self, secrets: Secrets) -> Map<String, Value> {
        let masked = secrets == Secrets::Masked;
        let mut map = Map::new();
        map.insert("uri".into(), json!(self.text));
        let texts: Vec<&str> = self.secrets.iter().map(|s| if masked { SECRET_MASK } else { s.as_str() }).collect();
        let secret = match texts.as_slice() {
            [one] => json!(one),
            many => json!(many),
        };
        map.insert("secret".into(), secret);
        if !self.headers.is_empty() {
            let headers = self.headers.iter().map(|(name, value)| {
                let hidden = masked && is_secret(name);
                let value = if hidden { MASK } else { value.to_str().unwrap_or_default() };
                (name.as_str().to_owned(), json!(value))
            });
            map.insert("headers".into(), Value::Object(headers.collect()));
        }
        map
    }

    fn inherit(&self, previous: &dyn Target) -> Arc<dyn Target> {
        let before = previous.fields(Secrets::Shown);
        let mut new = self.clone();
        if self.made {
            let texts = match before.get("secret") {
                Some(Value::Array(items)) => items.clone(),
                Some(one) => vec![one.clone()],
                None => Vec::new(),
            };
            let kept: Vec<Secret> =
                texts.iter().filter_map(Value::as_str).filter_map(|text| Secret::parse(text).ok()).collect();
            if !kept.is_empty() {
                (new.secrets, new.made) = (kept, false);
            }
        }
        for (name, value) in new.headers.iter_mut().filter(|(_, value)| value == MASK) {
            let kept = before.get("headers").and_then(|headers| headers.get(name.as_str())).and_then(Value::as_str);
            if let Some(kept) = kept.and_then(|text| HeaderValue::from_str(text).ok()) {
                *value = kept;
            }
        }
        Arc::new(new)
    }

    fn made_secret(&self) -> bool {
        self.made
    }

    fn sink(&self, env: &SinkEnv) -> BoxedSink {
        Box::new(WebhookSink::new(env, self.uri.clone(), self.secrets.clone(), self.headers.clone()))
    }
}
