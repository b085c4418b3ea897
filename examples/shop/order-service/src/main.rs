//! The command line of the order service: parse, serve until a signal.

use clap::Parser;
use order_service::{Config, start};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// The orders of the example's shop.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one, which is printed
    #[arg(long, env = "ORDER_SERVICE_LISTEN", default_value = "127.0.0.1:4020")]
    listen: String,
    /// Where what is done is written down; without it, it is forgotten at the end
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Refuse requests that do not have this in `x-api-key`
    #[arg(long, env = "ORDER_SERVICE_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "order-service: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Arguments { listen, journal, api_key }: Arguments) -> io::Result<()> {
    let mut running = start(&listen, Config { journal, api_key }).await?;
    // Whoever started us with port 0 reads the port here; nobody reading is no reason not to serve.
    let _ = writeln!(io::stdout(), "order-service listens on {}", running.url());
    let _ = io::stdout().flush();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        () = running.ended() => Err(io::Error::other("the listener failed")),
        _ = terminate.recv() => Ok(()),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}
