//! `waggle top`: what a running host does, live in a terminal or once as text, read from its metrics.
//!
//! ```text
//! options   the flags, and where the metrics are
//! client    one scrape over HTTP
//! view      two scrapes -> rates, shares and quantiles; pure
//! figures   numbers as people read them; pure
//! table     columns, sorting, lines of text; pure
//! report    a view -> the lines at the top, and the tables; pure
//! screen    what is shown and what a key changes; draws, and touches no terminal
//! watch     the terminal: events, time, signals
//! ```
//!
//! It reads `/metrics` and asks nothing else, so it costs the host no more than one more Prometheus.

mod client;
mod figures;
mod options;
mod report;
mod screen;
mod table;
mod view;
mod watch;

pub use options::{Address, AddressError, INTERVAL_MS_DEFAULT, INTERVAL_MS_MAX, INTERVAL_MS_MIN, Options};
pub use view::{Function, Host, Reading, Store, Tenant, Upstream, View};
pub use watch::watch;

use client::read;
use std::io;

/// Why nothing can be shown.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    #[error("--url: {0}")]
    Url(#[from] AddressError),
    /// There is no connection, or no answer in time.
    #[error(
        "nobody answers at {address} ({reason}); does the server run? `waggle up` starts it and says where its \
         metrics are, which may be another port: give that with --url"
    )]
    Unreachable { address: Address, reason: String },
    /// Somebody answers, but not with metrics.
    #[error("{address} answers {status}{detail}")]
    Refused {
        address: Address,
        status: http::StatusCode,
        /// Empty, or a colon and a sentence.
        detail: String,
    },
    /// An answer that is cut off or too long.
    #[error("the answer of {address} broke off: {reason}")]
    BrokeOff { address: Address, reason: String },
    /// An answer that is something else.
    #[error("{address} does not tell metrics of Waggle ({reason}); is the URL right?")]
    NotWaggle { address: Address, reason: String },
    #[error("the output is no terminal; `waggle top --once` prints the same as text")]
    NoTerminal,
    #[error("the terminal cannot be used: {0}")]
    Terminal(#[from] io::Error),
}

/// The state of the host after one interval, as text: lines about the whole, then a table each of tenants, functions,
/// upstreams and stores, with an empty line between. A table begins with the names of its columns; columns are at least two
/// spaces apart, and no cell is empty or holds a space.
///
/// # Errors
/// When the host cannot be read, before the interval or after it.
pub async fn once(options: &Options) -> Result<String, TopError> {
    let address = options.url.clone()?;
    let before = read(&address).await?;
    tokio::time::sleep(options.interval()).await;
    let after = read(&address).await?;
    Ok(report::text(&View::between(&before, &after), &address))
}

#[cfg(test)]
mod tests;
