//! Everything a component may import, in one place. `wit/world.wit` says the same, and a test compares the two.

use crate::bindings::{fermyon, spin, waggle, wasi};
use crate::key_value::KeyValue;
use crate::outbound::TrackedHttp;
use crate::state::InstanceState;
use crate::tokenizer::Tokenizer;
use crate::variables::Variables;
use crate::vector::Vector;
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

    waggle::http::client::add_to_linker::<_, TrackedHttp>(&mut linker, InstanceState::http)?;
    waggle::tokenizer::tokenizer::add_to_linker::<_, Tokenizer>(&mut linker, InstanceState::tokenizer)?;
    waggle::vector::index::add_to_linker::<_, Vector>(&mut linker, InstanceState::vector)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use wasmtime::component::Component;
    use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
    use wit_parser::{LiftLowerAbi, ManglingAndAbi, PackageId, Resolve, WorldId, WorldItem};

    fn wit() -> Resolve {
        let mut resolve = Resolve::default();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        resolve.push_dir(folder).unwrap();
        resolve
    }

    /// A component that imports everything the world offers and exports what it asks for, with bodies that trap.
    fn component_of_world(name: &str) -> Vec<u8> {
        let resolve = wit();
        let world = world_id(&resolve, "waggle", name);
        let abi = ManglingAndAbi::Legacy(LiftLowerAbi::AsyncCallback);
        let abi = if name.ends_with("p2") { ManglingAndAbi::Legacy(LiftLowerAbi::Sync) } else { abi };
        let mut module = dummy_module(&resolve, world, abi);
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
    }

    fn world_id(resolve: &Resolve, namespace: &str, name: &str) -> WorldId {
        let is_of = |package: PackageId| {
            let package = &resolve.packages[package].name;
            package.namespace == namespace && (namespace != "spin" || package.name == "up")
        };
        let mut worlds = resolve.worlds.iter();
        worlds.find(|(_id, world)| world.name == name && world.package.is_some_and(is_of)).unwrap().0
    }

    fn engine() -> wasmtime::Engine {
        let mut config = wasmtime::Config::new();
        config.wasm_component_model_async(true);
        wasmtime::Engine::new(&config).unwrap()
    }

    #[test]
    fn the_host_links_every_import_of_the_worlds_in_wit() {
        let engine = engine();
        let linker = linker(&engine).unwrap();
        for world in ["function", "function-p2"] {
            let component = Component::from_binary(&engine, &component_of_world(world)).unwrap();
            let imports = component.component_type().imports(&engine).count();
            assert!(imports > 20, "the component of `{world}` imports only {imports} interfaces");
            linker.instantiate_pre(&component).unwrap_or_else(|error| panic!("{world}: {error:?}"));
        }
    }

    #[test]
    fn an_import_that_nobody_provides_is_named() {
        let engine = engine();
        let wat = r#"(component (import "acme:billing/ledger@1.2.3" (instance (export "post" (func)))))"#;
        let component = Component::new(&engine, wat::parse_str(wat).unwrap()).unwrap();
        let error = linker(&engine).unwrap().instantiate_pre(&component).err().unwrap();
        assert!(format!("{error:#}").contains("acme:billing/ledger@1.2.3"), "{error:#}");
    }

    #[test]
    fn the_world_of_functions_is_no_wider_than_spins() {
        let mut resolve = Resolve::default();
        resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/spin")).unwrap();
        let spin: Vec<String> = imports(&resolve, "spin", "platform");
        // What is ours, a dependency satisfies under Spin; the end-to-end tests look for it in spin.toml.
        let wanted = imports(&wit(), "waggle", "imports");
        for import in wanted.into_iter().filter(|import| !import.starts_with("waggle:")) {
            assert!(spin.contains(&import), "Spin 4.1 does not offer {import}");
        }
    }

    fn imports(resolve: &Resolve, namespace: &str, world: &str) -> Vec<String> {
        let world = &resolve.worlds[world_id(resolve, namespace, world)];
        let interfaces = world.imports.values().filter_map(|item| match item {
            WorldItem::Interface { id, .. } => resolve.id_of(*id),
            _ => None,
        });
        interfaces.collect()
    }
}
