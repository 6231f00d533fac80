//! Ends a server process together with the test process, however that ends.
//!
//! A server shared by all tests of a binary lives in a `static`, and statics are never dropped. A small
//! shell holds the read end of a pipe that only this process can write: when the process is gone, the
//! pipe closes, and the shell kills exactly the one pid it was given and removes its folder.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The guard of one process (or process group) and its folder.
pub struct Guard(Option<Child>);

impl Guard {
    /// Guards the process `pid`; with `group`, the whole process group it leads.
    pub fn new(pid: u32, group: bool, folder: Option<&Path>) -> Self {
        let target = if group { format!("-{pid}") } else { pid.to_string() };
        let folder = folder.map(Path::display).map(|d| d.to_string()).unwrap_or_default();
        let script = r#"trap "" INT TERM HUP; read -r word; [ "$word" = done ] && exit; kill -9 "$0" 2>/dev/null; [ -z "$1" ] || rm -rf -- "$1""#;
        let shell = Command::new("sh")
            .args(["-c", script, &target, &folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(shell.ok())
    }
}

impl Drop for Guard {
    /// The process has been stopped in order: nothing is left to guard.
    fn drop(&mut self) {
        use std::io::Write;
        if let Some(mut shell) = self.0.take() {
            if let Some(stdin) = shell.stdin.as_mut() {
                let _ = stdin.write_all(b"done\n");
            }
            let _ = shell.wait();
        }
    }
}
