//! The command line of the simulated model: parse, listen, serve until a signal.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use model_sim::{Behaviour, SimConfig, Simulator};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// A simulated model endpoint that speaks the OpenAI API.
///
/// Every behaviour can also be asked for per request: by a header (`x-sim-first-token-ms: 50`) or by a directive
/// in the last user message (`[sim: first_token_ms=50 tokens=20 tps=100]`).
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one, which is printed
    #[arg(long, env = "MODEL_SIM_LISTEN", default_value = "127.0.0.1:4010")]
    listen: String,
    /// Serve HTTPS, with a self-signed certificate for localhost and 127.0.0.1 that is made at the start
    #[cfg(feature = "tls")]
    #[arg(long)]
    tls: bool,
    /// Where to write that certificate (PEM), for clients that are to trust it
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "tls")]
    tls_certificate: Option<std::path::PathBuf>,
    /// Threads that answer; one is enough for about 50,000 plain requests per second
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// What /v1/models lists; may be repeated
    #[arg(long = "model", default_value = "sim")]
    models: Vec<String>,
    /// Refuse requests without this key
    #[arg(long, env = "MODEL_SIM_API_KEY")]
    api_key: Option<String>,
    /// How many requests /sim/requests remembers
    #[arg(long, default_value_t = 32)]
    recorded_requests_max: usize,
    /// Delay before the response headers, in milliseconds
    #[arg(long)]
    headers_ms: Option<String>,
    /// Delay before the first token, in milliseconds
    #[arg(long)]
    first_token_ms: Option<String>,
    /// Pace of the tokens after the first; 0 for no pacing
    #[arg(long)]
    tokens_per_second: Option<String>,
    /// Length of the answers in tokens, instead of the echo
    #[arg(long)]
    tokens: Option<String>,
    /// Share of requests that fail, from 0 to 1
    #[arg(long)]
    error_rate: Option<String>,
    /// The status requests fail with: all of them, or the share of --error-rate
    #[arg(long)]
    status: Option<String>,
    /// Retry-After of failed requests, in seconds
    #[arg(long)]
    retry_after: Option<String>,
    /// hang, cut, cut-mid-event, html, refuse-body, slow-headers, reset, bad-json, bad-gzip or endless
    #[arg(long)]
    fault: Option<String>,
    /// Whose directives are obeyed: those of `user` and application, or those of `everything`, tools and documents included
    #[arg(long)]
    obey: Option<String>,
    /// Answer as somebody: `shop`
    #[arg(long)]
    persona: Option<String>,
    /// Tokens sent before the fault
    #[arg(long)]
    after: Option<String>,
    /// Seed of generated texts and of the draws of --error-rate
    #[arg(long)]
    seed: Option<String>,
}

impl Arguments {
    fn behaviour(&self) -> Result<Behaviour, model_sim::BehaviourError> {
        let mut behaviour = Behaviour::default();
        let flags = [
            ("headers_ms", &self.headers_ms),
            ("first_token_ms", &self.first_token_ms),
            ("tokens_per_second", &self.tokens_per_second),
            ("tokens", &self.tokens),
            ("error_rate", &self.error_rate),
            ("status", &self.status),
            ("retry_after", &self.retry_after),
            ("fault", &self.fault),
            ("after", &self.after),
            ("seed", &self.seed),
            ("obey", &self.obey),
            ("persona", &self.persona),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                behaviour.set(key, value)?;
            }
        }
        Ok(behaviour)
    }

    /// What TLS is served with, if it is.
    #[cfg(feature = "tls")]
    fn identity(&self) -> Result<Option<model_sim::TlsIdentity>, String> {
        if !self.tls {
            return Ok(None);
        }
        let identity = model_sim::TlsIdentity::self_signed()
            .map_err(|error| format!("could not make a certificate: {error}"))?;
        if let Some(file) = &self.tls_certificate {
            std::fs::write(file, identity.certificate_pem())
                .map_err(|error| format!("could not write {}: {error}", file.display()))?;
        }
        Ok(Some(identity))
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "model-sim: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let behaviour = arguments.behaviour().map_err(|error| error.to_string())?;
    let runtime =
        runtime(arguments.threads).map_err(|error| format!("could not start the threads: {error}"))?;
    #[cfg(feature = "tls")]
    let identity = arguments.identity()?;
    let listen = arguments.listen.clone();
    let config = SimConfig {
        behaviour,
        models: arguments.models,
        api_key: arguments.api_key,
        recorded_requests_max: arguments.recorded_requests_max,
        ..SimConfig::default()
    };
    let simulator = Simulator::new(config);
    #[cfg(feature = "tls")]
    let (simulator, scheme) = match identity {
        Some(identity) => (simulator.with_tls(identity), "https"),
        None => (simulator, "http"),
    };
    #[cfg(not(feature = "tls"))]
    let scheme = "http";
    runtime
        .block_on(listen_and_serve(&listen, simulator, scheme))
        .map_err(|error| format!("could not listen on {listen}: {error}; choose another --listen"))
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    }
}

async fn listen_and_serve(listen: &str, simulator: Simulator, scheme: &str) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    // Whoever started us with port 0 reads the port here; nobody reading is no reason not to serve.
    let _ = writeln!(io::stdout(), "model-sim listens on {scheme}://{}", listener.local_addr()?);
    let _ = io::stdout().flush();
    simulator.serve(listener, signalled()).await;
    Ok(())
}

/// Ready at SIGINT or SIGTERM.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(_) => {
            // Without the handler SIGTERM ends the process by itself, which is all that is needed.
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
