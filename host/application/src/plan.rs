//! Everything that can be known and checked before anything is opened: the manifest, the runtime configuration, the
//! values of variables and the command line. All mistakes are reported together.

use crate::discreet;
use crate::error::StartError;
use crate::machine;
use crate::model::{self, ModelChoice, ModelOptions};
use crate::tokenizers;
use crate::tools::ToolsConfig;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use waggle_admin::AdminConfig;
use waggle_egress::EgressConfig;
use waggle_egress::answer_cache::AnswerCacheConfig;
use waggle_egress::upstream::MODELS_HOST;
use waggle_egress::upstream::UpstreamsConfig;
use waggle_egress::upstream::policy::Policy;
use waggle_engine::EngineConfig;
use waggle_gateway::GatewayConfig;
use waggle_kv::StoreConfig;
use waggle_manifest::{
    Component, Diagnostic, Diagnostics, LoadOptions, Manifest, RuntimeConfig, Variables, environment_name,
};
use waggle_operations::TelemetryConfig;
use waggle_tenancy::TenancyConfig;
use waggle_vector::VectorConfig;
use waggle_work::WorkConfig;

/// The store that needs no configuration.
const DEFAULT_STORE: &str = "default";
/// Where state is kept, beside spin.toml, unless the command line says otherwise.
const STATE_FOLDER: &str = ".waggle";
/// The part of the machine's memory over which the host refuses requests.
const HOST_MEMORY_PERCENT: u64 = 85;
/// The part of the machine's memory that the instances of one tenant may have.
const TENANT_MEMORY_PERCENT: u64 = 25;
/// Where log files of tenants are, in the state folder.
const LOG_FOLDER: &str = "logs";

/// What `waggle up` was told.
#[derive(Clone, Debug)]
pub struct Options {
    /// spin.toml, or the folder it is in.
    pub manifest: PathBuf,
    /// The manifest's profile.
    pub profile: Option<String>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The runtime configuration.
    pub runtime_config: Option<PathBuf>,
    /// Where stores and compiled components are kept; `.waggle` beside spin.toml if none is given.
    pub state_dir: Option<PathBuf>,
    /// Environment variables for every component.
    pub environment: Vec<(String, String)>,
    /// Values of application variables.
    pub variables: Vec<(String, String)>,
    /// Drop what functions print.
    pub quiet: bool,
    /// Certificate chain and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Where the model is.
    pub model: ModelOptions,
    /// Flags that go before the runtime configuration.
    pub engine: EngineOverrides,
    /// tenants.toml; goes before `file` in `[tenancy]`.
    pub tenants: Option<PathBuf>,
    /// Where the admin API listens; goes before `listen` in `[admin]`.
    pub admin_listen: Option<SocketAddr>,
}

/// Flags of the command line that go before `[engine]` of the runtime configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOverrides {
    /// `--max-instance-reuse-count`
    pub instance_reuse_count_max: Option<u64>,
    /// `--max-instance-concurrent-reuse-count`
    pub instance_concurrent_requests_max: Option<u32>,
    /// `--idle-instance-timeout`, milliseconds.
    pub idle_instance_timeout_ms: Option<u64>,
    /// `--request-timeout`, milliseconds.
    pub request_timeout_ms: Option<u64>,
}

/// A start that has been thought through.
pub struct Plan {
    pub(crate) options: Options,
    pub(crate) manifest: Manifest,
    pub(crate) variables: Variables,
    pub(crate) state_dir: PathBuf,
    pub(crate) engine: EngineConfig,
    pub(crate) gateway: GatewayConfig,
    pub(crate) egress: EgressConfig,
    pub(crate) upstreams: UpstreamsConfig,
    pub(crate) answers: AnswerCacheConfig,
    pub(crate) stores: BTreeMap<String, StoreConfig>,
    pub(crate) tenancy: TenancyConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) telemetry: TelemetryConfig,
    pub(crate) work: WorkConfig,
    pub(crate) vector: VectorConfig,
    pub(crate) tools: ToolsConfig,
    /// The folder that relative paths of the runtime configuration are relative to.
    pub(crate) configuration_dir: PathBuf,
    pub(crate) model: ModelChoice,
    pub(crate) warnings: Diagnostics,
}

