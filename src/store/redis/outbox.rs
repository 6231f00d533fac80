//! The outbox's life of an event: claimed under a lease, renewed, settled.

use super::chunk::decode;
use super::keys::member;
use super::scripts::Script;
use super::value::{Answer, array, bytes, corrupt, int, score, uint};
use super::{RedisStore, SCRIPTS, millis};
use crate::event::{Millis, Position};
use crate::store::{
    Claim, ClaimRequest, ClaimedEvent, Disposition, Failure, Fenced, Lease, Settle, StoreError, StreamKey,
};
use redis::{Cmd, Value};
use std::collections::HashMap;
use std::time::Duration;

/// Longest text kept of an error.
const MAX_ERROR: usize = 1024;

impl RedisStore {
    /// A call of a script of one stream; see `redis/stream.lua`.
    pub(super) fn on_stream(&self, script: &Script, stream: &StreamKey) -> Cmd {
        let mut cmd = script.call(&self.keys.stream(stream));
        cmd.arg(stream.type_no.get()).arg(member(stream));
        cmd
    }

    pub(super) async fn claim_events(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        let mut cmd = self.on_stream(&SCRIPTS.claim, &request.stream);
        cmd.arg(request.max).arg(millis(request.lease)).arg(u8::from(request.ordered));
        let mut answer = Answer::of(self.general.query(request.stream.type_no.into(), &cmd).await?)?;
        let lease = score(&answer.next())?.map(Lease);
        let now = int(&answer.next())?;
        // Rounded up: at that time it is due.
        let next_due = score(&answer.next())?.map(|at| at.ceil() as Millis);
        let chunks = array(answer.next())?;
        let attempts = attempts(array(answer.next())?)?;

        let mut events = Vec::with_capacity(request.max.min(chunks.len() * 64));
        for chunk in chunks {
            for (position, payload) in decode(&bytes(chunk)?)?.events {
                let attempts = attempts.get(&position).copied().unwrap_or(0);
                events.push(ClaimedEvent { position, payload, attempts });
            }
        }
        // They come by due time, which for a retry is not that of its commit.
        events.sort_by_key(|event| event.position);
        Ok(Claim { lease, events, next_due, now })
    }

    pub(super) async fn renew_claim(
        &self,
        stream: &StreamKey,
        lease: Lease,
        extend: Duration,
    ) -> Result<Fenced, StoreError> {
        let mut cmd = self.on_stream(&SCRIPTS.renew, stream);
        cmd.arg(text(lease)).arg(millis(extend));
        let renewed = score(&self.general.query(stream.type_no.into(), &cmd).await?)?;
        Ok(renewed.map_or(Fenced::Lost, |lease| Fenced::Done(Some(Lease(lease)))))
    }

    pub(super) async fn settle_claim(&self, settle: Settle) -> Result<Fenced, StoreError> {
        let mut cmd = self.on_stream(&SCRIPTS.settle, &settle.stream);
        cmd.arg(text(settle.lease)).arg(settle.total);
        let holds = settle.exceptions.iter().any(|(_, what)| matches!(what, Disposition::Hold(_)));
        match settle.hold {
            Some(lease) => cmd.arg(millis(lease)),
            // Held without a lease: it lapses at once, and nothing is lost.
            None if holds => cmd.arg(1),
            None => cmd.arg(""),
        };
        cmd.arg(millis(self.options.dead_ttl));
        for (event, disposition) in &settle.exceptions {
            add_exception(event.position, disposition, &mut cmd);
        }
        let mut answer = Answer::of(self.general.query(settle.stream.type_no.into(), &cmd).await?)?;
        match int(&answer.next())? {
            0 => Ok(Fenced::Lost),
            1 => Ok(Fenced::Done(score(&answer.next())?.map(Lease))),
            _ => Err(corrupt("the settle script gave an unknown answer")),
        }
    }
}

fn add_exception(position: Position, disposition: &Disposition, cmd: &mut Cmd) {
    let none = Failure::default();
    let (what, after, failure) = match disposition {
        Disposition::Retry { after, failure } => ("r", after.as_millis(), failure),
        Disposition::Release => ("l", 0, &none),
        Disposition::Dead(failure) => ("d", 0, failure),
        Disposition::Hold(None) => ("h", 0, &none),
        Disposition::Hold(Some(failure)) => ("f", 0, failure),
    };
    let after = u64::try_from(after).unwrap_or(u64::MAX >> 12).min(u64::MAX >> 12);
    cmd.arg(position.get()).arg(what).arg(after).arg(failure.attempts).arg(cut(&failure.last_error));
}

/// The first part of an error, at a character's end.
fn cut(error: &str) -> &str {
    error.get(..error.floor_char_boundary(MAX_ERROR)).unwrap_or_default()
}

/// A lease as the scripts write it: one digit after the point, since leases are half-integers.
fn text(lease: Lease) -> String {
    format!("{:.1}", lease.0)
}

fn attempts(pairs: Vec<Value>) -> Result<HashMap<Position, u32>, StoreError> {
    let pairs = pairs.chunks_exact(2).map(|pair| match pair {
        [position, attempts] => Ok((Position::new(uint(position)?), u32::try_from(int(attempts)?).unwrap_or(u32::MAX))),
        _ => Err(corrupt("attempts come in pairs")),
    });
    pairs.collect()
}
