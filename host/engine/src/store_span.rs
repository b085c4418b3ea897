//! Spans of what guests do with stores, below the span of the function that does it. They name the store and what is done,
//! after OpenTelemetry's conventions for databases, and never a key or a value.

use crate::request::RequestScope;
use crate::state::{InstanceState, calling_task};
use crate::world::StoreHandle;
use std::sync::Arc;
use waggle_kv::{Commit, Error, Operation, Place};
use waggle_measure::trace::{Parent, Span, SpanKind, attribute};
use wasmtime::StoreContextMut;

/// The name of the span of a wait until what was written is durable.
const SYNC: &str = "store.sync";

/// The request a host call is made for, if that is recorded: the one whose guest task has called, however deep. To be asked
/// where the call begins; once it has waited, nobody knows any more who made it.
pub(crate) fn traced_request(context: &mut StoreContextMut<'_, InstanceState>) -> Option<Arc<RequestScope>> {
    let task = calling_task(context);
    context.data_mut().traced_request(task)
}

/// One operation on a store, and its span where it has one.
pub(crate) struct Traced(Option<Span>);

impl Traced {
    /// Nobody traces it.
    pub(crate) fn not() -> Self {
        Self(None)
    }

    /// It begins now, on `entries` keys of the store that is called `label`. It has no span if its request is over, or has
    /// [`STORE_SPANS_MAX`](crate::request::STORE_SPANS_MAX) of them.
    pub(crate) fn begin(
        request: &RequestScope,
        handle: &StoreHandle,
        label: &str,
        operation: Operation,
        entries: usize,
    ) -> Self {
        let takes_it = request.takes_store_span();
        Self(takes_it.then(|| begin(&request.context.span, handle, label, operation, entries)))
    }

    /// It ended so.
    pub(crate) fn end<T>(self, result: Result<T, Error>) -> Result<T, Error> {
        if let (Some(span), Err(error)) = (self.0, &result) {
            fail(span, error);
        }
        result
    }
}

/// The span of an operation on a store.
pub(crate) fn begin(
    parent: &Parent,
    handle: &StoreHandle,
    label: &str,
    operation: Operation,
    entries: usize,
) -> Span {
    let (system, kind) = match handle.store.place() {
        Place::Directory(_) => ("fjall", SpanKind::Internal),
        Place::Server(_) => ("redis", SpanKind::Client),
    };
    let mut span = parent.child(format!("{} {label}", operation.name()), kind);
    span.set(attribute::DB_SYSTEM_NAME, system);
    span.set(attribute::DB_OPERATION_NAME, operation.name());
    span.set_text(attribute::DB_COLLECTION_NAME, label);
    if entries > 1 {
        span.set(attribute::DB_OPERATION_BATCH_SIZE, u64::try_from(entries).unwrap_or(u64::MAX));
    }
    span
}

/// Ends the span of what failed.
pub(crate) fn fail(mut span: Span, error: &Error) {
    let kind = kind(error);
    span.set(attribute::ERROR_TYPE, kind);
    span.fail(kind);
}

/// Waits until what was written is durable. The wait is a span of the request for which it is, if that is recorded.
///
/// # Errors
/// The store's own, when what was written may be lost.
pub(crate) async fn durable(commit: Commit, parent: &Parent) -> Result<(), Error> {
    let span = parent.is_recorded().then(|| parent.child(SYNC, SpanKind::Internal));
    let durable = commit.durable().await;
    if let (Some(span), Err(error)) = (span, &durable) {
        fail(span, error);
    }
    durable
}

