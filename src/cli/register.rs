//! `register`: types from a file.

use super::failure::Failure;
use super::hub::Connection;
use super::out::{Tone, printable, say};
use awc::http::Method;
use clap::Args;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::Read;
use std::path::PathBuf;

/// Register types: one registration, or an array of them, as JSON.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  event-source-api register types.json

where types.json holds
  {\"type\": \"financial:end-budget\", \"ttl\": \"24days\",
   \"streams\": [{\"source\": \"webhook\", \"uri\": \"https://example.com/hook\"}]}

A registration is replaced as a whole; the same file may be given again and again. A secret that the hub makes for a
webhook is shown this once.")]
pub struct Register {
    /// The file; - reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    connection: Connection,
}

impl Register {
    /// Registers one after the other; what is refused does not hold up the rest.
    ///
    /// # Errors
    /// When any was refused, or the hub is away.
    pub async fn run(self) -> Result<(), Failure> {
        let registrations = self.read()?;
        let (hub, out) = (self.connection.hub(None)?, self.connection.out());
        let mut refused = 0;
        for registration in &registrations {
            let body = registration.get().to_owned();
            let answer = match hub.call(Method::PUT, "/api/events/register", &[], Some(body)).await?.good() {
                Ok(answer) => answer,
                Err(Failure::Refused(line)) if registrations.len() > 1 => {
                    let of: Value = serde_json::from_str(registration.get()).unwrap_or_default();
                    say(&format!("{}: {line}", of["type"].as_str().unwrap_or("a registration")));
                    refused += 1;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            if out.json {
                answer.print(out)?;
                continue;
            }
            let done: Value = answer.json()?;
            let text = |value: &Value| printable(value.as_str().unwrap_or_default());
            let what = if answer.status == 201 { "registered" } else { "replaced" };
            let (ty, ttl) = (text(&done["type"]), text(&done["ttl"]));
            out.line(&format!("{} {ty}, kept {ttl}", out.paint(what, Tone::Good)))?;
            for stream in done["streams"].as_array().into_iter().flatten() {
                let target = if stream["source"] == "webhook" {
                    text(&stream["uri"])
                } else {
                    format!("{} {}", text(&stream["exchange"]), text(&stream["routingKey"]))
                };
                out.line(&format!("  {} {}  {target}", text(&stream["source"]), text(&stream["name"])))?;
                // Masked ones hold stars: they have been shown before.
                if let Some(secret) = stream["secret"].as_str().filter(|secret| !secret.contains('*')) {
                    out.line(&format!("    secret {}  (shown this once)", printable(secret)))?;
                }
            }
        }
        if refused > 0 {
            Err(Failure::Refused(format!("{refused} of {} were refused", registrations.len())))
        } else {
            Ok(())
        }
    }

    fn read(&self) -> Result<Vec<Box<RawValue>>, Failure> {
        let mut text = String::new();
        let read = if self.file.as_os_str() == "-" {
            std::io::stdin().read_to_string(&mut text).map(drop)
        } else {
            std::fs::read_to_string(&self.file).map(|read| text = read)
        };
        let file = self.file.display();
        read.map_err(|error| Failure::Usage(format!("cannot read {file}: {error}")))?;
        let wrong = |error: serde_json::Error| Failure::Usage(format!("{file} is not JSON: {error}"));
        let several = text.trim_start().starts_with('[');
        let all = if several { serde_json::from_str(&text) } else { serde_json::from_str(&text).map(|one| vec![one]) };
        let all: Vec<Box<RawValue>> = all.map_err(wrong)?;
        if all.is_empty() { Err(Failure::Usage(format!("{file} holds no registration"))) } else { Ok(all) }
    }
}
