//! From the model a function names to the upstreams that can answer, first choice first. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::config::{Api, Apis, ModelConfig, ModelPattern, Prices, UpstreamsConfig, shorten};

/// The most candidates of one call.
pub const CANDIDATES_MAX: usize = 16;

/// The most models that failing over from one model passes, itself included.
const CHAIN_MODELS_MAX: usize = 64;

/// A model at an upstream, to which a call may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The upstream, by its position in [`UpstreamsConfig::upstreams`].
    pub upstream: usize,
    /// The model's name there: what goes into the request's body.
    pub model: Arc<str>,
    /// The NAME of its `[model.NAME]`: what people read, and as many different ones as are configured.
    pub configured: Arc<str>,
    /// What it costs.
    pub prices: Prices,
}

/// Where a call may go, first choice first: 1 to 16 different ones.
pub type Candidates = Vec<Candidate>;

/// What a call costs at the dearest of its candidates, in millionths of the operator's currency: the most that may come of
/// it, wherever it is answered. Which one is the dearest depends on how long prompt and answer are.
#[must_use]
pub fn cost_micros_max(candidates: &[Candidate], input_tokens: u64, output_tokens: u64) -> u64 {
    let cost = |candidate: &Candidate| candidate.prices.cost_micros(input_tokens, 0, output_tokens);
    candidates.iter().map(cost).max().unwrap_or_default()
}

/// No upstream that the tenant may use has a model of this name. For the client, that is 404 `model_not_found`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The model `{model}` does not exist or you do not have access to it.")]
pub struct NoModel {
    /// The name, shortened.
    pub model: String,
}

/// The model is there, but at no upstream that can be asked by the API of the call. For the client, that is 404
/// `model_not_found`; the text is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "No upstream of the model `{model}` has the API of this call: add {api:?} to the `api` of its `[upstream.NAME]`, or have the function ask by another API (its variable `responses_models`)."
)]
pub struct NoApi {
    /// The name, shortened.
    pub model: String,
    /// The API, as the configuration names it.
    pub api: String,
}

/// Why a call may go nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCandidate {
    /// There is no such model.
    #[error(transparent)]
    Model(#[from] NoModel),
    /// It cannot be asked so.
    #[error(transparent)]
    Api(#[from] NoApi),
}

/// Which model goes where. Made once from the configuration.
#[derive(Debug, Clone)]
pub struct Routes {
    index: ModelIndex,
    models: Vec<Model>,
    /// By upstream: the tenants that may use it, if not all.
    tenants: Vec<Option<HashSet<Arc<str>>>>,
    /// By upstream: its APIs.
    apis: Vec<Apis>,
}

#[derive(Debug, Clone)]
struct Model {
    configured: Arc<str>,
    is_pattern: bool,
    upstreams: Vec<usize>,
    /// Its name at the upstreams, if it is another than the one it was called by.
    model: Option<Arc<str>>,
    prices: Prices,
    /// The models to go to when it fails, in order, those of the further ones included; with the names they are called by.
    chain: Vec<(usize, Arc<str>)>,
}

impl Routes {
    /// The routes of a configuration.
    #[must_use]
    pub fn new(config: &UpstreamsConfig) -> Self {
        let index = ModelIndex::new(config.models().keys());
        let positions: HashMap<_, _> =
            config.upstreams().keys().enumerate().map(|(position, name)| (name, position)).collect();
        let configs: Vec<&ModelConfig> = config.models().values().collect();
        let models = config.models().iter().enumerate().map(|(position, (pattern, model))| Model {
            configured: Arc::clone(pattern.shared()),
            is_pattern: pattern.prefix().is_some(),
            upstreams: model.upstreams.iter().filter_map(|name| positions.get(name).copied()).collect(),
            model: model.model.as_ref().map(|name| Arc::clone(name.shared())),
            prices: model.prices,
            chain: chain(&index, &configs, position),
        });
        let tenants = config.upstreams().values().map(|upstream| {
            upstream.tenants.as_ref().map(|tenants| tenants.iter().map(Arc::clone).collect())
        });
        let apis = config.upstreams().values().map(|upstream| upstream.apis);
        Self { models: models.collect(), tenants: tenants.collect(), apis: apis.collect(), index }
    }

    /// Where a call of `tenant` may go that names `model`, and in `also` further models to fail over to, in order. First
    /// all upstreams of each of these, then what the configuration says to fail over to. An exact name goes before a
    /// pattern, a longer pattern before a shorter one.
    ///
    /// # Errors
    /// [`NoModel`] when one of the names leads to no upstream that the tenant may use.
    pub fn candidates(&self, model: &str, also: &[&str], tenant: &str) -> Result<Candidates, NoModel> {
        self.find(None, model, also, tenant)
    }

    fn find(
        &self,
        api: Option<Api>,
        model: &str,
        also: &[&str],
        tenant: &str,
    ) -> Result<Candidates, NoModel> {
        let mut list = List { routes: self, api, tenant, found: Vec::new() };
        for name in std::iter::once(model).chain(also.iter().copied()) {
            let known = self.get(name).filter(|model| self.is_open(model, tenant));
            let Some(model) = known else { return Err(NoModel { model: shorten(name) }) };
            list.add(model, Name::Called(name));
        }
        for model in std::iter::once(model).chain(also.iter().copied()).filter_map(|name| self.get(name)) {
            for (position, name) in &model.chain {
                if let Some(model) = self.models.get(*position) {
                    list.add(model, Name::Configured(name));
                }
            }
        }
        Ok(list.found)
    }

    /// As [`candidates`](Self::candidates), at upstreams only that can be asked by `api`.
    ///
    /// # Errors
    /// As there, or [`NoApi`] when there is none.
    pub fn candidates_by(
        &self,
        api: Option<Api>,
        model: &str,
        also: &[&str],
        tenant: &str,
    ) -> Result<Candidates, NoCandidate> {
        let candidates = self.find(api, model, also, tenant)?;
        match api {
            Some(api) if candidates.is_empty() => {
                Err(NoApi { model: shorten(model), api: api.to_string() }.into())
            }
            _ => Ok(candidates),
        }
    }

    /// The names of the models that `tenant` may use, sorted; those that only a pattern knows are not among them.
    #[must_use]
    pub fn models(&self, tenant: &str) -> Vec<Arc<str>> {
        let named = self.models.iter().filter(|model| !model.is_pattern && self.is_open(model, tenant));
        named.map(|model| Arc::clone(&model.configured)).collect()
    }

    fn get(&self, name: &str) -> Option<&Model> {
        self.models.get(self.index.find(name)?)
    }

    fn is_open(&self, model: &Model, tenant: &str) -> bool {
        model.upstreams.iter().any(|upstream| self.is_open_upstream(*upstream, tenant))
    }

    fn is_open_upstream(&self, upstream: usize, tenant: &str) -> bool {
        match self.tenants.get(upstream) {
            Some(Some(tenants)) => tenants.contains(tenant),
            Some(None) => true,
            None => false,
        }
    }
}

/// What a model is called by.
#[derive(Clone, Copy)]
enum Name<'a> {
    Called(&'a str),
    Configured(&'a Arc<str>),
}

/// The candidates so far.
struct List<'a> {
    routes: &'a Routes,
    api: Option<Api>,
    tenant: &'a str,
    found: Candidates,
}

impl List<'_> {
    fn add(&mut self, model: &Model, called: Name<'_>) {
        // One name serves all upstreams of the model, and it is made only where the configuration has none to share.
        let mut name: Option<Arc<str>> = None;
        for upstream in &model.upstreams {
            if self.found.len() >= CANDIDATES_MAX {
                return;
            }
            let has_api = self.routes.apis.get(*upstream).is_some_and(|apis| apis.have(self.api));
            if !has_api || !self.routes.is_open_upstream(*upstream, self.tenant) {
                continue;
            }
            let there = Arc::clone(name.get_or_insert_with(|| name_there(model, called)));
            if !self.found.iter().any(|known| known.upstream == *upstream && known.model == there) {
                let configured = Arc::clone(&model.configured);
                self.found.push(Candidate {
                    upstream: *upstream,
                    model: there,
                    configured,
                    prices: model.prices,
                });
            }
        }
    }
}

