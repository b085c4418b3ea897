//! What a component offers as a tool, before anybody has accepted it.

use crate::call;
use crate::component::{Kind, Prepared, Style};
use crate::config::RunnerConfig;
use crate::definition::{self, FunctionDescription};
use crate::error::ComponentError;
use crate::reflect::LeftOut;
use wasmtime::Engine;

/// What a component offers, and what it asks for.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// `sha256:` and 64 hexadecimal digits, of the component's bytes.
    pub digest: String,
    /// How it is a tool.
    pub style: Style,
    /// What it can do, 1 to 64 things.
    pub functions: Vec<FunctionDescription>,
    /// Exports of a plain component that are no tools, each with the reason.
    pub left_out: Vec<LeftOut>,
    /// What it imports, with versions.
    pub imports: Vec<String>,
    /// Whether it would call over HTTP, if that is granted.
    pub asks_outbound: bool,
    /// Whether it would store, if that is granted.
    pub asks_key_value: bool,
}

/// Says what a component offers; one of `waggle:tool` is asked, twice.
pub(crate) async fn inspect(
    engine: &Engine,
    config: &RunnerConfig,
    prepared: &Prepared,
) -> Result<Inspected, ComponentError> {
    let (functions, left_out) = match &prepared.kind {
        Kind::Tool(pre) => {
            let ask = async || call::describe(engine, config, pre).await.map_err(ComponentError::Describe);
            let described = definition::checked(ask().await?).map_err(ComponentError::Definition)?;
            let again = definition::checked(ask().await?).map_err(ComponentError::Definition)?;
            if !described.iter().map(compared).eq(again.iter().map(compared)) {
                return Err(ComponentError::Inconstant);
            }
            (described, Vec::new())
        }
        Kind::Plain(component) => {
            let functions = component.functions.iter().map(|function| function.description.clone());
            (functions.collect(), component.left_out.clone())
        }
    };
    Ok(Inspected {
        digest: prepared.digest().to_owned(),
        style: prepared.style(),
        functions,
        left_out,
        imports: prepared.imports.allowed.clone(),
        asks_outbound: prepared.imports.outbound(),
        asks_key_value: prepared.imports.key_value(),
    })
}

/// All of a description, in a shape that can be compared.
fn compared(function: &FunctionDescription) -> (&str, &str, &str, Option<&str>, [bool; 3]) {
    (
        &function.name,
        &function.description,
        function.parameters.get(),
        function.output.as_deref().map(serde_json::value::RawValue::get),
        [function.side_effects, function.idempotent, function.needs_approval],
    )
}
