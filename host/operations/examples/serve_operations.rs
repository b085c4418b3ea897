//! The operations listener with numbers that are made up, to look at with Prometheus, `promtool check metrics` and the
//! dashboard: prints its URL and serves until it is ended. An address can be given; by default any free port.

#![expect(clippy::print_stdout, reason = "the caller reads the URL there")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use waggle_measure::{Counter, Gauge, Histogram, PerTenant, TopTenants};
use waggle_operations::{Checks, Listen, Operations, bind, serve};
use waggle_telemetry::metrics::{BuildInfo, Families, Metrics, ProcessSource};

/// How many tenants there are; five of them have a name.
const TENANTS: u64 = 40;

/// What a host counts, in small.
struct Numbers {
    requests: PerTenant<Counter>,
    durations: Histogram,
    in_flight: Gauge,
}

impl Numbers {
    fn collect(&self, families: &mut Families) {
        let mut requests =
            families.counter("waggle_http_requests_total", "Answers to clients, by class of status");
        for (tenant, counter) in self.requests.each() {
            let labels = [("tenant", tenant), ("route", "/v1/..."), ("function", "chat"), ("status", "2xx")];
            requests.add(&labels, counter.get());
        }
        families
            .histogram("waggle_http_request_duration_seconds", "To the last byte of an answer")
            .add(&[("route", "/v1/..."), ("function", "chat")], self.durations.snapshot());
        families
            .gauge("waggle_http_requests_in_flight", "Requests whose answer is not complete")
            .add(&[], self.in_flight.get());
        families
            .counter("waggle_model_cost_total", "What models cost")
            .add(&[("tenant", "a \"quoted\" \\ one\nof two lines"), ("model", "gpt")], 0.125_f64);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = bind(Listen::At(address.parse()?)).await?.ok_or("it is not off")?;
    let tenants = TopTenants::new(5, []);
    let numbers = Arc::new(Numbers {
        requests: PerTenant::new(&tenants),
        durations: Histogram::default(),
        in_flight: Gauge::new(),
    });
    let metrics = Arc::new(Metrics::new());
    metrics.register(Box::new(ProcessSource::new(BuildInfo { version: "0.0.0", commit: "example" })));
    let shown = Arc::clone(&numbers);
    metrics.register(Box::new(move |families: &mut Families| shown.collect(families)));
    println!("http://{}", listener.local_addr()?);
    let load = async {
        let mut number = 0_u64;
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        loop {
            tick.tick().await;
            number += 1;
            // Few tenants have most of the requests.
            let tenant = (number * number) % TENANTS;
            numbers.requests.get(tenants.seat(&format!("tenant-{tenant}")).count()).increment();
            numbers.durations.observe(Duration::from_millis(number % 400));
            numbers.in_flight.set(i64::try_from(number % 7)?);
        }
        #[expect(unreachable_code, reason = "says what the block would return")]
        Ok::<(), Box<dyn Error>>(())
    };
    let checks = Checks::new().with("always", || async { Ok(()) });
    let server = serve(listener, Arc::new(Operations::new(metrics, checks)), std::future::pending());
    tokio::select! {
        () = server => Ok(()),
        result = load => result,
    }
}
