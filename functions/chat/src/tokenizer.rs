//! Counting tokens over `waggle:tokenizer`, which a host offers or a component of the application does.

mod bindings {
    //! Generated from `wit/`.
    spin_sdk::wit_bindgen::generate!({
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        world: "tokens",
        path: "wit",
        ownership: Borrowing { duplicate_if_necessary: false },
        generate_all,
    });
}

use bindings::waggle::tokenizer::tokenizer;
use waggle_chat::platform::TokenCount;

/// Counts the tokens of each text.
pub(crate) fn count(model: &str, texts: &[&str]) -> Vec<TokenCount> {
    let counted = tokenizer::count(model, texts).into_iter();
    counted.map(|one| TokenCount { tokens: one.tokens, is_estimate: one.estimated }).collect()
}
