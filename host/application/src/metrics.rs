//! All metrics of the host, gathered from those that count: each part counts for itself, and only here are these numbers
//! families with names (docs/telemetry.md lists them).

use crate::index_metrics;
use crate::model_metrics::ModelMetrics;
use crate::models::Models;
use crate::tools::{self, Tools};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use waggle_egress::upstream::{BreakerState, Quantiles, UpstreamSnapshot};
use waggle_engine::{EndingKind, Engine};
use waggle_gateway::Gateway;
use waggle_kv::{Operation, Store};
use waggle_telemetry::metrics::{BuildInfo, Families, Metrics, ProcessSource, Source};
use waggle_vector::VectorIndexes;
use waggle_work::Queue;

/// What is asked at each scrape.
pub(crate) struct Sources {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) engine: Engine,
    /// By their labels, the host's own records as [`RECORDS`].
    pub(crate) stores: BTreeMap<String, Arc<dyn Store>>,
    pub(crate) models: Arc<Models>,
    pub(crate) work: Queue,
    /// The tools of all tenants, where a function may ask for them.
    pub(crate) tools: Option<Arc<Tools>>,
    /// The indexes of all tenants, where functions ask for them.
    pub(crate) indexes: Option<Arc<dyn VectorIndexes>>,
    /// What tells of itself.
    pub(crate) others: Vec<Box<dyn Source>>,
}

/// The label of the host's own records among the stores.
pub(crate) const RECORDS: &str = "waggle";

/// Everything there is to tell.
pub(crate) fn metrics(sources: Sources) -> Arc<Metrics> {
    let Sources { gateway, engine, stores, models, work, tools, indexes, others } = sources;
    let metrics = Metrics::new();
    others.into_iter().for_each(|source| metrics.register(source));
    metrics.register(Box::new(ProcessSource::new(BuildInfo {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("WAGGLE_COMMIT").unwrap_or_default(),
    })));
    metrics.register(Box::new(move |families: &mut Families| requests(&gateway, families)));
    metrics.register(Box::new(move |families: &mut Families| instances(&engine, families)));
    metrics.register(Box::new(move |families: &mut Families| operations(&stores, families)));
    metrics.register(Box::new(move |families: &mut Families| pending_work(&work, families)));
    if let Some(tools) = tools {
        metrics.register(Box::new(move |families: &mut Families| tools::tell(&tools, families)));
    }
    if let Some(indexes) = indexes {
        metrics.register(Box::new(move |families: &mut Families| index_metrics::tell(&*indexes, families)));
    }
    metrics.register(Box::new(move |families: &mut Families| {
        upstreams(&models.snapshot(), families);
        answers(&models, families);
        used(models.metrics(), families);
    }));
    Arc::new(metrics)
}

fn requests(gateway: &Gateway, families: &mut Families) {
    let metrics = gateway.metrics();
    let mut answered =
        families.counter("waggle_http_requests_total", "Answers to clients, by class of status");
    for one in metrics.answers() {
        let class = ["1xx", "2xx", "3xx", "4xx", "5xx"].get(one.class - 1).copied().unwrap_or("5xx");
        answered.add(
            &[
                ("tenant", one.tenant),
                ("route", &one.route.route),
                ("function", &one.route.function),
                ("status", class),
            ],
            one.count,
        );
    }
    let mut durations = families.histogram(
        "waggle_http_request_duration_seconds",
        "From the first look at a request to the last byte of its answer",
    );
    for route in metrics.routes() {
        let snapshot = route.durations.snapshot();
        if snapshot.count() > 0 {
            durations.add(&[("route", &route.route), ("function", &route.function)], snapshot);
        }
    }
    families
        .gauge("waggle_http_requests_in_flight", "Requests whose answer is not complete")
        .add(&[], metrics.in_flight.get());
    families.gauge("waggle_connections", "Open connections of clients").add(&[], metrics.connections.get());
    families.gauge("waggle_websockets", "Open WebSockets of clients").add(&[], metrics.websockets.get());
    let mut refused = families
        .counter("waggle_admission_refusals_total", "Requests that were not let in, by code of the answer");
    for (reason, count) in metrics.refusals() {
        refused.add(&[("reason", &reason)], count);
    }
    let mut fallbacks = families
        .counter("waggle_fallbacks_total", "Answers given in a model's place, by the reason they name");
    for (reason, count) in metrics.fallbacks() {
        fallbacks.add(&[("reason", &reason)], count);
    }
}

