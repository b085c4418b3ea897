//! The runner: one wasmtime engine for all tools, the components that are ready, and the bound on calls at once.
//!
//! The engine is compiled for as that of the functions is, so both can share a folder of compiled code; but its room for
//! instances is its own, so that no number of tool calls can take an instance from a function.

use crate::cache::{PreparedCache, prune};
use crate::call::{self, Call, Outcome};
use crate::component::Prepared;
use crate::config::RunnerConfig;
use crate::error::ComponentError;
use crate::imports::linker;
use crate::inspect::{Inspected, inspect};
use crate::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};
use crate::state::CallState;
use crate::ticker::{Ticker, Ticking};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waggle_engine::{compilation, compile_cached};
use wasmtime::component::Linker;
use wasmtime::{Engine, PoolingAllocationConfig};

/// Runs tools. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    shared: Arc<Shared>,
}

struct Shared {
    config: RunnerConfig,
    engine: Engine,
    linker: Linker<CallState>,
    prepared: PreparedCache,
    /// Where compiled code is kept for the next start.
    folder: Option<PathBuf>,
    /// One component is compiled at a time, which takes all cores as it is; who waits may find it done.
    compiling: Semaphore,
    calls: Arc<Semaphore>,
    ticker: Arc<Ticker>,
}

/// As many tools run as may at once; nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many tools run at once")]
pub struct Busy;

/// The place of one call among those at once.
struct Place {
    _permit: OwnedSemaphorePermit,
    _ticking: Ticking,
}

