//! The function without its host: chat and tools that are scripted, a store in memory.

use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use waggle_conversation::memory::MemoryStore;
use waggle_desk::{Answer, Service};
use waggle_model::transport::{ChunkSource, TransportFailure};
use waggle_platform::{
    Delivery, NeighbourAnswer, NeighbourCall, Platform, QueueFailure, Reply, Request, TokenCount,
};

/// How far the clock goes on whenever somebody who sleeps is looked at.
const TICK_MS: u64 = 50;

/// A call of another function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Called {
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) key: String,
}

#[derive(Clone, Default)]
pub(crate) struct Surroundings {
    pub(crate) queue: Rc<RefCell<Vec<String>>>,
    pub(crate) queue_fails: Rc<RefCell<Option<QueueFailure>>>,
    /// What chat answers to turns, one after the other: status and body.
    pub(crate) turns: Rc<RefCell<VecDeque<(u16, Value)>>>,
    /// What the tool answers to calls; where there is nothing, that it is done.
    pub(crate) tool: Rc<RefCell<VecDeque<Value>>>,
    pub(crate) called: Rc<RefCell<Vec<Called>>>,
    pub(crate) lines: Rc<RefCell<Vec<String>>>,
    pub(crate) passed_ms: Rc<Cell<u64>>,
}

impl Surroundings {
    fn answer(&self, call: &NeighbourCall<'_>, key: &str) -> (u16, Value) {
        let body: Value = serde_json::from_slice(&call.body).expect("a body of JSON");
        let called = Called { path: call.path.to_owned(), body: body.clone(), key: key.to_owned() };
        match (call.function, call.path) {
            ("tools", "/v1/tools/catalog") => {
                let (label, function) = (&body["select"][0]["label"], &body["select"][0]["functions"][0]);
                let tool = json!({"name": "x", "label": label, "function": function, "description": "",
                    "parameters": {}, "side_effects": true, "idempotent": false, "needs_approval": false, "digest": "d"});
                (200, json!({"tools": [tool]}))
            }
            ("tools", "/v1/tools/call") => {
                self.called.borrow_mut().push(called);
                let done = json!({"output": "{}", "attempts": 1, "duration_ms": 1});
                (200, self.tool.borrow_mut().pop_front().unwrap_or(done))
            }
            ("chat", "/v1/chat") => {
                self.called.borrow_mut().push(called);
                self.turns.borrow_mut().pop_front().expect("chat was asked once too often")
            }
            ("chat", _) => {
                self.called.borrow_mut().push(called);
                (200, json!({}))
            }
            other => panic!("nobody is called so: {other:?}"),
        }
    }
}

fn reply(answer: (u16, Value)) -> Result<NeighbourAnswer, TransportFailure> {
    let (status, body) = answer;
    Ok(NeighbourAnswer { status, retry_after: None, body: body.to_string().into_bytes() })
}

