//! How a command ends when it does not end well, and the exit code for it.

use std::process::ExitCode;

/// Why a command stopped. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Whoever read the output has gone (`… | head`). Nothing is wrong.
    #[error("the reader of the output is gone")]
    Pipe,
    /// All there is to say has been said.
    #[error("failed")]
    Said,
    /// The hub said no, or something is not as it should be.
    #[error("{0}")]
    Refused(String),
    /// The command line, or what was read, cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// The hub cannot be reached, or not do it at the moment: worth trying again.
    #[error("{0}")]
    Away(String),
    /// No connection to the hub came about: nothing was sent. Else as `Away`.
    #[error("{0}")]
    Unreached(String),
    /// Settings that cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl Failure {
    /// As `EXIT_CODES` documents them.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Pipe => 0,
            Self::Said | Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Away(_) | Self::Unreached(_) => 3,
            Self::Settings(_) => 78,
        })
    }

    /// Whether there is a line to print.
    pub fn line(&self) -> Option<String> {
        match self {
            Self::Pipe | Self::Said => None,
            other => Some(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Pipe,
            _ => Self::Refused(format!("cannot write: {error}")),
        }
    }
}

/// What `--help` says of exit codes.
pub const EXIT_CODES: &str = "Exit codes: 0 done; 1 the hub refused it, or something was found wrong; 2 the command line \
cannot be meant; 3 the hub is not reachable or not able at the moment (try again); 78 settings that cannot be used.";