fn instances(engine: &Engine, families: &mut Families) {
    for (function, metrics) in engine.metrics() {
        let labels: &[(&str, &str)] = &[("function", &function)];
        families.gauge("waggle_instances", "Instances there are").add(labels, metrics.live.get());
        families
            .gauge("waggle_instance_waiting_requests", "Requests that wait for a place in an instance")
            .add(labels, metrics.waiting.get());
        families
            .counter("waggle_instances_created_total", "Instances that were begun")
            .add(labels, metrics.created.get());
        families
            .counter(
                "waggle_instances_reused_total",
                "Requests that found an instance that was there before them",
            )
            .add(labels, metrics.reused.get());
        families
            .histogram(
                "waggle_instance_start_duration_seconds",
                "Until a new instance was ready for its first request",
            )
            .add(labels, metrics.starts.snapshot());
        let mut ended = families.counter("waggle_instances_ended_total", "Instances that have ended, by how");
        for how in EndingKind::ALL {
            ended.add(&[("function", &*function), ("reason", how.name())], metrics.ended(how));
        }
    }
}

fn pending_work(work: &Queue, families: &mut Families) {
    let pending = i64::try_from(work.pending()).unwrap_or(i64::MAX);
    families.gauge("waggle_work_pending", "Work of functions that is not done").add(&[], pending);
    families
        .gauge("waggle_work_age_seconds", "How long the oldest of it has been there")
        .add(&[], work.age().as_secs_f64());
    let metrics = work.metrics();
    let mut deliveries =
        families.counter("waggle_work_deliveries_total", "Deliveries of work, by what became of them");
    for (outcome, counter) in [
        ("done", &metrics.done),
        ("failed", &metrics.failed),
        ("dropped", &metrics.dropped),
        ("interrupted", &metrics.interrupted),
    ] {
        deliveries.add(&[("outcome", outcome)], counter.get());
    }
}

fn operations(stores: &BTreeMap<String, Arc<dyn Store>>, families: &mut Families) {
    // Labels of one engine share its flushes.
    let mut counted = HashSet::new();
    for (label, store) in stores {
        let metrics = store.metrics();
        for operation in Operation::ALL {
            let of = metrics.of(operation);
            let snapshot = of.durations.snapshot();
            let (all, failed) = (snapshot.count(), of.failed.get());
            if all == 0 {
                continue;
            }
            let labels =
                |outcome| [("store", label.as_str()), ("operation", operation.name()), ("outcome", outcome)];
            families
                .counter("waggle_kv_operations_total", "Operations on stores")
                .add(&labels("ok"), all.saturating_sub(failed))
                .add(&labels("failed"), failed);
            families
                .histogram("waggle_kv_operation_duration_seconds", "Until an operation was applied")
                .add(&[("store", label), ("operation", operation.name())], snapshot);
        }
        if let Some(flushes) = metrics.flushes.as_ref().filter(|flushes| counted.insert(Arc::as_ptr(flushes)))
        {
            families
                .histogram(
                    "waggle_kv_sync_duration_seconds",
                    "Flushes to the device, each of all writes that had gathered",
                )
                .add(&[("store", label)], flushes.snapshot());
        }
    }
}

