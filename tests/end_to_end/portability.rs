//! The functions keep to what Spin 4.1 offers, so that `spin up` keeps working.

use crate::support::{build_functions, composed, root};
use std::fs;
use std::path::{Path, PathBuf};
use waggle_manifest::{Component, LoadOptions, Manifest, OWN_INTERFACES};
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

fn decoded(file: &Path) -> (Resolve, WorldId) {
    match wit_component::decode(&fs::read(file).unwrap()).unwrap() {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => panic!("{} is no component", file.display()),
    }
}

/// The interfaces that a component imports.
pub(crate) fn component_imports(file: &Path) -> Vec<String> {
    let (resolve, world) = decoded(file);
    imports(&resolve, world)
}

fn component_exports(file: &Path) -> Vec<String> {
    let (resolve, world) = decoded(file);
    let items = resolve.worlds[world].exports.values();
    let interface = |item: &WorldItem| match item {
        WorldItem::Interface { id, .. } => resolve.id_of(*id),
        _ => None,
    };
    items.filter_map(interface).collect()
}

/// The files of the components that Spin composes a function with.
pub(crate) fn dependencies_of(manifest: &Manifest, component: &Component) -> Vec<PathBuf> {
    let named =
        |dependency: &&Component| component.dependencies.iter().any(|name| name.value == dependency.id.value);
    let dependencies = manifest.dependencies.iter().filter(named);
    dependencies.map(|dependency| manifest.source_path(dependency)).collect()
}

/// Whether one of the component's dependencies in spin.toml satisfies an import: one of our own interfaces.
fn satisfies(manifest: &Manifest, component: &Component, import: &str) -> bool {
    import.starts_with("waggle:")
        && manifest.dependencies.iter().any(|dependency| {
            component.dependencies.iter().any(|name| name.value == dependency.id.value)
                && component_exports(&manifest.source_path(dependency)).iter().any(|export| export == import)
        })
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
    let manifest = Manifest::load(&root().join("spin.toml"), &LoadOptions::default()).unwrap();
    let functions: Vec<&str> = manifest.components.iter().map(|component| component.id.as_str()).collect();
    assert_eq!(functions, ["chat", "retrieval", "tools", "channels", "hello", "docs"]);
    for component in manifest.components.iter().chain(&manifest.dependencies) {
        let (name, file) = (&component.id.value, manifest.source_path(component));
        let wanted = component_imports(&file);
        let is_function = functions.contains(&name.as_str());
        let speaks_http = wanted.iter().any(|import| import.starts_with("wasi:http/types@0.3"));
        assert_eq!(speaks_http, is_function || name == "http-fallback", "{name}: {wanted:?}");
        for import in &wanted {
            assert!(
                spin.iter().any(|offered| serves(offered, import)) || satisfies(&manifest, component, import),
                "{name} imports {import}, which Spin lacks and no dependency in spin.toml satisfies"
            );
        }
    }
}

#[test]
fn our_own_interfaces_need_a_dependency_under_spin() {
    build_functions();
    let manifest = Manifest::load(&root().join("spin.toml"), &LoadOptions::default()).unwrap();
    // Of our own interfaces, each function imports those it needs and no other.
    for (name, expected) in [
        ("chat", &["waggle:http/client@0.1.0", "waggle:tokenizer/tokenizer@0.1.0"][..]),
        (
            "retrieval",
            &["waggle:http/client@0.1.0", "waggle:tokenizer/tokenizer@0.1.0", "waggle:vector/index@0.1.0"],
        ),
        ("tools", &["waggle:http/client@0.1.0"]),
        ("channels", &["waggle:http/client@0.1.0"]),
        ("hello", &[]),
        ("docs", &[]),
    ] {
        let function = manifest.component(name).unwrap();
        let mut imported = component_imports(&manifest.source_path(function));
        imported.retain(|import| import.starts_with("waggle:"));
        imported.sort_unstable();
        assert_eq!(imported, expected, "{name}");
        for interface in expected {
            assert!(OWN_INTERFACES.contains(interface), "{interface}");
            assert!(satisfies(&manifest, function, interface), "{name}: {interface}");
            let alone = Component { dependencies: Vec::new(), ..function.clone() };
            assert!(!satisfies(&manifest, &alone, interface), "{name}: {interface}");
        }
    }
    let chat = manifest.component("chat").unwrap();
    assert!(!satisfies(&manifest, chat, "waggle:tokenizer/other@0.1.0"));
}

/// Spin refuses a dependency that has resources of its own, and hands it only what the function does that names it.
#[test]
fn dependencies_have_nothing_of_their_own() {
    build_functions();
    let manifest = Manifest::load(&root().join("spin.toml"), &LoadOptions::default()).unwrap();
    for dependency in &manifest.dependencies {
        let counts = [
            dependency.key_value_stores.len(),
            dependency.allowed_outbound_hosts.len(),
            dependency.variables.len(),
            dependency.environment.len(),
            dependency.files.len(),
            dependency.dependencies.len(),
        ];
        assert_eq!(counts, [0; 6], "{}", dependency.id.value);
    }
    let fallback = |name: &str| {
        let mut dependencies = manifest.dependencies.iter();
        manifest.source_path(dependencies.find(|dependency| dependency.id.value == name).unwrap())
    };
    // What each needs of the function, beside what the standard library imports.
    let standard = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/"];
    let check = |name: &str, export: &str, needs: &[&str]| {
        let file = fallback(name);
        assert_eq!(component_exports(&file), [export]);
        let mut imported = component_imports(&file);
        imported.retain(|import| !standard.iter().any(|package| import.starts_with(package)));
        imported.sort_unstable();
        assert_eq!(imported, needs, "{name}");
    };
    check("http-fallback", "waggle:http/client@0.1.0", &["wasi:http/client@0.3.0", "wasi:http/types@0.3.0"]);
    check("tokenizer-fallback", "waggle:tokenizer/tokenizer@0.1.0", &[]);
    let stores = [
        "wasi:keyvalue/atomics@0.2.0-draft2",
        "wasi:keyvalue/batch@0.2.0-draft2",
        "wasi:keyvalue/store@0.2.0-draft2",
    ];
    check("vector-fallback", "waggle:vector/index@0.1.0", &stores);
}

#[test]
fn a_function_and_its_dependencies_together_import_only_what_spin_has() {
    build_functions();
    let spin = spin_imports();
    let folder = tempfile::tempdir().unwrap();
    let manifest = Manifest::load(&root().join("spin.toml"), &LoadOptions::default()).unwrap();
    let depending = manifest.components.iter().filter(|component| !component.dependencies.is_empty());
    for component in depending {
        let files = dependencies_of(&manifest, component);
        let whole = composed(folder.path(), &manifest.source_path(component), &files);
        for import in component_imports(&whole) {
            let is_offered = spin.iter().any(|offered| serves(offered, &import));
            assert!(is_offered, "{} imports {import}, which Spin lacks", component.id.value);
        }
        let handler = component_exports(&whole);
        assert!(handler.iter().any(|export| export.starts_with("wasi:http/handler@0.3")), "{handler:?}");
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
