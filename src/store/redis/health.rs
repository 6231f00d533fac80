//! Whether the masters are there and take writes, and what time it is for the store.

use super::slots::Route;
use super::value::int;
use super::{RedisStore, SCRIPTS};
use crate::event::Millis;
use crate::store::StoreError;
use futures_util::future::join_all;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How far masters' clocks may be apart before an operator is told: half of the seam that live sessions start over with.
const APART: Millis = 1000;
/// Longest wait for one master's clock, when others have one too.
const PATIENCE: Duration = Duration::from_secs(1);

/// A master's clock.
struct Reading {
    node: String,
    now: Millis,
    /// How far it is ahead of this process's count of milliseconds, and by how much that may be wrong.
    ahead: Millis,
    error: Millis,
}

impl RedisStore {
    /// The slowest master's clock; all must be there.
    pub(super) async fn ping_all(&self) -> Result<Millis, StoreError> {
        self.masters.steadily(|| self.ping_known()).await
    }

    /// The same, by those that are masters as far as is known.
    async fn ping_known(&self) -> Result<Millis, StoreError> {
        let readings = self.readings(self.options.timeout).await;
        let now = self.slowest(readings.into_iter().collect::<Result<Vec<_>, _>>()?)?;
        // Sends have links of their own, which only the next send would find to be of use again.
        self.appends.revive().await?;
        Ok(now)
    }

    /// The slowest clock of the masters that are there.
    pub(super) async fn clock_now(&self) -> Result<Millis, StoreError> {
        let readings = self.readings(PATIENCE.min(self.options.timeout)).await;
        if readings.iter().all(Result::is_err) {
            return readings
                .into_iter()
                .next()
                .map_or_else(|| self.slowest(Vec::new()), |first| self.slowest(vec![first?]));
        }
        self.slowest(readings.into_iter().flatten().collect())
    }

    /// Asks every master for its clock, by way of a write.
    async fn readings(&self, patience: Duration) -> Vec<Result<Reading, StoreError>> {
        if let Err(error) = self.masters.of(Route::Registry).await {
            return vec![Err(error)];
        }
        let start = self.started;
        let slots = self.masters.slots();
        let mut masters: Vec<(Route, String)> =
            slots.masters().into_iter().map(|(route, node)| (route, node.to_string())).collect();
        if let Some(gap) = Route::all().find(|route| slots.master(*route).is_none()) {
            // Asked like the others, it says what is wrong.
            masters.push((gap, "nobody".to_owned()));
        }
        let asked = masters.into_iter().map(|(route, node)| async move {
            let cmd = SCRIPTS.ping.call(&[self.keys.ping(route)]);
            let before = Instant::now();
            let asking = tokio::time::timeout(patience, self.general.query(route, &cmd));
            let late = || Err(StoreError::Unavailable(format!("{node} did not answer in time")));
            let now = int(&asking.await.unwrap_or_else(|_| late())?)?;
            let trip = Millis::try_from(before.elapsed().as_millis()).unwrap_or(Millis::MAX);
            let asked_at = Millis::try_from((before - start).as_millis()).unwrap_or(Millis::MAX);
            Ok(Reading { node, now, ahead: now - asked_at - trip / 2, error: trip / 2 })
        });
        join_all(asked).await
    }

    fn slowest(&self, readings: Vec<Reading>) -> Result<Millis, StoreError> {
        let slow = readings.iter().min_by_key(|reading| reading.ahead);
        let fast = readings.iter().max_by_key(|reading| reading.ahead);
        let (Some(slow), Some(fast)) = (slow, fast) else {
            return Err(StoreError::Unavailable("no master is known".into()));
        };
        let apart = fast.ahead - slow.ahead;
        let too_far = apart - slow.error - fast.error > APART;
        if too_far && !self.clocks_apart.swap(true, Ordering::Relaxed) {
            log::warn!(
                "clocks of Redis masters differ: slow={} fast={} apart_ms={apart} risk=\"feeds wait for the slow one, and a \
                 live session that resumes may miss events of it: set the clocks\"",
                slow.node,
                fast.node
            );
        } else if apart < APART && self.clocks_apart.swap(false, Ordering::Relaxed) {
            log::info!("clocks of Redis masters agree again: apart_ms={apart}");
        }
        Ok(slow.now)
    }
}
