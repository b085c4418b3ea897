//! Which upstreams a model leads to.

use super::*;

const CONFIG: &str = r#"
[upstream.a]
url = "http://a"
[upstream.b]
url = "http://b"
[upstream.private]
url = "http://c"
tenants = ["bank"]
[model."*"]
upstream = "a"
[model."gpt-*"]
upstreams = ["b", "a"]
[model."gpt-5*"]
upstream = "b"
model = "five"
[model.gpt-5-mini]
upstreams = ["a", "b"]
[model.small]
upstream = "b"
model = "s"
failover = ["gpt-4"]
[model.medium]
upstream = "a"
model = "m"
failover = ["tiny"]
[model.tiny]
upstream = "a"
[model.large]
upstreams = ["private", "a"]
model = "l"
failover = ["medium", "small"]
[model.secret]
upstream = "private"
[model.careful]
upstream = "a"
failover = ["secret"]
"#;

fn routes(text: &str) -> Routes {
    Routes::new(&toml::from_str(text).unwrap())
}

/// The candidates as `upstream:model@configured`.
fn shown(routes: &Routes, model: &str, also: &[&str], tenant: &str) -> Vec<String> {
    let names = ["a", "b", "private"];
    let found = routes.candidates(model, also, tenant).unwrap();
    let show = |one: &Candidate| format!("{}:{}@{}", names[one.upstream], one.model, one.configured);
    found.iter().map(show).collect()
}

#[test]
fn an_exact_name_goes_before_a_pattern_and_a_long_pattern_before_a_short_one() {
    let routes = routes(CONFIG);
    let check = |model: &str, expected: &[&str]| {
        assert_eq!(shown(&routes, model, &[], "shop"), expected, "{model}");
    };
    check("gpt-5-mini", &["a:gpt-5-mini@gpt-5-mini", "b:gpt-5-mini@gpt-5-mini"]);
    check("gpt-5-mini-2", &["b:five@gpt-5*"]);
    check("gpt-5", &["b:five@gpt-5*"]);
    check("gpt-4o", &["b:gpt-4o@gpt-*", "a:gpt-4o@gpt-*"]);
    check("llama", &["a:llama@*"]);
    check("GPT-5", &["a:GPT-5@*"]);
}

#[test]
fn failover_follows_the_models_in_order_each_once() {
    let routes = routes(CONFIG);
    let check = |model: &str, also: &[&str], tenant: &str, expected: &[&str]| {
        assert_eq!(shown(&routes, model, also, tenant), expected, "{model} {also:?} {tenant}");
    };
    check("tiny", &[], "shop", &["a:tiny@tiny"]);
    check("small", &[], "shop", &["b:s@small", "b:gpt-4@gpt-*", "a:gpt-4@gpt-*"]);
    // Those that a model names itself go before those that these name.
    let rest = ["a:m@medium", "b:s@small", "a:tiny@tiny", "b:gpt-4@gpt-*", "a:gpt-4@gpt-*"];
    check("large", &[], "shop", &[&["a:l@large"], &rest[..]].concat());
    check("large", &[], "bank", &[&["private:l@large", "a:l@large"], &rest[..]].concat());
    // Those that the request names go before those that the configuration names.
    check(
        "medium",
        &["small"],
        "shop",
        &["a:m@medium", "b:s@small", "a:tiny@tiny", "b:gpt-4@gpt-*", "a:gpt-4@gpt-*"],
    );
    check("tiny", &["tiny", "tiny"], "shop", &["a:tiny@tiny"]);
    check("gpt-5-x", &["gpt-5-y"], "shop", &["b:five@gpt-5*"]);
}

#[test]
fn only_upstreams_that_the_tenant_may_use_are_candidates() {
    let routes = routes(CONFIG);
    assert_eq!(shown(&routes, "secret", &[], "bank"), ["private:secret@secret"]);
    assert_eq!(shown(&routes, "careful", &[], "bank"), ["a:careful@careful", "private:secret@secret"]);
    assert_eq!(shown(&routes, "careful", &[], "shop"), ["a:careful@careful"]);
    assert_eq!(routes.candidates("secret", &[], "shop").unwrap_err().model, "secret");
    assert_eq!(routes.candidates("tiny", &["secret"], "shop").unwrap_err().model, "secret");
}

#[test]
fn a_name_that_leads_nowhere_is_told() {
    let routes = routes("[upstream.a]\nurl = 'http://a'\n[model.x]\nupstream = 'a'\n");
    let check = |model: &str, also: &[&str], unknown: &str| {
        let error = routes.candidates(model, also, "t").unwrap_err();
        assert_eq!(error.model, unknown);
        assert!(error.to_string().contains(&format!("`{unknown}` does not exist")), "{error}");
    };
    check("y", &[], "y");
    check("x", &["x", "z"], "z");
    check("y", &["x"], "y");
    check("x2", &[], "x2");
    let long = "m".repeat(100_000);
    assert!(routes.candidates(&long, &[], "t").unwrap_err().to_string().len() < 300);
    assert!(Routes::new(&UpstreamsConfig::default()).candidates("x", &[], "t").is_err());
}

