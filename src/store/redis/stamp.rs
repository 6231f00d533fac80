//! Stamps: whether a feed has changed, without reading its events.

use super::keys::partition;
use super::slots::Route;
use super::value::{Answer, bytes, corrupt, int};
use super::{RedisStore, SCRIPTS, lifetime};
use crate::event::{Millis, Position};
use crate::store::{Stamp, StampQuery, StoreError};
use sha2::{Digest, Sha256};

/// Types that one script call looks at, so that none blocks Redis for long.
const TYPES: usize = 500;

impl RedisStore {
    /// A query's stamp. With many types, those of one call are seen at one moment.
    pub(super) async fn read_stamp(&self, query: &StampQuery) -> Result<Stamp, StoreError> {
        let mut digest = Sha256::new();
        let (mut now, mut known, mut expires) = (None::<Millis>, true, None::<Millis>);
        // What lies outside of all positions makes no difference, and is not exact in a double.
        let bounds = Position::default().ms()..Position::MAX.ms();
        let (from, to) = (query.from.clamp(bounds.start, bounds.end), query.to.clamp(bounds.start, bounds.end));
        let mut shares = self.shares(query.types.iter().map(|ty| ty.type_no), TYPES);
        if shares.is_empty() {
            // Also without any type there is a clock to be asked.
            shares.push((Route::Partition(0), Vec::new()));
        }
        let mut batch = Vec::with_capacity(shares.len());
        for (route, share) in shares {
            let types = share.iter().filter_map(|at| query.types.get(*at));
            let first = types.clone().next().map_or(0, |ty| partition(ty.type_no));
            let mut cmd = SCRIPTS.stamp.call(&[self.keys.last(first)]);
            cmd.arg(&self.keys.prefix).arg(from).arg(to);
            cmd.arg(query.client.as_ref().map_or("", |client| client.as_str()));
            for ty in types {
                cmd.arg(partition(ty.type_no)).arg(ty.type_no.get()).arg(lifetime(&ty.ttl));
            }
            batch.push((route, cmd));
        }
        for answer in self.general.pipeline(&batch).await? {
            let mut answer = Answer::of(answer)?;
            let at = int(&answer.next())?;
            now = Some(now.map_or(at, |before| before.min(at)));
            known &= int(&answer.next())? == 0;
            let first = bytes(answer.next())?;
            if !first.is_empty() {
                let first = std::str::from_utf8(&first).ok().and_then(|text| text.parse().ok());
                let first: Millis = first.ok_or_else(|| corrupt("the stamp script gave a malformed time"))?;
                expires = Some(expires.map_or(first, |before| before.min(first)));
            }
            digest.update(bytes(answer.next())?);
        }
        let now = now.unwrap_or_default();
        Ok(Stamp { digest: known.then(|| digest.finalize().into()), now, expires })
    }
}
