//! The key-value interfaces a guest may import, over one store trait: `spin:key-value@3.0.0`,
//! `fermyon:spin/key-value@2.0.0` and `wasi:keyvalue@0.2.0-draft2`.
//!
//! A guest names a label; the host answers with the tenant's own partition of that store. There is no call in which
//! a tenant could be named.

use crate::bindings::{fermyon, spin, wasi};
use crate::request::Ledger;
use crate::world::{FunctionWorld, StoreHandle};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use waggle_kv::{Commit, Swap};
use wasmtime::component::{Accessor, FutureReader, HasData, Resource, ResourceTable, StreamReader};

/// Keys one `get-keys` or `list-keys` page is asked for.
pub(crate) const KEYS_PAGE: usize = 1_000;
/// Keys that `get-keys`, which has no pages, returns at most.
pub(crate) const KEYS_LISTED_MAX: usize = 100_000;

/// How the reason begins that a guest is told when its tenant may store no more. It is a part of the interface:
/// `wit/world.wit` promises it.
const QUOTA_EXCEEDED: &str = "quota-exceeded: ";

/// The least time between two log lines about a failing store.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// A store that a guest has opened.
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct OpenStore(StoreHandle);

/// A compare-and-swap under way: the value it saw, and where.
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Cas {
    handle: StoreHandle,
    key: String,
    seen: Option<Bytes>,
}

/// The part of an instance's state these interfaces need.
pub(crate) struct KeyValueView<'a> {
    pub(crate) world: &'a FunctionWorld,
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) ledger: &'a Arc<Ledger>,
}

pub(crate) struct KeyValue;

impl HasData for KeyValue {
    type Data<'a> = KeyValueView<'a>;
}

/// Why a label cannot be opened, before it is said in the words of one of the interfaces.
enum OpenError {
    TableFull,
    NoSuchStore,
}

impl KeyValueView<'_> {
    fn open(&mut self, label: &str) -> Result<Resource<OpenStore>, OpenError> {
        let handle = self.world.stores.get(label).cloned().ok_or(OpenError::NoSuchStore)?;
        self.table.push(OpenStore(handle)).map_err(|_full| OpenError::TableFull)
    }

    fn store(&self, store: &Resource<OpenStore>) -> wasmtime::Result<StoreHandle> {
        Ok(self.table.get(store)?.0.clone())
    }

    fn close(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }

    fn record(&self, commit: Commit) {
        self.ledger.record(commit);
    }
}

/// What a guest is told of an error. What is the store's own trouble goes to the log as well, at most once a second,
/// because the operator has to do something about it whatever the guest makes of it.
pub(crate) fn told(error: &waggle_kv::Error) -> String {
    use waggle_kv::Error as Kv;
    static LOGGED: Mutex<Option<Instant>> = Mutex::new(None);
    if matches!(
        error,
        Kv::Io { .. }
            | Kv::Poisoned { .. }
            | Kv::Damaged { .. }
            | Kv::Unreachable { .. }
            | Kv::Refused { .. }
    ) {
        let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|last| last.elapsed() >= LOG_PAUSE) {
            *logged = Some(Instant::now());
            tracing::error!(%error, "the key-value store failed");
        }
    }
    match error {
        Kv::QuotaExceeded { .. } => format!("{QUOTA_EXCEEDED}{error}"),
        _ => error.to_string(),
    }
}

fn to_vec(value: Option<Bytes>) -> Option<Vec<u8>> {
    value.map(Into::into)
}

/// What a guest is told that lists more keys than it can.
pub(crate) fn too_many_keys() -> String {
    format!(
        "the store has more than {KEYS_LISTED_MAX} keys; list them in pages with wasi:keyvalue `list-keys`"
    )
}

