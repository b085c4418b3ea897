//! The function's component variables.

use crate::clean::Links;
use crate::mask::Mask;
use crate::problem::{Problem, internal};
use waggle_platform::Platform;
use waggle_tool::definition::Kind;
use waggle_tool::definition::Tool;

/// How many calls the audit log keeps, unless `tool_audit_entries_max` says otherwise.
const AUDIT_ENTRIES_MAX_DEFAULT: u64 = 10_000;
/// For how many days, unless `tool_audit_days_max` does.
const AUDIT_DAYS_MAX_DEFAULT: u64 = 90;

/// What stands in a variable; nothing where there is none.
pub(crate) async fn text<P: Platform>(platform: &P, name: &str) -> Result<String, Problem> {
    let unreadable = |reason| internal(format!("the variable '{name}' cannot be read: {reason}"));
    let value = platform.variable(name).await.map_err(unreadable)?.unwrap_or_default();
    Ok(value.trim().to_owned())
}

/// A whole number of at least 1.
async fn number<P: Platform>(platform: &P, name: &str, default: u64) -> Result<u64, Problem> {
    let value = text(platform, name).await?;
    if value.is_empty() {
        return Ok(default);
    }
    let wrong =
        || internal(format!("the variable '{name}' must be a whole number of at least 1, not '{value}'"));
    value.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)
}

/// A list by commas.
pub(crate) fn listed(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// What is done with the outputs of tools.
#[derive(Debug, Clone)]
pub(crate) struct OutputSettings {
    /// `tool_links`: whether links to hosts stay that nobody has approved.
    keep_links: bool,
    /// `tool_link_hosts`: the hosts that the tenant approves for all tools.
    link_hosts: Vec<String>,
}

impl OutputSettings {
    /// Reads the variables.
    ///
    /// # Errors
    /// 500: one cannot be read, or says what it cannot.
    pub(crate) async fn read<P: Platform>(platform: &P) -> Result<Self, Problem> {
        let keep_links = match text(platform, "tool_links").await?.as_str() {
            "" | "keep" => true,
            "approved" => false,
            other => {
                let told = format!("the variable 'tool_links' must be 'keep' or 'approved', not '{other}'");
                return Err(internal(told));
            }
        };
        let hosts = text(platform, "tool_link_hosts").await?;
        Ok(Self { keep_links, link_hosts: listed(&hosts).map(str::to_owned).collect() })
    }

    /// The links that stay in what `tool` gives; of a built-in one, `None`.
    pub(crate) fn links(&self, tool: Option<&Tool>) -> Links {
        if self.keep_links {
            return Links::all();
        }
        let own = tool.and_then(|tool| match &tool.kind {
            Kind::Component => None,
            Kind::Http { base_url: url } | Kind::Mcp { url } => Some(url.clone()),
        });
        let granted = tool.map_or(&[][..], |tool| &tool.outbound).iter().cloned();
        Links::approved(self.link_hosts.iter().cloned().chain(granted).chain(own))
    }
}

/// What the audit log keeps.
#[derive(Debug, Clone)]
pub(crate) struct AuditSettings {
    /// `tool_audit_entries_max`: how many calls.
    pub(crate) entries_max: u64,
    /// `tool_audit_days_max`: for how long.
    pub(crate) days_max: u64,
    /// `tool_audit_mask`: what is masked.
    pub(crate) mask: Mask,
}

impl AuditSettings {
    /// Reads the variables.
    ///
    /// # Errors
    /// 500: one cannot be read, or says what it cannot.
    pub(crate) async fn read<P: Platform>(platform: &P) -> Result<Self, Problem> {
        Ok(Self {
            entries_max: number(platform, "tool_audit_entries_max", AUDIT_ENTRIES_MAX_DEFAULT).await?,
            days_max: number(platform, "tool_audit_days_max", AUDIT_DAYS_MAX_DEFAULT).await?,
            mask: Mask::with_names(&text(platform, "tool_audit_mask").await?),
        })
    }
}
