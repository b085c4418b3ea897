//! `waggle up`

use crate::signals::Signals;
use crate::{build, screen};
use anyhow::{Context as _, Result};
use clap::Args;
use rustix::process::{Resource, Rlimit};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use waggle_application::{EngineOverrides, ModelOptions, Options, Plan, Running};
use waggle_gateway::Drained;
use waggle_secret::Secret;
use waggle_telemetry::{Level, LogFormat, LogOptions};

#[derive(Args)]
pub(crate) struct Up {
    /// The manifest, or the folder it is in
    #[arg(short = 'f', long = "from", alias = "file", value_name = "PATH", default_value = "spin.toml")]
    from: PathBuf,
    /// The manifest's profile to run
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Build the components first, as `waggle build` does
    #[arg(long, env = "SPIN_ALWAYS_BUILD")]
    build: bool,
    /// IP address and port to listen on; port 0 takes a free one
    #[arg(long, env = "SPIN_HTTP_LISTEN_ADDR", value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Configuration of the host: stores, limits, time-outs
    #[arg(long, env = "RUNTIME_CONFIG_FILE", value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// Where stores and compiled components are kept [default: .waggle beside the manifest]
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Tenants, read again whenever the file changes
    #[arg(long, env = "WAGGLE_TENANTS", value_name = "FILE")]
    tenants: Option<PathBuf>,
    /// IP address and port of the admin API [default: a free port of 127.0.0.1, written to admin.json in the state folder]
    #[arg(long, env = "WAGGLE_ADMIN_LISTEN", value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// An environment variable for all components; may be repeated
    #[arg(short = 'e', long = "env", value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// The value of an application variable; may be repeated
    #[arg(long = "variable", value_name = "KEY=VALUE", value_parser = pair)]
    variable: Vec<(String, String)>,
    /// Do not log what functions print
    #[arg(short = 'q', long)]
    quiet: bool,
    /// The model endpoint, an OpenAI-compatible URL such as http://127.0.0.1:11434/v1
    #[arg(long, env = "OPENAI_BASE_URL", value_name = "URL")]
    model_endpoint: Option<String>,
    /// Requests one instance serves before it is replaced (WASI 0.3 functions)
    #[arg(long, value_name = "COUNT")]
    max_instance_reuse_count: Option<u64>,
    /// Requests one instance serves at the same time (WASI 0.3 functions)
    #[arg(long, value_name = "COUNT")]
    max_instance_concurrent_reuse_count: Option<u32>,
    /// How long an instance without a request is kept, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    idle_instance_timeout: Option<u64>,
    /// How long a function may take to begin its response, such as 120s
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    request_timeout: Option<u64>,
    /// Certificate chain in PEM form; turns TLS on
    #[arg(long, env = "SPIN_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key in PEM form
    #[arg(long, env = "SPIN_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// How log lines look: readable or json
    #[arg(long, env = "WAGGLE_LOG_FORMAT", value_name = "FORMAT", default_value = "readable")]
    log_format: LogFormat,
}

impl Up {
    pub(crate) fn run(self) -> Result<ExitCode> {
        waggle_telemetry::init(LogOptions { format: self.log_format, level: Level::INFO })?;
        if self.build {
            build::components(&self.from, self.profile.clone(), &[])?;
        }
        settle_process();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the threads of the program")?;
        let code = runtime.block_on(self.serve());
        // What still runs past the drain's bound is not waited for.
        runtime.shutdown_timeout(Duration::from_millis(100));
        code
    }

    async fn serve(self) -> Result<ExitCode> {
        let signals = Signals::install().context("cannot take over SIGINT and SIGTERM")?;
        let options = self.options();
        // The demo model is the cheapest to have at hand; it is dropped when the plan says that nobody uses it.
        let demo = model_sim::start(model_sim::SimConfig::demo("demo"))
            .await
            .context("the demo model cannot start")?;
        let plan = Plan::make(options, &demo.url())?;
        plan.warnings().for_each(screen::warning);
        let demo = plan.needs_demo_model().then_some(demo);
        let running = Running::start(plan).await?;
        screen::summary(running.summary());
        let drained = running.serve(signals.first()).await;
        drop(demo);
        if drained == Drained::Partly {
            tracing::warn!("the drain's time is over; what was still under way has been cut off");
        }
        Ok(ExitCode::SUCCESS)
    }

    fn options(self) -> Options {
        let api_key = std::env::var("OPENAI_API_KEY").ok().filter(|key| !key.is_empty()).map(Secret::new);
        Options {
            manifest: self.from,
            profile: self.profile,
            listen: self.listen,
            runtime_config: self.runtime_config_file,
            state_dir: self.state_dir,
            environment: self.env,
            variables: self.variable,
            quiet: self.quiet,
            tls: self.tls_cert.zip(self.tls_key),
            model: ModelOptions { endpoint: self.model_endpoint.filter(|url| !url.is_empty()), api_key },
            engine: EngineOverrides {
                instance_reuse_count_max: self.max_instance_reuse_count,
                instance_concurrent_requests_max: self.max_instance_concurrent_reuse_count,
                idle_instance_timeout_ms: self.idle_instance_timeout,
                request_timeout_ms: self.request_timeout,
            },
            tenants: self.tenants,
            admin_listen: self.admin_listen,
        }
    }
}

/// What the process asks of the operating system before anything else.
fn settle_process() {
    // What is in memory must not be found on the disk after a crash.
    if let Err(error) =
        rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
    {
        tracing::warn!(%error, "core dumps stay on");
    }
    // The kernel clears 2 MiB when the first byte of a huge page is touched: milliseconds, in the middle of somebody's request.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "transparent huge pages stay as they are");
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

/// A duration as Spin writes them: a number with `ms`, `s`, `m` or `h`; a bare number means seconds.
fn milliseconds(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "expected a number with ms, s, m or h".to_owned())?;
    let factor = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        other => return Err(format!("unknown unit `{other}`; expected ms, s, m or h")),
    };
    number.checked_mul(factor).ok_or_else(|| "the duration is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        let check = |text: &str, expected: Result<u64, &str>| {
            assert_eq!(milliseconds(text), expected.map_err(str::to_owned), "{text}");
        };
        check("250ms", Ok(250));
        check("30s", Ok(30_000));
        check("2", Ok(2_000));
        check("5m", Ok(300_000));
        check("1h", Ok(3_600_000));
        check("1d", Err("unknown unit `d`; expected ms, s, m or h"));
        check("s", Err("expected a number with ms, s, m or h"));
    }

    #[test]
    fn pairs_are_split_at_the_first_equals_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(pair("=b").is_err());
        assert!(pair("a").is_err());
    }
}
