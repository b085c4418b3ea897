//! The key-value interfaces a guest may import, over one store trait: `spin:key-value@3.0.0`,
//! `fermyon:spin/key-value@2.0.0` and `wasi:keyvalue@0.2.0-draft2`.
//!
//! A guest names a label; the host answers with the tenant's own partition of that store. There is no call in which
//! a tenant could be named.

mod spin2;
mod spin3;
mod wasi_keyvalue;

use crate::request::{Ledger, RequestScope};
use crate::state::InstanceState;
use crate::store_span::{Traced, traced_request};
use crate::world::{FunctionWorld, StoreHandle};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use waggle_kv::{Commit, Operation};
use wasmtime::component::{Access, HasData, Resource, ResourceTable};
use wasmtime::{AsContextMut as _, StoreContextMut};

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
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct OpenStore {
    handle: StoreHandle,
    /// By which it was opened.
    label: Arc<str>,
}

/// A compare-and-swap under way: the value it saw, and where.
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Cas {
    opened: OpenStore,
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
        let (label, handle) = self.world.stores.get_key_value(label).ok_or(OpenError::NoSuchStore)?;
        let opened = OpenStore { handle: handle.clone(), label: Arc::clone(label) };
        self.table.push(opened).map_err(|_full| OpenError::TableFull)
    }

    fn close(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }

    fn record(&self, commit: Commit) {
        self.ledger.record(commit);
    }

    fn record_increment(&self, commit: Commit) {
        self.ledger.record_increment(commit);
    }
}

/// A call of a guest, with the instance's state.
type Call<'a> = Access<'a, InstanceState, KeyValue>;

/// The store a guest's handle means, and the span of what is done there with so many entries.
fn begin(
    mut context: StoreContextMut<'_, InstanceState>,
    opened: &Resource<OpenStore>,
    operation: Operation,
    entries: usize,
) -> wasmtime::Result<(StoreHandle, Traced)> {
    let request = request_if_traced(&mut context);
    let opened = context.data_mut().key_value().table.get(opened)?;
    let traced = request.map_or_else(Traced::not, |request| {
        Traced::begin(&request, &opened.handle, &opened.label, operation, entries)
    });
    Ok((opened.handle.clone(), traced))
}

/// As [`begin`], with one entry.
fn one(
    call: &mut Call<'_>,
    opened: &Resource<OpenStore>,
    operation: Operation,
) -> wasmtime::Result<(StoreHandle, Traced)> {
    begin(call.as_context_mut(), opened, operation, 1)
}

/// As [`one`], of a store that is at hand.
fn begin_on(
    mut context: StoreContextMut<'_, InstanceState>,
    opened: &OpenStore,
    operation: Operation,
) -> Traced {
    request_if_traced(&mut context).map_or_else(Traced::not, |request| {
        Traced::begin(&request, &opened.handle, &opened.label, operation, 1)
    })
}

/// The store a guest's handle means, for all of its keys, whose pages are traced each.
fn begin_listing(
    mut context: StoreContextMut<'_, InstanceState>,
    opened: &Resource<OpenStore>,
) -> wasmtime::Result<Listing> {
    let request = request_if_traced(&mut context);
    let OpenStore { handle, label } = context.data_mut().key_value().table.get(opened)?.clone();
    Ok(Listing { handle, label, request })
}

/// The request that a call is made for, if it is traced. Where none is, this is one load.
fn request_if_traced(context: &mut StoreContextMut<'_, InstanceState>) -> Option<Arc<RequestScope>> {
    if context.data().is_traced() { traced_request(context) } else { None }
}

/// All keys of a store, about to be listed.
pub(crate) struct Listing {
    pub(crate) handle: StoreHandle,
    label: Arc<str>,
    /// For which they are, if it is traced.
    request: Option<Arc<RequestScope>>,
}

impl Listing {
    /// A page of them begins.
    pub(crate) fn page(&self) -> Traced {
        self.request.as_ref().map_or_else(Traced::not, |request| {
            Traced::begin(request, &self.handle, &self.label, Operation::Keys, 1)
        })
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

async fn all_keys(listing: &Listing) -> Result<Vec<String>, String> {
    let StoreHandle { store, partition } = &listing.handle;
    let mut keys = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let traced = listing.page();
        let page = store.keys(partition, "", cursor.as_deref(), KEYS_PAGE).await;
        let page = traced.end(page).map_err(|error| told(&error))?;
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