async fn all_keys(handle: &StoreHandle) -> Result<Vec<String>, String> {
    let mut keys = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = handle
            .store
            .keys(&handle.partition, "", cursor.as_deref(), KEYS_PAGE)
            .await
            .map_err(|error| told(&error))?;
        keys.extend(page.keys);
        if keys.len() > KEYS_LISTED_MAX {
            return Err(too_many_keys());
        }
        match page.cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(keys),
        }
    }
}

mod spin3 {
    use super::*;
    use crate::key_stream::KeyStream;
    use spin::key_value::key_value::{Error, Host, HostStore, HostStoreWithStore};

    type Answer<T> = wasmtime::Result<Result<T, Error>>;

    fn other(error: waggle_kv::Error) -> Error {
        Error::Other(told(&error))
    }

    impl Host for KeyValueView<'_> {}

    impl HostStore for KeyValueView<'_> {}

    /// The store a guest's handle means, taken out of the instance's state so that the call can wait without it.
    fn handle<T: Send>(
        accessor: &Accessor<T, KeyValue>,
        store: &Resource<OpenStore>,
    ) -> wasmtime::Result<StoreHandle> {
        accessor.with(|mut access| access.get().store(store))
    }

    fn recorded<T: Send>(
        accessor: &Accessor<T, KeyValue>,
        result: Result<Commit, waggle_kv::Error>,
    ) -> Result<(), Error> {
        let commit = result.map_err(other)?;
        accessor.with(|mut access| access.get().record(commit));
        Ok(())
    }

    impl<T: Send> HostStoreWithStore<T> for KeyValue {
        async fn open(accessor: &Accessor<T, Self>, label: String) -> Answer<Resource<OpenStore>> {
            Ok(accessor.with(|mut access| access.get().open(&label)).map_err(|error| match error {
                OpenError::TableFull => Error::StoreTableFull,
                OpenError::NoSuchStore => Error::NoSuchStore,
            }))
        }

        async fn get(
            accessor: &Accessor<T, Self>,
            store: Resource<OpenStore>,
            key: String,
        ) -> Answer<Option<Vec<u8>>> {
            let StoreHandle { store, partition } = handle(accessor, &store)?;
            Ok(store.get(&partition, &key).await.map(to_vec).map_err(other))
        }

        async fn set(
            accessor: &Accessor<T, Self>,
            store: Resource<OpenStore>,
            key: String,
            value: Vec<u8>,
        ) -> Answer<()> {
            let StoreHandle { store, partition } = handle(accessor, &store)?;
            Ok(recorded(accessor, store.set(&partition, &key, value.into()).await))
        }

        async fn delete(accessor: &Accessor<T, Self>, store: Resource<OpenStore>, key: String) -> Answer<()> {
            let StoreHandle { store, partition } = handle(accessor, &store)?;
            Ok(recorded(accessor, store.delete(&partition, &key).await))
        }

        async fn exists(
            accessor: &Accessor<T, Self>,
            store: Resource<OpenStore>,
            key: String,
        ) -> Answer<bool> {
            let StoreHandle { store, partition } = handle(accessor, &store)?;
            Ok(store.exists(&partition, &key).await.map_err(other))
        }

        async fn get_keys(
            accessor: &Accessor<T, Self>,
            store: Resource<OpenStore>,
        ) -> wasmtime::Result<(StreamReader<String>, FutureReader<Result<(), Error>>)> {
            let (keys, outcome) = KeyStream::new(handle(accessor, &store)?);
            accessor.with(|mut access| {
                let keys = StreamReader::new(&mut access, keys)?;
                let result = FutureReader::new(&mut access, async move {
                    let outcome = outcome.await.unwrap_or(Ok(()));
                    wasmtime::error::Ok(outcome.map_err(Error::Other))
                })?;
                Ok((keys, result))
            })
        }

        async fn drop(accessor: &Accessor<T, Self>, store: Resource<OpenStore>) -> wasmtime::Result<()> {
            accessor.with(|mut access| access.get().close(store))
        }
    }
}