impl Runner {
    /// Sets up wasmtime. Compiled components are kept in `folder` if that is given; nothing else may be in it, and only this
    /// user may be able to write to it.
    ///
    /// # Errors
    /// [`ComponentError::Setup`] when the configuration is out of bounds or the machine lacks the address space.
    pub fn new(config: RunnerConfig, folder: Option<PathBuf>) -> Result<Self, ComponentError> {
        config.validate().map_err(ComponentError::Setup)?;
        let setup = |error: wasmtime::Error| ComponentError::Setup(format!("{error:#}"));
        let engine = Engine::new(&wasmtime_config(&config)).map_err(setup)?;
        let linker = linker(&engine).map_err(setup)?;
        let ticker = Ticker::start(&engine)
            .map_err(|error| ComponentError::Setup(format!("no thread for the epochs: {error}")))?;
        let shared = Shared {
            engine,
            linker,
            prepared: PreparedCache::new(config.components_max, config.compiled_bytes_max),
            folder,
            compiling: Semaphore::new(1),
            calls: Arc::new(Semaphore::new(config.calls_max as usize)),
            ticker,
            config,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Says what a component offers, and what it asks for. A `waggle:tool` is asked, without any grants and within the bounds
    /// of the configuration. It stays compiled.
    ///
    /// # Errors
    /// Any [`ComponentError`].
    pub async fn inspect(&self, wasm: Bytes) -> Result<Inspected, ComponentError> {
        let prepared = self.prepare(wasm).await?;
        let _place = self.place().map_err(|Busy| ComponentError::Busy)?;
        inspect(&self.shared.engine, &self.shared.config, &prepared).await
    }

    /// The component with this digest, if it is ready.
    #[must_use]
    pub fn prepared(&self, digest: &str) -> Option<Arc<Prepared>> {
        self.shared.prepared.get(digest)
    }

    /// Compiles a component, or takes its code from the folder, and links it. Of several that ask for the same one at once,
    /// one compiles.
    ///
    /// # Errors
    /// Any [`ComponentError`] but [`ComponentError::Describe`] and its like.
    pub async fn prepare(&self, wasm: Bytes) -> Result<Arc<Prepared>, ComponentError> {
        check_kind(&wasm, self.shared.config.component_bytes_max)?;
        let bytes = wasm.clone();
        let digest = tokio::task::spawn_blocking(move || digest(&bytes)).await;
        let digest = digest.map_err(|error| ComponentError::Compile(error.to_string()))?;
        if let Some(prepared) = self.prepared(&digest) {
            return Ok(prepared);
        }
        let _turn = self.shared.compiling.acquire().await;
        if let Some(prepared) = self.prepared(&digest) {
            return Ok(prepared);
        }
        let shared = Arc::clone(&self.shared);
        let compiled = tokio::task::spawn_blocking(move || shared.compile(&wasm, digest)).await;
        compiled.map_err(|error| ComponentError::Compile(error.to_string()))?
    }

    /// Lets go of a component that is no longer needed. Calls under way go on.
    pub fn forget(&self, digest: &str) {
        self.shared.prepared.remove(digest);
    }

    /// How many components are ready, and the bytes of their code.
    #[must_use]
    pub fn prepared_size(&self) -> (usize, usize) {
        self.shared.prepared.size()
    }

    /// Makes one call in an instance of its own, which ends with it. Whatever the tool does, that is an [`Outcome`]. Dropping
    /// the future ends the call.
    ///
    /// # Errors
    /// [`Busy`], and nothing was done.
    pub async fn call(&self, prepared: &Prepared, call: &Call) -> Result<Outcome, Busy> {
        let _place = self.place()?;
        Ok(call::call(&self.shared.engine, &self.shared.config, prepared, call).await)
    }

    /// How many calls are under way.
    #[must_use]
    pub fn calls(&self) -> usize {
        (self.shared.config.calls_max as usize).saturating_sub(self.shared.calls.available_permits())
    }

    fn place(&self) -> Result<Place, Busy> {
        let permit = Arc::clone(&self.shared.calls).try_acquire_owned().map_err(|_none| Busy)?;
        Ok(Place { _permit: permit, _ticking: self.shared.ticker.begin() })
    }
}

impl Shared {
    fn compile(&self, wasm: &[u8], digest: String) -> Result<Arc<Prepared>, ComponentError> {
        let (component, cached) = compile_cached(&self.engine, wasm, self.folder.as_deref())
            .map_err(|error| ComponentError::Compile(format!("{error:#}")))?;
        if let Some(folder) = self.folder.as_deref().filter(|_folder| !cached) {
            prune(folder, self.config.folder_bytes_max);
        }
        let prepared = Arc::new(Prepared::link(&self.linker, &component, digest)?);
        self.prepared.insert(Arc::clone(&prepared));
        Ok(prepared)
    }
}

/// `sha256:` and 64 hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The first eight bytes tell components, core modules and everything else apart.
fn check_kind(wasm: &[u8], bytes_max: usize) -> Result<(), ComponentError> {
    if wasm.len() > bytes_max {
        return Err(ComponentError::TooLarge { bytes: wasm.len(), bytes_max });
    }
    Err(ComponentError::NotAComponent(match wasm.get(..8) {
        Some([0, b'a', b's', b'm', _, 0, 1, 0]) => return Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
            "is a core WebAssembly module, not a component; build it for a component target such as wasm32-wasip2"
                .into()
        }
        Some([0, b'a', b's', b'm', ..]) => "is WebAssembly of a version this host does not know".into(),
        Some(_) => "is not WebAssembly: it does not begin with `\\0asm`".into(),
        None => format!("is not WebAssembly: it has only {} bytes", wasm.len()),
    }))
}

/// As the functions' engine is compiled for, so that the code is the same; only the room for instances differs.
fn wasmtime_config(config: &RunnerConfig) -> wasmtime::Config {
    let count = config.calls_max;
    let mut pooling = PoolingAllocationConfig::default();
    pooling
        .total_component_instances(count)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .total_core_instances(count.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(count.saturating_mul(MEMORIES_MAX))
        .total_tables(count.saturating_mul(TABLES_MAX))
        .total_stacks(count.saturating_mul(2))
        .max_memory_size(config.memory_bytes_max)
        .table_elements(config.table_elements_max);
    compilation(pooling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_told_apart() {
        let check = |bytes: &[u8], expected: &str| {
            let error = check_kind(bytes, 100).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(b"\0asm\x01\0\0\0", "this is a core WebAssembly module, not a component");
        check(b"\0asm\x09\0\x09\0", "a version this host does not know");
        check(b"#!/bin/sh\n", "does not begin with");
        check(b"", "it has only 0 bytes");
        check(&[0; 101], "has 101 bytes; at most 100 are allowed");
    }

    #[test]
    fn a_digest_names_its_algorithm() {
        assert_eq!(digest(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
