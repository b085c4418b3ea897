//! The form an answer must have: its schema is checked when the request comes, the answer before it is called complete.

use crate::output::Output;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use waggle_openai::ApiError;
use waggle_openai::error::echo;
use waggle_openai::parameters::TextOptions;
use waggle_openai::response::{ResponseError, Status};
use waggle_schema::Schema;

/// The form an answer must have.
#[derive(Debug, Default)]
pub(crate) enum Format {
    /// Any.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that fits this schema.
    JsonSchema(Box<Schema>),
}

impl Format {
    /// Reads `text.format`. References out of a schema lead nowhere: nothing is ever fetched.
    ///
    /// # Errors
    /// 400 naming `text.format`, or `text.format.schema` when that is no JSON schema.
    pub(crate) fn read(options: &TextOptions) -> Result<Self, ApiError> {
        const PARAM: &str = "text.format.schema";
        let Some(format) = options.read_format()? else { return Ok(Self::Text) };
        let Some(schema) = format.schema else { return Ok(Self::JsonObject) };
        let schema = Schema::read(schema.get()).map_err(|error| {
            let (at, reason) = (echo(&error.at), echo(&error.reason));
            let message = format!("Invalid value for '{PARAM}': it cannot be used at '{at}': {reason}.");
            ApiError::invalid_param(PARAM, "invalid_json_schema", message)
        })?;
        Ok(Self::JsonSchema(Box::new(schema)))
    }

    /// Whether the answer must be JSON.
    pub(crate) fn is_json(&self) -> bool {
        !matches!(self, Self::Text)
    }

    /// The status of a turn that the model ended with `status`: one that is complete fails if it does not fit. One that
    /// was cut off, that refuses or asks for tools is not held to the form.
    pub(crate) fn settle(&self, status: Status, output: &Output) -> Status {
        if status != Status::Completed || !self.is_json() {
            return status;
        }
        match output.answer().map(|answer| self.check(&answer)) {
            None | Some(Ok(())) => status,
            Some(Err(error)) => Status::Failed(error),
        }
    }

    fn check(&self, answer: &str) -> Result<(), ResponseError> {
        let (code, fails) = match self {
            Self::Text => return Ok(()),
            Self::JsonObject => {
                let object = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(answer);
                ("invalid_json_output", object.err().map(|error| error.to_string()))
            }
            Self::JsonSchema(schema) => {
                let fails = match serde_json::from_str(answer) {
                    Err(error) => Some(error.to_string()),
                    Ok(answer) => schema
                        .check(&answer)
                        .err()
                        .map(|error| format!("'{}' does not hold at '{}'", error.keyword, error.pointer())),
                };
                ("invalid_json_schema_output", fails)
            }
        };
        let Some(reason) = fails else { return Ok(()) };
        let message = format!("The model's answer does not fit 'text.format': {}.", echo(&reason));
        Err(ResponseError { code, message })
    }
}