#[test]
fn there_are_never_more_candidates_than_the_bound() {
    let mut text = String::new();
    let names: Vec<String> = (0..16).map(|number| format!("'u{number}'")).collect();
    for name in &names {
        text.push_str(&format!("[upstream.{name}]\nurl = 'http://a'\n"));
    }
    let names = names.join(", ");
    text.push_str(&format!(
        "[model.x]\nupstreams = [{names}]\nfailover = ['y']\n[model.y]\nupstreams = [{names}]\n"
    ));
    let found = routes(&text).candidates("x", &["y"], "t").unwrap();
    assert_eq!(found.len(), CANDIDATES_MAX);
    assert!(found.iter().all(|candidate| &*candidate.model == "x"));
}

#[test]
fn a_long_chain_of_failover_ends() {
    let mut text = "[upstream.u]\nurl = 'http://a'\n".to_owned();
    for number in 0..200 {
        let next = if number < 199 { format!("'m{}'", number + 1) } else { String::new() };
        text.push_str(&format!("[model.m{number}]\nupstream = 'u'\nfailover = [{next}]\n"));
    }
    let found = routes(&text).candidates("m0", &[], "t").unwrap();
    let expected: Vec<String> = (0..CANDIDATES_MAX).map(|number| format!("m{number}")).collect();
    assert_eq!(found.iter().map(|one| one.model.to_string()).collect::<Vec<_>>(), expected);
}

#[test]
fn the_list_of_models_has_names_and_only_those_the_tenant_may_use() {
    let routes = routes(CONFIG);
    let names = |tenant: &str| routes.models(tenant).iter().map(|name| name.to_string()).collect::<Vec<_>>();
    assert_eq!(names("shop"), ["careful", "gpt-5-mini", "large", "medium", "small", "tiny"]);
    assert_eq!(names("bank"), ["careful", "gpt-5-mini", "large", "medium", "secret", "small", "tiny"]);
}

#[test]
fn a_candidate_has_the_prices_of_its_model() {
    let text = "[upstream.a]\nurl = 'http://a'\n[model.x]\nupstream = 'a'\noutput_price_per_million = 2\nfailover = ['y']\n\
                [model.y]\nupstream = 'a'\noutput_price_per_million = 3\n";
    let found = routes(text).candidates("x", &[], "t").unwrap();
    let prices: Vec<u64> = found.iter().map(|one| one.prices.cost_micros(0, 0, 1_000_000)).collect();
    assert_eq!(prices, [2_000_000, 3_000_000]);
}

#[test]
fn names_are_shared_and_not_copied() {
    let routes = routes(CONFIG);
    let name = |model: &str| routes.candidates(model, &[], "shop").unwrap()[0].model.clone();
    for model in ["small", "tiny", "gpt-5-x"] {
        assert!(Arc::ptr_eq(&name(model), &name(model)), "{model}");
    }
}

#[test]
fn the_dearest_candidate_depends_on_how_long_prompt_and_answer_are() {
    let routes = routes(
        "[upstream.a]\nurl = 'http://a'\n\
         [model.free]\nupstream = 'a'\nfailover = ['reads', 'writes']\n\
         [model.reads]\nupstream = 'a'\ninput_price_per_million = 9\noutput_price_per_million = 1\n\
         [model.writes]\nupstream = 'a'\ninput_price_per_million = 1\noutput_price_per_million = 9\n",
    );
    let check = |model: &str, also: &[&str], input: u64, output: u64, expected: u64| {
        let candidates = routes.candidates(model, also, "t").unwrap();
        assert_eq!(
            cost_micros_max(&candidates, input, output),
            expected,
            "{model} {also:?} {input} {output}"
        );
    };
    check("free", &[], 100, 10, 910);
    check("free", &[], 10, 100, 910);
    check("reads", &[], 10, 100, 190);
    check("reads", &["writes"], 10, 100, 910);
    assert_eq!(cost_micros_max(&[], 10, 10), 0);
}

#[test]
fn a_call_goes_only_where_its_api_is_understood() {
    let routes = routes(
        r#"
[upstream.a]
url = "http://a"
[upstream.b]
url = "http://b"
api = ["responses"]
[upstream.both]
url = "http://c"
api = ["chat_completions", "responses"]
[model.m]
upstreams = ["a", "b", "both"]
[model.chat]
upstream = "a"
failover = ["m"]
[model.alone]
upstream = "a"
"#,
    );
    let check = |model: &str, path: &str, expected: &[usize]| {
        let found = routes.candidates_by(Api::of_path(path), model, &[], "t").unwrap();
        let found: Vec<usize> = found.iter().map(|one| one.upstream).collect();
        assert_eq!(found, expected, "{model} {path}");
    };
    check("m", "/v1/chat/completions", &[0, 2]);
    check("m", "/v1/responses", &[1, 2]);
    check("m", "/v1/embeddings", &[0, 1, 2]);
    check("chat", "/v1/responses", &[1, 2]);
    let refused = |model: &str| routes.candidates_by(Some(Api::Responses), model, &[], "t").unwrap_err();
    let NoCandidate::Api(told) = refused("alone") else { panic!("{:?}", refused("alone")) };
    let told = told.to_string();
    assert!(told.contains("`alone`") && told.contains("\"responses\"") && told.len() < 300, "{told}");
    assert!(matches!(refused("nobody"), NoCandidate::Model(_)));
}
