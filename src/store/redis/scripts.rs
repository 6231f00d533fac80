//! The Lua of `redis/`, put together once and called by hash.

use redis::Cmd;
use std::sync::LazyLock;

/// Before all else. A slot that moves to another server of a cluster is at both in part, and a script that came to its
/// middle would leave half of its work behind: asking for what nobody has fails there, and nowhere else.
const GUARD: &str = r#"if type(redis.pcall('EXISTS', KEYS[1] .. ':?')) ~= 'number' then
  return redis.error_reply('TRYAGAIN the slot is on its way')
end"#;

/// A script as Redis is given it.
#[derive(Debug)]
pub(super) struct Script {
    /// Code with what it needs put before it.
    pub(super) code: String,
    sha: String,
}

impl Script {
    /// Joins a script with the files its second line names (`-- needs: chunk stream`). The first line, with the flags,
    /// must stay the first.
    fn new(source: &str) -> Self {
        let mut lines = source.splitn(3, '\n');
        let (flags, needs) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let mut code = format!("{flags}\n{GUARD}\n");
        for need in needs.trim_start_matches("-- needs:").split_whitespace() {
            code.push_str(match need {
                "chunk" => include_str!("../../../redis/chunk.lua"),
                "stream" => include_str!("../../../redis/stream.lua"),
                "feed" => include_str!("../../../redis/feed.lua"),
                _ => "",
            });
        }
        code.push_str(lines.next().unwrap_or_default());
        let sha = redis::Script::new(&code).get_hash().to_owned();
        Self { code, sha }
    }

    /// A call with `keys`; arguments are added to it.
    pub(super) fn call(&self, keys: &[String]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.sha).arg(keys.len()).arg(keys);
        cmd
    }
}

macro_rules! scripts {
    ($($name:ident)*) => {
        /// Every script, by the name of its file.
        #[derive(Debug)]
        pub(super) struct Scripts { $(pub(super) $name: Script,)* }

        /// The scripts of this version.
        pub(super) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
            $($name: Script::new(include_str!(concat!("../../../redis/", stringify!($name), ".lua"))),)*
        });

        impl Scripts {
            /// All of them, to be loaded on a new connection.
            pub(super) fn all(&self) -> [&Script; [$(stringify!($name)),*].len()] {
                [$(&self.$name),*]
            }
        }
    };
}

scripts! {
    announce append attempts bury claim counts dead discarded due event forget get_or_discard hours letters make_due mark nodes
    pending pending_hour ping put_type renew replay retain retain_hour retained settle stamp unmark withdraw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_begins_with_its_flags_and_names_what_it_needs() {
        for script in SCRIPTS.all() {
            assert!(script.code.starts_with("#!lua"), "{}", script.code);
            assert!(!script.code.contains("-- needs:"));
        }
    }

    #[test]
    fn only_what_adds_events_stops_when_redis_is_full() {
        let refused = [&SCRIPTS.append, &SCRIPTS.ping];
        for script in SCRIPTS.all() {
            let first = script.code.lines().next().unwrap_or_default();
            assert_eq!(first.contains("allow-oom"), !refused.iter().any(|r| r.sha == script.sha), "{first}");
        }
    }
}
