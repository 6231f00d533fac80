//! Why the store did not do what was asked.

use crate::error::{ApiError, Code};

/// Why the store did not do what was asked. Whether a write took place is unknown after
/// [`Unavailable`](StoreError::Unavailable); it did not after the others.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, too slow, loading, or a failing-over replica.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// Out of memory or disk; what is stored can still be read and delivered.
    #[error("the store is full: {0}")]
    Full(String),
    /// Stored data that cannot be understood: a newer format, or damage.
    #[error("the store holds data that this version does not understand: {0}")]
    Corrupt(String),
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => Self::new(Code::StoreUnavailable, why),
            StoreError::Full(why) => Self::new(Code::StoreFull, why),
            StoreError::Corrupt(why) => {
                log::error!("store holds what cannot be understood: error={why:?}");
                Self::new(Code::Internal, why)
            }
        }
    }
}
