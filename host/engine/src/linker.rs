//! Everything a component may import, in one place. `wit/world.wit` says the same, and a test compares the two.

use crate::bindings::{fermyon, spin, wasi};
use crate::key_value::KeyValue;
use crate::outbound::TrackedHttp;
use crate::state::InstanceState;
use crate::variables::Variables;
use wasmtime::component::Linker;
use wasmtime_wasi_http::{WasiHttp, WasiHttpView as _, p2, p3};

/// The linker of all functions.
///
/// # Errors
/// When two interfaces define the same name, which would be a mistake in this file.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<InstanceState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    p2::add_only_http_to_linker_async(&mut linker)?;
    p3::bindings::http::types::add_to_linker::<_, WasiHttp>(&mut linker, InstanceState::http)?;
    p3::bindings::http::client::add_to_linker::<_, TrackedHttp>(&mut linker, InstanceState::http)?;

    spin::key_value::key_value::add_to_linker::<_, KeyValue>(&mut linker, InstanceState::key_value)?;
    fermyon::spin::key_value::add_to_linker::<_, KeyValue>(&mut linker, InstanceState::key_value)?;
    wasi::keyvalue::store::add_to_linker::<_, KeyValue>(&mut linker, InstanceState::key_value)?;
    wasi::keyvalue::batch::add_to_linker::<_, KeyValue>(&mut linker, InstanceState::key_value)?;
    wasi::keyvalue::atomics::add_to_linker::<_, KeyValue>(&mut linker, InstanceState::key_value)?;

    spin::variables::variables::add_to_linker::<_, Variables>(&mut linker, InstanceState::variables)?;
    fermyon::spin::variables::add_to_linker::<_, Variables>(&mut linker, InstanceState::variables)?;
    wasi::config::store::add_to_linker::<_, Variables>(&mut linker, InstanceState::variables)?;
    Ok(linker)
}
