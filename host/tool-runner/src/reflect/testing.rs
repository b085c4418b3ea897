//! Components made from WIT alone, for tests: every function is there, and traps.

use wasmtime::component::Component;
use wasmtime::component::types::{ComponentItem, Type};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

/// A component of the world `shop` in `wit`.
pub(crate) fn component(wit: &str) -> Component {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", &format!("package test:shop@1.2.3;\n{wit}")).unwrap();
    let world = resolve.select_world(&[package], Some("shop")).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let wasm = ComponentEncoder::default().module(&module).unwrap().encode().unwrap();
    Component::from_binary(&wasmtime::Engine::default(), &wasm).unwrap()
}

/// The type that WIT calls so.
pub(crate) fn type_of(kind: &str) -> Type {
    let component = component(&format!(
        "interface types {{
             record line {{ article: string, count: u8, note: option<string> }}
             variant payment {{ cash, card(string) }}
             enum colour {{ red, green }}
             flags rights {{ read, write }}
             take: func(it: {kind});
         }}
         world shop {{ export types; }}"
    ));
    let (kind, engine) = (component.component_type(), component.engine());
    let (_name, types) = kind.exports(engine).next().unwrap();
    let ComponentItem::ComponentInstance(types) = types.ty else { panic!("no interface") };
    let ComponentItem::ComponentFunc(take) = types.get_export(engine, "take").unwrap().ty else {
        panic!("no function")
    };
    take.params().next().unwrap().1
}
