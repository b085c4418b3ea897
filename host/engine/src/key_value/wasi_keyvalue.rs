//! `wasi:keyvalue@0.2.0-draft2`.

use super::{
    Call, Cas, KEYS_PAGE, KeyValue, KeyValueView, OpenError, OpenStore, begin, begin_on, one, to_vec, told,
};
use crate::bindings::wasi;
use crate::state::InstanceState;
use bytes::Bytes;
use waggle_kv::{Commit, Operation, Swap};
use wasi::keyvalue::atomics::{self, CasError, HostCas, HostCasWithStore};
use wasi::keyvalue::batch;
use wasi::keyvalue::store::{self, Error, HostBucket, HostBucketWithStore, KeyResponse};
use wasmtime::AsContextMut as _;
use wasmtime::component::Resource;

type Answer<T> = wasmtime::Result<Result<T, Error>>;

fn other(error: waggle_kv::Error) -> Error {
    Error::Other(told(&error))
}

fn recorded(mut call: Call<'_>, result: Result<Commit, waggle_kv::Error>) -> Result<(), Error> {
    result.map(|commit| call.get().record(commit)).map_err(other)
}

impl store::Host for KeyValueView<'_> {
    async fn open(&mut self, identifier: String) -> Answer<Resource<OpenStore>> {
        Ok(KeyValueView::open(self, &identifier).map_err(|error| match error {
            OpenError::TableFull => Error::Other("too many stores are open".into()),
            OpenError::NoSuchStore => Error::NoSuchStore,
        }))
    }
}

impl HostBucket for KeyValueView<'_> {
    async fn drop(&mut self, bucket: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.close(bucket)
    }
}

impl HostBucketWithStore<InstanceState> for KeyValue {
    async fn get(mut call: Call<'_>, bucket: Resource<OpenStore>, key: String) -> Answer<Option<Vec<u8>>> {
        let (handle, traced) = one(&mut call, &bucket, Operation::Get)?;
        let value = traced.end(handle.store.get(&handle.partition, &key).await);
        Ok(value.map(to_vec).map_err(other))
    }

    async fn set(mut call: Call<'_>, bucket: Resource<OpenStore>, key: String, value: Vec<u8>) -> Answer<()> {
        let (handle, traced) = one(&mut call, &bucket, Operation::Set)?;
        let commit = traced.end(handle.store.set(&handle.partition, &key, value.into()).await);
        Ok(recorded(call, commit))
    }

    async fn delete(mut call: Call<'_>, bucket: Resource<OpenStore>, key: String) -> Answer<()> {
        let (handle, traced) = one(&mut call, &bucket, Operation::Delete)?;
        let commit = traced.end(handle.store.delete(&handle.partition, &key).await);
        Ok(recorded(call, commit))
    }

    async fn exists(mut call: Call<'_>, bucket: Resource<OpenStore>, key: String) -> Answer<bool> {
        let (handle, traced) = one(&mut call, &bucket, Operation::Get)?;
        Ok(traced.end(handle.store.exists(&handle.partition, &key).await).map_err(other))
    }

    async fn list_keys(
        mut call: Call<'_>,
        bucket: Resource<OpenStore>,
        cursor: Option<String>,
    ) -> Answer<KeyResponse> {
        let (handle, traced) = one(&mut call, &bucket, Operation::Keys)?;
        let page = handle.store.keys(&handle.partition, "", cursor.as_deref(), KEYS_PAGE).await;
        let page = traced.end(page);
        Ok(page.map(|page| KeyResponse { keys: page.keys, cursor: page.cursor }).map_err(other))
    }
}

impl batch::Host for KeyValueView<'_> {}

impl batch::HostWithStore<InstanceState> for KeyValue {
    async fn get_many(
        mut call: Call<'_>,
        bucket: Resource<OpenStore>,
        keys: Vec<String>,
    ) -> Answer<Vec<(String, Option<Vec<u8>>)>> {
        let (handle, traced) = begin(call.as_context_mut(), &bucket, Operation::GetMany, keys.len())?;
        let values = match traced.end(handle.store.get_many(&handle.partition, &keys).await) {
            Ok(values) => values,
            Err(error) => return Ok(Err(other(error))),
        };
        Ok(Ok(keys.into_iter().zip(values.into_iter().map(to_vec)).collect()))
    }

    async fn set_many(
        mut call: Call<'_>,
        bucket: Resource<OpenStore>,
        entries: Vec<(String, Vec<u8>)>,
    ) -> Answer<()> {
        let (handle, traced) = begin(call.as_context_mut(), &bucket, Operation::SetMany, entries.len())?;
        let entries = entries.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect();
        let commit = traced.end(handle.store.set_many(&handle.partition, entries).await);
        Ok(recorded(call, commit))
    }

    async fn delete_many(mut call: Call<'_>, bucket: Resource<OpenStore>, keys: Vec<String>) -> Answer<()> {
        let (handle, traced) = begin(call.as_context_mut(), &bucket, Operation::DeleteMany, keys.len())?;
        let commit = traced.end(handle.store.delete_many(&handle.partition, keys).await);
        Ok(recorded(call, commit))
    }
}

impl atomics::Host for KeyValueView<'_> {}

impl atomics::HostWithStore<InstanceState> for KeyValue {
    async fn increment(
        mut call: Call<'_>,
        bucket: Resource<OpenStore>,
        key: String,
        delta: i64,
    ) -> Answer<i64> {
        let (handle, traced) = one(&mut call, &bucket, Operation::Increment)?;
        Ok(match traced.end(handle.store.increment(&handle.partition, &key, delta).await) {
            Ok((value, commit)) => {
                call.get().record_increment(commit);
                Ok(value)
            }
            Err(error) => Err(other(error)),
        })
    }

    async fn swap(
        mut call: Call<'_>,
        cas: Resource<Cas>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), CasError>> {
        let Cas { opened, key, seen } = call.get().table.delete(cas)?;
        let traced = begin_on(call.as_context_mut(), &opened, Operation::Swap);
        let (store, partition) = (&opened.handle.store, &opened.handle.partition);
        let swap = store.compare_and_swap(partition, &key, seen.as_ref(), value.into()).await;
        match traced.end(swap) {
            Ok(Swap::Done(commit)) => {
                call.get().record(commit);
                Ok(Ok(()))
            }
            Ok(Swap::Changed(current)) => {
                let next = call.get().table.push(Cas { opened, key, seen: current })?;
                Ok(Err(CasError::CasFailed(next)))
            }
            Err(error) => Ok(Err(CasError::StoreError(other(error)))),
        }
    }
}

impl HostCas for KeyValueView<'_> {
    async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>> {
        Ok(Ok(to_vec(self.table.get(&cas)?.seen.clone())))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl HostCasWithStore<InstanceState> for KeyValue {
    async fn new(mut call: Call<'_>, bucket: Resource<OpenStore>, key: String) -> Answer<Resource<Cas>> {
        let opened = call.get().table.get(&bucket)?.clone();
        let traced = begin_on(call.as_context_mut(), &opened, Operation::Get);
        let seen = opened.handle.store.get(&opened.handle.partition, &key).await;
        match traced.end(seen) {
            Ok(seen) => Ok(Ok(call.get().table.push(Cas { opened, key, seen })?)),
            Err(error) => Ok(Err(other(error))),
        }
    }
}
