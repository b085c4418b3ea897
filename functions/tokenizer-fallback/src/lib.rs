//! The tokenizer of hosts that have none: estimates, said to be such. Spin composes it with the functions that name it in
//! `[component.NAME.dependencies]` of spin.toml; `waggle up` counts itself and has no use for it.
//!
//! What is unsafe in it is what wit-bindgen generates to export an interface, and nothing of ours.

mod bindings {
    //! Generated from `wit/`.
    spin_sdk::wit_bindgen::generate!({
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        world: "fallback",
        path: "wit",
        generate_all,
    });
}

use bindings::exports::waggle::tokenizer::tokenizer::{Guest, TokenCount};
use waggle_openai::item::estimate_tokens;

struct Fallback;

impl Guest for Fallback {
    fn count(_model: String, texts: Vec<String>) -> Vec<TokenCount> {
        let estimate = |text: String| TokenCount { tokens: estimate_tokens(&text), estimated: true };
        texts.into_iter().map(estimate).collect()
    }
}

bindings::export!(Fallback with_types_in bindings);
