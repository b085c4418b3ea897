//! What a tool may import: the world `component` of `wit/deps/waggle-tool@0.1.0`, linked here, and nothing more.

use crate::bindings::wasi as ours;
use crate::key_value::KeyValue;
use crate::state::CallState;
use wasmtime::component::types::{self, ComponentItem};
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::p2;

/// Packages of WASI 0.2 of which every interface is there.
const PACKAGES: &[&str] =
    &["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];
/// Interfaces of WASI 0.2 by themselves.
const INTERFACES: &[&str] = &["wasi:http/types", "wasi:http/outgoing-handler"];
/// By which a tool calls others.
const OUTGOING: &str = "wasi:http/outgoing-handler";
/// Interfaces of WASI drafts, which are compatible with themselves only.
const DRAFTS: &[&str] = &[
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft2",
    "wasi:keyvalue/atomics@0.2.0-draft2",
];

/// The linker of all tools.
///
/// # Errors
/// When two interfaces define the same name, which would be a mistake in this file.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    p2::add_only_http_to_linker_async(&mut linker)?;
    ours::keyvalue::store::add_to_linker::<_, KeyValue>(&mut linker, CallState::key_value)?;
    ours::keyvalue::batch::add_to_linker::<_, KeyValue>(&mut linker, CallState::key_value)?;
    ours::keyvalue::atomics::add_to_linker::<_, KeyValue>(&mut linker, CallState::key_value)?;
    Ok(linker)
}

/// What a component imports, as far as it is more than types.
pub(crate) struct Imports {
    /// The interfaces and functions that a tool may import, with their versions.
    pub(crate) allowed: Vec<String>,
    /// Those that it may not.
    pub(crate) refused: Vec<String>,
}

impl Imports {
    pub(crate) fn of(component: &Component) -> Self {
        let kind = component.component_type();
        let engine = component.engine();
        let named = kind.imports(engine).filter(|(_name, item)| !is_types_only(&item.ty, engine));
        let (allowed, refused) =
            named.map(|(name, _item)| name.to_owned()).partition(|name| is_allowed(name));
        Self { allowed, refused }
    }

    /// Whether it may call over HTTP, once that is granted.
    pub(crate) fn outbound(&self) -> bool {
        self.allowed.iter().any(|name| name.split('@').next() == Some(OUTGOING))
    }

    /// Whether it may store, once that is granted.
    pub(crate) fn key_value(&self) -> bool {
        self.allowed.iter().any(|name| DRAFTS.contains(&name.as_str()))
    }
}

/// An interface of types needs nothing of the host.
fn is_types_only(item: &ComponentItem, engine: &wasmtime::Engine) -> bool {
    let only_types = |instance: &types::ComponentInstance| {
        instance.exports(engine).all(|(_name, item)| matches!(item.ty, ComponentItem::Type(_)))
    };
    match item {
        ComponentItem::ComponentInstance(instance) => only_types(instance),
        ComponentItem::Type(_) => true,
        _ => false,
    }
}

fn is_allowed(name: &str) -> bool {
    if DRAFTS.contains(&name) {
        return true;
    }
    let Some((interface, version)) = name.split_once('@') else { return false };
    let package = interface.split('/').next().unwrap_or_default();
    let known = PACKAGES.contains(&package) || INTERFACES.contains(&interface);
    known && version.starts_with("0.2.") && !version.contains('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_may_import() {
        let check = |name: &str, expected: bool| assert_eq!(is_allowed(name), expected, "{name}");
        check("wasi:cli/stdout@0.2.0", true);
        check("wasi:sockets/tcp@0.2.6", true);
        check("wasi:http/outgoing-handler@0.2.3", true);
        check("wasi:keyvalue/atomics@0.2.0-draft2", true);
        check("wasi:http/incoming-handler@0.2.6", false);
        check("wasi:cli/stdout@0.3.0", false);
        check("wasi:cli/stdout@0.2.0-rc-2023-11-10", false);
        check("wasi:keyvalue/store@0.2.0-draft", false);
        check("wasi:climate/sensor@0.2.0", false);
        check("waggle:vector/index@0.1.0", false);
        check("spin:key-value/key-value@3.0.0", false);
        check("print", false);
    }
}
