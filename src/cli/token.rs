//! `token`: a new access token, for settings and for whoever is to have it. Talks to no hub.

use super::failure::Failure;
use super::out::Out;
use crate::access::{Scope, TokenHash, generate};
use clap::Args;
use serde_json::json;

/// Make an access token: prints it, and what auth.tokens is to say of it.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  event-source-api token --name billing --scopes send,register")]
pub struct Token {
    /// What the token is called in settings and logs
    #[arg(long, default_value = "new", value_parser = name)]
    name: String,
    /// What it is for
    #[arg(long, value_delimiter = ',', default_value = "send,register,feed,live,ops")]
    scopes: Vec<Scope>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fits { Ok(text.to_owned()) } else { Err("must be 1 to 64 of letters, digits, '.', '_' and '-'".to_owned()) }
}

impl Token {
    /// Makes it.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub fn run(self) -> Result<(), Failure> {
        let out = Out::new(self.json);
        let token = generate();
        let (hash, name) = (TokenHash::of(&token).to_string(), self.name);
        let scopes: Vec<String> = self.scopes.iter().map(ToString::to_string).collect();
        if self.json {
            let document = json!({"token": token.to_string(), "name": name, "sha256": hash, "scopes": scopes});
            return out.line(&document.to_string());
        }
        let scopes: Vec<_> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
        out.text(&format!(
            "{token}\n\n# The token above is shown once. For the settings:\n[[auth.tokens]]\nname = \"{name}\"\n\
             sha256 = \"{hash}\"\nscopes = [{}]\n",
            scopes.join(", ")
        ))
    }
}
