//! A view as lines and tables: what each column is, and what deserves a colour. Pure.

use super::Address;
use super::figures::{bytes, number, or_none, seconds, share, span};
use super::table::{Cell, Table, Tone, word};
use super::view::{Breaker, Function, Host, Latency, ModelUse, Requests, Store, Tenant, Upstream, View};
use ratatui::text::{Line, Span};

/// How many tables there are.
pub(super) const TABLES: usize = 4;
/// The column by which all are sorted at first: how much there is to do.
pub(super) const SORTED_BY: [usize; TABLES] = [1, 1, 3, 1];

const TENANTS: &[&str] = &["TENANT", "REQ/S", "4XX", "5XX", "TOKENS-IN/S", "TOKENS-OUT/S", "COST/H"];
const FUNCTIONS: &[&str] = &[
    "FUNCTION",
    "REQ/S",
    "4XX",
    "5XX",
    "P50",
    "P99",
    "INSTANCES",
    "WAITING",
    "STARTS/S",
    "START-P99",
    "CRASHES/S",
];
const UPSTREAMS: &[&str] = &[
    "UPSTREAM",
    "BREAKER",
    "ENDPOINTS",
    "CALLS/S",
    "FAILED",
    "REPEATS/S",
    "REFUSED/S",
    "IN-FLIGHT",
    "LIMIT",
    "WAITING",
    "TTFB-P50",
    "TTFB-P99",
];
const STORES: &[&str] = &["STORE", "OPS/S", "FAILED", "P50", "P99", "SYNCS/S", "SYNC-P99"];

/// How many columns each table has.
pub(super) const COLUMNS: [usize; TABLES] = [TENANTS.len(), FUNCTIONS.len(), UPSTREAMS.len(), STORES.len()];

/// The tables, in the order in which they are shown, sorted each by its column of `sorted_by`.
pub(super) fn tables(view: &View, sorted_by: [usize; TABLES]) -> [Table; TABLES] {
    let mut tables = [
        Table::new(TENANTS, view.tenants.iter().map(tenant)),
        Table::new(FUNCTIONS, view.functions.iter().map(function)),
        Table::new(UPSTREAMS, view.upstreams.iter().map(upstream)),
        Table::new(STORES, view.stores.iter().map(store)),
    ];
    for (table, column) in tables.iter_mut().zip(sorted_by) {
        table.sort(column);
    }
    tables
}

/// All of it as text.
pub(super) fn text(view: &View, address: &Address) -> String {
    let mut lines = vec![title(&view.host, address)];
    lines.extend(facts(&view.host));
    for table in tables(view, SORTED_BY) {
        lines.push(Line::default());
        lines.extend(table.lines(0, usize::MAX, usize::MAX, None));
    }
    let lines: Vec<String> = lines.iter().map(|line| line.to_string().trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// Who it is.
pub(super) fn title(host: &Host, address: &Address) -> Line<'static> {
    let version = host.version.as_deref().map(|version| format!(" {}", word(version))).unwrap_or_default();
    let up = host.up_for.map(|up| format!(", up {}", span(up))).unwrap_or_default();
    Line::raw(format!("waggle{version} at {address}{up}"))
}

/// The whole host: requests, models, the process.
pub(super) fn facts(host: &Host) -> Vec<Line<'static>> {
    let Requests { rate, client_errors, server_errors } = host.requests;
    let refused_for =
        host.refused_for.as_deref().map(|reason| format!(" ({})", word(reason))).unwrap_or_default();
    let mut requests = Facts::begin("requests");
    requests.add("", &format!("{}/s", number(rate)), Tone::Plain);
    requests.add("4xx", &or_none(client_errors, share), Tone::Plain);
    requests.add("5xx", &or_none(server_errors, share), above_zero(server_errors, Tone::Alarm));
    requests.add("p50", &or_none(host.latency.p50, seconds), Tone::Plain);
    requests.add("p99", &or_none(host.latency.p99, seconds), Tone::Plain);
    requests.add("in flight", &or_none(host.in_flight, number), Tone::Plain);
    requests.add("connections", &or_none(host.connections, number), Tone::Plain);
    let refused = format!("{}/s{refused_for}", number(host.refusals));
    requests.add("refused", &refused, above_zero(Some(host.refusals), Tone::Warning));

    let mut models = Facts::begin("models");
    models.add("tokens in", &format!("{}/s", number(host.model_use.input)), Tone::Plain);
    models.add("out", &format!("{}/s", number(host.model_use.output)), Tone::Plain);
    models.add("cost", &format!("{}/h", number(host.model_use.cost_per_hour)), Tone::Plain);
    models.add("answer cache", &or_none(host.answer_cache_hits, share), Tone::Plain);
    let fallbacks = format!("{}/s", number(host.fallbacks));
    models.add("fallbacks", &fallbacks, above_zero(Some(host.fallbacks), Tone::Warning));

    let mut process = Facts::begin("process");
    process.add("memory", &or_none(host.memory_bytes, bytes), Tone::Plain);
    process.add("CPU", &or_none(host.cpu, share), Tone::Plain);
    process.add("instances", &or_none(host.instances, number), Tone::Plain);
    let files = format!("{} of {}", or_none(host.files, number), or_none(host.files_max, number));
    process.add("files", &files, Tone::Plain);
    if host.series_left_out > 0.0 {
        process.add("series left out of the metrics", &number(host.series_left_out), Tone::Warning);
    }
    [requests, models, process].into_iter().map(|facts| Line::from(facts.spans)).collect()
}