impl Plan {
    /// Reads and checks everything. `demo_origin` is where the demo model listens, should it be the model.
    ///
    /// # Errors
    /// [`StartError::Diagnostics`] with every mistake of the files, or a mistake of the command line.
    pub fn make(options: Options, demo_origin: &str) -> Result<Self, StartError> {
        let load = LoadOptions { profile: options.profile.clone() };
        let manifest = Manifest::load(&options.manifest, &load)?;
        let mut found = Diagnostics::new();
        let configuration = configuration(&options, &manifest, &mut found)?;
        let overridden = options.variables.iter().any(|(name, _)| name == model::ORIGIN_VARIABLE)
            || std::env::var_os(environment_name(model::ORIGIN_VARIABLE)).is_some();
        let model = ModelChoice::make(&manifest, &options.model, overridden, &configuration.upstreams)?;
        let upstreams =
            model.upstreams(&configuration.upstreams, demo_origin, &configuration.model_endpoint)?;
        let mut values = model_variables(&manifest, &model);
        values.extend(options.variables.iter().cloned());
        let environment = |name: &str| std::env::var(name).ok();
        let variables = match Variables::resolve(&manifest, values, environment) {
            Ok(variables) => variables,
            Err(mistakes) => {
                found.append(mistakes);
                return Err(found.into());
            }
        };
        let ((), warnings) = found.into_result(())?;
        let state_dir = options.state_dir.clone().unwrap_or_else(|| manifest.dir().join(STATE_FOLDER));
        let Configuration {
            engine,
            gateway,
            egress,
            answers,
            stores,
            tenancy,
            admin,
            telemetry,
            work,
            vector,
            tools,
            dir,
            ..
        } = configuration;
        Ok(Self {
            options,
            manifest,
            variables,
            state_dir,
            engine,
            gateway,
            egress,
            upstreams,
            answers,
            stores,
            tenancy,
            admin,
            telemetry,
            work,
            vector,
            tools,
            configuration_dir: dir,
            model,
            warnings,
        })
    }

    /// tenants.toml, by flag or configuration.
    pub(crate) fn tenants_file(&self) -> Option<PathBuf> {
        let configured = || self.tenancy.file.as_ref().map(|file| self.configuration_dir.join(file));
        self.options.tenants.clone().or_else(configured)
    }

    /// Where log files of tenants are.
    pub(crate) fn log_folder(&self) -> PathBuf {
        let configured = self.tenancy.log_folder.as_ref().map(|folder| self.configuration_dir.join(folder));
        configured.unwrap_or_else(|| self.state_dir.join(LOG_FOLDER))
    }

    /// What is suspicious, but no error.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.manifest.warnings().iter().chain(self.warnings.iter())
    }

    /// Whether the demo model must be running.
    #[must_use]
    pub fn needs_demo_model(&self) -> bool {
        matches!(self.model, ModelChoice::Demo)
    }
}

