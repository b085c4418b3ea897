//! What Chatwoot's webhook says: of all its events, those that matter to a bot.

use super::record::{Deed, Place, Waiting};
use serde::Deserialize;
use serde_json::Value;

/// How much of a message is heard, in characters.
const TEXT_CHARACTERS_MAX: usize = 8_000;
/// What stands for a message without words.
const NO_WORDS: &str = "(The user has sent something without words.)";

/// What the webhook says, of whatever event. Numbers are told as numbers or as text, by version.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    event: String,
    id: Value,
    content: Option<String>,
    message_type: Value,
    private: bool,
    sender: Option<Sender>,
    conversation: Option<ConversationView>,
    account: Option<Identified>,
    messages: Vec<MessageView>,
    contact_inbox: Option<ContactInbox>,
    timestamp: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sender {
    id: Value,
    r#type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConversationView {
    id: Value,
    status: String,
    contact_inbox: Option<ContactInbox>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContactInbox {
    contact_id: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Identified {
    id: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MessageView {
    account_id: Value,
}

/// Something that happened in one of Chatwoot's conversations and that the bot has to do with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) place: Place,
    /// Chatwoot's number of the user; 0: not told.
    pub(super) contact: u64,
    pub(super) waiting: Waiting,
}

/// What became of a webhook's body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is for the bot.
    Event(Box<Event>),
    /// It is not, for this reason.
    Ignored(&'static str),
}

/// A number, written as one or as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// Reads a webhook's body.
///
/// # Errors
/// It is no JSON object as Chatwoot sends them.
pub(super) fn read(body: &[u8]) -> serde_json::Result<Heard> {
    let payload: Payload = serde_json::from_slice(body)?;
    Ok(match payload.event.as_str() {
        "message_created" => message(&payload),
        "conversation_resolved" => status_changed(&payload, Deed::Resolved),
        "conversation_opened" => status_changed(&payload, Deed::Opened),
        _ => Heard::Ignored("other_event"),
    })
}

/// Who wrote a message: `message_type` by name, or by its number.
fn is_type(kind: &Value, name: &str, of_number: u64) -> bool {
    kind.as_str() == Some(name) || kind.as_u64() == Some(of_number)
}

fn message(payload: &Payload) -> Heard {
    if payload.private {
        return Heard::Ignored("private_note");
    }
    let Some(conversation) = &payload.conversation else { return Heard::Ignored("no_conversation") };
    let sender = payload.sender.as_ref();
    let by_person = sender.and_then(|sender| sender.r#type.as_deref()) == Some("user");
    let deed = match &payload.message_type {
        kind if is_type(kind, "incoming", 0) => Deed::Said { pending: conversation.status == "pending" },
        kind if is_type(kind, "outgoing", 1) && by_person => Deed::Wrote,
        _ => return Heard::Ignored("not_of_a_person"),
    };
    let (account, id) = (payload.account.as_ref().map(|account| &account.id), &conversation.id);
    let inbox = conversation.contact_inbox.as_ref().and_then(|inbox| number(&inbox.contact_id));
    let sent = sender.filter(|_| deed != Deed::Wrote).and_then(|sender| number(&sender.id));
    let contact = inbox.or(sent).unwrap_or_default();
    let words = payload.content.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let text = match (words, deed) {
        (Some(words), _) => words,
        (None, Deed::Wrote) => return Heard::Ignored("no_words"),
        (None, _) => NO_WORDS,
    };
    let text = text.chars().take(TEXT_CHARACTERS_MAX).collect();
    let message = number(&payload.id);
    event(
        (account.and_then(number), number(id)),
        contact,
        message.map(|id| format!("message-{id}")),
        deed,
        text,
    )
}

fn status_changed(payload: &Payload, deed: Deed) -> Heard {
    let account = payload.account.as_ref().and_then(|account| number(&account.id));
    let account =
        account.or_else(|| payload.messages.first().and_then(|message| number(&message.account_id)));
    let contact = payload.contact_inbox.as_ref().and_then(|inbox| number(&inbox.contact_id));
    // Told twice, it happened once; without a time there is no telling.
    let id = format!("{}-{}", payload.event, number(&payload.timestamp).unwrap_or_default());
    event((account, number(&payload.id)), contact.unwrap_or_default(), Some(id), deed, String::new())
}

fn event(
    place: (Option<u64>, Option<u64>),
    contact: u64,
    id: Option<String>,
    deed: Deed,
    text: String,
) -> Heard {
    let ((Some(account), Some(conversation)), Some(id)) = (place, id) else {
        return Heard::Ignored("no_ids");
    };
    let place = Place { account, conversation };
    Heard::Event(Box::new(Event { place, contact, waiting: Waiting { id, deed, text } }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As Chatwoot tells of messages.
    fn created(message_type: Value, sender: Value, status: &str, content: Value) -> Value {
        json!({"event": "message_created", "id": 31, "content": content, "message_type": message_type,
            "content_type": "text", "content_attributes": {}, "created_at": "2026-11-20T10:00:00Z", "sender": sender,
            "private": false, "inbox": {"id": 2, "name": "Web"}, "account": {"id": 1, "name": "Shop"},
            "conversation": {"id": 7, "status": status, "contact_inbox": {"id": 4, "contact_id": 9},
                "meta": {"sender": {"id": 9}}, "messages": []}})
    }

    fn contact() -> Value {
        json!({"id": 9, "name": "Ada", "email": null})
    }

    fn heard(payload: &Value) -> Heard {
        read(payload.to_string().as_bytes()).unwrap()
    }

    fn check(payload: &Value, deed: Deed, text: &str) {
        let Heard::Event(event) = heard(payload) else { panic!("{payload} is ignored") };
        let waiting = Waiting { id: "message-31".to_owned(), deed, text: text.to_owned() };
        let place = Place { account: 1, conversation: 7 };
        assert_eq!(*event, Event { place, contact: 9, waiting }, "{payload}");
    }

    #[test]
    fn what_users_and_people_say_is_heard() {
        let said = |pending| Deed::Said { pending };
        check(&created(json!("incoming"), contact(), "pending", json!(" hi ")), said(true), "hi");
        check(&created(json!(0), contact(), "open", json!("hi")), said(false), "hi");
        check(&created(json!("incoming"), contact(), "pending", Value::Null), said(true), NO_WORDS);
        let agent = json!({"id": 3, "name": "Bo", "type": "user"});
        check(&created(json!("outgoing"), agent, "open", json!("I help")), Deed::Wrote, "I help");
    }

    #[test]
    fn what_no_person_says_is_not() {
        let check = |payload: &Value, reason: &'static str| {
            assert_eq!(heard(payload), Heard::Ignored(reason), "{payload}");
        };
        let bot = json!({"id": 5, "type": "agent_bot"});
        check(&created(json!("outgoing"), bot, "pending", json!("x")), "not_of_a_person");
        check(&created(json!("outgoing"), Value::Null, "pending", json!("x")), "not_of_a_person");
        check(&created(json!("activity"), contact(), "pending", json!("x")), "not_of_a_person");
        let mut note = created(json!("outgoing"), json!({"type": "user"}), "open", json!("x"));
        note["private"] = json!(true);
        check(&note, "private_note");
        check(
            &json!({"event": "message_created", "message_type": "incoming", "content": "x"}),
            "no_conversation",
        );
        check(&json!({"event": "message_updated"}), "other_event");
        check(&json!({}), "other_event");
        let mut anonymous = created(json!("incoming"), contact(), "pending", json!("x"));
        anonymous["account"] = Value::Null;
        check(&anonymous, "no_ids");
    }

    #[test]
    fn a_change_of_status_is_heard_once() {
        let payload = json!({"event": "conversation_resolved", "id": "7", "status": "resolved", "timestamp": 17,
            "messages": [{"account_id": 1}], "contact_inbox": {"contact_id": 9}});
        let Heard::Event(event) = heard(&payload) else { panic!("ignored") };
        assert_eq!((event.place, event.contact), (Place { account: 1, conversation: 7 }, 9));
        assert_eq!(
            (event.waiting.id.as_str(), event.waiting.deed),
            ("conversation_resolved-17", Deed::Resolved)
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[", "7", r#"{"event":1}"#, r#"{"event":"message_created","conversation":[]}"#] {
            assert!(read(body.as_bytes()).is_err() || body.starts_with("{\"event\":\"m"), "{body}");
        }
    }

    #[test]
    fn a_long_message_is_cut() {
        let long = "好".repeat(TEXT_CHARACTERS_MAX + 1);
        let Heard::Event(event) = heard(&created(json!("incoming"), contact(), "pending", json!(long)))
        else {
            panic!("ignored")
        };
        assert_eq!(event.waiting.text.chars().count(), TEXT_CHARACTERS_MAX);
    }
}
