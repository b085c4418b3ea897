//! `fermyon:spin/key-value@2.0.0`.

use super::{Call, KeyValue, KeyValueView, OpenError, OpenStore, all_keys, begin_listing, one, to_vec, told};
use crate::bindings::fermyon;
use crate::state::InstanceState;
use fermyon::spin::key_value::{Error, Host, HostStore, HostStoreWithStore};
use waggle_kv::{Commit, Operation};
use wasmtime::AsContextMut as _;
use wasmtime::component::Resource;

type Answer<T> = wasmtime::Result<Result<T, Error>>;

fn other(error: waggle_kv::Error) -> Error {
    Error::Other(told(&error))
}

fn recorded(mut call: Call<'_>, result: Result<Commit, waggle_kv::Error>) -> Result<(), Error> {
    result.map(|commit| call.get().record(commit)).map_err(other)
}

impl Host for KeyValueView<'_> {}

impl HostStore for KeyValueView<'_> {
    async fn open(&mut self, label: String) -> Answer<Resource<OpenStore>> {
        Ok(KeyValueView::open(self, &label).map_err(|error| match error {
            OpenError::TableFull => Error::StoreTableFull,
            OpenError::NoSuchStore => Error::NoSuchStore,
        }))
    }

    async fn drop(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.close(store)
    }
}

impl HostStoreWithStore<InstanceState> for KeyValue {
    async fn get(mut call: Call<'_>, store: Resource<OpenStore>, key: String) -> Answer<Option<Vec<u8>>> {
        let (handle, traced) = one(&mut call, &store, Operation::Get)?;
        let value = traced.end(handle.store.get(&handle.partition, &key).await);
        Ok(value.map(to_vec).map_err(other))
    }

    async fn set(mut call: Call<'_>, store: Resource<OpenStore>, key: String, value: Vec<u8>) -> Answer<()> {
        let (handle, traced) = one(&mut call, &store, Operation::Set)?;
        let commit = traced.end(handle.store.set(&handle.partition, &key, value.into()).await);
        Ok(recorded(call, commit))
    }

    async fn delete(mut call: Call<'_>, store: Resource<OpenStore>, key: String) -> Answer<()> {
        let (handle, traced) = one(&mut call, &store, Operation::Delete)?;
        let commit = traced.end(handle.store.delete(&handle.partition, &key).await);
        Ok(recorded(call, commit))
    }

    async fn exists(mut call: Call<'_>, store: Resource<OpenStore>, key: String) -> Answer<bool> {
        let (handle, traced) = one(&mut call, &store, Operation::Get)?;
        Ok(traced.end(handle.store.exists(&handle.partition, &key).await).map_err(other))
    }

    async fn get_keys(mut call: Call<'_>, store: Resource<OpenStore>) -> Answer<Vec<String>> {
        let listing = begin_listing(call.as_context_mut(), &store)?;
        Ok(all_keys(&listing).await.map_err(Error::Other))
    }
}
