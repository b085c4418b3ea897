//! Indexes of chunks: `waggle:vector@0.1.0`, over the indexes of the instance's tenant.
//!
//! A call waits without the instance: its other tasks go on meanwhile. What it takes over from the guest and gives back is
//! made in a poll of the instance, whose time is charged to it.

mod convert;
#[cfg(test)]
mod tests;

use crate::account::TenantAccount;
use crate::bindings::waggle::vector::index::{
    Attribute, Chunk, Description, Error, Group, Hit, Host, HostWithStore, Query, Settings,
};
use crate::failures::reason;
use crate::request::{Ledger, RequestScope};
use crate::state::{InstanceState, calling_task};
use crate::store_span::durable;
use crate::world::FunctionWorld;
use std::sync::Arc;
use std::time::Duration;
use waggle_measure::trace::{Parent, Span, SpanKind, attribute};
use waggle_vector::{IndexName, Operation, TenantIndexes, VectorError};
use wasmtime::AsContextMut as _;
use wasmtime::component::HasData;

/// What OpenTelemetry calls the system; there is no word for ours.
const SYSTEM: &str = "waggle.vector";

type Accessor = wasmtime::component::Accessor<InstanceState, Vector>;

pub(crate) struct Vector;

impl HasData for Vector {
    type Data<'a> = VectorView<'a>;
}

/// The part of an instance's state that a call needs.
pub(crate) struct VectorView<'a> {
    pub(crate) world: &'a Arc<FunctionWorld>,
    pub(crate) ledger: &'a Arc<Ledger>,
    pub(crate) account: &'a Arc<TenantAccount>,
    /// How long a call may take, whatever becomes of the request it is made for.
    pub(crate) call_timeout: Duration,
}

/// One call of a guest, with all that it needs while it waits.
struct Call {
    world: Arc<FunctionWorld>,
    ledger: Arc<Ledger>,
    account: Arc<TenantAccount>,
    call_timeout: Duration,
    operation: Operation,
    /// The request it is made for; none for work a guest goes on with after its requests are over.
    request: Option<Arc<RequestScope>>,
    span: Option<Span>,
}

/// A call begins. `index` is the one it concerns, `entries` how many chunks or groups it brings.
fn begin(
    accessor: &Accessor,
    operation: Operation,
    index: Option<&str>,
    entries: usize,
) -> Result<(Arc<TenantIndexes>, Call), Error> {
    let mut call = accessor.with(|mut access| {
        let mut store = access.as_context_mut();
        let task = calling_task(&mut store);
        let state = store.data_mut();
        let request = state.request_for(task);
        let VectorView { world, ledger, account, call_timeout } = state.vector();
        let (world, ledger, account) = (Arc::clone(world), Arc::clone(ledger), Arc::clone(account));
        Call { world, ledger, account, call_timeout, operation, request, span: None }
    });
    let Some(indexes) = call.world.vectors.clone() else {
        return Err(Error::Other("this host offers no indexes".into()));
    };
    call.span = call.request.as_deref().and_then(|request| span(request, operation, index, entries));
    Ok((indexes, call))
}

/// The span of a call, where its request is recorded and has room for one. It names the index and what is done, and
/// nothing of what is in it.
fn span(request: &RequestScope, operation: Operation, index: Option<&str>, entries: usize) -> Option<Span> {
    if !request.takes_store_span() {
        return None;
    }
    let mut span = request.context.span.child(format!("vector.{}", operation.name()), SpanKind::Internal);
    span.set(attribute::DB_SYSTEM_NAME, SYSTEM);
    span.set(attribute::DB_OPERATION_NAME, operation.name());
    // What is no name of an index may be anything.
    if let Some(index) = index.filter(|index| IndexName::parse(index).is_ok()) {
        span.set_text(attribute::DB_COLLECTION_NAME, index);
    }
    if entries > 1 {
        span.set(attribute::DB_OPERATION_BATCH_SIZE, u64::try_from(entries).unwrap_or(u64::MAX));
    }
    Some(span)
}

