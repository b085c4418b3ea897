//! What only shows when all tables are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{ConfigMistake, ModelConfig, ModelName, ModelPattern, UpstreamConfig, UpstreamName};
use crate::upstream::route::ModelIndex;

/// The most upstreams.
pub const UPSTREAMS_MAX: usize = 256;
/// The most models and patterns of models.
pub const MODELS_MAX: usize = 1_000;
/// The most endpoints of an upstream.
pub const ENDPOINTS_MAX: usize = 16;
/// The most upstreams of a model.
pub const UPSTREAMS_PER_MODEL_MAX: usize = 16;
/// The most models that one model names for failover.
pub const FAILOVER_MAX: usize = 16;
/// The most tenants that an upstream names.
pub const TENANTS_PER_UPSTREAM_MAX: usize = 10_000;

type Checked = (BTreeMap<UpstreamName, UpstreamConfig>, BTreeMap<ModelPattern, ModelConfig>);

/// The tables with checked names, or every mistake.
pub(super) fn checked(
    upstreams: BTreeMap<String, UpstreamConfig>,
    models: BTreeMap<String, ModelConfig>,
) -> Result<Checked, Vec<ConfigMistake>> {
    let mut found = Found::default();
    found.bound(&["upstream"], "upstreams", upstreams.len(), UPSTREAMS_MAX);
    found.bound(&["model"], "models", models.len(), MODELS_MAX);
    let has_models = !models.is_empty();
    let upstreams = named(upstreams, "upstream", UpstreamName::parse, &mut found);
    let models = named(models, "model", ModelPattern::parse, &mut found);
    for (name, upstream) in &upstreams {
        check_upstream(name.as_str(), upstream, &mut found);
    }
    if let Some(name) = upstreams.keys().next().filter(|_| !has_models) {
        let message = format_args!(
            "no model leads to any upstream; add `[model.\"*\"]` with `upstream = \"{name}\"`, or name the models one by one"
        );
        found.add(&["upstream"], message);
    }
    for (name, model) in &models {
        check_model(name.as_str(), model, &upstreams, &mut found);
    }
    check_failover(&models, &mut found);
    if found.0.is_empty() { Ok((upstreams, models)) } else { Err(found.0) }
}

/// The mistakes so far.
#[derive(Default)]
struct Found(Vec<ConfigMistake>);

impl Found {
    fn add(&mut self, path: &[&str], message: impl fmt::Display) {
        self.0.push(ConfigMistake::new(path, message));
    }

    fn bound(&mut self, path: &[&str], what: &str, count: usize, count_max: usize) {
        if count > count_max {
            self.add(path, format_args!("there are {count} {what}; {count_max} at most"));
        }
    }
}

/// The tables whose names are ones.
fn named<N: Ord, T, E: fmt::Display>(
    tables: BTreeMap<String, T>,
    section: &str,
    parse: fn(&str) -> Result<N, E>,
    found: &mut Found,
) -> BTreeMap<N, T> {
    let mut named = BTreeMap::new();
    for (name, table) in tables {
        match parse(&name) {
            Ok(parsed) => drop(named.insert(parsed, table)),
            Err(error) => found.add(&[section, &name], error),
        }
    }
    named
}

fn check_upstream(name: &str, upstream: &UpstreamConfig, found: &mut Found) {
    let at = |key| ["upstream", name, key];
    if upstream.endpoints.is_empty() {
        let message = "it does not say where the upstream is; add `url = \"https://…\"`, or `endpoints = [{ url = … }]`";
        found.add(&["upstream", name], message);
    }
    found.bound(&at("endpoints"), "endpoints", upstream.endpoints.len(), ENDPOINTS_MAX);
    for (index, endpoint) in upstream.endpoints.iter().enumerate() {
        if upstream.endpoints.iter().take(index).any(|earlier| earlier.url == endpoint.url) {
            found.add(&at("endpoints"), format_args!("{} is there twice; give it more weight", endpoint.url));
        }
    }
    if let Some(tenants) = &upstream.tenants {
        found.bound(&at("tenants"), "tenants", tenants.len(), TENANTS_PER_UPSTREAM_MAX);
        if tenants.is_empty() {
            let message = "no tenant may use it; name some, or remove the key to let every tenant use it";
            found.add(&at("tenants"), message);
        }
    }
    let policy = &upstream.policy;
    if policy.backoff_ms > policy.backoff_ms_max {
        let message = format_args!("it is more than `backoff_ms_max`, {}", policy.backoff_ms_max);
        found.add(&at("backoff_ms"), message);
    }
    if policy.concurrency.min > policy.concurrency.max {
        let message = format_args!("it is more than `max`, {}", policy.concurrency.max);
        found.add(&["upstream", name, "concurrency", "min"], message);
    }
}

