//! The flags of `waggle-bench tenants`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::compare::interrupted;
use crate::scenario::Scenario;
use crate::tenants::canary::{CanaryConfig, Isolation, canary, checked};
use crate::tenants::density::{DensityConfig, Request, density};
use crate::tenants::hostile::{HostileArguments, attack, lower_priority};
use crate::tenants::identity::{IdentityConfig, identity};
use crate::tenants::kind::Kind;
use crate::tenants::neighbours::{NeighboursConfig, Pass, neighbours};
use crate::tenants::stage::{Interrupted, Stage, StageConfig, checked_file};
use crate::tenants::tables::{canary_table, density_table, identity_table, neighbours_table};
use crate::tenants::template::{MODEL, Template, WAGGLE};

/// Measurements of tenants; each starts the program itself
#[derive(Debug, Args)]
pub(crate) struct TenantsArguments {
    #[command(subcommand)]
    pub(crate) subject: TenantsSubject,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantsSubject {
    /// A well-behaved tenant alone and beside each kind of hostile one
    Neighbours(NeighboursArguments),
    /// Thousands of warm tenants: memory, a tenant's first request, changes of tenants.toml
    Density(DensityArguments),
    /// Whether a tenant ever finds what another one left in memory or in its store
    Canary(CanaryArguments),
    /// What recognising a caller costs, by kind of credential
    Identity(IdentityArguments),
    /// The hostile clients, started by `neighbours` as a process of its own
    #[command(hide = true)]
    Hostile(HostileArguments),
}

/// How the program is started.
#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    /// How to start the program; {port}, {manifest}, {tenants}, {state}, {config} and {model_url} are filled in
    #[arg(long, value_name = "COMMAND", default_value = WAGGLE)]
    command: String,
    /// How to start the simulated model
    #[arg(long, value_name = "COMMAND", default_value = MODEL)]
    model_command: String,
    /// The application's manifest, whose functions have been built
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    application: PathBuf,
    /// The folder with the built components of tests/guests
    #[arg(long, value_name = "FOLDER", default_value = "target/guests/wasm32-wasip2/release/examples")]
    guests: PathBuf,
    /// Write the report as JSON to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl StartArguments {
    fn stage(&self) -> anyhow::Result<Stage> {
        checked_file(&self.application, "the application")?;
        let needed = ["{port}", "{manifest}", "{tenants}", "{state}", "{config}", "{model_url}"];
        Stage::new(StageConfig {
            server: Template::parse(&self.command, &needed)?,
            model: Template::parse(&self.model_command, &["{port}"])?,
            application: self.application.clone(),
            guests: self.guests.clone(),
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct NeighboursArguments {
    #[command(flatten)]
    pub(crate) start: StartArguments,
    /// Kinds of neighbours; any other name is that of a guest, NAME/TRICK if it has several. Default: those of the README
    #[arg(long = "kind", value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// What the well-behaved tenant does
    #[arg(long = "scenario", value_enum, value_delimiter = ',', default_values = ["hello", "turn"])]
    scenarios: Vec<Scenario>,
    /// Its requests of `hello` per second
    #[arg(long, default_value_t = 200.0)]
    hello_rate: f64,
    /// Its turns per second
    #[arg(long, default_value_t = 50.0)]
    turn_rate: f64,
    /// Its clients
    #[arg(long, default_value_t = 16)]
    good_clients: u32,
    /// Closed-loop clients of the hostile tenant
    #[arg(long, default_value_t = 64)]
    hostile_clients: u32,
    /// Limits of the hostile tenant, a line of TOML such as `cpu_ms_per_second = 200`; may be repeated
    #[arg(long = "hostile-limit", value_name = "TOML")]
    hostile_limits: Vec<String>,
    /// How often it is measured alone and beside
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Length of one window
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Load before each window
    #[arg(long, default_value_t = 1.0)]
    ramp_seconds: f64,
    /// CPU time of a request
    #[arg(long, default_value_t = 1_000)]
    request_cpu_ms_max: u64,
    /// Endless loops whose end is timed, on an idle host and beside a flood; 0 for none
    #[arg(long, default_value_t = 10)]
    loop_stops: u32,
}

impl NeighboursArguments {
    fn config(&self) -> NeighboursConfig {
        let rate = |scenario| if scenario == Scenario::Hello { self.hello_rate } else { self.turn_rate };
        NeighboursConfig {
            kinds: if self.kinds.is_empty() { Kind::all() } else { self.kinds.clone() },
            passes: self
                .scenarios
                .iter()
                .map(|scenario| Pass { scenario: *scenario, rate: rate(*scenario) })
                .collect(),
            rounds: self.rounds.max(1),
            seconds: self.seconds,
            ramp_seconds: self.ramp_seconds,
            good_clients: self.good_clients,
            hostile_clients: self.hostile_clients,
            hostile_limits: self.hostile_limits.iter().map(|line| format!("{line}\n")).collect(),
            request_cpu_ms_max: self.request_cpu_ms_max,
            loop_stops: self.loop_stops,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct DensityArguments {
    #[command(flatten)]
    start: StartArguments,
    /// Tenants, each with an API key
    #[arg(long, default_value_t = 10_000)]
    tenants: u32,
    /// What they ask for
    #[arg(long, value_enum, default_value_t = Request::Models)]
    request: Request,
    /// Requests at once
    #[arg(long, default_value_t = 1)]
    clients: u32,
    /// Idle time-out of the phase in which memory is given back, at least (more if warming up takes longer); 0 leaves
    /// the phase out
    #[arg(long, default_value_t = 5)]
    idle_seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct CanaryArguments {
    #[command(flatten)]
    start: StartArguments,
    /// Requests of all tenants together
    #[arg(long, default_value_t = 100_000)]
    requests: u64,
    /// Tenants at once
    #[arg(long, default_value_t = 50)]
    tenants: u32,
    /// Closed-loop clients that go from tenant to tenant
    #[arg(long, default_value_t = 64)]
    clients: u32,
    /// Instances alive at once; fewer than tenants make instances end all the time
    #[arg(long)]
    instances_max: Option<u32>,
    /// With `request`, memory must be empty each time
    #[arg(long, value_enum, default_value_t = Isolation::Tenant)]
    isolation: Isolation,
}

#[derive(Debug, Args)]
pub(crate) struct IdentityArguments {
    #[command(flatten)]
    start: StartArguments,
    /// How often each kind has its turn
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Requests of a round with the same credential each time
    #[arg(long, default_value_t = 20_000)]
    requests: usize,
    /// Requests of a round with a token that was never sent before
    #[arg(long, default_value_t = 5_000)]
    uncached_requests: usize,
    /// Closed-loop clients
    #[arg(long, default_value_t = 32)]
    clients: u32,
    /// Other tenants in the file
    #[arg(long, default_value_t = 1_000)]
    other_tenants: u32,
}

/// What was measured, for people and as JSON.
pub(crate) struct Told {
    pub(crate) text: String,
    pub(crate) json: Option<(PathBuf, serde_json::Value)>,
}

impl Told {
    fn new(start: &StartArguments, text: String, report: &impl serde::Serialize) -> anyhow::Result<Self> {
        let json = match &start.json {
            Some(path) => Some((path.clone(), serde_json::to_value(report)?)),
            None => None,
        };
        Ok(Self { text, json })
    }
}

/// What has to be done before there are other threads.
pub(crate) fn prepare(arguments: &TenantsArguments) {
    if matches!(arguments.subject, TenantsSubject::Hostile(_)) {
        lower_priority();
    }
}

/// Measures. A signal ends it, but not before what it started has been stopped.
pub(crate) async fn execute(arguments: TenantsArguments) -> anyhow::Result<Told> {
    match arguments.subject {
        TenantsSubject::Hostile(arguments) => {
            let text = serde_json::to_string(&attack(&arguments).await?)?;
            Ok(Told { text, json: None })
        }
        TenantsSubject::Neighbours(arguments) => {
            let mut stage = arguments.start.stage()?;
            let config = arguments.config();
            let outcome = until_interrupted(neighbours(&mut stage, &config)).await;
            let report = stage.close(outcome).await?;
            Told::new(&arguments.start, neighbours_table(&report), &report)
        }
        TenantsSubject::Density(arguments) => {
            let DensityArguments { start, tenants, request, clients, idle_seconds } = arguments;
            let mut stage = start.stage()?;
            let config = DensityConfig { tenants, request, clients, idle_seconds };
            let outcome = until_interrupted(density(&mut stage, &config)).await;
            let report = stage.close(outcome).await?;
            Told::new(&start, density_table(&report), &report)
        }
        TenantsSubject::Canary(arguments) => {
            let CanaryArguments { start, requests, tenants, clients, instances_max, isolation } = arguments;
            let config = CanaryConfig { requests, tenants, clients, instances_max, isolation };
            checked(&config)?;
            let mut stage = start.stage()?;
            let outcome = until_interrupted(canary(&mut stage, &config)).await;
            let report = stage.close(outcome).await?;
            Told::new(&start, canary_table(&report), &report)
        }
        TenantsSubject::Identity(arguments) => {
            let IdentityArguments { start, rounds, requests, uncached_requests, clients, other_tenants } =
                arguments;
            let mut stage = start.stage()?;
            let config = IdentityConfig { rounds, requests, uncached_requests, clients, other_tenants };
            let outcome = until_interrupted(identity(&mut stage, &config)).await;
            let report = stage.close(outcome).await?;
            Told::new(&start, identity_table(&report), &report)
        }
    }
}

async fn until_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        outcome = work => outcome,
        () = interrupted() => Err(Interrupted.into()),
    }
}
