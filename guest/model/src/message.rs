//! The messages of a chat completion's request: stored items, their texts spliced as they are.

use crate::request::literal;
use crate::tool_call::ServerCall;
use serde_json::value::RawValue;
use waggle_openai::item::{PlainMessage, StoredItem, StoredPart};

/// Writes messages into an array that is open.
pub(crate) struct MessageWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Whether the last message is an assistant's whose `tool_calls` array is still open: calls that follow one
    /// another belong into one message.
    in_calls: bool,
    /// Which calls of a server's tools that message has, where it has some.
    group: Option<Group>,
    /// Their results, which are messages that follow it.
    results: Vec<ServerCall>,
}

/// Calls that were asked for at once; `None` for one of which that is not known.
type Group = Option<(String, u32)>;

impl<'o> MessageWriter<'o> {
    /// Of an array in `out` that has just been opened.
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, in_calls: false, group: None, results: Vec::new() }
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn separate(&mut self) {
        if self.out.last() != Some(&b'[') {
            self.out.push(b',');
        }
    }

    /// Ends the message that is open; what came of its calls follows.
    pub(crate) fn close_calls(&mut self) {
        if std::mem::take(&mut self.in_calls) {
            self.text("]}");
        }
        self.group = None;
        for ServerCall { call_id, output, .. } in std::mem::take(&mut self.results) {
            self.text(",{\"role\":\"tool\",\"tool_call_id\":");
            self.text(&call_id);
            self.text(",\"content\":");
            self.text(&output);
            self.text("}");
        }
    }

    /// Begins a message, up to its content.
    fn begin(&mut self, role: &str) {
        self.close_calls();
        self.separate();
        self.text("{\"role\":\"");
        self.text(shown_role(role));
        self.text("\",\"content\":");
    }

    /// Something said, in one text.
    pub(crate) fn plain(&mut self, message: PlainMessage<'_>) {
        self.begin(message.role);
        self.text(message.text);
        self.text("}");
    }

    /// Something said.
    pub(crate) fn message(&mut self, item: &StoredItem<'_>) {
        let role = item.role.unwrap_or("system");
        self.begin(role);
        match item.content.as_slice() {
            parts if role == "user" && (parts.len() > 1 || any_more_than_words(parts)) => self.parts(parts),
            parts => self.joined(parts),
        }
        self.text("}");
    }

    fn parts(&mut self, parts: &[StoredPart<'_>]) {
        self.text("[");
        for part in parts {
            self.separate();
            self.part(part);
        }
        self.text("]");
    }

    fn part(&mut self, part: &StoredPart<'_>) {
        if let Some(url) = part.image_url {
            self.text("{\"type\":\"image_url\",\"image_url\":{\"url\":");
            self.text(url.get());
            // Servers that don't know `detail` do without where nobody chose one.
            if let Some(detail) = part.detail.filter(|detail| *detail != "auto") {
                self.text(",\"detail\":\"");
                self.text(detail);
                self.text("\"");
            }
            self.text("}}");
        } else if let Some(data) = part.file_data {
            self.text("{\"type\":\"file\",\"file\":{\"file_data\":");
            self.text(data.get());
            if let Some(name) = part.filename {
                self.text(",\"filename\":");
                self.text(name.get());
            }
            self.text("}}");
        } else {
            self.text("{\"type\":\"text\",\"text\":");
            self.text(literal(part));
            self.text("}");
        }
    }

    /// String literals joined into one, by leaving out the quotes between them.
    fn joined(&mut self, parts: &[StoredPart<'_>]) {
        self.text("\"");
        for part in parts {
            let literal = literal(part);
            self.text(literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default());
        }
        self.text("\"");
    }

    /// A call of a function of the client's.
    pub(crate) fn call(&mut self, item: &StoredItem<'_>) {
        if self.group.is_some() {
            self.close_calls();
        }
        self.one_call(literal_of(item.call_id), literal_of(item.name), literal_of(item.arguments));
    }

    /// A call of a server's tool. Its result follows the message that has it, and so those of all calls that were asked for
    /// at once.
    pub(crate) fn server_call(&mut self, call: ServerCall) {
        let is_another = |group: &Group| group.is_none() || *group != call.group;
        if self.group.as_ref().is_some_and(is_another) {
            self.close_calls();
        }
        self.one_call(&call.call_id, &call.name, &call.arguments);
        self.group = Some(call.group.clone());
        self.results.push(call);
    }

    /// Adds a call to the message that is open, or begins one; each is a JSON string literal.
    fn one_call(&mut self, call_id: &str, name: &str, arguments: &str) {
        self.separate();
        if !self.in_calls {
            self.text("{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[");
            self.in_calls = true;
        }
        self.text("{\"id\":");
        self.text(call_id);
        self.text(",\"type\":\"function\",\"function\":{\"name\":");
        self.text(name);
        self.text(",\"arguments\":");
        self.text(arguments);
        self.text("}}");
    }

    /// Text parts become one text, which every server takes; images and files go as they would in a user's message,
    /// which is for the server to take or to refuse.
    pub(crate) fn output(&mut self, item: &StoredItem<'_>) -> serde_json::Result<()> {
        self.close_calls();
        self.separate();
        self.text("{\"role\":\"tool\",\"tool_call_id\":");
        self.raw(item.call_id);
        self.text(",\"content\":");
        match item.output.filter(|output| output.get().starts_with('[')) {
            None => self.raw(item.output),
            Some(output) => {
                let parts: Vec<StoredPart<'_>> = serde_json::from_str(output.get())?;
                if any_more_than_words(&parts) { self.parts(&parts) } else { self.joined(&parts) }
            }
        }
        self.text("}");
        Ok(())
    }

    fn raw(&mut self, value: Option<&RawValue>) {
        self.text(literal_of(value));
    }
}

/// Every server knows `system`; only OpenAI's newer models know `developer`.
fn shown_role(role: &str) -> &str {
    if role == "developer" { "system" } else { role }
}

fn literal_of(value: Option<&RawValue>) -> &str {
    value.map_or("\"\"", RawValue::get)
}

fn any_more_than_words(parts: &[StoredPart<'_>]) -> bool {
    parts.iter().any(StoredPart::is_more_than_words)
}
