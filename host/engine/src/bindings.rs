//! What wasmtime generates from `wit/`: the interfaces beyond WASI that this host implements.

mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package waggle:host;
            world capabilities {
                import fermyon:spin/key-value@2.0.0;
                import spin:key-value/key-value@3.0.0;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import fermyon:spin/variables@2.0.0;
                import spin:variables/variables@3.0.0;
                import wasi:config/store@0.2.0-draft-2024-09-27;
                import waggle:http/client@0.1.0;
                import waggle:tokenizer/tokenizer@0.1.0;
                import waggle:vector/index@0.1.0;
            }
        ",
        world: "waggle:host/capabilities",
        imports: {
            "spin:key-value/key-value@3.0.0": async | store | trappable,
            "spin:variables/variables@3.0.0.get": trappable | async,
            "wasi:config/store@0.2.0-draft-2024-09-27": trappable,
            "waggle:http/client@0.1.0": async | store,
            "waggle:tokenizer/tokenizer@0.1.0": trappable,
            "waggle:vector/index@0.1.0": async | store,
            "fermyon:spin/variables@2.0.0": trappable,
            "fermyon:spin/key-value@2.0.0.[method]store.get": async | store | trappable,
            "fermyon:spin/key-value@2.0.0.[method]store.set": async | store | trappable,
            "fermyon:spin/key-value@2.0.0.[method]store.delete": async | store | trappable,
            "fermyon:spin/key-value@2.0.0.[method]store.exists": async | store | trappable,
            "fermyon:spin/key-value@2.0.0.[method]store.get-keys": async | store | trappable,
            "wasi:keyvalue/store@0.2.0-draft2.[method]bucket.get": async | store | trappable,
            "wasi:keyvalue/store@0.2.0-draft2.[method]bucket.set": async | store | trappable,
            "wasi:keyvalue/store@0.2.0-draft2.[method]bucket.delete": async | store | trappable,
            "wasi:keyvalue/store@0.2.0-draft2.[method]bucket.exists": async | store | trappable,
            "wasi:keyvalue/store@0.2.0-draft2.[method]bucket.list-keys": async | store | trappable,
            "wasi:keyvalue/batch@0.2.0-draft2": async | store | trappable,
            "wasi:keyvalue/atomics@0.2.0-draft2.increment": async | store | trappable,
            "wasi:keyvalue/atomics@0.2.0-draft2.swap": async | store | trappable,
            "wasi:keyvalue/atomics@0.2.0-draft2.[static]cas.new": async | store | trappable,
            default: async | trappable,
        },
        with: {
            "wasi:http/types@0.3.0": wasmtime_wasi_http::p3::bindings::http::types,
            "fermyon:spin/key-value.store": crate::key_value::OpenStore,
            "spin:key-value/key-value.store": crate::key_value::OpenStore,
            "wasi:keyvalue/store.bucket": crate::key_value::OpenStore,
            "wasi:keyvalue/atomics.cas": crate::key_value::Cas,
        },
    });
}

pub(crate) mod whole {
    //! What a function may export beside `wasi:http/handler`.
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package waggle:host;
            world whole {
                export waggle:http/handler@0.1.0;
            }
        ",
        world: "waggle:host/whole",
        exports: { default: async | store },
        with: { "wasi:http/types@0.3.0": wasmtime_wasi_http::p3::bindings::http::types },
    });
}

pub(crate) use generated::fermyon;
pub(crate) use generated::spin;
pub(crate) use generated::waggle;
pub(crate) use generated::wasi;
