//! `spin:key-value@3.0.0`, whose calls are asynchronous.

use super::{KeyValue, KeyValueView, OpenError, OpenStore, begin, begin_listing, to_vec, told};
use crate::bindings::spin;
use crate::key_stream::KeyStream;
use crate::state::InstanceState;
use crate::store_span::Traced;
use crate::world::StoreHandle;
use spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};
use waggle_kv::{Commit, Operation};
use wasmtime::AsContextMut as _;
use wasmtime::component::{FutureReader, Resource, StreamReader};

type Answer<T> = wasmtime::Result<Result<T, Error>>;
type Accessor = wasmtime::component::Accessor<InstanceState, KeyValue>;

fn other(error: waggle_kv::Error) -> Error {
    Error::Other(told(&error))
}

impl Host for KeyValueView<'_> {}

impl HostStore for KeyValueView<'_> {}

/// The store a guest's handle means, taken out of the instance's state so that the call can wait without it.
fn one(
    accessor: &Accessor,
    store: &Resource<OpenStore>,
    operation: Operation,
) -> wasmtime::Result<(StoreHandle, Traced)> {
    accessor.with(|mut access| begin(access.as_context_mut(), store, operation, 1))
}

fn recorded(accessor: &Accessor, result: Result<Commit, waggle_kv::Error>) -> Result<(), Error> {
    let commit = result.map_err(other)?;
    accessor.with(|mut access| access.get().record(commit));
    Ok(())
}

impl HostStoreWithStore<InstanceState> for KeyValue {
    async fn open(accessor: &Accessor, label: String) -> Answer<Resource<OpenStore>> {
        Ok(accessor.with(|mut access| access.get().open(&label)).map_err(|error| match error {
            OpenError::TableFull => Error::StoreTableFull,
            OpenError::NoSuchStore => Error::NoSuchStore,
        }))
    }

    async fn get(accessor: &Accessor, store: Resource<OpenStore>, key: String) -> Answer<Option<Vec<u8>>> {
        let (handle, traced) = one(accessor, &store, Operation::Get)?;
        let value = traced.end(handle.store.get(&handle.partition, &key).await);
        Ok(value.map(to_vec).map_err(other))
    }

    async fn set(accessor: &Accessor, store: Resource<OpenStore>, key: String, value: Vec<u8>) -> Answer<()> {
        let (handle, traced) = one(accessor, &store, Operation::Set)?;
        let commit = traced.end(handle.store.set(&handle.partition, &key, value.into()).await);
        Ok(recorded(accessor, commit))
    }

    async fn delete(accessor: &Accessor, store: Resource<OpenStore>, key: String) -> Answer<()> {
        let (handle, traced) = one(accessor, &store, Operation::Delete)?;
        let commit = traced.end(handle.store.delete(&handle.partition, &key).await);
        Ok(recorded(accessor, commit))
    }

    async fn exists(accessor: &Accessor, store: Resource<OpenStore>, key: String) -> Answer<bool> {
        let (handle, traced) = one(accessor, &store, Operation::Get)?;
        Ok(traced.end(handle.store.exists(&handle.partition, &key).await).map_err(other))
    }

    async fn get_keys(
        accessor: &Accessor,
        store: Resource<OpenStore>,
    ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
        let listing = accessor.with(|mut access| begin_listing(access.as_context_mut(), &store))?;
        let (keys, outcome) = KeyStream::new(listing);
        accessor.with(|mut access| {
            let keys = StreamReader::new(&mut access, keys)?;
            let result = FutureReader::new(&mut access, async move {
                let outcome = outcome.await.unwrap_or(Ok(()));
                wasmtime::error::Ok(outcome.map_err(Error::Other))
            })?;
            Ok((keys, result))
        })
    }

    async fn drop(accessor: &Accessor, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        accessor.with(|mut access| access.get().close(store))
    }
}
