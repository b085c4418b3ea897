//! What is drawn of a report: latencies by percentile for runs and comparisons, the curve of a saturation, CPU and memory
//! over time.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::compare::Comparison;
use crate::measurement::{Latency, RunReport, ServerCost};
use crate::saturate::{Saturation, SaturationPoint};
use crate::svg::{Axis, Chart, Line, Scale, render};

const PERCENTILES: [&str; 5] = ["p50", "p90", "p99", "p99.9", "max"];
const MEBI: f64 = (1_u64 << 20) as f64;
const MILLISECOND_US: f64 = 1_000.0;

/// A report of one of the kinds that can be drawn.
#[derive(Debug, Clone)]
pub(crate) enum Report {
    Run(Box<RunReport>),
    Comparison(Comparison),
    Saturation(Saturation),
}

/// Text that is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAReport {
    #[error("it is not JSON: {0}")]
    Json(serde_json::Error),
    #[error("it is none of the reports of `run`, `compare` and `saturate`")]
    Unknown,
    #[error("it looks like a report of `{subject}`, but {source}")]
    Shape { subject: &'static str, source: serde_json::Error },
}

impl Report {
    /// Reads what `--json` has written; what it is a report of is seen from its fields.
    pub(crate) fn parse(text: &str) -> Result<Self, NotAReport> {
        let value: Value = serde_json::from_str(text).map_err(NotAReport::Json)?;
        if value.get("points").is_some() {
            read("saturate", value).map(Self::Saturation)
        } else if value.get("results").is_some() {
            read("compare", value).map(Self::Comparison)
        } else if value.get("latency").is_some() {
            read("run", value).map(|report| Self::Run(Box::new(report)))
        } else {
            Err(NotAReport::Unknown)
        }
    }

    /// The whole picture.
    pub(crate) fn draw(&self) -> String {
        let charts = match self {
            Self::Run(report) => run_charts(report),
            Self::Comparison(comparison) => comparison_charts(comparison),
            Self::Saturation(saturation) => saturation_charts(saturation),
        };
        render(&charts)
    }
}

fn read<T: DeserializeOwned>(subject: &'static str, value: Value) -> Result<T, NotAReport> {
    serde_json::from_value(value).map_err(|source| NotAReport::Shape { subject, source })
}

fn percentiles(name: &str, latency: &Latency) -> Line {
    let values = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us];
    let points = values.iter().enumerate().map(|(at, value)| (at as f64, value / MILLISECOND_US)).collect();
    Line { name: name.to_owned(), points }
}

fn latency_chart(title: String, lines: Vec<Line>) -> Chart {
    Chart {
        title,
        x: Axis { label: "percentile", scale: Scale::Names(PERCENTILES.to_vec()) },
        y: Axis { label: "milliseconds", scale: Scale::Logarithmic },
        lines,
    }
}

fn run_charts(report: &RunReport) -> Vec<Chart> {
    let mut lines = vec![percentiles("whole answer", &report.latency)];
    lines.extend(report.first_delta.iter().map(|first| percentiles("first delta", first)));
    if let Some(open) = &report.open {
        lines.push(percentiles("since it was sent", &open.service));
        lines.push(percentiles("due until sent", &open.send_lag));
        if open.steps.len() > 1 {
            let steps = open.steps.iter().enumerate();
            lines.extend(steps.map(|(at, step)| {
                percentiles(&format!("step {}: {:.0}/s", at + 1, step.rate), &step.latency)
            }));
        }
    }
    let title = format!("{}, {:.0} requests per second", report.scenario, report.requests_per_second);
    let mut charts = vec![latency_chart(title, lines)];
    charts.extend(over_time(&report.servers));
    charts
}

/// Memory and CPU of processes, where there are samples.
fn over_time(servers: &[ServerCost]) -> Vec<Chart> {
    if servers.iter().all(|server| server.samples.len() < 2) {
        return Vec::new();
    }
    let lines = |value: fn(&crate::samples::Sample) -> f64| {
        let line = |server: &ServerCost| Line {
            name: format!("{} ({})", server.name, server.pid),
            points: server.samples.iter().map(|sample| (sample.at_s, value(sample))).collect(),
        };
        servers.iter().map(line).collect()
    };
    let chart = |title: &str, label, lines| Chart {
        title: title.to_owned(),
        x: Axis { label: "seconds", scale: Scale::Linear },
        y: Axis { label, scale: Scale::Linear },
        lines,
    };
    vec![
        chart("Resident memory over time", "MiB", lines(|sample| sample.rss_bytes as f64 / MEBI)),
        chart("CPU over time", "cores", lines(|sample| sample.cores)),
    ]
}

fn comparison_charts(comparison: &Comparison) -> Vec<Chart> {
    let mut charts: Vec<Chart> = Vec::new();
    let mut scenario = None;
    for compared in &comparison.results {
        let report = &compared.report;
        if scenario != Some(&report.scenario) {
            scenario = Some(&report.scenario);
            charts.push(latency_chart(format!("{}: latency by target", report.scenario), Vec::new()));
        }
        if let Some(chart) = charts.last_mut() {
            chart.lines.push(percentiles(&compared.target, &report.latency));
        }
    }
    charts
}

