//! The store as everybody uses it: what fails is counted.

use super::*;
use crate::measure::STORE;
use std::sync::Arc;

/// Hands every call on, and counts those that fail.
pub struct Measured(Arc<dyn Store>);

impl Measured {
    /// The same store, counted.
    pub fn over(store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Self(store))
    }
}

fn count(error: &StoreError) {
    match error {
        StoreError::Unavailable(_) => STORE.unavailable.add(1),
        StoreError::Full(_) => STORE.full.add(1),
        StoreError::Corrupt(_) => STORE.corrupt.add(1),
    }
}

macro_rules! counted {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Store for Measured {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
                self.0.$name($($argument),*).await.inspect_err(count)
            })*

            async fn append(&self, groups: Vec<AppendGroup>) -> Result<Vec<Result<Appended, StoreError>>, StoreError> {
                let answers = self.0.append(groups).await.inspect_err(count)?;
                // On a cluster, groups fail one by one.
                answers.iter().filter_map(|answer| answer.as_ref().err()).for_each(count);
                Ok(answers)
            }

            fn lane(&self, type_no: TypeNo) -> usize {
                self.0.lane(type_no)
            }

            fn ignore(&self, partition: Partition) {
                self.0.ignore(partition);
            }

            fn live(&self) -> mpsc::Receiver<Live> {
                self.0.live()
            }
        }
    };
}

counted! {
    ping() -> Millis;
    clock() -> Millis;
    read(query: ReadQuery) -> Page;
    stamp(query: StampQuery) -> Stamp;
    pending(types: &[TypeRef], client: &ClientId) -> Pending;
    event(id: EventId, ty: &TypeRef, streams: &[StreamSince]) -> Option<EventDetail>;
    mark(marks: &[MarkRequest]) -> Vec<bool>;
    unmark(marks: &[MarkRequest]) -> Vec<bool>;
    claim(request: ClaimRequest) -> Claim;
    renew(stream: &StreamKey, lease: Lease, extend: Duration) -> Fenced;
    settle(settle: Settle) -> Fenced;
    make_due(stream: &StreamKey) -> ();
    due(within: Duration) -> Vec<StreamKey>;
    counts(streams: &[StreamKey]) -> Vec<StreamCounts>;
    dead_letters(stream: &StreamKey, after: Option<Position>, limit: usize) -> Vec<DeadLetter>;
    retry_dead(stream: &StreamKey, letters: Letters) -> u64;
    delete_dead(stream: &StreamKey, letters: Letters) -> u64;
    bury(stream: &StreamKey, reason: &str) -> u64;
    replay(replay: Replay) -> Replayed;
    record_attempts(stream: &StreamKey, attempts: Vec<Bytes>) -> ();
    attempts(stream: &StreamKey) -> Vec<Bytes>;
    types() -> (RegistryVersion, Vec<TypeRecord>);
    registry_version() -> RegistryVersion;
    get_type(name: &EventType) -> Option<TypeRecord>;
    put_type(put: PutType) -> Put;
    enforce(record: &TypeRecord, void: Option<u64>) -> ();
    get_or_discard(types: &[(EventType, u64)], note: bool) -> Vec<Option<TypeRecord>>;
    discarded() -> Vec<Discarded>;
    forget_stream(stream: &StreamKey) -> ();
    last_positions(types: &[TypeNo]) -> Vec<Position>;
    announce(node: &Node) -> ();
    withdraw(node: &NodeId) -> ();
    nodes() -> Vec<SeenNode>;
    listen(partition: Partition) -> ();
    facts() -> StoreFacts;
    close() -> ();
}
