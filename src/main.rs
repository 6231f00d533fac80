//! The command line.

use clap::Parser;
use event_source_api::{app, config::Settings, logs};
use std::path::PathBuf;
use std::process::ExitCode;

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
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Exit code for settings that cannot be used (`EX_CONFIG`).
const BAD_SETTINGS: u8 = 78;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let settings = match Settings::load(arguments.config.as_deref(), environment) {
        Ok(settings) => settings,
        Err(e) => return fail(&e, BAD_SETTINGS),
    };
    logs::start();
    match actix::System::new().block_on(app::run(settings)) {
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
