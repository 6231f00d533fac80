//! The binary as a script runs it.

use crate::support::hub::{Hub, command};
use crate::support::wait::{PATIENCE, within};
use serde_json::Value;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// What a program has said, and how it ended.
#[derive(Debug)]
pub struct Done {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// Asserts the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.out.trim_end().lines().count(), 1, "one document a line: {}", self.out);
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.out))
    }

    /// Asserts one line on standard error that holds each of the words.
    #[track_caller]
    pub fn complains(&self, words: &[&str]) {
        assert_eq!(self.err.lines().count(), 1, "one line: {}", self.err);
        for word in words {
            assert!(self.err.contains(word), "'{word}' is not in: {}", self.err);
        }
    }
}

/// A command line, with an environment that holds none of the caller's.
pub struct Program {
    command: Command,
    input: Vec<u8>,
}

impl Program {
    /// With arguments as they stand in a shell, split at blanks.
    pub fn new(arguments: &str) -> Self {
        let mut command = Command::from(command());
        command.args(arguments.split_whitespace());
        for variable in ["EVENTS_URL", "EVENTS_TOKEN", "NO_COLOR"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Self { command, input: Vec::new() }
    }

    /// Speaks to this hub.
    pub fn to(self, hub: &Hub) -> Self {
        let url = format!("http://{}", hub.address());
        self.env("EVENTS_URL", &url)
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// One more argument, blanks and all.
    pub fn argument(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    /// What it reads.
    pub fn input(mut self, text: &str) -> Self {
        self.input = text.as_bytes().to_vec();
        self
    }

    /// Runs it to its end.
    pub async fn run(mut self) -> Done {
        let what = format!("the end of {:?}", self.command.as_std());
        let mut child = self.command.spawn().expect("the binary starts");
        let mut stdin = child.stdin.take().expect("piped");
        let input = self.input;
        let write = async move {
            // It need not read what it was given.
            let _ = stdin.write_all(&input).await;
        };
        let (_, done) = within(PATIENCE, &what, async { tokio::join!(write, child.wait_with_output()) }).await;
        let done = done.expect("it can be waited for");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Done { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let mut child = self.command.spawn().expect("the binary starts");
        let out = BufReader::new(child.stdout.take().expect("piped")).lines();
        let err = BufReader::new(child.stderr.take().expect("piped")).lines();
        Running { child, out, err }
    }
}

/// A program that runs; killed when dropped.
pub struct Running {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    err: Lines<BufReader<ChildStderr>>,
}

impl Running {
    /// The next line of its output.
    pub async fn line(&mut self) -> String {
        let line = within(PATIENCE, "a line of output", self.out.next_line()).await;
        line.expect("it can be read").expect("there is another line")
    }

    /// The next lines as JSON documents.
    pub async fn documents(&mut self, n: usize) -> Vec<Value> {
        let mut all = Vec::with_capacity(n);
        for _ in 0..n {
            let line = self.line().await;
            all.push(serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}")));
        }
        all
    }

    /// The next line of its complaints that holds a word.
    pub async fn complaint(&mut self, word: &str) -> String {
        within(PATIENCE, &format!("'{word}' on standard error"), async {
            loop {
                let line = self.err.next_line().await.expect("it can be read").expect("there is another line");
                if line.contains(word) {
                    return line;
                }
            }
        })
        .await
    }

    /// Closes its standard output, as `head` does when it has enough.
    pub async fn end_without_reader(self) -> Option<i32> {
        let Self { mut child, out, err: _ } = self;
        drop(out);
        within(PATIENCE, "the program to end", child.wait()).await.expect("it can be waited for").code()
    }
}
