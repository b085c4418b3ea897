//! The store over `wasi:keyvalue@0.2.0-draft2`.

mod bindings {
    //! Generated from `wit/`: spin-sdk has these bindings only in a module it does not document.
    spin_sdk::wit_bindgen::generate!({
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        inline: "package waggle:wasi@0.1.0;
                 world store {
                   import wasi:keyvalue/store@0.2.0-draft2;
                   import wasi:keyvalue/batch@0.2.0-draft2;
                   import wasi:keyvalue/atomics@0.2.0-draft2;
                 }",
        path: "../../wit/deps/wasi-keyvalue@0.2.0-draft2",
        generate_all,
    });
}

use bindings::wasi::keyvalue::atomics::{self, Cas, CasError};
use bindings::wasi::keyvalue::batch;
use bindings::wasi::keyvalue::store::{self, Bucket, Error};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use waggle_conversation::{Store, StoreError};

/// The label of the store in the manifest.
const LABEL: &str = "default";

thread_local! {
    /// The component's store, opened when it is first needed and kept for all requests of the instance.
    static BUCKET: RefCell<Option<Rc<Bucket>>> = const { RefCell::new(None) };
}

/// The component's store.
#[derive(Clone)]
pub struct WasiStore;

fn failed(operation: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| {
        let reason = match error {
            Error::NoSuchStore => format!("there is no store '{LABEL}'"),
            Error::AccessDenied => {
                format!("the component may not use the store '{LABEL}': list it in key_value_stores")
            }
            Error::Other(reason) => reason,
        };
        StoreError::of(operation, reason)
    }
}

fn bucket() -> Result<Rc<Bucket>, StoreError> {
    if let Some(bucket) = BUCKET.with_borrow(Clone::clone) {
        return Ok(bucket);
    }
    let bucket = Rc::new(store::open(LABEL).map_err(failed("open"))?);
    BUCKET.set(Some(Rc::clone(&bucket)));
    Ok(bucket)
}

impl Store for WasiStore {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        bucket()?.get(key).map_err(failed("get"))
    }

    async fn get_many(&self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let found = batch::get_many(&*bucket()?, &keys).map_err(failed("get-many"))?;
        if found.len() == keys.len() && found.iter().zip(&keys).all(|((found, _), key)| found == key) {
            return Ok(found.into_iter().map(|(_, value)| value).collect());
        }
        // The interface promises no order.
        let mut found: HashMap<String, Option<Vec<u8>>> = found.into_iter().collect();
        Ok(keys.iter().map(|key| found.remove(key).flatten()).collect())
    }

    async fn set_many(&self, pairs: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        batch::set_many(&*bucket()?, &pairs).map_err(failed("set-many"))
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<(), StoreError> {
        batch::delete_many(&*bucket()?, &keys).map_err(failed("delete-many"))
    }

    async fn increment(&self, key: &str) -> Result<i64, StoreError> {
        atomics::increment(&*bucket()?, key, 1).map_err(failed("increment"))
    }

    async fn swap(&self, key: &str, expected: Option<&[u8]>, value: Vec<u8>) -> Result<bool, StoreError> {
        let cas = Cas::new(&*bucket()?, key).map_err(failed("begin a swap"))?;
        let current = cas.current().map_err(failed("read before a swap"))?;
        if current.as_deref() != expected {
            return Ok(false);
        }
        match atomics::swap(cas, &value) {
            Ok(()) => Ok(true),
            Err(CasError::CasFailed(_)) => Ok(false),
            Err(CasError::StoreError(error)) => Err(failed("swap")(error)),
        }
    }
}
