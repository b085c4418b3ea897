//! Measures calls of a tool: `bench_tool_call FILE.wasm FUNCTION ARGUMENTS [CALLS]` makes that many calls one after another,
//! and again two at once, each in an instance of its own, and prints one line of JSON for each.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use waggle_tool_runner::{Call, Limits, NoGrants, Prepared, Runner, RunnerConfig};

/// Calls that are made before anything is measured.
const WARM_UP: usize = 200;
/// Calls that are measured, unless it is said.
const CALLS: usize = 10_000;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("{what} is missing"));
    let (file, function, json) = (next("FILE")?, next("FUNCTION")?, next("ARGUMENTS")?);
    let calls = next("CALLS").map_or(Ok(CALLS), |count| count.parse())?;
    let runner = Runner::new(RunnerConfig::default(), None)?;
    let began = Instant::now();
    let tool = runner.prepare(std::fs::read(&file)?.into()).await?;
    let compiled = began.elapsed();
    println!(
        "{{\"file\":{file:?},\"compile_ms\":{},\"code_bytes\":{}}}",
        compiled.as_millis(),
        tool.compiled_bytes()
    );
    some_calls(&runner, &tool, &function, &json, WARM_UP).await?;
    for at_once in [1, 2] {
        measure(&runner, &tool, &function, &json, calls, at_once).await?;
    }
    Ok(())
}

async fn measure(
    runner: &Runner,
    tool: &Arc<Prepared>,
    function: &str,
    json: &str,
    calls: usize,
    at_once: usize,
) -> Result<(), Failure> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let (runner, tool) = (runner.clone(), Arc::clone(tool));
            let (function, json) = (function.to_owned(), json.to_owned());
            tokio::spawn(async move { some_calls(&runner, &tool, &function, &json, calls / at_once).await })
        })
        .collect();
    let mut times = Vec::with_capacity(calls);
    for task in tasks {
        times.extend(task.await??);
    }
    let took = began.elapsed();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_nanos() / 1_000;
    println!(
        "{{\"calls\":{},\"at_once\":{at_once},\"p50_us\":{},\"p90_us\":{},\"p99_us\":{},\"max_us\":{},\"total_ms\":{}}}",
        times.len(),
        at(50),
        at(90),
        at(99),
        at(100),
        took.as_millis()
    );
    Ok(())
}

async fn some_calls(
    runner: &Runner,
    tool: &Prepared,
    function: &str,
    json: &str,
    calls: usize,
) -> Result<Vec<Duration>, Failure> {
    let world = Arc::new(NoGrants);
    let mut times = Vec::with_capacity(calls);
    for number in 0..calls {
        let began = Instant::now();
        let call = Call {
            function: function.to_owned(),
            arguments: json.to_owned(),
            idempotency_key: number.to_string(),
            gives_json: false,
            limits: Limits::default(),
            deadline: None,
            world: Arc::clone(&world) as Arc<_>,
        };
        runner.call(tool, &call).await?.result?;
        times.push(began.elapsed());
    }
    Ok(times)
}
