//! The chat function: Responses, Conversations and Chat Completions.
mod bindings {
    //! Generated.
    spin_sdk::wit_bindgen::generate!({
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        world: "imports",
        path: "wit",
        generate_all,
    });
}