impl Call {
    /// A call that changes something. It is durable when it returns, so there is nothing of it for the ledger; but what the
    /// instance has written to its stores before must not be lost if this is not. So it waits for that first, and whatever
    /// a crash leaves of a function's writes, to stores and to indexes, is a beginning of them: a version that is
    /// published has the record that was written before it. What is written to a store *after* this call may be lost
    /// without it; the function finds the version published and writes its record again.
    ///
    /// A request that is over does not end it: as with stores, a function can still leave things in order.
    async fn change<T>(self, work: impl Future<Output = Result<T, VectorError>>) -> Result<T, Error> {
        if let Some(commit) = self.ledger.pending() {
            let parent = self.request.as_ref().filter(|request| !request.is_over());
            let parent = parent.map_or_else(Parent::none, |request| request.context.span.clone());
            durable(commit, &parent).await.map_err(|error| {
                let told = crate::key_value::told(&error);
                Error::Unavailable(format!("what was written before could not be made durable: {told}"))
            })?;
        }
        self.read(work).await
    }

    /// A call that changes nothing and is soon over.
    async fn read<T>(self, work: impl Future<Output = Result<T, VectorError>>) -> Result<T, Error> {
        let outcome = tokio::time::timeout(self.call_timeout, work).await;
        let outcome = outcome.unwrap_or_else(|_late| {
            Err(VectorError::Unavailable(format!("no answer within {} ms", self.call_timeout.as_millis())))
        });
        self.end(outcome)
    }

    /// A search. It computes, so it ends with the request it is made for: nobody waits for what it would find.
    async fn search<T>(self, work: impl Future<Output = Result<T, VectorError>>) -> Result<T, Error> {
        let request = self.request.clone();
        let Some(request) = request.filter(|request| !request.is_completed()) else {
            return self.read(work).await;
        };
        tokio::select! {
            biased;
            () = request.cancelled.cancelled() => Err(Error::Unavailable("the request is over".into())),
            outcome = self.read(work) => outcome,
        }
    }

    fn end<T>(self, outcome: Result<T, VectorError>) -> Result<T, Error> {
        outcome.map_err(|error| {
            self.log(&error);
            if let Some(mut span) = self.span {
                span.set(attribute::ERROR_TYPE, error.kind());
                span.fail(error.kind());
            }
            told(error)
        })
    }

    /// What is the host's own trouble goes to the log, because the operator has to do something about it whatever the guest
    /// makes of it.
    fn log(&self, error: &VectorError) {
        if !matches!(error, VectorError::Damaged(_) | VectorError::Unavailable(_) | VectorError::Other(_)) {
            return;
        }
        let Some(not_told) = self.account.failures.admit() else { return };
        tracing::error!(
            tenant = %self.world.tenant,
            function = %self.world.function,
            operation = self.operation.name(),
            error = reason(error),
            not_told,
            "an index failed"
        );
    }
}

/// An error in the guest's words. Where files of the host are damaged, and what else is for the operator, is told by the
/// log alone.
fn told(error: VectorError) -> Error {
    match error {
        VectorError::NoSuchIndex => Error::NoSuchIndex,
        VectorError::NoSuchGroup => Error::NoSuchGroup,
        VectorError::Invalid(why) => Error::Invalid(why),
        VectorError::Full(why) => Error::Full(why),
        VectorError::Unavailable(why) => Error::Unavailable(why),
        VectorError::Damaged(_where) => {
            Error::Damaged("its files cannot be read; the host's log says which".into())
        }
        VectorError::Other(_why) => Error::Other("the host's log says what is wrong".into()),
    }
}

impl Host for VectorView<'_> {}

impl HostWithStore<InstanceState> for Vector {
    async fn create(accessor: &Accessor, index: String, settings: Settings) -> Result<(), Error> {
        let (indexes, call) = begin(accessor, Operation::Create, Some(&index), 1)?;
        call.change(indexes.create(&index, settings.into())).await
    }