fn saturation_charts(saturation: &Saturation) -> Vec<Chart> {
    let line = |name: &str, value: &dyn Fn(&SaturationPoint) -> Option<f64>| Line {
        name: name.to_owned(),
        points: saturation.points.iter().filter_map(|point| Some((point.rate, value(point)?))).collect(),
    };
    let rate = || Axis { label: "requests per second", scale: Scale::Linear };
    let milliseconds = |us: f64| Some(us / MILLISECOND_US);
    let mut charts = vec![Chart {
        title: format!("{}: latency by rate", saturation.scenario),
        x: rate(),
        y: Axis { label: "milliseconds", scale: Scale::Logarithmic },
        lines: vec![
            line("p50", &|point| milliseconds(point.latency.p50_us)),
            line("p90", &|point| milliseconds(point.latency.p90_us)),
            line("p99", &|point| milliseconds(point.latency.p99_us)),
            line("p99.9", &|point| milliseconds(point.latency.p999_us)),
        ],
    }];
    if saturation.points.iter().any(|point| point.cpu_us_per_request.is_some()) {
        charts.push(Chart {
            title: "CPU per request by rate".to_owned(),
            x: rate(),
            y: Axis { label: "microseconds", scale: Scale::Linear },
            lines: vec![
                line("server", &|point| point.cpu_us_per_request),
                line("load generator", &|point| Some(point.generator_cpu_us_per_request)),
            ],
        });
        charts.push(Chart {
            title: "Resident memory by rate".to_owned(),
            x: rate(),
            y: Axis { label: "MiB", scale: Scale::Linear },
            lines: vec![line("server", &|point| Some(point.rss_bytes as f64 / MEBI))],
        });
    }
    charts
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: &str =
        r#"{"mean_us":1,"p50_us":100,"p90_us":200,"p99_us":900,"p999_us":1500,"max_us":3000}"#;

    fn run(scenario: &str) -> String {
        format!(
            r#"{{"scenario":"{scenario}","url":"u","clients":1,"seconds":2,"requests":9,"errors":{{}},
            "setup_requests":0,"requests_per_second":4.5,"latency":{LATENCY},"first_delta":null,
            "servers":[{{"name":"server","pid":7,"cpu_seconds":1,"cpu_us_per_request":3,"rss_bytes":5,
            "samples":[{{"at_s":1,"cores":0.5,"rss_bytes":1048576}},{{"at_s":2,"cores":0.7,"rss_bytes":2097152}}]}}],
            "generator_cpu_us_per_request":1}}"#
        )
    }

    #[test]
    fn each_kind_of_report_is_known_and_drawn() {
        fn check(text: &str, charts: usize, shown: &[&str]) {
            let svg = Report::parse(text).unwrap().draw();
            assert_eq!(svg.matches("<g transform").count(), charts);
            for text in shown {
                assert!(svg.contains(&format!(">{text}<")), "{text} is not in {svg}");
            }
        }
        check(&run("turn"), 3, &["whole answer", "Resident memory over time", "server (7)"]);
        let compared = |target: &str, scenario: &str| {
            format!(
                r#"{{"target":"{target}","report":{},"server_cpu_us":null,"total_cpu_us":null,"ratio":{{
                "throughput":1,"per_cpu_second":null,"per_total_cpu_second":null,"p50":1,"p99":1}}}}"#,
                run(scenario)
            )
        };
        let comparison = format!(
            r#"{{"baseline":"native","rounds":1,"results":[{},{},{}]}}"#,
            compared("native", "hello"),
            compared("waggle", "hello"),
            compared("native", "turn")
        );
        check(&comparison, 2, &["hello: latency by target", "native", "waggle", "p99.9"]);
        let point = |rate: u32| {
            format!(
                r#"{{"rate":{rate},"good_per_second":1,"offered":1,"bad":0,"latency":{LATENCY},
                "cpu_us_per_request":5,"rss_bytes":9,"generator_cpu_us_per_request":2}}"#
            )
        };
        let saturation = format!(
            r#"{{"scenario":"turn","url":"u","p99_us_max":1,"points":[{},{}],"rate_kept":1,"stop":"too-slow"}}"#,
            point(100),
            point(200)
        );
        check(&saturation, 3, &["turn: latency by rate", "p99", "CPU per request by rate"]);
    }

    #[test]
    fn what_is_no_report_is_told() {
        fn check(text: &str, expected: &str) {
            let error = Report::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        check("{", "not JSON");
        check("{}", "none of the reports");
        check(r#"{"points": 3}"#, "looks like a report of `saturate`, but");
    }

    #[test]
    fn the_reports_of_record_can_still_be_read() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
        let text = std::fs::read_to_string(folder.join("2026-11-21.json")).unwrap();
        assert!(matches!(Report::parse(&text), Ok(Report::Comparison(_))));
    }
}
