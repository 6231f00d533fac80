//! Opens a channel, with the exchange that it publishes to.

use super::super::text::one_line;
use super::{Brokers, DEFAULT_TYPE, Rabbit};
use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

/// Why there is no channel.
pub(super) enum OpenError {
    /// The broker's word, or the connection's end.
    Broker(lapin::Error),
    /// An exchange of a type that is not built in could not be declared; one line.
    Type(String),
}

impl From<lapin::Error> for OpenError {
    fn from(error: lapin::Error) -> Self {
        Self::Broker(error)
    }
}

/// A channel in confirm mode whose exchange exists.
pub(super) async fn open_channel(
    connection: &Connection,
    brokers: &Brokers,
    target: &Rabbit,
) -> Result<Channel, OpenError> {
    let mut channel = connection.create_channel().await?;
    // The default exchange is always there and must not be declared.
    if !target.exchange.is_empty() {
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let kind = kind(target);
        let exists = match declare(&channel, target, ExchangeKind::default(), passive).await {
            Ok(()) => true,
            Err(error) if is_soft(&error, AMQPSoftError::NOTFOUND) => {
                // The broker has closed the channel with its answer.
                channel = connection.create_channel().await?;
                false
            }
            Err(error) => return Err(error.into()),
        };
        if !exists || target.exchange_type.is_some() {
            if let ExchangeKind::Custom(_) = kind {
                declare_apart(brokers, target, kind, exists).await?;
            } else {
                channel = declare_durable(connection, channel, target, kind, exists).await?;
            }
        }
    }
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Declares an exchange of a type that comes from a plugin, on a connection of its own: a broker that
/// does not know the type closes the connection, which must not be the one of the other streams.
async fn declare_apart(brokers: &Brokers, target: &Rabbit, kind: ExchangeKind, exists: bool) -> Result<(), OpenError> {
    let failed = |error: String| OpenError::Type(one_line(&format!("exchange not declared: {error}")));
    let connection = brokers.connect_apart(&target.broker).await.map_err(failed)?;
    let declared = async {
        let channel = connection.create_channel().await?;
        declare_durable(&connection, channel, target, kind, exists).await
    };
    let declared = declared.await.map(drop).map_err(|error| failed(error.to_string()));
    let _ = connection.close(200, "declared".into()).await;
    declared
}

/// Declares the exchange; one that exists must have the type, durable or not.
async fn declare_durable(
    connection: &Connection,
    channel: Channel,
    target: &Rabbit,
    kind: ExchangeKind,
    exists: bool,
) -> lapin::Result<Channel> {
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    match declare(&channel, target, kind.clone(), durable).await {
        Ok(()) => Ok(channel),
        Err(error) if exists && is_soft(&error, AMQPSoftError::PRECONDITIONFAILED) => {
            let channel = connection.create_channel().await?;
            // The first complaint names what differs; the second only that both do.
            declare(&channel, target, kind, ExchangeDeclareOptions::default()).await.map_err(|_| error)?;
            Ok(channel)
        }
        Err(error) => Err(error),
    }
}

async fn declare(
    channel: &Channel,
    target: &Rabbit,
    kind: ExchangeKind,
    options: ExchangeDeclareOptions,
) -> lapin::Result<()> {
    channel.exchange_declare(target.exchange.as_str().into(), kind, options, FieldTable::default()).await
}

fn kind(target: &Rabbit) -> ExchangeKind {
    match target.exchange_type.as_deref().unwrap_or(DEFAULT_TYPE) {
        "direct" => ExchangeKind::Direct,
        "fanout" => ExchangeKind::Fanout,
        "headers" => ExchangeKind::Headers,
        "topic" => ExchangeKind::Topic,
        other => ExchangeKind::Custom(other.to_owned()),
    }
}

fn is_soft(error: &lapin::Error, kind: AMQPSoftError) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(e) if matches!(e.kind(), AMQPErrorKind::Soft(k) if *k == kind))
}