fn name_there(model: &Model, called: Name<'_>) -> Arc<str> {
    match (&model.model, called) {
        (Some(name), _) => Arc::clone(name),
        (None, _) if !model.is_pattern => Arc::clone(&model.configured),
        (None, Name::Configured(name)) => Arc::clone(name),
        (None, Name::Called(name)) => name.into(),
    }
}

/// The models that `start` fails over to: first those it names, then those that these name, and so on.
fn chain(index: &ModelIndex, configs: &[&ModelConfig], start: usize) -> Vec<(usize, Arc<str>)> {
    let mut chain: Vec<(usize, Arc<str>)> = Vec::new();
    let mut next = Some(start);
    let mut done = 0;
    while let Some(config) = next.and_then(|position| configs.get(position)) {
        for name in &config.failover {
            let Some(position) = index.find(name.as_str()) else { continue };
            let is_known = chain.iter().any(|(_, known)| *known == *name.shared());
            if !is_known && chain.len() < CHAIN_MODELS_MAX - 1 {
                chain.push((position, Arc::clone(name.shared())));
            }
        }
        next = chain.get(done).map(|(position, _)| *position);
        done += 1;
    }
    chain
}

/// Finds the configured model of a name: the exact one, else that of the longest pattern.
#[derive(Debug, Clone)]
pub(super) struct ModelIndex {
    exact: HashMap<Arc<str>, usize>,
    /// How names begin, the longest first.
    prefixes: Vec<(Arc<str>, usize)>,
}

impl ModelIndex {
    /// Of models by their position.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a ModelPattern>) -> Self {
        let mut exact = HashMap::new();
        let mut prefixes: Vec<(Arc<str>, usize)> = Vec::new();
        for (position, pattern) in patterns.enumerate() {
            match pattern.prefix() {
                Some(prefix) => prefixes.push((prefix.into(), position)),
                None => drop(exact.insert(Arc::clone(pattern.shared()), position)),
            }
        }
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { exact, prefixes }
    }

    /// The position of the model of this name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let by_prefix = || self.prefixes.iter().find(|(prefix, _)| name.starts_with(&**prefix));
        self.exact.get(name).copied().or_else(|| by_prefix().map(|(_, position)| *position))
    }
}

#[cfg(test)]
mod tests;
