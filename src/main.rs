//! The command line.

use clap::{Parser, Subcommand};
use event_source_api::{app, cli, config::Settings, logs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// An event hub in one binary: send events over HTTP; they are stored, delivered to RabbitMQ and webhooks, pushed
/// live to WebSockets, and read back as a feed.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = format!(
        "Settings may also be given as environment variables, EVENTS__SECTION__KEY; config/default.toml documents \
         them all. RUST_LOG sets what is logged (default: info). Commands find the hub by --url or EVENTS_URL, and take \
         an access token from EVENTS_TOKEN or --token-file.\n\n{}", cli::EXIT_CODES)
)]
struct Arguments {
    /// Settings file (TOML) over the built-in defaults
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub (what happens without a command)
    Serve,
    #[command(flatten)]
    Client(cli::Command),
}

/// Exit code for settings that cannot be used (`EX_CONFIG`).
const BAD_SETTINGS: u8 = 78;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(arguments.config),
        Command::Client(command) => command.run(arguments.config.as_deref()),
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

/// One line on stderr, before or beside any log.
#[allow(clippy::print_stderr, reason = "the log may be filtered or not there yet, and this line must be seen")]
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("event-source-api: {error}");
    ExitCode::from(code)
}
