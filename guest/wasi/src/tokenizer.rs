//! Counting tokens over `waggle:tokenizer`, which a host offers or a component of the application does.

mod bindings {
    //! Generated from `wit/`.
    spin_sdk::wit_bindgen::generate!({
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        inline: "package waggle:wasi@0.1.0;
                 world tokens {
                   import waggle:tokenizer/tokenizer@0.1.0;
                 }",
        path: "../../wit/deps/waggle-tokenizer@0.1.0",
        ownership: Borrowing { duplicate_if_necessary: false },
        generate_all,
    });
}

use bindings::waggle::tokenizer::tokenizer;
use waggle_platform::TokenCount;

/// Counts the tokens of each text.
pub(crate) fn count(model: &str, texts: &[&str]) -> Vec<TokenCount> {
    let counted = tokenizer::count(model, texts).into_iter();
    counted.map(|one| TokenCount { tokens: one.tokens, is_estimate: one.estimated }).collect()
}