fn upstreams(all: &[UpstreamSnapshot], families: &mut Families) {
    for upstream in all {
        let name = upstream.name.as_str();
        let labels: &[(&str, &str)] = &[("upstream", name)];
        let counters = [
            ("waggle_upstream_calls_total", "Calls that came to an upstream", upstream.calls),
            ("waggle_upstream_attempts_total", "Attempts, retries and hedges included", upstream.attempts),
            ("waggle_upstream_retries_total", "Attempts that were retries", upstream.retries),
            ("waggle_upstream_hedges_total", "Attempts that were hedges", upstream.hedges),
            ("waggle_upstream_answers_total", "Attempts whose answer began", upstream.answers),
            ("waggle_upstream_cut_total", "Answers that broke off, stalled or grew too large", upstream.cut),
            (
                "waggle_upstream_given_up_total",
                "Attempts ended by their caller or a faster one",
                upstream.given_up,
            ),
        ];
        for (family, help, count) in counters {
            families.counter(family, help).add(labels, count);
        }
        let refused = |reason| [("upstream", name), ("reason", reason)];
        families
            .counter("waggle_upstream_refused_total", "Calls and retries that were not made")
            .add(&refused("open"), upstream.refused_open)
            .add(&refused("busy"), upstream.refused_busy)
            .add(&refused("retry_budget"), upstream.retries_refused);
        let mut failures = families.counter("waggle_upstream_failures_total", "Failed attempts, by kind");
        for (kind, count) in upstream.failures {
            failures.add(&[("upstream", name), ("kind", kind.name())], count);
        }
        let mut breakers = families.gauge(
            "waggle_upstream_breaker_state",
            "0 closed, 1 half-open, 2 open; endpoint `all` is the upstream's own",
        );
        breakers.add(&[("upstream", name), ("endpoint", "all")], state(upstream.breaker));
        for (number, endpoint) in upstream.endpoints.iter().enumerate() {
            breakers.add(&[("upstream", name), ("endpoint", &number.to_string())], state(*endpoint));
        }
        families.gauge("waggle_upstream_in_flight", "Calls under way").add(labels, count(upstream.in_flight));
        families
            .gauge("waggle_upstream_limit", "Calls there may be at once")
            .add(labels, count(upstream.limit));
        families
            .gauge("waggle_upstream_waiting", "Calls that wait for a place")
            .add(labels, count(upstream.waiting));
        first_bytes(name, "streamed", upstream.first_bytes_streamed.as_ref(), families);
        first_bytes(name, "whole", upstream.first_bytes_whole.as_ref(), families);
    }
}

fn first_bytes(upstream: &str, kind: &str, of: Option<&Quantiles>, families: &mut Families) {
    let Some(of) = of else { return };
    let mut gauge = families
        .gauge("waggle_upstream_first_byte_seconds", "Until an answer began, of recent calls, by percentile");
    for (percentile, time) in [("50", of.p50), ("95", of.p95), ("99", of.p99)] {
        gauge
            .add(&[("upstream", upstream), ("answer", kind), ("percentile", percentile)], time.as_secs_f64());
    }
}

fn state(breaker: BreakerState) -> i64 {
    match breaker {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn answers(models: &Models, families: &mut Families) {
    let stats = models.answer_stats();
    families
        .counter("waggle_answer_cache_hits_total", "Calls that were answered from the cache")
        .add(&[], stats.hits);
    families
        .counter("waggle_answer_cache_misses_total", "Calls that were not, and went to a model")
        .add(&[], stats.misses);
    families
        .counter("waggle_answer_cache_shared_total", "Calls that shared the answer of one under way")
        .add(&[], stats.waits);
    families.gauge("waggle_answer_cache_bytes", "What is kept").add(&[], count(stats.bytes));
}

fn used(metrics: &ModelMetrics, families: &mut Families) {
    for (tenant, model, used) in metrics.used() {
        let labels =
            |direction| [("tenant", tenant.as_str()), ("model", model.as_str()), ("direction", direction)];
        families
            .counter("waggle_model_tokens_total", "Tokens that models read and wrote")
            .add(&labels("input"), used.input.get())
            .add(&labels("cached_input"), used.cached_input.get())
            .add(&labels("output"), used.output.get());
        families
            .counter("waggle_model_cost_total", "What that cost, in the unit of the configured prices")
            .add(&[("tenant", &tenant), ("model", &model)], money(used.cost_micros.get()));
    }
    for (tenant, abandoned) in metrics.abandoned() {
        let labels: &[(&str, &str)] = &[("tenant", tenant)];
        families
            .counter("waggle_model_abandoned_prompts_total", "Prompts that models read for nothing")
            .add(labels, abandoned.prompts.get());
        families
            .counter("waggle_model_abandoned_tokens_total", "Tokens of these prompts, by estimate")
            .add(labels, abandoned.tokens.get());
        families
            .counter(
                "waggle_model_abandoned_cost_total",
                "What they cost, in the unit of the configured prices",
            )
            .add(labels, money(abandoned.cost_micros.get()));
    }
    for (tier, reason, count) in metrics.tiers() {
        families
            .counter("waggle_tier_choices_total", "Tiers chosen for `auto`, and why")
            .add(&[("tier", &tier), ("reason", &reason)], count);
    }
}

/// Millionths of a unit as units.
#[expect(clippy::cast_precision_loss, reason = "a metric")]
fn money(micros: u64) -> f64 {
    micros as f64 / 1e6
}
