//! The native peer: the same turn as Waggle's, written the usual way in Rust with axum and Redis. It is what
//! Waggle is measured against, so it does what the turn needs and nothing more: no tenants, no limits, no retries.

mod api;
mod error;
mod model;
mod store;
mod stream;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// A native Rust service that does the same turn as Waggle, for comparison.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen, on 127.0.0.1
    #[arg(long, env = "PORT", default_value_t = 4020)]
    port: u16,
    /// Where conversations are kept
    #[arg(long, env = "REDIS_URL", default_value = "redis://127.0.0.1:6379/0")]
    redis_url: String,
    /// The model endpoint, without /v1
    #[arg(long, env = "MODEL_URL", default_value = "http://127.0.0.1:4010")]
    model_url: String,
    /// The newest items of a conversation that are sent to the model
    #[arg(long, env = "WINDOW_ITEMS", default_value_t = 20)]
    window_items: u32,
    /// Threads that serve; 0 for one per core
    #[arg(long, env = "THREADS", default_value_t = 0)]
    threads: usize,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "native-peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut builder = Builder::new_multi_thread();
    if arguments.threads > 0 {
        builder.worker_threads(arguments.threads);
    }
    builder.enable_all().build().context("could not start the threads")?.block_on(serve(arguments))
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let store = store::Store::connect(&arguments.redis_url, arguments.window_items)
        .await
        .with_context(|| format!("could not connect to Redis at {}", arguments.redis_url))?;
    let model = model::Model::new(&arguments.model_url)
        .with_context(|| format!("{} is no URL of a model", arguments.model_url))?;
    let listener = TcpListener::bind(("127.0.0.1", arguments.port))
        .await
        .with_context(|| format!("could not listen on port {}", arguments.port))?;
    let _ = writeln!(std::io::stdout(), "native-peer listens on http://{}", listener.local_addr()?);
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // A socket that refuses still works, only slower.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, api::router(store, model))
        .with_graceful_shutdown(terminated())
        .await
        .context("serving ended early")
}

/// Ready at SIGINT or SIGTERM.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