fn check_model(
    name: &str,
    model: &ModelConfig,
    upstreams: &BTreeMap<UpstreamName, UpstreamConfig>,
    found: &mut Found,
) {
    // A model has one of both keys, and this one is marked if it has it.
    let at = ["model", name, if model.upstreams.len() == 1 { "upstream" } else { "upstreams" }];
    if model.upstreams.is_empty() {
        found.add(&["model", name], "it does not say where the model is; add `upstream = \"NAME\"`");
    }
    found.bound(&at, "upstreams", model.upstreams.len(), UPSTREAMS_PER_MODEL_MAX);
    let mut seen = BTreeSet::new();
    for upstream in &model.upstreams {
        if !seen.insert(upstream) {
            found.add(&at, format_args!("`{upstream}` is there twice; keep one"));
        } else if !upstreams.contains_key(upstream) {
            let known: Vec<&str> = upstreams.keys().map(UpstreamName::as_str).collect();
            let help = if known.is_empty() {
                String::new()
            } else {
                format!(", or name one of {}", known.join(", "))
            };
            found.add(
                &at,
                format_args!("there is no upstream `{upstream}`; add `[upstream.{upstream}]`{help}"),
            );
        }
    }
}

/// Every model that is named for failover exists, and following them comes to an end.
fn check_failover(models: &BTreeMap<ModelPattern, ModelConfig>, found: &mut Found) {
    let index = ModelIndex::new(models.keys());
    let patterns: Vec<&ModelPattern> = models.keys().collect();
    let mut next = Vec::with_capacity(models.len());
    for (pattern, model) in models {
        let at = ["model", pattern.as_str(), "failover"];
        found.bound(&at, "models", model.failover.len(), FAILOVER_MAX);
        let mut known: Vec<usize> = Vec::new();
        for name in &model.failover {
            match index.find(name.as_str()) {
                None => found.add(&at, unknown(name)),
                Some(model) => known.push(model),
            }
        }
        next.push(known);
    }
    for start in 0..next.len() {
        let Some(circle) = circle(&next, start) else { continue };
        // It is told once, at the first of its models.
        if circle.iter().min() != Some(&start) {
            continue;
        }
        let names = circle.iter().chain([&start]).filter_map(|model| patterns.get(*model));
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let message = format_args!("it goes in a circle, {}; end it somewhere", names.join(" to "));
        let name = patterns.get(start).map_or("", |name| name.as_str());
        found.add(&["model", name, "failover"], message);
    }
}

fn unknown(name: &ModelName) -> String {
    format!("there is no model `{name}`; add `[model.{:?}]`, or name another", name.as_str())
}

/// A way from `start` back to itself, as the models on it, if there is one.
fn circle(next: &[Vec<usize>], start: usize) -> Option<Vec<usize>> {
    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut open = vec![start];
    while let Some(model) = open.pop() {
        for one in next.get(model).into_iter().flatten() {
            if *one == start {
                let mut way = vec![model];
                let mut at = model;
                while let Some(from) = came_from.get(&at).filter(|_| at != start) {
                    way.push(*from);
                    at = *from;
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(one) {
                came_from.insert(*one, model);
                open.push(*one);
            }
        }
    }
    None
}
