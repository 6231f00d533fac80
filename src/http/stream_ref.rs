//! The stream that a path names: `/api/events/streams/{type}/{name}…`.

use super::AppState;
use super::links::{API, Base, write_encoded};
use crate::access::Caller;
use crate::error::{ApiError, Code};
use crate::event::EventType;
use crate::registry::{Learn, StreamEntry, TypeEntry};
use crate::store::StreamKey;
use std::future::Future;
use std::sync::Arc;

/// A stream of a type that was registered once, whether it is still there or not.
pub struct StreamRef {
    /// Its type.
    pub ty: Arc<TypeEntry>,
    /// Its name in the store.
    pub key: StreamKey,
}

impl StreamRef {
    /// The stream of a path.
    ///
    /// # Errors
    /// A 404 when there is no such type, or when this cannot be a stream's name; a 403 when the type is not for the
    /// caller.
    pub async fn find((ty, name): &(String, String), caller: &Caller, state: &AppState) -> Result<Self, ApiError> {
        let unknown = |_| no_stream();
        let ty: EventType = ty.parse().map_err(unknown)?;
        caller.check_type(&ty)?;
        let name = name.parse().map_err(unknown)?;
        let entry = match state.types.get(ty.as_str()) {
            Some(entry) => Some(entry),
            // Another node may have registered it a moment ago.
            None => match state.store.get_type(&ty).await? {
                Some(record) => {
                    state.registry.learn.send(Learn(vec![record])).await.map_err(|_| stopping())?;
                    state.types.get(ty.as_str())
                }
                None => None,
            },
        };
        let entry = entry.ok_or_else(no_stream)?;
        let key = StreamKey { type_no: entry.type_no, name };
        Ok(Self { ty: entry, key })
    }

    /// As it is registered, or while it still delivers.
    pub fn entry(&self) -> Option<&StreamEntry> {
        self.ty.stream(self.key.name.as_str())
    }

    /// # Errors
    /// A 422 when the stream takes nothing new any more: what is queued now could be forgotten with it. A 404 when
    /// the store has nothing of it either.
    pub async fn must_take(&self, state: &AppState) -> Result<(), ApiError> {
        let name = self.key.name.as_str();
        if self.ty.streams.iter().any(|stream| stream.spec.name.as_str() == name) {
            return Ok(());
        }
        if self.entry().is_none() {
            self.must_be_known(state).await?;
        }
        Err(ApiError::new(Code::StreamDropped, format!("register '{name}' of {} again first", self.ty.name)))
    }

    /// # Errors
    /// A 404 unless it is registered, or has left dead letters behind.
    pub async fn must_be_known(&self, state: &AppState) -> Result<(), ApiError> {
        let known = self.entry().is_some() || !state.store.dead_letters(&self.key, None, 1).await?.is_empty();
        if known { Ok(()) } else { Err(no_stream()) }
    }

    /// An absolute URL under the stream.
    pub fn url(&self, tail: &str, base: &Base<'_>) -> String {
        url(self.ty.name.as_str(), self.key.name.as_str(), tail, base)
    }
}

/// An absolute URL under a stream.
pub fn url(ty: &str, name: &str, tail: &str, base: &Base<'_>) -> String {
    let mut path = format!("{API}/streams/");
    write_encoded(ty, &mut path);
    path.push('/');
    write_encoded(name, &mut path);
    path.push_str(tail);
    base.url(&path)
}

/// The 404 of a stream that is not there.
pub fn no_stream() -> ApiError {
    ApiError::not_found("there is no such stream")
}

fn stopping() -> ApiError {
    ApiError::new(Code::ShuttingDown, "the hub is stopping")
}

/// Work of many steps on a stream, which goes on to its end when whoever asked for it goes away.
///
/// # Errors
/// Its own, and a 503 when the hub stops before it is done.
pub async fn to_the_end<T: 'static>(work: impl Future<Output = Result<T, ApiError>> + 'static) -> Result<T, ApiError> {
    actix_web::rt::spawn(work).await.unwrap_or_else(|_| Err(stopping()))
}
