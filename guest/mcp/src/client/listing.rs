//! What a server says that it can do.

use super::session::Asked;
use super::{Client, ClientFailure};
use crate::annotation;
use crate::fetch::Fetch;
use crate::progress::Unheard;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The longest name of a tool, in bytes, as the protocol has it.
const NAME_BYTES_MAX: usize = 128;
/// The longest description of a tool, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 8 << 10;
/// The longest schema of a tool, in bytes.
const SCHEMA_BYTES_MAX: usize = 32 << 10;
/// The most reasons why tools were left out; of more, nothing is said.
const REJECTED_MAX: usize = 32;
/// How long a list may be kept at most, whatever its server says, in milliseconds.
const FRESH_MS_MAX: u64 = 3_600_000;

/// The tools of a server.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Those that can be used, in the order of their names.
    pub tools: Vec<RemoteTool>,
    /// Why others cannot, each a sentence that names one.
    pub rejected: Vec<String>,
    /// For how long the server says that this holds, milliseconds; 0 where it does not say.
    pub fresh_ms: u64,
}

/// A tool of a server, as the server says it.
#[derive(Debug, Clone)]
pub struct RemoteTool {
    /// Its name there.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// The JSON Schema of its arguments, an object.
    pub input_schema: Box<RawValue>,
    /// The JSON Schema of its structured result.
    pub output_schema: Option<Box<RawValue>>,
    /// Whether it says that a call changes nothing.
    pub read_only: bool,
    /// Whether it says that the same call made twice does no more than made once.
    pub idempotent: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListResult {
    tools: Vec<Box<RawValue>>,
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    ttl_ms: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedTool {
    name: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    description: Option<String>,
    input_schema: Box<RawValue>,
    #[serde(default)]
    output_schema: Option<Box<RawValue>>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Annotations {
    #[serde(default)]
    read_only_hint: Option<bool>,
    #[serde(default)]
    idempotent_hint: Option<bool>,
}

impl<F: Fetch> Client<F> {
    /// All tools of the server. One that cannot be used does not keep others from being.
    ///
    /// # Errors
    /// There is no list, it does not end within the bounds, or a name stands in it twice.
    pub async fn list_tools(&mut self) -> Result<Listing, ClientFailure> {
        let mut listing = Listing { tools: Vec::new(), rejected: Vec::new(), fresh_ms: FRESH_MS_MAX };
        let (mut names, mut cursors) = (BTreeSet::new(), BTreeSet::new());
        let mut cursor: Option<String> = None;
        for _ in 0..self.bounds.pages_max {
            let page = self.page(cursor.as_deref()).await?;
            listing.fresh_ms = listing.fresh_ms.min(fresh_ms(page.ttl_ms));
            if listing.tools.len() + page.tools.len() > self.bounds.tools_max {
                return Err(ClientFailure::TooMuch(format!("more than {} tools", self.bounds.tools_max)));
            }
            for tool in page.tools {
                match checked(&tool) {
                    Ok(tool) => {
                        if !names.insert(tool.name.clone()) {
                            return Err(ClientFailure::Protocol(format!("two tools called '{}'", tool.name)));
                        }
                        listing.tools.push(tool);
                    }
                    Err(reason) if listing.rejected.len() < REJECTED_MAX => listing.rejected.push(reason),
                    Err(_) => {}
                }
            }
            let Some(next) = page.next_cursor else {
                listing.tools.sort_by(|one, other| one.name.cmp(&other.name));
                return Ok(listing);
            };
            if !cursors.insert(next.clone()) {
                return Err(ClientFailure::Protocol("a list that goes round in a circle".to_owned()));
            }
            cursor = Some(next);
        }
        Err(ClientFailure::TooMuch(format!("a list of more than {} pages", self.bounds.pages_max)))
    }

    async fn page(&mut self, cursor: Option<&str>) -> Result<ListResult, ClientFailure> {
        let mut params = Map::new();
        if let Some(cursor) = cursor {
            params.insert("cursor".to_owned(), cursor.into());
        }
        let result = self.ask(&Asked::new("tools/list", params), &mut Unheard).await?;
        serde_json::from_str(result.get())
            .map_err(|error| ClientFailure::Protocol(format!("a list of tools that cannot be read: {error}")))
    }
}

fn fresh_ms(said: Option<f64>) -> u64 {
    let said = said.filter(|said| said.is_finite()).unwrap_or_default();
    said.clamp(0.0, FRESH_MS_MAX as f64) as u64
}

/// A tool, if it can be used.
fn checked(raw: &RawValue) -> Result<RemoteTool, String> {
    if !raw.get().starts_with('{') {
        return Err("a tool is no object".to_owned());
    }
    let tool: ListedTool =
        serde_json::from_str(raw.get()).map_err(|error| format!("a tool cannot be read: {error}"))?;
    let name = tool.name;
    let is_printable = name.bytes().all(|byte| matches!(byte, 0x21..=0x7e));
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !is_printable {
        return Err(format!("a tool's name is not 1 to {NAME_BYTES_MAX} printable characters: {name:.200?}"));
    }
    let rejected = |reason: &str| Err(format!("'{name}': {reason}"));
    let description = tool.description.or(tool.title).unwrap_or_default();
    if description.len() > DESCRIPTION_BYTES_MAX {
        return rejected(&format!("its description is longer than {DESCRIPTION_BYTES_MAX} bytes"));
    }
    let schemas = [Some(&tool.input_schema), tool.output_schema.as_ref()];
    if schemas.into_iter().flatten().any(|schema| schema.get().len() > SCHEMA_BYTES_MAX) {
        return rejected(&format!("a schema of it is longer than {SCHEMA_BYTES_MAX} bytes"));
    }
    let Ok(schema) = serde_json::from_str::<Value>(tool.input_schema.get()) else {
        return rejected("its schema cannot be read");
    };
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return rejected("its schema is not of an object");
    }
    if let Some(fault) = annotation::fault(&schema) {
        return rejected(&fault);
    }
    if tool.output_schema.as_ref().is_some_and(|schema| !schema.get().starts_with('{')) {
        return rejected("the schema of its result is no object");
    }
    let annotations = tool.annotations.unwrap_or_default();
    Ok(RemoteTool {
        name,
        description,
        input_schema: tool.input_schema,
        output_schema: tool.output_schema,
        read_only: annotations.read_only_hint == Some(true),
        idempotent: annotations.idempotent_hint == Some(true),
    })
}