impl Platform for Surroundings {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.passed_ms.get()
    }

    fn sleep(&self, ms: u64) -> impl Future<Output = ()> + 'static {
        let passed_ms = self.passed_ms.clone();
        let until_ms = passed_ms.get() + ms;
        poll_fn(move |context| {
            if passed_ms.get() >= until_ms {
                return Poll::Ready(());
            }
            passed_ms.set(passed_ms.get() + TICK_MS);
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn random(&self) -> u128 {
        7
    }

    async fn variable(&self, _name: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    fn log(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
    }

    fn count_tokens(&self, _model: &str, _texts: &[&str]) -> Vec<TokenCount> {
        Vec::new()
    }

    async fn enqueue(&self, path: &str) -> Result<(), QueueFailure> {
        if let Some(failure) = self.queue_fails.borrow().clone() {
            return Err(failure);
        }
        self.queue.borrow_mut().push(path.to_owned());
        Ok(())
    }

    async fn call_neighbour(&self, call: NeighbourCall<'_>) -> Result<NeighbourAnswer, TransportFailure> {
        reply(self.answer(&call, ""))
    }

    async fn call_neighbour_once(
        &self,
        call: NeighbourCall<'_>,
        key: &str,
    ) -> Result<NeighbourAnswer, TransportFailure> {
        reply(self.answer(&call, key))
    }
}

struct Body(Option<Vec<u8>>);

impl ChunkSource for Body {
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, TransportFailure> {
        Ok(self.0.take())
    }
}

#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) platform: Surroundings,
    pub(crate) user: Vec<Vec<u8>>,
}

impl World {
    pub(crate) fn send(&self, request: Request<'_>, body: &str) -> Reply {
        let service = Service { store: self.store.clone(), platform: self.platform.clone() };
        let body = Body(Some(body.as_bytes().to_vec()));
        futures::executor::block_on(async {
            match service.handle(Request { user: &self.user, ..request }, body).await {
                Answer::Reply(reply) => reply,
                Answer::Working(reply, work) => {
                    work.run().await;
                    reply
                }
            }
        })
    }

    /// Chatwoot tells of an event, and is answered so.
    pub(crate) fn hook(&self, event: &Value, status: u16) -> Value {
        let request =
            Request { method: "POST", path_with_query: "/v1/channels/chatwoot", ..Request::default() };
        let reply = self.send(request, &event.to_string());
        let text = String::from_utf8(reply.body).unwrap();
        assert_eq!(reply.status, status, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Delivers what was queued last; gives its status.
    pub(crate) fn deliver(&self, last: bool) -> u16 {
        let path = self.platform.queue.borrow().last().expect("something queued").clone();
        let work = Some(Delivery { last });
        self.send(Request { method: "POST", path_with_query: &path, work, ..Request::default() }, "").status
    }

    /// What chat answers to the next turn.
    pub(crate) fn answers(&self, answer: &str, handover: bool) {
        let mut body = json!({"answer": answer, "seq": 1, "session": SESSION, "fallback": false, "response_id": "resp_1"});
        if handover {
            body["handover"] = json!(true);
        }
        self.platform.turns.borrow_mut().push_back((200, body));
    }

    /// The calls since the last time.
    pub(crate) fn called(&self) -> Vec<Called> {
        self.platform.called.take()
    }

    /// Their paths, with the tool's functions.
    pub(crate) fn did(&self) -> Vec<String> {
        let name = |called: Called| match called.body["function"].as_str() {
            Some(function) => function.to_owned(),
            None if called.body["handed_over"] == false => format!("{} back", called.path),
            None => called.path,
        };
        self.called().into_iter().map(name).collect()
    }

    pub(crate) fn record(&self) -> Value {
        let store = self.store.dump();
        serde_json::from_slice(&store["channel/chatwoot/1/7"]).unwrap()
    }
}

pub(crate) const SESSION: &str = "conv_0123456789abcdefghjkmnpq";

/// A message, as Chatwoot tells of it.
pub(crate) fn said(id: u64, text: &str, status: &str) -> Value {
    json!({"event": "message_created", "id": id, "content": text, "message_type": "incoming", "private": false,
        "sender": {"id": 9, "name": "Ada"}, "account": {"id": 1, "name": "Shop"},
        "conversation": {"id": 7, "status": status, "contact_inbox": {"contact_id": 9}}})
}

/// What one of Chatwoot's people has written.
pub(crate) fn wrote(id: u64, text: &str) -> Value {
    let mut event = said(id, text, "open");
    event["message_type"] = json!("outgoing");
    event["sender"] = json!({"id": 3, "type": "user"});
    event
}

/// A change of status.
pub(crate) fn status(event: &str, timestamp: u64) -> Value {
    json!({"event": event, "id": 7, "timestamp": timestamp, "messages": [{"account_id": 1}],
        "contact_inbox": {"contact_id": 9}})
}
