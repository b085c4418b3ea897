//! A question that many ask at once goes over one connection, and one that was answered goes over none.

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use waggle_egress::answer_cache::{
    AnswerBody, AnswerCacheConfig, AnswerCaches, AnswerSettings, AnswerSource, AskOptions, Question,
    TenantAnswers,
};
use waggle_egress::{Egress, EgressError, ResponseBody, SendOptions};

use crate::support::{Upstream, egress, read_head, until, until_closed, within};

const QUESTION: &str = r#"{"messages":[{"role":"user","content":"Is it open?"}],"stream":true}"#;
const EVENTS: [&str; 3] = [
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Yes.\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n",
];

/// A model that sends its first event at once, and the rest when it is told to.
struct Model {
    upstream: Upstream,
    goes_on: watch::Sender<bool>,
    has_closed: watch::Receiver<bool>,
}

impl Model {
    async fn start() -> Self {
        let (goes_on, told) = watch::channel(false);
        let (closed, has_closed) = watch::channel(false);
        let upstream = Upstream::start(move |mut stream| {
            let (mut told, closed) = (told.clone(), closed.clone());
            async move {
                read_head(&mut stream).await;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                let [first, second, last] =
                    EVENTS.map(|event| format!("{:x}\r\n{event}\r\n", event.len()));
                stream.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
                tokio::select! {
                    _ = told.wait_for(|told| *told) => {}
                    () = until_closed(&mut stream) => {
                        closed.send_replace(true);
                        return;
                    }
                }
                stream.write_all(format!("{second}{last}0\r\n\r\n").as_bytes()).await.unwrap();
                until_closed(&mut stream).await;
                closed.send_replace(true);
            }
        })
        .await;
        Self { upstream, goes_on, has_closed }
    }
}

fn caches() -> (AnswerCaches, TenantAnswers) {
    let caches = AnswerCaches::new(&AnswerCacheConfig::default());
    let answers = caches.tenant("bank", AnswerSettings { time_to_live_s: 60 });
    (caches, answers)
}

/// Asks the model at `url` by a call of its own, if one is needed.
async fn begin(
    answers: &TenantAnswers,
    egress: &Egress,
    url: String,
) -> Result<Response<AnswerBody<ResponseBody>>, EgressError> {
    let question = Question { path: "/v1/chat/completions", model: "small", body: QUESTION.as_bytes() };
    let egress = egress.clone();
    let call = |token| async move {
        let request = Request::post(url).body(Full::from(QUESTION)).unwrap();
        let options = SendOptions { cancelled: Some(token), allow_private: true, ..SendOptions::default() };
        egress.send(request, options).await
    };
    answers.get_or_call(question, AskOptions::default(), call).await
}

fn asker(answers: &TenantAnswers, egress: &Egress, model: &Model) -> JoinHandle<(AnswerSource, String)> {
    let (answers, egress) = (answers.clone(), egress.clone());
    let url = model.upstream.url("/v1/chat/completions");
    tokio::spawn(async move {
        let response = begin(&answers, &egress, url).await.unwrap();
        let source = *response.extensions().get::<AnswerSource>().unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        (source, String::from_utf8(text.to_vec()).unwrap())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_askers_take_one_connection_and_later_ones_none() {
    let (model, egress, (caches, answers)) = (Model::start().await, egress(), caches());
    let askers: Vec<_> = (0..20).map(|_| asker(&answers, &egress, &model)).collect();
    until("all have asked", || caches.stats().waits == 19).await;
    model.goes_on.send_replace(true);
    for asker in askers {
        let (source, text) = within(asker).await.unwrap();
        assert!(matches!(source, AnswerSource::Miss | AnswerSource::Joined));
        assert_eq!(text, EVENTS.concat());
    }
    until("the answer is kept", || caches.stats().answers == 1).await;
    let later = within(asker(&answers, &egress, &model)).await.unwrap();
    assert_eq!(later, (AnswerSource::Hit, EVENTS.concat()));
    assert_eq!(model.upstream.connections(), 1);
    until("the connection waits for the next call", || egress.idle_connections() == 1).await;
}

#[tokio::test]
async fn the_connection_closes_when_the_last_asker_has_gone() {
    let (mut model, egress, (caches, answers)) = (Model::start().await, egress(), caches());
    let url = || model.upstream.url("/v1/chat/completions");
    let mut leader = within(begin(&answers, &egress, url())).await.unwrap().into_body();
    let mut follower = within(begin(&answers, &egress, url())).await.unwrap().into_body();
    within(leader.frame()).await.unwrap().unwrap();
    drop(leader);
    let first = within(follower.frame()).await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((first.as_ref(), *model.has_closed.borrow()), (EVENTS[0].as_bytes(), false));
    drop(follower);
    within(model.has_closed.wait_for(|closed| *closed)).await.unwrap();
    assert_eq!((caches.stats().calls, caches.stats().answers), (0, 0));
    assert_eq!(egress.idle_connections(), 0);
}

#[tokio::test]
async fn a_reader_that_leaves_at_the_last_event_leaves_connection_and_answer_behind() {
    let (model, egress, (caches, answers)) = (Model::start().await, egress(), caches());
    model.goes_on.send_replace(true);
    let url = model.upstream.url("/v1/chat/completions");
    let mut body = within(begin(&answers, &egress, url)).await.unwrap().into_body();
    let mut text = Vec::new();
    while !text.ends_with(EVENTS[2].as_bytes()) {
        text.extend_from_slice(&within(body.frame()).await.unwrap().unwrap().into_data().unwrap());
    }
    drop(body);
    let later = within(asker(&answers, &egress, &model)).await.unwrap();
    assert_eq!(later.1, EVENTS.concat());
    until("the answer is kept", || caches.stats().answers == 1).await;
    until("the connection waits for the next call", || egress.idle_connections() == 1).await;
    assert_eq!((model.upstream.connections(), caches.stats().misses), (1, 1));
}
