//! What the gateway counts: requests by tenant, route and status, how long they took, and what it refused.

use http::{HeaderName, Response};
use std::sync::Arc;
use std::time::Instant;
use waggle_manifest::RouteTable;
use waggle_measure::{Counter, Family, Gauge, Histogram, PerTenant, TenantSlot, Timer, TopTenants};

/// Different reasons to refuse that are told apart; there are fewer.
const REASONS_MAX: usize = 64;
/// What there is no room for.
const OTHER: &str = "other";
/// A function says by this field that its answer stands in for a model's; the value is the reason, a word.
const FALLBACK_FIELD: HeaderName = HeaderName::from_static("x-waggle-fallback");
/// Longer words are not counted by themselves.
const WORD_BYTES_MAX: usize = 32;
/// The name of what lies on no route.
const NO_ROUTE: &str = "none";
/// The classes of status codes, 1xx to 5xx.
const CLASSES: usize = 5;

/// What all connections count together.
pub struct GatewayMetrics {
    tenants: Arc<TopTenants>,
    /// By the number of the route; the last is for requests on none.
    routes: Box<[RouteMetrics]>,
    answers: PerTenant<Box<[[Counter; CLASSES]]>>,
    refusals: Family<String, Counter>,
    fallbacks: Family<String, Counter>,
    /// Requests that are being answered, until the last byte of the answer.
    pub in_flight: Arc<Gauge>,
    /// Connections of clients.
    pub connections: Arc<Gauge>,
    /// WebSockets of clients.
    pub websockets: Arc<Gauge>,
}

/// A route and the requests on it.
#[derive(Debug)]
pub struct RouteMetrics {
    /// As the manifest has it.
    pub route: String,
    /// The function behind it.
    pub function: String,
    /// From the first look at a request to the last byte of its answer.
    pub durations: Arc<Histogram>,
}

/// The answers of one kind.
#[derive(Debug)]
pub struct Answers<'a> {
    /// The tenant's id, or `other`.
    pub tenant: &'a str,
    /// On which route.
    pub route: &'a RouteMetrics,
    /// The first digit of the status, 1 to 5.
    pub class: usize,
    /// How many there were.
    pub count: u64,
}

impl GatewayMetrics {
    pub(crate) fn new(routes: &RouteTable, tenants: Arc<TopTenants>) -> Self {
        let of = |route: &str, function: &str| RouteMetrics {
            route: route.to_owned(),
            function: function.to_owned(),
            durations: Arc::default(),
        };
        let known = routes.routes().map(|(pattern, function)| of(pattern.raw(), function));
        let routes: Box<[_]> = known.chain([of(NO_ROUTE, NO_ROUTE)]).collect();
        let count = routes.len();
        let make = move || (0..count).map(|_| Default::default()).collect();
        Self {
            answers: PerTenant::made_by(&tenants, make),
            tenants,
            routes,
            refusals: Family::new(REASONS_MAX, OTHER.to_owned()),
            fallbacks: Family::new(REASONS_MAX, OTHER.to_owned()),
            in_flight: Arc::default(),
            connections: Arc::default(),
            websockets: Arc::default(),
        }
    }

    pub(crate) fn tenants(&self) -> &Arc<TopTenants> {
        &self.tenants
    }

    /// A request on this route, which began at `began`, until the timer is dropped.
    pub(crate) fn start(&self, route: usize, began: Instant) -> Option<Timer> {
        Some(Timer::since(began, &self.in_flight, &self.routes.get(route)?.durations))
    }

    /// A request was answered; `route` is none where it lay on none, or was refused before that was looked at.
    pub(crate) fn count_answer<B>(&self, tenant: TenantSlot, route: Option<usize>, answer: &Response<B>) {
        if let Some(reason) = answer.headers().get(FALLBACK_FIELD) {
            let reason = reason.to_str().unwrap_or(OTHER);
            let is_word = reason.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let is_known = is_word && reason.len() <= WORD_BYTES_MAX;
            self.fallbacks.get(if is_known { reason } else { OTHER }).increment();
        }
        let class = usize::from(answer.status().as_u16() / 100).clamp(1, CLASSES) - 1;
        let route = route.unwrap_or(self.routes.len() - 1);
        if let Some(classes) = self.answers.get(tenant).get(route) {
            classes[class].increment();
        }
    }

    /// A request was not let in.
    pub(crate) fn count_refusal(&self, reason: &str) {
        self.refusals.get(reason).increment();
    }

    /// The routes, that of requests on none included.
    #[must_use]
    pub fn routes(&self) -> &[RouteMetrics] {
        &self.routes
    }

    /// All answers there were.
    pub fn answers(&self) -> impl Iterator<Item = Answers<'_>> {
        self.answers.each().flat_map(|(tenant, by_route)| {
            self.routes.iter().zip(by_route).flat_map(move |(route, classes)| {
                let counted = classes.iter().enumerate().filter(|(_, counter)| counter.get() > 0);
                counted.map(move |(index, counter)| Answers {
                    tenant,
                    route,
                    class: index + 1,
                    count: counter.get(),
                })
            })
        })
    }

    /// How many requests were not let in, by the code that the client read.
    #[must_use]
    pub fn refusals(&self) -> Vec<(String, u64)> {
        counts(&self.refusals)
    }

    /// How many answers stood in for a model's, by the reason they gave.
    #[must_use]
    pub fn fallbacks(&self) -> Vec<(String, u64)> {
        counts(&self.fallbacks)
    }
}

fn counts(family: &Family<String, Counter>) -> Vec<(String, u64)> {
    family.series().into_iter().map(|(reason, counter)| (reason, counter.get())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_tenant_route_and_class() {
        let tenants = TopTenants::new(4, ["bank"]);
        let metrics = GatewayMetrics::new(&RouteTable::default(), Arc::clone(&tenants));
        let bank = tenants.seat("bank").slot();
        let answer = |status: u16, fallback: Option<&str>| {
            let mut answer = Response::builder().status(status);
            if let Some(reason) = fallback {
                answer = answer.header(FALLBACK_FIELD, reason);
            }
            answer.body(()).unwrap()
        };
        metrics.count_answer(bank, None, &answer(404, None));
        metrics.count_answer(bank, None, &answer(404, Some("upstream_open")));
        metrics.count_answer(TenantSlot::OTHER, None, &answer(401, Some("Not a word")));
        metrics.count_answer(TenantSlot::OTHER, Some(7), &answer(200, None));
        let mut counted: Vec<_> = metrics
            .answers()
            .map(|one| (one.tenant.to_owned(), one.route.route.as_str(), one.class, one.count))
            .collect();
        counted.sort();
        let expected = [("bank".to_owned(), "none", 4, 2), ("other".to_owned(), "none", 4, 1)];
        assert_eq!(counted, expected, "a route that is none is not counted");
        metrics.count_refusal("overloaded");
        assert_eq!(metrics.refusals(), [("overloaded".to_owned(), 1)]);
        let mut fallbacks = metrics.fallbacks();
        fallbacks.sort();
        assert_eq!(fallbacks, [("other".to_owned(), 1), ("upstream_open".to_owned(), 1)]);
    }
}