    async fn describe(accessor: &Accessor, index: String) -> Result<Description, Error> {
        let (indexes, call) = begin(accessor, Operation::Describe, Some(&index), 1)?;
        call.read(indexes.describe(&index)).await.map(Into::into)
    }

    async fn list_indexes(
        accessor: &Accessor,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>, Error> {
        let (indexes, call) = begin(accessor, Operation::ListIndexes, None, 1)?;
        call.read(indexes.list_indexes(after.as_deref(), limit)).await
    }

    async fn drop_index(accessor: &Accessor, index: String) -> Result<(), Error> {
        let (indexes, call) = begin(accessor, Operation::DropIndex, Some(&index), 1)?;
        call.change(indexes.drop_index(&index)).await
    }

    async fn stage(
        accessor: &Accessor,
        index: String,
        group: String,
        version: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), Error> {
        let (indexes, call) = begin(accessor, Operation::Stage, Some(&index), chunks.len())?;
        let chunks = chunks.into_iter().map(Into::into).collect();
        call.change(indexes.stage(&index, &group, version, chunks)).await
    }

    async fn staged(accessor: &Accessor, index: String, group: String, version: u64) -> Result<u32, Error> {
        let (indexes, call) = begin(accessor, Operation::Staged, Some(&index), 1)?;
        call.read(indexes.staged(&index, &group, version)).await
    }

    async fn publish(
        accessor: &Accessor,
        index: String,
        group: String,
        version: u64,
        chunks: u32,
        attributes: Vec<Attribute>,
    ) -> Result<(), Error> {
        let (indexes, call) = begin(accessor, Operation::Publish, Some(&index), 1)?;
        let attributes = attributes.into_iter().map(Into::into).collect();
        call.change(indexes.publish(&index, &group, version, chunks, attributes)).await
    }

    async fn discard(accessor: &Accessor, index: String, group: String, version: u64) -> Result<(), Error> {
        let (indexes, call) = begin(accessor, Operation::Discard, Some(&index), 1)?;
        call.change(indexes.discard(&index, &group, version)).await
    }

    async fn remove(accessor: &Accessor, index: String, groups: Vec<String>) -> Result<(), Error> {
        let (indexes, call) = begin(accessor, Operation::Remove, Some(&index), groups.len())?;
        call.change(indexes.remove(&index, groups)).await
    }

    async fn set_attributes(
        accessor: &Accessor,
        index: String,
        group: String,
        attributes: Vec<Attribute>,
    ) -> Result<(), Error> {
        let (indexes, call) = begin(accessor, Operation::SetAttributes, Some(&index), 1)?;
        let attributes = attributes.into_iter().map(Into::into).collect();
        call.change(indexes.set_attributes(&index, &group, attributes)).await
    }

    async fn list_groups(
        accessor: &Accessor,
        index: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<Group>, Error> {
        let (indexes, call) = begin(accessor, Operation::ListGroups, Some(&index), 1)?;
        let groups = call.read(indexes.list_groups(&index, after.as_deref(), limit)).await?;
        Ok(groups.into_iter().map(Into::into).collect())
    }

    async fn read(
        accessor: &Accessor,
        index: String,
        group: String,
        start: u32,
        count: u32,
    ) -> Result<Vec<Chunk>, Error> {
        let (indexes, call) = begin(accessor, Operation::Read, Some(&index), 1)?;
        let chunks = call.read(indexes.read(&index, &group, start, count)).await?;
        Ok(chunks.into_iter().map(Into::into).collect())
    }

    async fn search(accessor: &Accessor, names: Vec<String>, query: Query) -> Result<Vec<Hit>, Error> {
        // Of several none is named: a span has one collection.
        let only = names.first().filter(|_first| names.len() == 1);
        let (indexes, call) = begin(accessor, Operation::Search, only.map(String::as_str), names.len())?;
        let hits = call.search(indexes.search(&names, query.into())).await?;
        Ok(hits.into_iter().map(Into::into).collect())
    }
}