mod spin2 {
    use super::*;
    use fermyon::spin::key_value::{Error, Host, HostStore};

    type Answer<T> = wasmtime::Result<Result<T, Error>>;

    fn other(error: waggle_kv::Error) -> Error {
        Error::Other(told(&error))
    }

    impl Host for KeyValueView<'_> {}

    impl HostStore for KeyValueView<'_> {
        async fn open(&mut self, label: String) -> Answer<Resource<OpenStore>> {
            Ok(KeyValueView::open(self, &label).map_err(|error| match error {
                OpenError::TableFull => Error::StoreTableFull,
                OpenError::NoSuchStore => Error::NoSuchStore,
            }))
        }

        async fn get(&mut self, store: Resource<OpenStore>, key: String) -> Answer<Option<Vec<u8>>> {
            let StoreHandle { store, partition } = self.store(&store)?;
            Ok(store.get(&partition, &key).await.map(to_vec).map_err(other))
        }

        async fn set(&mut self, store: Resource<OpenStore>, key: String, value: Vec<u8>) -> Answer<()> {
            let StoreHandle { store, partition } = self.store(&store)?;
            let commit = store.set(&partition, &key, value.into()).await;
            Ok(commit.map(|commit| self.record(commit)).map_err(other))
        }

        async fn delete(&mut self, store: Resource<OpenStore>, key: String) -> Answer<()> {
            let StoreHandle { store, partition } = self.store(&store)?;
            let commit = store.delete(&partition, &key).await;
            Ok(commit.map(|commit| self.record(commit)).map_err(other))
        }

        async fn exists(&mut self, store: Resource<OpenStore>, key: String) -> Answer<bool> {
            let StoreHandle { store, partition } = self.store(&store)?;
            Ok(store.exists(&partition, &key).await.map_err(other))
        }

        async fn get_keys(&mut self, store: Resource<OpenStore>) -> Answer<Vec<String>> {
            let handle = self.store(&store)?;
            Ok(all_keys(&handle).await.map_err(Error::Other))
        }

        async fn drop(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
            self.close(store)
        }
    }
}

mod wasi_keyvalue {
    use super::*;
    use wasi::keyvalue::atomics::{self, CasError, HostCas};
    use wasi::keyvalue::batch;
    use wasi::keyvalue::store::{self, Error, HostBucket, KeyResponse};

    type Answer<T> = wasmtime::Result<Result<T, Error>>;

    fn other(error: waggle_kv::Error) -> Error {
        Error::Other(told(&error))
    }

    impl KeyValueView<'_> {
        fn recorded(&self, result: Result<Commit, waggle_kv::Error>) -> Result<(), Error> {
            result.map(|commit| self.record(commit)).map_err(other)
        }
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
        async fn get(&mut self, bucket: Resource<OpenStore>, key: String) -> Answer<Option<Vec<u8>>> {
            let StoreHandle { store, partition } = self.store(&bucket)?;
            Ok(store.get(&partition, &key).await.map(to_vec).map_err(other))
        }

        async fn set(&mut self, bucket: Resource<OpenStore>, key: String, value: Vec<u8>) -> Answer<()> {
            let StoreHandle { store, partition } = self.store(&bucket)?;
            let commit = store.set(&partition, &key, value.into()).await;
            Ok(self.recorded(commit))
        }

        async fn delete(&mut self, bucket: Resource<OpenStore>, key: String) -> Answer<()> {
            let StoreHandle { store, partition } = self.store(&bucket)?;
            let commit = store.delete(&partition, &key).await;
            Ok(self.recorded(commit))
        }

        async fn exists(&mut self, bucket: Resource<OpenStore>, key: String) -> Answer<bool> {
            let StoreHandle { store, partition } = self.store(&bucket)?;
            Ok(store.exists(&partition, &key).await.map_err(other))
        }

