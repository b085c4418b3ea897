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
