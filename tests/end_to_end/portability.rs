//! The functions keep to what Spin 4.1 offers, so that `spin up` keeps working.

use crate::support::{build_functions, root};
use std::fs;
use std::path::Path;
use wit_component::DecodedWasm;
use wit_parser::{Resolve, WorldId, WorldItem};

/// The interfaces Spin 4.1 offers a component, as `namespace:package/interface@version`.
fn spin_imports() -> Vec<String> {
    let mut resolve = Resolve::default();
    resolve.push_dir(root().join("wit/spin")).unwrap();
    let (id, _) = resolve
        .worlds
        .iter()
        .find(|(_, world)| {
            world.name == "platform"
                && world
                    .package
                    .is_some_and(|package| resolve.packages[package].name.to_string().starts_with("spin:up"))
        })
        .unwrap();
    imports(&resolve, id)
}

fn imports(resolve: &Resolve, world: WorldId) -> Vec<String> {
    let items = resolve.worlds[world].imports.values();
    items
        .filter_map(|item| match item {
            WorldItem::Interface { id, .. } => resolve.id_of(*id),
            _ => None,
        })
        .collect()
}

fn component_imports(file: &Path) -> Vec<String> {
    match wit_component::decode(&fs::read(file).unwrap()).unwrap() {
        DecodedWasm::Component(resolve, world) => imports(&resolve, world),
        DecodedWasm::WitPackage(..) => panic!("{} is no component", file.display()),
    }
}

/// Whether an interface that Spin offers serves an import: the same one, or of WASI 0.2 a later patch.
fn serves(offered: &str, wanted: &str) -> bool {
    if offered == wanted {
        return true;
    }
    let (Some((name, offered)), Some((wanted_name, wanted))) =
        (offered.split_once('@'), wanted.split_once('@'))
    else {
        return false;
    };
    let patch = |version: &str| version.strip_prefix("0.2.")?.parse::<u32>().ok();
    match (patch(offered), patch(wanted)) {
        (Some(offered), Some(wanted)) => name == wanted_name && offered >= wanted,
        _ => false,
    }
}

#[test]
fn functions_import_nothing_that_spin_lacks() {
    build_functions();
    let spin = spin_imports();
    for function in ["chat", "docs", "hello"] {
        let file = root().join(format!("target/wasm32-wasip2/function/{function}.wasm"));
        let wanted = component_imports(&file);
        assert!(
            wanted.iter().any(|import| import.starts_with("wasi:http/types@0.3")),
            "{function}: {wanted:?}"
        );
        for import in &wanted {
            assert!(
                spin.iter().any(|offered| serves(offered, import)),
                "{function} imports {import}, which Spin lacks"
            );
        }
    }
}

#[test]
fn versions_are_compared_as_spin_links_them() {
    let check = |offered: &str, wanted: &str, expected: bool| {
        assert_eq!(serves(offered, wanted), expected, "{offered} for {wanted}");
    };
    check("wasi:io/streams@0.2.6", "wasi:io/streams@0.2.3", true);
    check("wasi:io/streams@0.2.6", "wasi:io/streams@0.2.9", false);
    check("wasi:io/poll@0.2.6", "wasi:io/streams@0.2.6", false);
    check("wasi:keyvalue/store@0.2.0-draft2", "wasi:keyvalue/store@0.2.0-draft", false);
    check("wasi:http/types@0.3.0", "wasi:http/types@0.3.0", true);
}
