//! `wasi:keyvalue@0.2.0-draft2` of a tool: the stores it was granted, by their labels. Any other label is answered
//! `access-denied`; there is no call in which a tenant could be named.

use crate::bindings::wasi::keyvalue::atomics::{self, CasError, HostCas};
use crate::bindings::wasi::keyvalue::batch;
use crate::bindings::wasi::keyvalue::store::{self, Error, HostBucket, KeyResponse};
use crate::world::ToolWorld;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use waggle_engine::StoreHandle;
use waggle_kv::{Commit, Swap};
use wasmtime::component::{HasData, Resource, ResourceTable};

/// Keys a page of `list-keys` is asked for.
const KEYS_PAGE: usize = 1_000;

/// A store that the tool has opened.
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Bucket(StoreHandle);

/// A compare-and-swap under way: the value it saw, and where.
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Cas {
    handle: StoreHandle,
    key: String,
    seen: Option<Bytes>,
}

/// What the call has written. Nothing that could tell of it leaves before it is durable.
#[derive(Clone, Default)]
pub(crate) struct Writes(Arc<Mutex<Commit>>);

impl Writes {
    fn record(&self, commit: Commit) {
        self.lock().merge(commit);
    }

    /// Waits until all of it survives a power cut.
    ///
    /// # Errors
    /// When the device failed.
    pub(crate) async fn durable(&self) -> Result<(), waggle_kv::Error> {
        let written = self.lock().clone();
        written.durable().await
    }

    fn lock(&self) -> MutexGuard<'_, Commit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a call's state these interfaces need.
pub(crate) struct KeyValueView<'a> {
    pub(crate) world: &'a dyn ToolWorld,
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) writes: &'a Writes,
}

pub(crate) struct KeyValue;

impl HasData for KeyValue {
    type Data<'a> = KeyValueView<'a>;
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

fn other(error: waggle_kv::Error) -> Error {
    Error::Other(error.to_string())
}

impl KeyValueView<'_> {
    fn handle(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<StoreHandle> {
        Ok(self.table.get(bucket)?.0.clone())
    }

    fn recorded(&self, written: Result<Commit, waggle_kv::Error>) -> Result<(), Error> {
        written.map(|commit| self.writes.record(commit)).map_err(other)
    }
}

impl store::Host for KeyValueView<'_> {
    async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        let Some(handle) = self.world.store(&identifier) else { return Ok(Err(Error::AccessDenied)) };
        let opened = self.table.push(Bucket(handle));
        Ok(opened.map_err(|_full| Error::Other("too many stores are open".into())))
    }
}

impl HostBucket for KeyValueView<'_> {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let handle = self.handle(&bucket)?;
        let value = handle.store.get(&handle.partition, &key).await;
        Ok(value.map(|value| value.map(Into::into)).map_err(other))
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        let handle = self.handle(&bucket)?;
        let written = handle.store.set(&handle.partition, &key, value.into()).await;
        Ok(self.recorded(written))
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        let handle = self.handle(&bucket)?;
        let written = handle.store.delete(&handle.partition, &key).await;
        Ok(self.recorded(written))
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        let handle = self.handle(&bucket)?;
        Ok(handle.store.exists(&handle.partition, &key).await.map_err(other))
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<String>) -> Answer<KeyResponse> {
        let handle = self.handle(&bucket)?;
        let page = handle.store.keys(&handle.partition, "", cursor.as_deref(), KEYS_PAGE).await;
        Ok(page.map(|page| KeyResponse { keys: page.keys, cursor: page.cursor }).map_err(other))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl batch::Host for KeyValueView<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<(String, Option<Vec<u8>>)>> {
        let handle = self.handle(&bucket)?;
        let values = match handle.store.get_many(&handle.partition, &keys).await {
            Ok(values) => values,
            Err(error) => return Ok(Err(other(error))),
        };
        let values = values.into_iter().map(|value| value.map(Into::into));
        Ok(Ok(keys.into_iter().zip(values).collect()))
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, entries: Vec<(String, Vec<u8>)>) -> Answer<()> {
        let handle = self.handle(&bucket)?;
        let entries = entries.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect();
        let written = handle.store.set_many(&handle.partition, entries).await;
        Ok(self.recorded(written))
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        let handle = self.handle(&bucket)?;
        let written = handle.store.delete_many(&handle.partition, keys).await;
        Ok(self.recorded(written))
    }
}

impl atomics::Host for KeyValueView<'_> {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: i64) -> Answer<i64> {
        let handle = self.handle(&bucket)?;
        Ok(match handle.store.increment(&handle.partition, &key, delta).await {
            Ok((value, commit)) => {
                self.writes.record(commit);
                Ok(value)
            }
            Err(error) => Err(other(error)),
        })
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> wasmtime::Result<Result<(), CasError>> {
        let Cas { handle, key, seen } = self.table.delete(cas)?;
        let swap = handle.store.compare_and_swap(&handle.partition, &key, seen.as_ref(), value.into()).await;
        match swap {
            Ok(Swap::Done(commit)) => {
                self.writes.record(commit);
                Ok(Ok(()))
            }
            Ok(Swap::Changed(current)) => {
                let next = self.table.push(Cas { handle, key, seen: current })?;
                Ok(Err(CasError::CasFailed(next)))
            }
            Err(error) => Ok(Err(CasError::StoreError(other(error)))),
        }
    }
}

impl HostCas for KeyValueView<'_> {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Resource<Cas>> {
        let handle = self.handle(&bucket)?;
        match handle.store.get(&handle.partition, &key).await {
            Ok(seen) => Ok(Ok(self.table.push(Cas { handle, key, seen })?)),
            Err(error) => Ok(Err(other(error))),
        }
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>> {
        Ok(Ok(self.table.get(&cas)?.seen.clone().map(Into::into)))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}
