//! What the masters say of themselves, for operators.

use super::RedisStore;
use super::check::{settings_cmd, warnings};
use super::slots::Route;
use super::value::bytes;
use crate::store::{ServerFacts, StoreError, StoreFacts, StoreWarning};
use futures_util::future::join_all;
use redis::{Value, from_redis_value};
use std::collections::HashMap;

impl RedisStore {
    pub(super) async fn servers(&self) -> Result<StoreFacts, StoreError> {
        self.masters.of(Route::Registry).await?;
        let slots = self.masters.slots();
        let masters = slots.masters().into_iter().map(|(route, node)| (route, node.to_string()));
        let servers = join_all(masters.map(|(route, address)| async move {
            self.within(self.server(route, &address)).await.unwrap_or_else(|error| ServerFacts {
                address,
                error: Some(error.to_string()),
                ..ServerFacts::default()
            })
        }));
        Ok(StoreFacts { kind: "redis", servers: servers.await, disk_free: None })
    }

    async fn server(&self, route: Route, address: &str) -> Result<ServerFacts, StoreError> {
        let info = bytes(self.general.query(route, &redis::cmd("INFO")).await?)?;
        let info = String::from_utf8_lossy(&info);
        let info: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
        // Where it is not allowed, that is one of the warnings.
        let config = self.general.query(route, &settings_cmd()).await.ok().and_then(read);
        let number = |name: &str| info.get(name).and_then(|text| text.trim().parse::<u64>().ok());
        let mut found = warnings(&info, config.as_ref(), self.masters.are_many());
        found.extend(broken(&info));
        Ok(ServerFacts {
            address: address.to_owned(),
            error: None,
            version: info.get("redis_version").copied().unwrap_or_default().to_owned(),
            memory_used: number("used_memory").unwrap_or(0),
            memory_limit: number("maxmemory").filter(|limit| *limit > 0),
            clients: number("connected_clients").unwrap_or(0),
            replicas: number("connected_slaves").unwrap_or(0),
            warnings: found,
        })
    }
}

fn read(value: Value) -> Option<HashMap<String, String>> {
    from_redis_value(value).ok()
}

/// Persistence that has stopped to work while the server runs.
fn broken(info: &HashMap<&str, &str>) -> Vec<StoreWarning> {
    let last = [
        ("aof_last_write_status", "the append-only file could not be written: look at the disk of Redis"),
        ("aof_last_bgrewrite_status", "the append-only file could not be rewritten: look at the disk of Redis"),
        ("rdb_last_bgsave_status", "the last snapshot failed: look at the disk and the memory of Redis"),
    ];
    let failed = last.into_iter().filter_map(|(name, risk)| {
        let is = info.get(name).filter(|is| **is != "ok")?;
        Some(StoreWarning { setting: name.to_owned(), is: (*is).to_owned(), risk: risk.to_owned() })
    });
    failed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persistence_that_fails_is_told() {
        assert_eq!(broken(&HashMap::from([("aof_last_write_status", "ok")])), []);
        let found = broken(&HashMap::from([("aof_last_write_status", "err"), ("rdb_last_bgsave_status", "ok")]));
        assert_eq!((found.len(), found[0].is.as_str()), (1, "err"));
    }
}
