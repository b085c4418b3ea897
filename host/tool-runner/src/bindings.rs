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
