//! What MCP's clients are served at `/mcp`: the tenant's tools, its documents as resources, and prompts.

mod resources;
mod tools;

pub use tools::McpTools;

use crate::problem::{Problem, internal};
use crate::service::{Answer, Service};
use crate::settings::{listed, text};
use resources::McpResources;
use tools::Served;
use waggle_conversation::{Store, Viewer};
use waggle_mcp::Fetch;
use waggle_mcp::server::{Head, PromptSet, Server, Settings};
use waggle_model::transport::ChunkSource;
use waggle_platform::Platform;

/// What stands for any origin in `mcp_origins`: whoever stands before this function has looked.
const ANY: &str = "*";

/// Answers a request of a client.
///
/// # Errors
/// 500: a variable cannot be read, or says what it cannot.
pub(crate) async fn answer<S, F, P, C>(
    service: Service<S, F, P>,
    viewer: &Viewer,
    (method, headers): (&str, &[(String, Vec<u8>)]),
    body: C,
) -> Result<Answer<S, F, P>, Problem>
where
    S: Store,
    F: Fetch + Clone,
    P: Platform,
    C: ChunkSource,
{
    let settings = settings(&service.platform).await?;
    let prompts = text(&service.platform, "mcp_prompts").await?;
    let prompts = PromptSet::read(&prompts)
        .map_err(|error| internal(format!("the variable 'mcp_prompts' cannot be used: {error}")))?;
    let owner = viewer.owner();
    let served = Served::read(&service.platform, viewer).await?;
    let server = Server {
        settings,
        tools: McpTools::new(service.clone(), served, owner.user().map(str::to_owned)),
        resources: McpResources::new(service.fetch.clone()),
        prompts,
    };
    Ok(match server.handle(Head { method, headers }, body).await {
        waggle_mcp::server::Answer::Reply(reply) => Answer::Reply(reply),
        waggle_mcp::server::Answer::Stream(call) => Answer::Stream(call),
    })
}

async fn settings<P: Platform>(platform: &P) -> Result<Settings, Problem> {
    let origins = text(platform, "mcp_origins").await?;
    let is_any = origins.is_empty() || origins == ANY;
    let instructions = text(platform, "mcp_instructions").await?;
    Ok(Settings {
        name: "waggle".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instructions: (!instructions.is_empty()).then_some(instructions),
        origins: (!is_any).then(|| listed(&origins).map(str::to_owned).collect()),
    })
}
