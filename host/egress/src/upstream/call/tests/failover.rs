//! Which upstream is asked when another one fails.

use super::script::{Act, STREAMED, Scene, WHOLE, refused};
use crate::upstream::call::{CallOptions, MODELS_HOST};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;

/// Upstreams `one` at a.test and `two` at b.test, and models that go to both in several ways.
const TWO: &str = "
    [upstream.one]
    url = 'http://a.test/v1'
    attempts_max = 2
    [upstream.two]
    url = 'http://b.test/v1'
    attempts_max = 2
    [upstream.three]
    url = 'http://c.test/v1'
    tenants = ['shop-b']
    [upstream.four]
    url = 'http://d.test/v1'
    credential = { tenant_secret = 'key' }
    [model.m]
    upstreams = ['one', 'two']
    model = 'm-there'
    [model.large]
    upstream = 'one'
    failover = ['small']
    [model.small]
    upstream = 'two'
    [model.other]
    upstream = 'three'
    [model.keyed]
    upstream = 'four'
    failover = ['small']
    [model.'pattern-*']
    upstream = 'one'
";

fn scene(a: Act, b: Act) -> Scene {
    Scene::new(TWO, move |host, _| if host == "a.test" { a.clone() } else { b.clone() })
}

#[tokio::test(start_paused = true)]
async fn the_next_upstream_is_asked_when_one_fails() {
    // What each of both does, who is asked, the status and who answered.
    let check = async |a: Act, b: Act, asked: &str, status: u16, upstream: &str| {
        let text = format!("{a:?} {b:?}");
        let scene = scene(a, b);
        let got = scene.stream().await;
        assert_eq!((scene.asked().as_str(), got.status), (asked, status), "{text}");
        assert_eq!(got.field("waggle-upstream"), upstream, "{text}");
        scene.assert_idle();
    };
    let fine = || Act::stream(0);
    check(fine(), fine(), "a", 200, "one").await;
    check(Act::error(refused), fine(), "aab", 200, "two").await;
    check(Act::events().stall(), fine(), "aab", 200, "two").await;
    check(Act::status(429).header("retry-after", "60"), fine(), "ab", 200, "two").await;
    check(Act::status(401), fine(), "ab", 200, "two").await;
    check(Act::status(403), fine(), "ab", 200, "two").await;
    check(Act::status(404), fine(), "ab", 200, "two").await;
    check(Act::status(400), fine(), "a", 400, "one").await;
    check(Act::status(422), fine(), "a", 422, "one").await;
    check(Act::status(501), fine(), "ab", 200, "two").await;
    check(Act::error(refused), Act::status(400), "aab", 400, "two").await;
    check(Act::status(401), Act::status(404), "ab", 401, "").await;
    check(Act::status(404), Act::error(refused), "abb", 503, "").await;
    check(Act::status(500), Act::status(500), "aabb", 503, "").await;
    check(Act::hang(), Act::hang(), "aabb", 504, "").await;
    check(Act::status(429), Act::status(429), "aabb", 429, "").await;
    check(Act::status(429), Act::hang(), "aabb", 503, "").await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_without_the_upstreams_own_words() {
    for (status, code) in
        [(401, "upstream_unauthorized"), (403, "upstream_forbidden"), (404, "model_not_found")]
    {
        let act = Act::status(status).piece(0, "{\"error\":{\"message\":\"Incorrect API key: sk-hidden\"}}");
        let scene = scene(act.clone(), act);
        let got = scene.call(WHOLE).await;
        assert_eq!((got.status, got.code().as_str()), (status, code));
        assert!(!got.body.unwrap().contains("hidden"));
        assert_eq!(got.headers.get("retry-after"), None);
        assert_eq!(scene.snapshot().answers, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn models_are_failed_over_to_as_configured_and_as_the_request_says() {
    let check = async |body: &str, asked: &str, model: &str| {
        let scene = scene(Act::error(refused), Act::json());
        let got = scene.call(body).await;
        assert_eq!((scene.asked().as_str(), got.field("waggle-model")), (asked, model), "{body}");
    };
    check(r#"{"model":"large"}"#, "aab", "small").await;
    check(r#"{"model":"pattern-x"}"#, "aa", "").await;
    check(r#"{"model":"pattern-x","models":["small"]}"#, "aab", "small").await;
    check(r#"{"model":"small","models":["large"]}"#, "b", "small").await;
    let scene = scene(Act::json(), Act::json());
    let got = scene.call(r#"{"model":"pattern-x"}"#).await;
    assert_eq!(got.field("waggle-model"), "pattern-x", "a pattern is no name");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_without_its_key_does_not_reach_the_upstream_that_wants_it() {
    let scene = scene(Act::json(), Act::json());
    let got = scene.call(r#"{"model":"keyed"}"#).await;
    assert_eq!((scene.asked().as_str(), got.field("waggle-upstream")), ("b", "two"));
    let config: crate::upstream::UpstreamsConfig = toml::from_str(TWO).unwrap();
    let (credentials, _none) = config.tenant_credentials("bank-a", |_| Some(crate::Secret::new("sk")));
    let options = CallOptions { credentials: Some(&credentials), ..scene.options() };
    let got = scene.call_with(r#"{"model":"keyed"}"#, options).await;
    assert_eq!((scene.asked().as_str(), got.field("waggle-upstream")), ("bd", "four"));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_call_is_answered_by_the_host() {
    let check = async |method: &str, path: &str, body: &str, status: u16, code: &str| {
        let scene = scene(Act::json(), Act::json());
        let request = Request::builder().method(method).uri(format!("http://{MODELS_HOST}{path}"));
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let response = scene.upstreams.call(request, scene.options()).await.unwrap();
        assert_eq!(response.status(), status, "{method} {path} {body}");
        let text = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let text: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(text["error"]["code"], code, "{method} {path} {body}");
        assert_eq!(scene.count(), 0);
    };
    let chat = "/v1/chat/completions";
    check("POST", chat, "", 400, "invalid_body").await;
    check("POST", chat, "[]", 400, "invalid_body").await;
    check("POST", chat, "{}", 400, "invalid_body").await;
    check("POST", chat, r#"{"model":"unknown"}"#, 404, "model_not_found").await;
    check("POST", chat, r#"{"model":"other"}"#, 404, "model_not_found").await;
    check("POST", "/v2/chat/completions", WHOLE, 404, "unknown_url").await;
    check("POST", "/v1", WHOLE, 404, "unknown_url").await;
    check("GET", "/v1/models", "", 405, "method_not_allowed").await;
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_failing_over_as_well() {
    let scene = scene(Act::hang(), Act::stream(0));
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(1_000);
    let options = CallOptions { deadline: Some(deadline), ..scene.options() };
    let got = scene.call_with(STREAMED, options).await;
    assert_eq!((scene.asked().as_str(), got.code().as_str()), ("a", "upstream_timeout"));
}