/// An error as a word of few. What an error says may hold a key.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::KeyTooLong { .. }
        | Error::ValueTooLarge { .. }
        | Error::BatchTooLong { .. }
        | Error::BatchTooLarge { .. }
        | Error::PageLimit { .. } => "out_of_bounds",
        Error::InvalidCursor => "invalid_cursor",
        Error::NotANumber { .. } => "not_a_number",
        Error::Overflow { .. } => "overflow",
        Error::QuotaExceeded { .. } => "quota_exceeded",
        Error::QuotaUnknown { .. } => "quota_unknown",
        Error::Damaged { .. } => "damaged",
        Error::Io { .. } => "io",
        Error::Poisoned { .. } => "poisoned",
        Error::Closed => "closed",
        Error::Unreachable { .. } => "unreachable",
        Error::Refused { .. } => "refused",
        // OpenTelemetry's word for what has none of its own.
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{CallContext, STORE_SPANS_MAX};
    use std::sync::Mutex;
    use std::time::Instant;
    use waggle_kv::{Embedded, Partition, StoreOptions};
    use waggle_measure::trace::{FinishedSpan, Sampling, SpanSink, Tracer, Value};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<FinishedSpan>>>);

    impl SpanSink for Kept {
        fn accept(&self, span: FinishedSpan) {
            self.0.lock().unwrap().push(span);
        }
    }

    fn request(span: Parent) -> RequestScope {
        let now = Instant::now();
        RequestScope::new(CallContext {
            request_id: "r".into(),
            head_deadline: now,
            body_deadline: now,
            depth: 0,
            calls: Arc::default(),
            caller: Arc::new([]),
            span,
        })
    }

    #[tokio::test]
    async fn an_operation_says_what_it_does_where_and_nothing_of_its_keys() {
        let (kept, folder) = (Kept::default(), tempfile::tempdir().unwrap());
        let tracer = Tracer::new(kept.clone(), Sampling { ratio: 1.0, follows_caller: true });
        let function = tracer.root("function chat", SpanKind::Internal, None);
        let request = request(function.parent());
        assert!(request.is_traced());
        let store = Embedded::open(folder.path()).unwrap().store(StoreOptions::default());
        let handle = StoreHandle { store, partition: Partition::new("acme", "default").unwrap() };

        let keys = ["secret-1".to_owned(), "secret-2".to_owned()];
        let traced = Traced::begin(&request, &handle, "default", Operation::GetMany, keys.len());
        assert!(traced.end(handle.store.get_many(&handle.partition, &keys).await).is_ok());
        let traced = Traced::begin(&request, &handle, "default", Operation::Increment, 1);
        let set = handle.store.set(&handle.partition, "secret-1", "x".into()).await.unwrap();
        assert!(traced.end(handle.store.increment(&handle.partition, "secret-1", 1).await).is_err());
        durable(set, &request.context.span).await.unwrap();

        let spans = kept.0.lock().unwrap().clone();
        let parent = function.context().unwrap().span_id();
        assert!(spans.iter().all(|span| span.parent == Some(parent)), "{spans:#?}");
        let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["get_many default", "increment default", "store.sync"]);
        let expected = [
            (attribute::DB_SYSTEM_NAME, Value::from("fjall")),
            (attribute::DB_OPERATION_NAME, Value::from("get_many")),
            (attribute::DB_COLLECTION_NAME, Value::from("default")),
            (attribute::DB_OPERATION_BATCH_SIZE, Value::from(2_u64)),
        ];
        assert_eq!(spans[0].attributes, expected);
        assert_eq!((spans[1].error.as_deref(), spans[2].error.as_deref()), (Some("not_a_number"), None));
        assert!(!format!("{spans:?}").contains("secret"), "{spans:#?}");
    }

    #[tokio::test]
    async fn one_request_has_no_more_spans_than_its_bound() {
        let (kept, folder) = (Kept::default(), tempfile::tempdir().unwrap());
        let tracer = Tracer::new(kept.clone(), Sampling { ratio: 1.0, follows_caller: true });
        let request = request(tracer.root("function chat", SpanKind::Internal, None).parent());
        let store = Embedded::open(folder.path()).unwrap().store(StoreOptions::default());
        let handle = StoreHandle { store, partition: Partition::new("acme", "default").unwrap() };
        for _ in 0..STORE_SPANS_MAX + 10 {
            let traced = Traced::begin(&request, &handle, "default", Operation::Get, 1);
            assert!(traced.end(handle.store.get(&handle.partition, "key").await).is_ok());
        }
        let spans = kept.0.lock().unwrap();
        assert_eq!(spans.iter().filter(|span| span.name == "get default").count(), STORE_SPANS_MAX as usize);
    }

    #[tokio::test]
    async fn where_nothing_is_recorded_nothing_is_made() {
        let request = request(Parent::none());
        assert!(!request.is_traced());
        durable(Commit::already_durable(), &request.context.span).await.unwrap();
        assert!(Traced::not().end(Err::<(), _>(Error::Closed)).is_err());
    }
}