        async fn list_keys(
            &mut self,
            bucket: Resource<OpenStore>,
            cursor: Option<String>,
        ) -> Answer<KeyResponse> {
            let StoreHandle { store, partition } = self.store(&bucket)?;
            let page = store.keys(&partition, "", cursor.as_deref(), KEYS_PAGE).await;
            Ok(page.map(|page| KeyResponse { keys: page.keys, cursor: page.cursor }).map_err(other))
        }

        async fn drop(&mut self, bucket: Resource<OpenStore>) -> wasmtime::Result<()> {
            self.close(bucket)
        }
    }

    impl batch::Host for KeyValueView<'_> {
        async fn get_many(
            &mut self,
            bucket: Resource<OpenStore>,
            keys: Vec<String>,
        ) -> Answer<Vec<(String, Option<Vec<u8>>)>> {
            let StoreHandle { store, partition } = self.store(&bucket)?;
            let values = match store.get_many(&partition, &keys).await {
                Ok(values) => values,
                Err(error) => return Ok(Err(other(error))),
            };
            Ok(Ok(keys.into_iter().zip(values.into_iter().map(to_vec)).collect()))
        }

        async fn set_many(
            &mut self,
            bucket: Resource<OpenStore>,
            entries: Vec<(String, Vec<u8>)>,
        ) -> Answer<()> {
            let StoreHandle { store, partition } = self.store(&bucket)?;
            let entries = entries.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect();
            let commit = store.set_many(&partition, entries).await;
            Ok(self.recorded(commit))
        }

        async fn delete_many(&mut self, bucket: Resource<OpenStore>, keys: Vec<String>) -> Answer<()> {
            let StoreHandle { store, partition } = self.store(&bucket)?;
            let commit = store.delete_many(&partition, keys).await;
            Ok(self.recorded(commit))
        }
    }

    impl atomics::Host for KeyValueView<'_> {
        async fn increment(&mut self, bucket: Resource<OpenStore>, key: String, delta: i64) -> Answer<i64> {
            let StoreHandle { store, partition } = self.store(&bucket)?;
            Ok(store
                .increment(&partition, &key, delta)
                .await
                .map(|(value, commit)| {
                    self.record(commit);
                    value
                })
                .map_err(other))
        }

        async fn swap(
            &mut self,
            cas: Resource<Cas>,
            value: Vec<u8>,
        ) -> wasmtime::Result<Result<(), CasError>> {
            let Cas { handle, key, seen } = self.table.delete(cas)?;
            let StoreHandle { store, partition } = &handle;
            let swap = store.compare_and_swap(partition, &key, seen.as_ref(), value.into()).await;
            match swap {
                Ok(Swap::Done(commit)) => {
                    self.record(commit);
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
        async fn new(&mut self, bucket: Resource<OpenStore>, key: String) -> Answer<Resource<Cas>> {
            let handle = self.store(&bucket)?;
            match handle.store.get(&handle.partition, &key).await {
                Ok(seen) => Ok(Ok(self.table.push(Cas { handle, key, seen })?)),
                Err(error) => Ok(Err(other(error))),
            }
        }

        async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>> {
            Ok(Ok(to_vec(self.table.get(&cas)?.seen.clone())))
        }

        async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
            self.table.delete(cas)?;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_can_tell_that_its_tenant_may_store_no_more() {
        let full = told(&waggle_kv::Error::QuotaExceeded { used: 90, allowed: 100 });
        assert!(full.starts_with("quota-exceeded: ") && full.contains("90 of 100 bytes"), "{full}");
        let unknown = told(&waggle_kv::Error::QuotaUnknown { waited_ms: 5 });
        assert!(!unknown.contains(QUOTA_EXCEEDED), "{unknown}");
        let promise = include_str!("../../../wit/world.wit");
        assert!(
            promise.contains(&format!("`{QUOTA_EXCEEDED}`")),
            "the word is not the one that wit/world.wit has"
        );
    }
}
