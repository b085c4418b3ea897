//! What wasmtime generates from `wit/`: what a tool exports, and the interfaces beyond WASI that it may import.

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package waggle:tool-host;
            world tool-component {
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                export waggle:tool/tool@0.1.0;
            }
        ",
        world: "waggle:tool-host/tool-component",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "wasi:keyvalue/store.bucket": crate::key_value::Bucket,
            "wasi:keyvalue/atomics.cas": crate::key_value::Cas,
        },
    });
}

pub(crate) use generated::ToolComponentPre;
pub(crate) use generated::exports::waggle::tool::tool;
pub(crate) use generated::wasi;

#[cfg(test)]
mod tests {
    #[test]
    fn the_examples_are_written_against_the_interface_as_it_is() {
        let ours = include_str!("../../../wit/deps/waggle-tool@0.1.0/package.wit");
        let examples = include_str!("../../../examples/tools/wit/tool.wit");
        let ours = ours.split("/// What a tool is written against").next().unwrap();
        let copied = examples.split("/// What these examples are written against").next().unwrap();
        assert_eq!(ours, copied);
    }
}