/// The variables by which a function learns where the model is, and that there is none.
fn model_variables(manifest: &Manifest, model: &ModelChoice) -> Vec<(String, String)> {
    if matches!(model, ModelChoice::None | ModelChoice::Application) {
        return Vec::new();
    }
    let chosen = std::env::var_os(environment_name(model::ANSWERS_VARIABLE)).is_some();
    let answers = (matches!(model, ModelChoice::Demo) && !chosen)
        .then(|| (model::ANSWERS_VARIABLE, model::ANSWERS_WITHOUT_MODEL.to_owned()));
    [(model::ORIGIN_VARIABLE, format!("http://{MODELS_HOST}")), (model::PATH_VARIABLE, "/v1".to_owned())]
        .into_iter()
        .chain(answers)
        .filter(|(name, _value)| model::declares(manifest, name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The runtime configuration, understood.
struct Configuration {
    engine: EngineConfig,
    gateway: GatewayConfig,
    egress: EgressConfig,
    upstreams: UpstreamsConfig,
    /// How the endpoint of `--model-endpoint` is called.
    model_endpoint: Policy,
    answers: AnswerCacheConfig,
    stores: BTreeMap<String, StoreConfig>,
    tenancy: TenancyConfig,
    admin: AdminConfig,
    telemetry: TelemetryConfig,
    work: WorkConfig,
    vector: VectorConfig,
    tools: ToolsConfig,
    dir: PathBuf,
}

/// Each crate parses its own section.
fn configuration(
    options: &Options,
    manifest: &Manifest,
    found: &mut Diagnostics,
) -> Result<Configuration, StartError> {
    let mut file = match &options.runtime_config {
        // It holds the passwords of stores, and whatever was pasted into the wrong place.
        Some(path) => RuntimeConfig::load(path).map_err(|mistakes| discreet::syntax(&mistakes))?,
        None => RuntimeConfig::empty(),
    };
    let mut read = Diagnostics::new();
    let mut engine: EngineConfig = file.section("engine", &mut read).unwrap_or_default();
    let mut gateway: GatewayConfig = file.section("gateway", &mut read).unwrap_or_default();
    let mut egress: EgressConfig = file.section("egress", &mut read).unwrap_or_default();
    let answers: AnswerCacheConfig = file.section("answer_cache", &mut read).unwrap_or_default();
    let upstreams = upstreams(&mut file, &mut read);
    let model_endpoint: Option<Policy> = file.section("model_endpoint", &mut read);
    let named: BTreeMap<String, StoreConfig> = file.named_sections("key_value_store", &mut read);
    let mut tenancy: TenancyConfig = file.section("tenancy", &mut read).unwrap_or_default();
    let mut admin: AdminConfig = file.section("admin", &mut read).unwrap_or_default();
    let telemetry: TelemetryConfig = file.section("telemetry", &mut read).unwrap_or_default();
    let work: WorkConfig = file.section("work", &mut read).unwrap_or_default();
    let vector: VectorConfig = file.section("vector", &mut read).unwrap_or_default();
    let vector = vector.below(file.dir());
    let tools: ToolsConfig = file.section("tools", &mut read).unwrap_or_default();
    gateway.mcp = file.section("mcp", &mut read).unwrap_or_default();
    file.finish(&mut read);
    found.append(discreet::values(&read));
    let checked: [(&[&str], Result<(), String>); 9] = [
        (&["engine"], engine.validate()),
        (&["gateway"], gateway.validate()),
        (&["tenancy", "limits"], tenancy.limits.validate()),
        (&["admin"], admin.validate()),
        (&["telemetry"], telemetry.validate()),
        (&["work"], work.validate()),
        (&["vector"], vector.validate()),
        (&["tools"], tools.validate()),
        (&["mcp"], gateway.mcp.validate()),
    ];
    for (section, outcome) in checked {
        if let Err(mistake) = outcome {
            found.push(discreet::place(&file.mistake(section, mistake)));
        }
    }
    admin.listen = options.admin_listen.unwrap_or(admin.listen);
    egress.extra_roots_file = egress.extra_roots_file.map(|path| file.dir().join(path));
    share_the_machine(&mut gateway, &mut tenancy);
    let stores = stores(manifest, &file, named, found);
    check_tenancy_store(&file, &tenancy.store, &stores, found);
    check_model_endpoint(&file, model_endpoint.is_some(), &upstreams, found);
    take_flags(&mut engine, options)?;
    let dir = file.dir().to_path_buf();
    Ok(Configuration {
        engine,
        gateway,
        egress,
        upstreams,
        model_endpoint: model_endpoint.unwrap_or_default(),
        answers,
        stores,
        tenancy,
        admin,
        telemetry,
        work,
        vector,
        tools,
        dir,
    })
}

/// The flags go before the file; they are to blame for what the file alone is not.
fn take_flags(engine: &mut EngineConfig, options: &Options) -> Result<(), StartError> {
    let file_is_valid = engine.validate().is_ok();
    override_engine(engine, options.engine);
    match engine.validate() {
        Err(reason) if file_is_valid => {
            Err(StartError::Option { what: "the flags for instances and time-outs".into(), reason })
        }
        _ => Ok(()),
    }
}

/// Tenants are kept in a store that there is.
fn check_tenancy_store(
    file: &RuntimeConfig,
    store: &str,
    stores: &BTreeMap<String, StoreConfig>,
    found: &mut Diagnostics,
) {
    if !stores.contains_key(store) {
        let message =
            format!("the store `{store}` is not configured; add `[key_value_store.{store}]` with a `type`");
        found.push(discreet::place(&file.mistake(&["tenancy", "store"], message)));
    }
}

/// `[model_endpoint]` is for hosts without upstreams.
fn check_model_endpoint(
    file: &RuntimeConfig,
    is_there: bool,
    upstreams: &UpstreamsConfig,
    found: &mut Diagnostics,
) {
    if is_there && !upstreams.is_empty() {
        let message = "`[model_endpoint]` is for the endpoint of --model-endpoint; there are upstreams, which have \
                       these settings themselves";
        found.push(discreet::place(&file.mistake(&["model_endpoint"], message.to_owned())));
    }
}

/// `[upstream.NAME]` and `[model.NAME]`, held against each other if all of them could be read.
fn upstreams(file: &mut RuntimeConfig, found: &mut Diagnostics) -> UpstreamsConfig {
    let before = found.len();
    let upstreams = file.named_sections("upstream", found);
    let models = file.named_sections("model", found);
    if found.len() > before {
        return UpstreamsConfig::default();
    }
    match UpstreamsConfig::new(upstreams, models) {
        Ok(mut config) => {
            config.resolve_files(file.dir());
            for (model, mistake) in tokenizers::mistakes(&config) {
                found.push(file.mistake(&["model", model, "tokenizer"], mistake.to_string()));
            }
            config
        }
        Err(mistakes) => {
            for mistake in mistakes {
                let path: Vec<&str> = mistake.path.iter().map(String::as_str).collect();
                found.push(file.mistake(&path, mistake.message.clone()));
            }
            UpstreamsConfig::default()
        }
    }
}

/// What is not configured depends on the machine: no tenant gets so much of it that nothing is left for the others.
fn share_the_machine(gateway: &mut GatewayConfig, tenancy: &mut TenancyConfig) {
    let memory = machine::memory_bytes();
    let percent = |percent: u64| memory.map(|bytes| bytes / 100 * percent);
    gateway.memory_bytes_max = gateway.memory_bytes_max.or_else(|| percent(HOST_MEMORY_PERCENT));
    let limits = &mut tenancy.limits;
    limits.memory_bytes_max = limits.memory_bytes_max.or_else(|| percent(TENANT_MEMORY_PERCENT));
    let half = u32::try_from(gateway.concurrent_requests_max / 2).unwrap_or(u32::MAX).max(1);
    limits.concurrent_requests_max = limits.concurrent_requests_max.or(Some(half));
}

fn override_engine(engine: &mut EngineConfig, flags: EngineOverrides) {
    let set = |field: &mut u64, flag: Option<u64>| *field = flag.unwrap_or(*field);
    set(&mut engine.instance_reuse_count_max, flags.instance_reuse_count_max);
    set(&mut engine.idle_instance_timeout_ms, flags.idle_instance_timeout_ms);
    set(&mut engine.request_timeout_ms, flags.request_timeout_ms);
    engine.response_timeout_ms = engine.response_timeout_ms.max(engine.request_timeout_ms);
    if let Some(count) = flags.instance_concurrent_requests_max {
        engine.instance_concurrent_requests_max = count;
    }
}

/// The configuration of every store that a component names.
fn stores(
    manifest: &Manifest,
    file: &RuntimeConfig,
    mut named: BTreeMap<String, StoreConfig>,
    found: &mut Diagnostics,
) -> BTreeMap<String, StoreConfig> {
    for (label, config) in &mut named {
        if let Err(mistake) = config.settings() {
            found.push(discreet::place(&file.mistake(&["key_value_store", label], mistake.to_string())));
        }
        if let StoreConfig::Embedded { path: Some(path), .. } = config {
            *path = file.dir().join(&*path);
        }
    }
    for component in &manifest.components {
        check_labels(manifest, component, &named, found);
    }
    named.entry(DEFAULT_STORE.to_owned()).or_default();
    named
}

fn check_labels(
    manifest: &Manifest,
    component: &Component,
    named: &BTreeMap<String, StoreConfig>,
    found: &mut Diagnostics,
) {
    for label in &component.key_value_stores {
        if label.value == DEFAULT_STORE || named.contains_key(&label.value) {
            continue;
        }
        let help = format!(
            "add `[key_value_store.{0}]` with a `type` to the runtime configuration and pass it with \
             --runtime-config-file",
            label.value
        );
        found.push(
            Diagnostic::error(format!("the store `{}` is not configured", label.value))
                .at(manifest.source_file(), label.span.clone())
                .help(help),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// What is told of a runtime configuration.
    fn told(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, config) = (folder.path().join("spin.toml"), folder.path().join("runtime.toml"));
        let head = "spin_manifest_version = 2\n[application]\nname = \"tested\"\n";
        let rest = "[[trigger.http]]\nroute = \"/\"\ncomponent = \"a\"\n[component.a]\nsource = \"a.wasm\"\n";
        std::fs::write(&manifest, format!("{head}{rest}")).unwrap();
        std::fs::write(&config, text).unwrap();
        let options = Options {
            manifest,
            profile: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            runtime_config: Some(config),
            state_dir: None,
            environment: Vec::new(),
            variables: Vec::new(),
            quiet: true,
            tls: None,
            model: ModelOptions { endpoint: None, api_key: None },
            engine: EngineOverrides::default(),
            tenants: None,
            admin_listen: None,
        };
        match Plan::make(options, "http://127.0.0.1:1") {
            Ok(_) => String::new(),
            Err(StartError::Diagnostics(found)) => found.render(false),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn no_mistake_of_the_runtime_configuration_repeats_a_secret() {
        #[track_caller]
        fn check(text: &str, place: &str, parts: &[&str]) {
            let told = told(text);
            assert!(!told.contains("hunter"), "{text}: {told}");
            assert!(told.contains(&format!("runtime.toml:{place}")), "{text}: {told}");
            for part in parts {
                assert!(told.contains(part), "{text}: {part:?} is missing in {told}");
            }
        }
        assert_eq!(told("[engine]\nrequest_timeout_ms = 5000\n"), "");
        let store = |lines: &str| format!("[key_value_store.cache]\n{lines}\n");
        let url = "url = \"redis://:hunter2@10.0.0.1\"";
        check(&store(&format!("type = \"redis\"\nurl_ = {}", &url[6..])), "3:1", &["url_", "`url`"]);
        check(&store(&format!("type = \"redis\"\n{url}\npassword = \"hunter2\"")), "4:1", &["`password`"]);
        check(&store(&format!("type = \"redis\"\n{}", &url[..url.len() - 1])), "3:", &["not closed"]);
        check(&store("type = \"redis\"\nurl = hunter2"), "3:", &["must stand in quotes"]);
        check(&store("type = \"redis\"\nurl = [\"hunter2\"]"), "", &["expected a string"]);
        check(&store("type = \"hunter2\""), "2:", &["unknown value", "`redis`"]);
        check(&store("type = \"redis\"\nurl = \"hunter2\""), "1:", &["redis://[user:password@]host"]);
        check("[admin]\nkey = \"hunter2\"\n", "2:1", &["unknown key `key`", "2 | key = …"]);
        check("[admin]\nlisten = \"hunter2\"\n", "2:10", &["2 | listen = …"]);
        check("[engine]\nisolation = \"hunter2\"\n", "2:13", &["known ones here: `tenant`, `request`"]);
        check("[tenancy]\nstore = \"nowhere\" # hunter2\n", "2:9", &["`nowhere` is not configured"]);
        check("[engine]\ninstances_max = 0 # hunter2\n", "1:2", &["instances_max"]);
        check("[tools]\ncpu_ms_max = 0 # hunter2\n", "1:2", &["cpu_ms_max", "1 to 600000"]);
        check("[mcp]\nscopes = [\"a b\"] # hunter2\n", "1:2", &["`scopes`"]);
        check("admin_key = \"hunter2\"\n", "1:1", &["`admin_key`", "1 | admin_key = …"]);
        let upstream = "[upstream.u]\nurl = \"http://127.0.0.1:9/v1\"\n";
        let model = "[model.m]\nupstream = \"u\"\ntokenizer = \"hunter2\"\n";
        check(&format!("{upstream}{model}"), "5:", &["`o200k_base`", "5 | tokenizer = …"]);
    }

    #[test]
    fn a_mistake_keeps_its_place_its_key_and_its_help() {
        let told = told("[engine]\nrequest_timeot_ms = 5000\n");
        for part in ["runtime.toml:2:1", "2 | request_timeot_ms = …", "did you mean `request_timeout_ms`?"]
        {
            assert!(told.contains(part), "{part:?} is missing in {told}");
        }
    }
}
