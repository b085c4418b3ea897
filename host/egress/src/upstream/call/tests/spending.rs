//! Prompts that upstreams read for nothing are counted, where each was sent.

use super::script::{Act, ROLE, STREAMED, Scene, TOKEN, cut, one, refused};
use crate::upstream::PromptsSpent;
use crate::upstream::call::CallOptions;
use std::time::Duration;
use tokio::time::Instant;

/// A call of 40 bytes of prompt, which are 10 tokens.
fn asking() -> String {
    format!(r#"{{"model":"m","stream":true,"messages":"{}"}}"#, "x".repeat(38))
}

fn told(spent: &PromptsSpent) -> (u32, u64, u64) {
    (spent.prompts(), spent.tokens(), spent.cost_micros())
}

#[tokio::test(start_paused = true)]
async fn a_prompt_is_spent_where_the_upstream_was_left_at_work() {
    // What the upstream does with each of two attempts, and how many prompts that costs.
    let check = async |act: Act, prompts: u32| {
        let text = format!("{act:?}");
        let config = format!("{}input_price_per_million = 2", one("attempts_max = 2"));
        let scene = Scene::new(&config, move |_, _| act.clone());
        let spent = PromptsSpent::default();
        let got = scene.call_with(&asking(), CallOptions { spent: Some(&spent), ..scene.options() }).await;
        let expected = (prompts, u64::from(prompts) * 10, u64::from(prompts) * 20);
        assert_eq!(told(&spent), expected, "{text} {}", got.status);
        scene.assert_idle();
    };
    check(Act::hang(), 2).await;
    check(Act::events().stall(), 2).await;
    check(Act::events().piece(0, ROLE).stall(), 2).await;
    check(Act::events().piece(0, ROLE).break_off(10), 2).await;
    check(Act::events(), 2).await;
    for status in [400, 401, 404, 408, 429, 500, 503] {
        check(Act::status(status), 0).await;
    }
    check(Act::html(), 0).await;
    check(Act::error(refused), 0).await;
    check(Act::error(cut), 0).await;
    check(Act::stream(0).connecting(5_000), 0).await;
    // An answer that began has its own usage, whatever becomes of it.
    check(Act::stream(0), 0).await;
    check(Act::events().piece(0, TOKEN).break_off(0), 0).await;
}

#[tokio::test(start_paused = true)]
async fn each_prompt_costs_what_it_costs_where_it_was_sent() {
    let config = "[upstream.one]\nurl = 'http://a.test'\nattempts_max = 2\n[upstream.two]\nurl = 'http://b.test'\n\
                  [model.m]\nupstream = 'one'\nfailover = ['n']\ninput_price_per_million = 2\n\
                  [model.n]\nupstream = 'two'\ninput_price_per_million = 5\n";
    let scene = Scene::new(config, |host, before| match (host, before) {
        ("a.test", _) | ("b.test", 0) => Act::hang(),
        _ => Act::stream(0),
    });
    let spent = PromptsSpent::default();
    let got = scene.call_with(&asking(), CallOptions { spent: Some(&spent), ..scene.options() }).await;
    assert_eq!((got.status, scene.asked().as_str()), (200, "aabb"));
    assert_eq!(told(&spent), (3, 30, 20 + 20 + 50));
}

#[tokio::test(start_paused = true)]
async fn the_loser_of_two_attempts_is_paid_for() {
    let config = "[upstream.one]\nendpoints = [{ url = 'http://a.test' }, { url = 'http://b.test' }]\nhedge = true\n\
                  [model.m]\nupstream = 'one'\n";
    let check = async |slow: Act, prompts: u32| {
        let text = format!("{slow:?}");
        let scene = Scene::new(config, move |_, before| match before {
            0..20 => Act::stream(100),
            _ => slow.clone(),
        });
        for _ in 0..40 {
            scene.stream().await;
        }
        let spent = PromptsSpent::default();
        let got = scene.call_with(STREAMED, CallOptions { spent: Some(&spent), ..scene.options() }).await;
        assert_eq!(
            (got.status, got.field("waggle-attempts"), spent.prompts()),
            (200, "2", prompts),
            "{text}"
        );
    };
    check(Act::stream(1_000), 1).await;
    check(Act::stream(0).connecting(900), 0).await;
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_before_the_answer_has_spent_the_prompt_if_it_had_been_sent() {
    let check = async |act: Act, way: &str, prompts: u32| {
        let text = format!("{act:?} {way}");
        let scene = Scene::new(&one(""), move |_, _| act.clone());
        let spent = PromptsSpent::default();
        let patience = Duration::from_millis(50);
        let deadline = (way == "deadline").then(|| Instant::now() + patience);
        let options = CallOptions { spent: Some(&spent), deadline, ..scene.options() };
        let call = scene.call_with(STREAMED, options);
        if way == "drop" {
            assert!(tokio::time::timeout(patience, call).await.is_err(), "{text}");
        } else {
            assert_eq!(call.await.status, 504, "{text}");
        }
        assert_eq!(spent.prompts(), prompts, "{text}");
        scene.assert_idle();
    };
    for way in ["drop", "deadline"] {
        check(Act::hang(), way, 1).await;
        check(Act::events().stall(), way, 1).await;
        check(Act::stream(0).connecting(900), way, 0).await;
    }
}
