//! How many tokens a model counts: `waggle:tokenizer@0.1.0`.
//!
//! It is a computation like any other of the guest's: it happens in a poll of the instance, whose time is charged to it.

use crate::bindings::waggle::tokenizer::tokenizer::{Host, TokenCount};
use crate::world::FunctionWorld;
use wasmtime::component::HasData;

pub(crate) struct TokenizerView<'a>(pub(crate) &'a FunctionWorld);

pub(crate) struct Tokenizer;

impl HasData for Tokenizer {
    type Data<'a> = TokenizerView<'a>;
}

impl Host for TokenizerView<'_> {
    fn count(&mut self, model: String, texts: Vec<String>) -> wasmtime::Result<Vec<TokenCount>> {
        let counted = self.0.token_counts.count(&model, &texts).into_iter();
        Ok(counted.map(|one| TokenCount { tokens: one.tokens, estimated: one.is_estimate }).collect())
    }
}
