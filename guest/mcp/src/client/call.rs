//! Calling a tool of another's server.

use super::content;
use super::session::Asked;
use super::{Client, ClientFailure};
use crate::annotation;
use crate::fetch::Fetch;
use crate::message;
use crate::progress::Progress;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// A call.
#[derive(Debug, Clone, Copy)]
pub struct RemoteCall<'a> {
    /// What the server calls the tool.
    pub name: &'a str,
    /// A JSON object.
    pub arguments: &'a RawValue,
    /// The tool's schema, as it was accepted: it says which arguments the head repeats.
    pub parameters: Option<&'a RawValue>,
    /// Whether somebody wants to hear how far it is.
    pub is_followed: bool,
}

/// What a tool gave.
#[derive(Debug, Clone)]
pub struct CallOutcome {
    /// Its texts, one after another; what is no text is named, not shown. Without any, its structured result as JSON.
    pub text: String,
    /// Its structured result, as it came: nobody has held it against a schema.
    pub structured: Option<Box<RawValue>>,
    /// Whether the tool says that it failed.
    pub is_error: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallResult {
    #[serde(default)]
    result_type: Option<String>,
    #[serde(default)]
    content: Vec<Value>,
    #[serde(default)]
    structured_content: Option<Box<RawValue>>,
    #[serde(default)]
    is_error: bool,
    #[serde(default)]
    input_requests: Map<String, Value>,
}

impl<F: Fetch> Client<F> {
    /// Makes a call. When `deadline` comes first, the call is given up and its server told so.
    ///
    /// # Errors
    /// There is no result. A tool that says that it failed has one.
    pub async fn call_tool<P: Progress>(
        &mut self,
        call: RemoteCall<'_>,
        progress: &mut P,
        deadline: impl Future<Output = ()>,
    ) -> Result<CallOutcome, ClientFailure> {
        let asked = asked(call)?;
        let answered = {
            let mut asking = pin!(self.ask(&asked, progress));
            let mut deadline = pin!(deadline);
            poll_fn(|context| {
                if let Poll::Ready(answered) = asking.as_mut().poll(context) {
                    return Poll::Ready(Some(answered));
                }
                deadline.as_mut().poll(context).map(|()| None)
            })
            .await
        };
        match answered {
            Some(answered) => outcome(&answered?),
            None => {
                self.cancel().await;
                Err(ClientFailure::TimedOut)
            }
        }
    }

    /// Tells a server of a session that the last request is given up. Since 2026-07-28 closing its answer says so.
    async fn cancel(&self) {
        let Some(known) = self.session.as_ref().filter(|known| !known.version().is_stateless()) else {
            return;
        };
        let params = json!({"requestId": self.asked, "reason": "it took too long"});
        let Value::Object(params) = params else { return };
        let _taken =
            self.post(self.head(Some(known)), message::notification("notifications/cancelled", params)).await;
    }
}

fn asked(call: RemoteCall<'_>) -> Result<Asked<'_>, ClientFailure> {
    let unreadable =
        |error: serde_json::Error| ClientFailure::Protocol(format!("arguments that are no JSON: {error}"));
    let arguments: Value = serde_json::from_str(call.arguments.get()).map_err(unreadable)?;
    let schema = call.parameters.and_then(|schema| serde_json::from_str::<Value>(schema.get()).ok());
    let repeated = schema.map(|schema| annotation::fields(&schema, &arguments)).unwrap_or_default();
    let mut params = Map::new();
    params.insert("name".to_owned(), call.name.into());
    params.insert("arguments".to_owned(), arguments);
    Ok(Asked {
        name: Some(call.name),
        repeated,
        is_followed: call.is_followed,
        ..Asked::new("tools/call", params)
    })
}

fn outcome(result: &RawValue) -> Result<CallOutcome, ClientFailure> {
    let protocol = |text: String| Err(ClientFailure::Protocol(text));
    let result: CallResult = match serde_json::from_str(result.get()) {
        Ok(result) => result,
        Err(error) => return protocol(format!("a result of a call that cannot be read: {error}")),
    };
    match result.result_type.as_deref() {
        None | Some("complete") => {}
        Some("input_required") => return Err(ClientFailure::InputRequired(wanted(&result.input_requests))),
        Some("task") => {
            return Err(ClientFailure::InputRequired("more time than a call has (a task)".to_owned()));
        }
        Some(other) => return protocol(format!("a result of the unknown type '{other:.100}'")),
    }
    let mut text = content::text(&result.content);
    if text.is_empty()
        && let Some(structured) = &result.structured_content
    {
        structured.get().clone_into(&mut text);
    }
    Ok(CallOutcome { text, structured: result.structured_content, is_error: result.is_error })
}

/// What a server asks for before it goes on, in words.
fn wanted(requests: &Map<String, Value>) -> String {
    let mut wanted: Vec<&str> = requests
        .values()
        .map(|request| match request.get("method").and_then(Value::as_str) {
            Some("elicitation/create") => "an answer of a person",
            Some("sampling/createMessage") => "an answer of a model",
            Some("roots/list") => "a list of folders",
            _ => "something unknown",
        })
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() { "the same call once more".to_owned() } else { wanted.join(" and ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(result: &Value) -> Result<(String, bool), String> {
        let raw = RawValue::from_string(result.to_string()).unwrap();
        outcome(&raw).map(|outcome| (outcome.text, outcome.is_error)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn results_are_read_in_all_their_shapes() {
        let check = |result: Value, text: &str, is_error: bool| {
            assert_eq!(read(&result), Ok((text.to_owned(), is_error)), "{result}");
        };
        let text = |text: &str| json!({"type": "text", "text": text});
        check(json!({"content": [text("a")]}), "a", false);
        check(json!({"content": [text("a"), text("b")], "isError": true}), "a\nb", true);
        check(json!({"resultType": "complete", "content": [], "structuredContent": [1]}), "[1]", false);
        check(json!({"content": [text("a")], "structuredContent": {"b": 1}}), "a", false);
        check(json!({}), "", false);
    }

    #[test]
    fn results_that_cannot_be_used_say_why() {
        let check = |result: Value, expected: &str| {
            let error = read(&result).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        let ask = json!({"a": {"method": "elicitation/create"}, "b": {"method": "elicitation/create"}});
        check(
            json!({"resultType": "input_required", "inputRequests": ask}),
            "asks for an answer of a person before",
        );
        check(json!({"resultType": "input_required", "requestState": "x"}), "the same call once more");
        check(json!({"resultType": "task", "taskId": "x"}), "a task");
        check(json!({"resultType": "weather"}), "unknown type 'weather'");
        check(json!({"content": "a"}), "cannot be read");
    }
}
