//! One line of a tenant's log file, as it waits to be written and as it is written (RFC 8259).

use super::TenantLogFile;
use crate::function_log::LogStream;
use crate::timestamp::Timestamp;
use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

/// What a record takes up beside its text, in bytes, about.
const RECORD_BYTES: usize = 160;

/// What is to be written to a file.
pub(crate) struct Record {
    pub(super) file: Arc<TenantLogFile>,
    pub(crate) time: SystemTime,
    pub(crate) function: Arc<str>,
    pub(crate) instance: u64,
    pub(crate) request: Option<Arc<str>>,
    pub(crate) stream: LogStream,
    pub(crate) content: Content,
}

/// What happened.
pub(crate) enum Content {
    /// The function wrote a line.
    Line(String),
    /// It wrote lines over its budget.
    OverBudget(u64),
}

impl Record {
    /// What it takes up while it waits, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match &self.content {
            Content::Line(line) => RECORD_BYTES + line.len(),
            Content::OverBudget(_) => RECORD_BYTES,
        }
    }

    /// The record as a line of JSON.
    pub(super) fn write(&self, out: &mut String) {
        begin(out, self.time, &self.file.tenant);
        out.push_str(",\"function\":");
        push_string(out, &self.function);
        // Writing to a String cannot fail.
        let _ = write!(out, ",\"instance\":{},\"request\":", self.instance);
        match &self.request {
            Some(request) => push_string(out, request),
            None => out.push_str("null"),
        }
        let _ = write!(out, ",\"stream\":\"{}\"", self.stream.name());
        match &self.content {
            Content::Line(line) => {
                out.push_str(",\"line\":");
                push_string(out, line);
            }
            Content::OverBudget(dropped) => {
                let _ =
                    write!(out, ",\"dropped\":{dropped},\"reason\":\"over the function's budget of lines\"");
            }
        }
        out.push_str("}\n");
    }
}

/// Says in a file how many lines of the tenant's could not be written to it.
pub(super) fn write_lost(out: &mut String, time: SystemTime, tenant: &str, lost: u64) {
    begin(out, time, tenant);
    let _ = writeln!(out, ",\"dropped\":{lost},\"reason\":\"could not be written in time\"}}");
}

fn begin(out: &mut String, time: SystemTime, tenant: &str) {
    let _ = write!(out, "{{\"time\":\"{}\",\"tenant\":", Timestamp(time));
    push_string(out, tenant);
}

/// `text` as a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_string_of_json(text in any::<String>()) {
            let mut out = String::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
            prop_assert!(!out.contains('\n'));
        }
    }
}
