//! How far a run may go, as the tenant has it.

use crate::platform::Platform;
use crate::problem::{Problem, internal};
use crate::settings::{number, text};
use waggle_agent::caps::{COST_NAME, Caps, PARALLEL, STEPS, TIME_MS, TOKENS, TOOL_CALLS, Values};
use waggle_agent::cost::Cost;

/// How long a run takes whose answer is not streamed, in milliseconds, whatever the variable says: a host waits for the head
/// of an answer for two minutes unless it is told otherwise, and the last step has to fit into them as well.
const WHOLE_TIME_MS_MAX: u64 = 100_000;

/// The bounds of a run, of which a request may lower the number of calls.
///
/// # Errors
/// A variable cannot be read, or is not as it must be; the log says which.
pub(crate) async fn caps<P: Platform>(
    platform: &P,
    max_tool_calls: Option<u64>,
    is_streamed: bool,
) -> Result<Caps, Problem> {
    let cost = text(platform, COST_NAME, "").await?;
    let cost = match cost.trim() {
        "" => None,
        amount => Some(Cost::parse(amount).ok_or_else(|| {
            internal(format!("the variable '{COST_NAME}' must be an amount like '0.05', not '{amount}'"))
        })?),
    };
    let values = Values {
        steps: number(platform, STEPS.name, STEPS.default).await?,
        tool_calls: number(platform, TOOL_CALLS.name, TOOL_CALLS.default).await?,
        parallel: number(platform, PARALLEL.name, PARALLEL.default).await?,
        time_ms: number(platform, TIME_MS.name, TIME_MS.default).await?,
        tokens: number(platform, TOKENS.name, TOKENS.default).await?,
        cost,
    };
    let mut caps = Caps::of(values, max_tool_calls);
    if !is_streamed {
        caps.time_ms_max = caps.time_ms_max.min(WHOLE_TIME_MS_MAX);
    }
    Ok(caps)
}
