//! Component tools: the host runs them, and says what came of it.

use crate::fetch::{FetchError, Fetched, HOST, fetch, post_json};
use crate::outcome::{Again, Done, Fault, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use waggle_mcp::Fetch;
use waggle_openai::json;
use waggle_tool::definition::{Function, Tool};
use waggle_tool::wire::CallError;

/// How much longer than the tool may take the host is waited for, in milliseconds: it may have to wait for room.
const GRACE_MS: u64 = 5_000;
/// How much longer than its output the host's answer may be: JSON escapes.
const ANSWER_TIMES: u64 = 6;
/// What else stands in it, in bytes.
const ANSWER_BYTES_MORE: u64 = 16 << 10;

#[derive(Serialize)]
struct Asked<'a> {
    function: &'a str,
    arguments: &'a Map<String, Value>,
    idempotency_key: &'a str,
    digest: &'a str,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    output: Option<String>,
    #[serde(default)]
    error: Option<ToldError>,
}

#[derive(Deserialize)]
struct ToldError {
    code: String,
    #[serde(default)]
    message: String,
}

/// Makes one attempt at a call.
pub(crate) async fn run<F: Fetch>(
    over: &F,
    tool: &Tool,
    function: &Function,
    arguments: &Map<String, Value>,
    key: &str,
) -> Outcome {
    let asked = Asked { function: &function.name, arguments, idempotency_key: key, digest: &tool.digest };
    let mut body = Vec::with_capacity(512);
    json::push(&mut body, &asked);
    let url = format!("{HOST}/v1/tools/{}/call", tool.name);
    let request = post_json(url, body, tool.time_ms_max.saturating_add(GRACE_MS));
    let bytes_max = tool.output_bytes_max.saturating_mul(ANSWER_TIMES).saturating_add(ANSWER_BYTES_MORE);
    match fetch(over, request, usize::try_from(bytes_max).unwrap_or(usize::MAX)).await {
        Ok(answer) => read(&answer),
        Err(FetchError::Transport(failure)) => Err(failure.into()),
        Err(long @ FetchError::TooLong(_)) => {
            Err(Fault::new(CallError::InvalidOutput, "The tool's output is longer than it may be.")
                .logged(long.to_string()))
        }
    }
}

fn read(answer: &Fetched) -> Outcome {
    match answer.status {
        200 => {}
        404 => {
            return Err(Fault::new(CallError::Unknown, "This tool is not there any more, or has changed."));
        }
        429 | 503 => {
            let again = answer.retry_after_ms().map_or(Again::Later, Again::After);
            let told = "As many tools are running at once as may. It may be free later.";
            return Err(Fault { again, ..Fault::new(CallError::Unavailable, told) });
        }
        status => {
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            let log = format!("the host answered a call with {status}: {said}");
            return Err(Fault::new(CallError::Failed, "The tool could not be called.").logged(log));
        }
    }
    let told: Told = serde_json::from_slice(&answer.body).map_err(|error| {
        Fault::new(CallError::Failed, "The tool could not be called.")
            .logged(format!("the host's answer: {error}"))
    })?;
    match told.error {
        None => Ok(Done::of(told.output.unwrap_or_default())),
        Some(error) => Err(fault(&error)),
    }
}

/// What the host says went wrong. Whatever ended an instance may have ended it behind a side effect.
fn fault(error: &ToldError) -> Fault {
    let ToldError { code, message } = error;
    let broken = |kind, what: &str| Fault {
        may_have_happened: true,
        ..Fault::new(kind, format!("The tool {what}.")).logged(format!("{code}: {message}"))
    };
    let said = |kind, otherwise: &str| {
        Fault::new(kind, if message.is_empty() { otherwise } else { message.as_str() })
    };
    match code.as_str() {
        "timed_out" => broken(CallError::TimedOut, "took longer than it may"),
        "out_of_memory" => broken(CallError::OutOfBounds, "used more memory than it may"),
        "out_of_cpu" => broken(CallError::OutOfBounds, "used more processor time than it may"),
        "output_too_large" => broken(CallError::InvalidOutput, "gave more than it may"),
        "invalid_output" => broken(CallError::InvalidOutput, "gave what it had not declared"),
        "trapped" => broken(CallError::Failed, "broke down"),
        "invalid_arguments" => said(CallError::InvalidArguments, "The arguments mean nothing to the tool."),
        "no_such_tool" => said(CallError::Unknown, "The tool has no such function."),
        "unavailable" => {
            Fault { again: Again::Later, ..said(CallError::Unavailable, "The tool is not available now.") }
        }
        "denied" => said(CallError::Denied, "The tool was not granted what it asked for."),
        _ => said(CallError::Failed, "The tool failed."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: Result<&str, (CallError, Again, bool)>) {
        let answer = Fetched { status, headers: Vec::new(), body: body.as_bytes().to_vec() };
        let read = read(&answer);
        let read = read.as_ref().map(|done| done.output.as_str());
        let read = read.map_err(|fault| (fault.error, fault.again, fault.may_have_happened));
        assert_eq!(read, expected, "{status} {body}");
    }

    #[test]
    fn the_hosts_word_is_an_outcome() {
        check(200, r#"{"output":"x","error":null,"cpu_us":1,"time_us":2}"#, Ok("x"));
        let error = |code: &str| {
            format!(r#"{{"output":"","error":{{"code":"{code}","message":"m"}},"cpu_us":1,"time_us":2}}"#)
        };
        check(200, &error("trapped"), Err((CallError::Failed, Again::Never, true)));
        check(200, &error("timed_out"), Err((CallError::TimedOut, Again::Never, true)));
        check(200, &error("out_of_memory"), Err((CallError::OutOfBounds, Again::Never, true)));
        check(200, &error("output_too_large"), Err((CallError::InvalidOutput, Again::Never, true)));
        check(200, &error("unavailable"), Err((CallError::Unavailable, Again::Later, false)));
        check(200, &error("invalid_arguments"), Err((CallError::InvalidArguments, Again::Never, false)));
        check(200, &error("something new"), Err((CallError::Failed, Again::Never, false)));
        check(200, "{", Err((CallError::Failed, Again::Never, false)));
        check(404, "", Err((CallError::Unknown, Again::Never, false)));
        check(429, "", Err((CallError::Unavailable, Again::Later, false)));
        check(500, "secret", Err((CallError::Failed, Again::Never, false)));
    }
}
