//! Large answers on their way. A client that reads slowly keeps its answer in memory, so that the bytes of all of them
//! are bounded; those who get the same page share one.

use crate::error::{ApiError, Code};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An answer of at most so many bytes is not counted: requests in flight bound how many there are.
const LIGHT: usize = 64 << 10;

/// The bytes of large answers that somebody still holds, in the whole process.
#[derive(Debug)]
pub struct Outgoing {
    held: AtomicUsize,
    limit: usize,
}

impl Outgoing {
    /// At most so many, but always one answer.
    pub fn new(limit: usize) -> Self {
        Self { held: AtomicUsize::new(0), limit }
    }

    /// # Errors
    /// 503 when there is no room for another large answer: it need not be made.
    pub fn check(&self) -> Result<(), ApiError> {
        let held = self.held.load(Ordering::Acquire);
        if held < self.limit { Ok(()) } else { Err(overloaded(held)) }
    }

    /// The body, counted until its last copy is dropped.
    ///
    /// # Errors
    /// 503 when it is one too many.
    pub fn weigh(self: &Arc<Self>, body: Vec<u8>) -> Result<Bytes, ApiError> {
        let size = body.len();
        if size <= LIGHT {
            return Ok(body.into());
        }
        let before = self.held.fetch_add(size, Ordering::AcqRel);
        let weighed = Weighed { body, among: Arc::clone(self) };
        if before > 0 && before.saturating_add(size) > self.limit {
            return Err(overloaded(before));
        }
        Ok(Bytes::from_owner(weighed))
    }
}

fn overloaded(held: usize) -> ApiError {
    ApiError::new(Code::Overloaded, format!("{held} bytes of answers are on their way"))
}

struct Weighed {
    body: Vec<u8>,
    among: Arc<Outgoing>,
}

impl AsRef<[u8]> for Weighed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        self.among.held.fetch_sub(self.body.len(), Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_until_nobody_holds_them() {
        let outgoing = Arc::new(Outgoing::new(3 * LIGHT));
        let weigh = |size| outgoing.weigh(vec![7; size]);
        // Light ones do not count, and one alone may be as large as it is.
        assert_eq!(weigh(LIGHT).unwrap().len(), LIGHT);
        let huge = weigh(5 * LIGHT).unwrap();
        assert_eq!(weigh(2 * LIGHT).unwrap_err().code, Code::Overloaded);
        assert_eq!(outgoing.check().unwrap_err().code, Code::Overloaded);
        drop(huge);
        assert!(outgoing.check().is_ok());
        let (first, second) = (weigh(2 * LIGHT).unwrap(), weigh(LIGHT + 1));
        assert!(second.is_err());
        let mut copy = first.clone();
        drop(first);
        let slice = copy.split_to(1);
        drop(copy);
        assert!(weigh(2 * LIGHT).is_err() && slice[..] == [7]);
        drop(slice);
        assert_eq!(outgoing.held.load(Ordering::Acquire), 0);
    }
}
