//! `{"source": "rabbit"}`: each event a persistent message to an exchange, confirmed by the broker.

mod brokers;
mod exchange;
mod publisher;

pub use brokers::Brokers;

use super::fields::Fields;
use super::{BoxedSink, Secrets, SinkEnv, StreamSettings, Target};
use publisher::RabbitSink;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Longest exchange name and routing key in bytes: AMQP's short strings.
const MAX_SHORT: usize = 255;
/// What is declared when an exchange is missing and no type was asked for.
const DEFAULT_TYPE: &str = "topic";

/// A target at a broker as it was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rabbit {
    /// Name of the broker in the settings; "" is the default one.
    broker: String,
    /// "" is the default exchange, which leads to the queue named by the routing key.
    exchange: String,
    routing_key: String,
    /// Set when the exchange must have this type; else any existing exchange will do.
    exchange_type: Option<String>,
    /// Whether an event that no queue takes is not delivered.
    mandatory: bool,
}

/// Reads `exchange`, `routingKey`, `exchangeType`, `mandatory` and `broker`.
pub(super) fn parse(fields: &mut Fields, settings: &StreamSettings) -> Option<Arc<dyn Target>> {
    let exchange = short(fields, "exchange", true);
    let routing_key = short(fields, "routingKey", true);
    let exchange_type = short(fields, "exchangeType", false);
    if exchange_type.as_deref() == Some("") {
        fields.error("exchangeType", "must be the name of an exchange type, e.g. \"topic\"");
    }
    let mandatory = fields.boolean("mandatory").unwrap_or(true);
    let broker = fields.string("broker").unwrap_or_default();
    if !settings.brokers.contains_key(&broker) {
        let problem = if broker.is_empty() {
            "is required: there is no default broker in the settings (rabbit.url)".to_owned()
        } else {
            format!("'{}' is not a broker of the settings", super::text::one_line(&broker))
        };
        fields.error("broker", problem);
    }
    Some(Arc::new(Rabbit { broker, exchange: exchange?, routing_key: routing_key?, exchange_type, mandatory }))
}

/// A string that fits AMQP's short strings.
fn short(fields: &mut Fields, name: &str, required: bool) -> Option<String> {
    let text = if required { fields.required(name) } else { fields.string(name) }?;
    if text.len() > MAX_SHORT {
        fields.error(name, format!("must be at most {MAX_SHORT} bytes"));
        return None;
    }
    if text.contains('\0') {
        fields.error(name, "must not contain a NUL character");
        return None;
    }
    Some(text)
}

impl Target for Rabbit {
    fn source(&self) -> &'static str {
        "rabbit"
    }

    fn identity(&self) -> String {
        // NUL is in none of them, so that no two targets look alike.
        let mut identity = format!("{}\0{}", self.exchange, self.routing_key);
        if !self.broker.is_empty() {
            identity = format!("{}\0{identity}", self.broker);
        }
        identity
    }

    fn fields(&self, _: Secrets) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("exchange".into(), json!(self.exchange));
        map.insert("routingKey".into(), json!(self.routing_key));
        map.insert("mandatory".into(), json!(self.mandatory));
        if let Some(kind) = &self.exchange_type {
            map.insert("exchangeType".into(), json!(kind));
        }
        if !self.broker.is_empty() {
            map.insert("broker".into(), json!(self.broker));
        }
        map
    }

    fn inherit(&self, _: &dyn Target) -> Arc<dyn Target> {
        Arc::new(self.clone())
    }

    fn sink(&self, env: &SinkEnv) -> BoxedSink {
        Box::new(RabbitSink::start(self.clone(), env.brokers.clone()))
    }
}