/// A line of names and numbers.
struct Facts {
    spans: Vec<Span<'static>>,
}

impl Facts {
    /// Columns of a line's first word.
    const TOPIC_WIDTH: usize = 8;

    fn begin(topic: &str) -> Self {
        Self { spans: vec![Span::raw(format!("{topic:<width$}", width = Self::TOPIC_WIDTH))] }
    }

    fn add(&mut self, name: &str, value: &str, tone: Tone) {
        let name = if name.is_empty() { "  ".to_owned() } else { format!("  {name} ") };
        self.spans.push(Span::styled(name, Tone::Quiet.style()));
        self.spans.push(Span::styled(value.to_owned(), tone.style()));
    }
}

fn above_zero(value: Option<f64>, tone: Tone) -> Tone {
    if value.is_some_and(|value| value > 0.0) { tone } else { Tone::Plain }
}

fn requests(of: &Requests) -> [Cell; 3] {
    [
        Cell::new(of.rate, number),
        Cell::maybe(of.client_errors, share),
        Cell::maybe(of.server_errors, share).toned_above_zero(Tone::Alarm),
    ]
}

fn latency(of: &Latency) -> [Cell; 2] {
    [of.p50, of.p99].map(|value| Cell::maybe(value, seconds))
}

fn model_use(of: &ModelUse) -> [Cell; 3] {
    [of.input, of.output, of.cost_per_hour].map(|value| Cell::new(value, number))
}

fn tenant(of: &Tenant) -> (String, Vec<Cell>) {
    (of.name.clone(), requests(&of.requests).into_iter().chain(model_use(&of.model_use)).collect())
}

fn function(of: &Function) -> (String, Vec<Cell>) {
    let instances = [
        Cell::maybe(of.instances, number),
        Cell::maybe(of.waiting, number).toned_above_zero(Tone::Warning),
        Cell::new(of.starts, number),
        Cell::maybe(of.start_p99, seconds),
        Cell::new(of.crashes, number).toned_above_zero(Tone::Alarm),
    ];
    (
        of.name.clone(),
        requests(&of.requests).into_iter().chain(latency(&of.latency)).chain(instances).collect(),
    )
}

fn upstream(of: &Upstream) -> (String, Vec<Cell>) {
    let (state, level, tone) = match of.breaker {
        Some(Breaker::Closed) => ("closed", Some(0.0), Tone::Plain),
        Some(Breaker::HalfOpen) => ("half-open", Some(1.0), Tone::Warning),
        Some(Breaker::Open) => ("open", Some(2.0), Tone::Alarm),
        None => ("-", None, Tone::Quiet),
    };
    let lost = of.endpoints.saturating_sub(of.endpoints_closed);
    #[expect(clippy::cast_precision_loss, reason = "an upstream has a handful of endpoints")]
    let endpoints = Cell {
        text: format!("{}/{}", of.endpoints_closed, of.endpoints),
        value: Some(lost as f64),
        tone: if lost > 0 { Tone::Warning } else { Tone::Plain },
    };
    let cells = [
        Cell { text: state.to_owned(), value: level, tone },
        endpoints,
        Cell::new(of.calls, number),
        Cell::maybe(of.failures, share).toned_above_zero(Tone::Warning),
        Cell::new(of.repeats, number),
        Cell::new(of.refusals, number).toned_above_zero(Tone::Warning),
        Cell::maybe(of.in_flight, number),
        Cell::maybe(of.limit, number),
        Cell::maybe(of.waiting, number).toned_above_zero(Tone::Warning),
    ];
    (of.name.clone(), cells.into_iter().chain(latency(&of.first_byte)).collect())
}

fn store(of: &Store) -> (String, Vec<Cell>) {
    let operations =
        [Cell::new(of.operations, number), Cell::maybe(of.failures, share).toned_above_zero(Tone::Alarm)];
    let syncs = [Cell::new(of.syncs, number), Cell::maybe(of.sync_p99, seconds)];
    (of.name.clone(), operations.into_iter().chain(latency(&of.latency)).chain(syncs).collect())
}
