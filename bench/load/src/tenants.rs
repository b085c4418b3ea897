//! Measurements of tenants: what they notice of each other, how many fit, what recognising them costs. Each starts the
//! real program with files of its own, and stops it.

mod api_key;
pub(crate) mod arguments;
mod canary;
mod density;
mod files;
mod hostile;
mod identity;
mod kind;
mod neighbours;
mod stage;
mod tables;
mod template;
mod tokens;
mod traffic;
mod verdict;

use std::io::IsTerminal as _;
use std::io::Write as _;

/// Says what is under way, to people.
fn progress(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = writeln!(stderr, "{text}");
    }
}

/// Tenants for measurements of a server that somebody else starts.
pub(crate) struct MadeTenants {
    pub(crate) tenants_toml: String,
    /// One per line.
    pub(crate) keys: String,
}

/// Makes tenants with a fresh key each.
pub(crate) fn made_tenants(count: u32) -> anyhow::Result<MadeTenants> {
    let tenants = files::numbered_tenants("tenant", count)?;
    let keys = tenants.iter().map(|tenant| format!("{}\n", tenant.key.text)).collect();
    Ok(MadeTenants { tenants_toml: files::tenants_toml(&tenants), keys })
}
