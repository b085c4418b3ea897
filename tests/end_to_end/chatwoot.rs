//! A help desk as a channel: Chatwoot's webhook in, its API out, scripted as its documentation describes them.

use crate::receiver::{Received, Receiver};
use crate::support::{Server, Setup, client, root, wait_until};
use crate::tenants_support::{Admin, Model, run, state_of};
use serde_json::{Value, json};
use std::fs;

struct Desk {
    server: Server,
    model: Model,
    chatwoot: Receiver,
    key: String,
}

impl Desk {
    async fn open() -> Self {
        let chatwoot = Receiver::start(r#"{"id":1}"#);
        let model = Model::start().await;
        let server = model.serve(Setup::application().args(&["--variable", "model=sim"])).start();
        let secret = json!({"origin": chatwoot.url, "header": "api_access_token", "prefix": "",
            "secret": {"value": "bot-token"}});
        let settings = json!({"variables": {"tools": "waggle.hand_over"}, "secrets": {"chatwoot": secret}});
        let key = Admin::of(&server).create("shop", settings).await;
        let tool = fs::read_to_string(root().join("examples/shop/tools/chatwoot.json")).unwrap();
        let file = server.setup.folder().join("chatwoot.json");
        fs::write(&file, tool.replace("https://app.chatwoot.com", &chatwoot.url)).unwrap();
        let state = state_of(&server.setup);
        let add = ["tool", "add", "--tenant", "shop", file.to_str().unwrap(), "--accept", "--state-dir"];
        let (done, out, err) = run(&[&add[..], &[state.to_str().unwrap()]].concat(), &[]);
        assert!(done, "{out}{err}");
        Self { server, model, chatwoot, key }
    }

    /// Chatwoot tells of a message of its user. It can send no field of ours, so the key is in the address.
    async fn hook(&self, id: u64, text: &str, status: &str) -> Value {
        let event = json!({"event": "message_created", "id": id, "content": text, "message_type": "incoming",
            "private": false, "sender": {"id": 9, "name": "Ada"}, "account": {"id": 1, "name": "Shop"},
            "conversation": {"id": 7, "status": status, "contact_inbox": {"contact_id": 9}}});
        let request = client().post(self.server.url("/v1/channels/chatwoot"));
        let answer = request.basic_auth("chatwoot", Some(&self.key)).json(&event).send().await.unwrap();
        assert!(answer.status().is_success(), "{}: {}", answer.status(), self.server.output());
        answer.json().await.unwrap()
    }

    /// Waits until so many requests have come, and gives them.
    fn sent(&self, count: usize) -> Vec<Received> {
        wait_until(&format!("{count} requests: {}", self.server.output()), || {
            self.chatwoot.received().len() >= count
        });
        self.chatwoot.received()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_answered_in_their_help_desk_until_people_take_over() {
    let desk = Desk::open().await;
    assert_eq!(desk.hook(1, "hi there", "pending").await["status"], "accepted");
    let answer = desk.sent(1).remove(0);
    assert_eq!(answer.line, "POST /api/v1/accounts/1/conversations/7/messages");
    assert_eq!(answer.field("api_access_token"), Some("bot-token"));
    assert_eq!(
        (&answer.body["content"], &answer.body["message_type"]),
        (&json!("You said: hi there"), &json!("outgoing"))
    );
    // Sent again, it is answered once.
    desk.hook(1, "hi there", "pending").await;

    desk.hook(2, r#"A human! [sim: call hand_over {"reason":"asked for"}]"#, "pending").await;
    wait_until("the conversation to be opened", || {
        desk.chatwoot
            .received()
            .iter()
            .any(|sent| sent.line.ends_with("/toggle_status") && sent.body["status"] == "open")
    });
    let before = desk.chatwoot.received().len();
    let asked = desk.model.0.handle().stats().requests;
    desk.hook(3, "anybody?", "open").await;
    // It is pending again, and the bot answers; what was said meanwhile was said to it.
    desk.hook(4, "are you back?", "pending").await;
    let back = desk.sent(before + 1).remove(before);
    assert_eq!(back.body["content"], "You said: are you back?");
    let stats = desk.model.0.handle().stats();
    assert_eq!(stats.requests, asked + 1, "while people had it, no model was asked");
    assert!(desk.model.last().to_string().contains("anybody?"), "{}", desk.model.last());
}
