//! The command line.

use clap::{Parser, Subcommand};
use event_source_api::access::{Scope, TokenHash, generate};
use event_source_api::{app, config::Settings, logs};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// An event hub in one binary: send events over HTTP; they are stored, delivered to RabbitMQ and webhooks, pushed
/// live to WebSockets, and read back as a feed.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Settings may also be given as environment variables, EVENTS__SECTION__KEY; \
config/default.toml documents them all. RUST_LOG sets what is logged (default: info)."
)]
struct Arguments {
    /// Settings file (TOML) over the built-in defaults.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub (what happens without a command).
    Serve,
    /// Make an access token: prints it, and what auth.tokens is to say of it.
    Token(NewToken),
}

#[derive(Debug, clap::Args)]
struct NewToken {
    /// What the token is called in settings and logs.
    #[arg(long, default_value = "new", value_parser = token_name)]
    name: String,
    /// What it is for.
    #[arg(long, value_delimiter = ',', default_value = "send,register,feed,live,ops")]
    scopes: Vec<Scope>,
}

fn token_name(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fits { Ok(text.to_owned()) } else { Err("must be 1 to 64 of letters, digits, '.', '_' and '-'".to_owned()) }
}

/// Exit code for settings that cannot be used (`EX_CONFIG`).
const BAD_SETTINGS: u8 = 78;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(arguments.config),
        Command::Token(token) => make_token(&token),
    }
}

/// Runs the hub until it is told to stop.
fn serve(file: Option<PathBuf>) -> ExitCode {
    let load = move || {
        let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Settings::load(file.as_deref(), environment)
    };
    let settings = match load() {
        Ok(settings) => settings,
        Err(e) => return fail(&e, BAD_SETTINGS),
    };
    logs::start();
    match actix::System::new().block_on(app::run(settings, Arc::new(load))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e @ app::RunError::Setting(_)) => fail(&e, BAD_SETTINGS),
        Err(e) => fail(&e, 1),
    }
}

/// Prints a new token, and what the settings are to say of it.
fn make_token(NewToken { name, scopes }: &NewToken) -> ExitCode {
    let token = generate();
    let hash = TokenHash::of(&token);
    let scopes: Vec<_> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    let scopes = scopes.join(", ");
    let text = format!(
        "{token}\n\n# The token above is shown once. For the settings:\n[[auth.tokens]]\nname = \"{name}\"\n\
         sha256 = \"{hash}\"\nscopes = [{scopes}]\n"
    );
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e, 1),
    }
}

/// One line on stderr, before or beside any log.
#[allow(clippy::print_stderr, reason = "the log may be filtered or not there yet, and this line must be seen")]
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("event-source-api: {error}");
    ExitCode::from(code)
}
