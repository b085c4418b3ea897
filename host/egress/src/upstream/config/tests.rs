//! What is read, and every mistake with its place.

use waggle_manifest::{Diagnostics, RuntimeConfig};
use waggle_money::Money;
use waggle_secret::Secret;

use super::*;
use crate::credentials::CredentialPlace;
use crate::transport::HttpVersion;
use crate::upstream::policy::Policy;

fn read(text: &str) -> UpstreamsConfig {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The tables as the host reads them, with the mistakes of each and, where there are none, of all together.
fn mistakes(text: &str) -> Vec<(usize, String)> {
    let mut file = RuntimeConfig::parse("runtime.toml", text).unwrap();
    let mut found = Diagnostics::new();
    let upstreams = file.named_sections("upstream", &mut found);
    let models = file.named_sections("model", &mut found);
    file.finish(&mut found);
    if found.is_empty() {
        for mistake in UpstreamsConfig::new(upstreams, models).err().into_iter().flatten() {
            let path: Vec<&str> = mistake.path.iter().map(String::as_str).collect();
            found.push(file.mistake(&path, &mistake.message));
        }
    }
    found.sort();
    let line = |one: &waggle_manifest::Diagnostic| one.location.as_ref().map_or(0, |place| place.line);
    found.iter().map(|one| (line(one), one.to_string())).collect()
}

/// That `text` has exactly these mistakes, by line and a part of the message.
fn check(text: &str, expected: &[(usize, &str)]) {
    let found = mistakes(text);
    assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
    for ((line, message), (expected_line, part)) in found.iter().zip(expected) {
        assert!(line == expected_line && message.contains(part), "{expected_line} {part}\n{line} {message}");
    }
}

const FULL: &str = r#"
[upstream.openai]
endpoints = [{ url = "https://api.openai.com/v1", weight = 3 }, { url = "https://eu.api.openai.com/v1" }]
credential = { environment = "OPENAI_API_KEY" }
tenants = ["bank-a"]
http = "2"
roots_file = "ca.pem"
connect_timeout_ms = 1
first_byte_timeout_ms = 1_400
answer_timeout_ms = 3
between_bytes_timeout_ms = 4
total_timeout_ms = 5
attempts_max = 6
backoff_ms = 7
backoff_ms_max = 8
retries_per_100_calls = 9
retries_per_second_min = 10
hedge = true
[upstream.openai.breaker]
failures = 11
failures_per_100_calls = 12
open_ms = 13
probes_max = 14
[upstream.openai.concurrency]
min = 15
max = 16
waiting_max = 17
wait_ms = 18
[upstream.vllm]
url = "http://10.0.0.1:8000"
[model."gpt-5*"]
upstream = "openai"
failover = ["small"]
input_price_per_million = "0.25"
output_price_per_million = 2
cached_input_price_per_million = 0.025
[model.small]
upstreams = ["vllm", "openai"]
model = "Qwen/Qwen3-8B"
input_price_per_million = "0.1"
"#;

#[test]
fn every_key_is_read() {
    let config = read(FULL);
    let openai = &config.upstreams()["openai"];
    let endpoints: Vec<_> = openai.endpoints.iter().map(|one| (one.url.to_string(), one.weight)).collect();
    let expected =
        [("https://api.openai.com/v1".to_owned(), 3), ("https://eu.api.openai.com/v1".to_owned(), 1)];
    assert_eq!(endpoints, expected);
    let source = CredentialSource::Environment("OPENAI_API_KEY".to_owned());
    assert_eq!(openai.credential, Some(CredentialConfig::bearer(source)));
    assert!(openai.is_open_to("bank-a") && !openai.is_open_to("bank-b"));
    assert_eq!((openai.http, openai.roots_file.as_deref()), (HttpVersion::Http2, Some(Path::new("ca.pem"))));
    let policy = &openai.policy;
    assert_eq!(
        (policy.connect_timeout_ms, policy.first_byte_timeout_ms, policy.answer_timeout_ms),
        (1, 1_400, 3)
    );
    assert_eq!((policy.between_bytes_timeout_ms, policy.total_timeout_ms, policy.attempts_max), (4, 5, 6));
    assert_eq!((policy.backoff_ms, policy.backoff_ms_max, policy.hedge), (7, 8, true));
    assert_eq!((policy.retries_per_100_calls, policy.retries_per_second_min), (9, 10));
    let breaker = &policy.breaker;
    assert_eq!((breaker.failures, breaker.failures_per_100_calls), (11, 12));
    assert_eq!((breaker.open_ms, breaker.probes_max), (13, 14));
    let concurrency = &policy.concurrency;
    assert_eq!((concurrency.min, concurrency.max), (15, 16));
    assert_eq!((concurrency.waiting_max, concurrency.wait_ms), (17, 18));

    let price = |text: &str| Price::try_from(text.parse::<Money>().unwrap()).unwrap();
    let gpt = &config.models()["gpt-5*"];
    assert_eq!(gpt.upstreams, [UpstreamName::parse("openai").unwrap()]);
    assert_eq!((gpt.model.as_ref(), &*gpt.failover), (None, &[ModelName::parse("small").unwrap()][..]));
    let prices = Prices { input: price("0.25"), cached_input: price("0.025"), output: price("2") };
    assert_eq!(gpt.prices, prices);
    let small = &config.models()["small"];
    assert_eq!(small.model.as_ref().map(ModelName::as_str), Some("Qwen/Qwen3-8B"));
    let prices = Prices { input: price("0.1"), cached_input: price("0.1"), output: Price::default() };
    assert_eq!(small.prices, prices);
    check(FULL, &[]);
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = read("[upstream.a]\nurl = 'http://a'\n[model.'*']\nupstream = 'a'\n");
    let upstream = &config.upstreams()["a"];
    assert_eq!(*upstream, UpstreamConfig::at(BaseUrl::parse("http://a").unwrap()));
    assert_eq!(upstream.policy, Policy::default());
    assert!(upstream.is_open_to("anybody") && upstream.credential.is_none());
    assert_eq!(config.models()["*"], ModelConfig::at(UpstreamName::parse("a").unwrap()));
    assert!(read("").is_empty() && read("").models().is_empty());
}

#[test]
fn a_mistake_in_an_upstream_is_told_where_it_stands() {
    let upstream =
        |keys: &str| format!("[upstream.a]\nurl = 'http://a'\n{keys}\n[model.'*']\nupstream = 'a'\n");
    let check = |keys: &str, expected: &[(usize, &str)]| check(&upstream(keys), expected);
    check("first_byte_timout_ms = 1", &[(3, "did you mean `first_byte_timeout_ms`?")]);
    check("credentials = 1", &[(3, "did you mean `credential`?")]);
    check("attempts_max = 11", &[(3, "from 1 to 10, found 11")]);
    check(
        "attempts_max = 0\nhedge = 1\nfoo = 2",
        &[(3, "from 1 to 10"), (4, "expected a boolean"), (5, "unknown key `foo`")],
    );
    check("[upstream.a.breaker]\nfailures = 0\n", &[(4, "from 1 to 1000, found 0")]);
    check("breaker = { fails = 1 }", &[(3, "unknown key `fails`")]);
    check("http = '3'", &[(3, "unknown value `3`")]);
    check("http = 2", &[(3, "in `[upstream.a]`")]);
    check("tenants = 'a'", &[(3, "expected a sequence")]);
    check("endpoints = [{ url = 'http://b' }]", &[(1, "`url` and `endpoints` both")]);
    check("credential = { environment = 'A', file = 'b' }", &[(3, "several sources")]);
    check("credential = 'sk-1'", &[(3, "in `[upstream.a]`")]);
    check("tenants = []", &[(3, "no tenant may use it")]);
    check("backoff_ms = 3_000", &[(3, "more than `backoff_ms_max`, 2000")]);
    check("concurrency = { min = 17, max = 16 }", &[(3, "more than `max`, 16")]);
}

#[test]
fn a_mistake_in_an_endpoint_is_told_where_it_stands() {
    let check = |keys: &str, expected: &[(usize, &str)]| {
        check(&format!("[upstream.a]\n{keys}\n[model.'*']\nupstream = 'a'\n"), expected);
    };
    check("", &[(1, "add `url = \"https://…\"`")]);
    check("endpoints = []", &[(1, "add `url = \"https://…\"`")]);
    check("url = 'a.example'", &[(2, "write it as https://")]);
    check("url = 'https://a.example/v1?x=1'", &[(2, "it has a query")]);
    check("url = 'https://a.example/#x'", &[(2, "it has a fragment")]);
    check("url = 'https://u:p@a.example/'", &[(2, "it has a user")]);
    check(
        "endpoints = [\n{ url = 'http://a' },\n{ url = 'http://b', weight = 0 }]",
        &[(4, "from 1 to 1000, found 0")],
    );
    check("endpoints = [{ url = 'http://a', weigth = 1 }]", &[(2, "did you mean `weight`?")]);
    check("endpoints = [{ weight = 1 }]", &[(2, "`url` is missing")]);
    check("endpoints = [{ url = 'http://a' }, { url = 'http://a/' }]", &[(2, "is there twice")]);
    let many: Vec<String> = (0..17).map(|number| format!("{{ url = 'http://a{number}' }}")).collect();
    check(&format!("endpoints = [{}]", many.join(", ")), &[(2, "there are 17 endpoints; 16 at most")]);
}

#[test]
fn a_mistake_in_a_model_is_told_where_it_stands() {
    let check = |text: &str, expected: &[(usize, &str)]| {
        check(&format!("[upstream.a]\nurl = 'http://a'\n[upstream.b]\nurl = 'http://b'\n{text}\n"), expected);
    };
    check("[model.x]", &[(5, "add `upstream = \"NAME\"`")]);
    check("[model.x]\nupstreams = []", &[(5, "add `upstream = \"NAME\"`")]);
    check(
        "[model.x]\nupstream = 'c'",
        &[(6, "there is no upstream `c`; add `[upstream.c]`, or name one of a, b")],
    );
    check("[model.x]\nupstreams = ['a', 'c']", &[(6, "there is no upstream `c`")]);
    check("[model.x]\nupstreams = ['a', 'a']", &[(6, "`a` is there twice")]);
    check("[model.x]\nupstream = 'a'\nupstreams = ['b']", &[(5, "keep one of them")]);
    check("[model.x]\nupstream = 'A'", &[(6, "is no name of an upstream")]);
    check("[model.x]\nupstream = 'a'\nmodel = 'a b'", &[(7, "is no name of a model")]);
    check("[model.x]\nupstream = 'a'\nfailover = ['x*']", &[(7, "is no name of a model")]);
    check(
        "[model.x]\nupstream = 'a'\nfailover = ['y']",
        &[(7, "there is no model `y`; add `[model.\"y\"]`")],
    );
    check("[model.x]\nupstream = 'a'\nprice = 1", &[(7, "unknown key `price`")]);
    check("[model.x]\nupstream = 'a'\ninput_price_per_million = -1", &[(7, "at most 6 decimals")]);
    check("[model.'x*y']\nupstream = 'a'", &[(5, "neither a name of a model nor a pattern")]);
    check("[model.'']\nupstream = 'a'", &[(5, "neither a name of a model nor a pattern")]);
    check("", &[(1, "add `[model.\"*\"]` with `upstream = \"a\"`")]);
}

#[test]
fn names_and_counts_out_of_bounds_are_refused() {
    check(
        "[upstream.A]\nurl = 'http://a'\n[model.'*']\nupstream = 'a'\n",
        &[(1, "\"A\" is no name of an upstream"), (4, "there is no upstream `a`; add `[upstream.a]`")],
    );
    let many = |section: &str, count: usize, keys: &str| -> String {
        (0..count).map(|number| format!("[{section}.n{number}]\n{keys}\n")).collect()
    };
    let upstreams = many("upstream", UPSTREAMS_MAX + 1, "url = 'http://a'");
    check(&format!("{upstreams}[model.x]\nupstream = 'n0'"), &[(1, "there are 257 upstreams; 256 at most")]);
    let models = many("model", MODELS_MAX + 1, "upstream = 'a'");
    check(
        &format!("[upstream.a]\nurl = 'http://a'\n{models}"),
        &[(3, "there are 1001 models; 1000 at most")],
    );
}

#[test]
fn models_that_fail_over_in_a_circle_are_refused_once() {
    let check = |models: &[(&str, &str)], expected: &[&str]| {
        let mut text = "[upstream.u]\nurl = 'http://a'\n".to_owned();
        for (name, failover) in models {
            text.push_str(&format!("[model.'{name}']\nupstream = 'u'\nfailover = [{failover}]\n"));
        }
        let found = mistakes(&text);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for ((_, message), part) in found.iter().zip(expected) {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    };
    check(&[("a", "'b'"), ("b", "'c'"), ("c", "")], &[]);
    check(&[("a", "'b', 'c'"), ("b", "'d'"), ("c", "'d'"), ("d", "")], &[]);
    check(&[("a", "'a'")], &["`a` to `a`; end it"]);
    check(&[("a", "'b'"), ("b", "'c'"), ("c", "'a'")], &["`a` to `b` to `c` to `a`; end it"]);
    check(&[("a", "'b'"), ("b", "'c'"), ("c", "'b'")], &["`b` to `c` to `b`; end it"]);
    check(&[("a", "'b'"), ("b", "'a'"), ("c", "'d'"), ("d", "'c'")], &["`a` to `b`", "`c` to `d`"]);
    // What a name leads to counts, and here it is the pattern itself.
    check(&[("gpt-5*", "'gpt-5-mini'")], &["`gpt-5*` to `gpt-5*`"]);
    check(&[("gpt-5*", "'gpt-5-mini'"), ("gpt-5-mini", "")], &[]);
}

#[test]
fn files_are_relative_to_the_folder_that_is_given() {
    let text = "[upstream.a]\nurl = 'http://a'\nroots_file = 'ca.pem'\ncredential = { file = 'keys/a' }\n\
                [upstream.b]\nurl = 'http://b'\nroots_file = '/etc/ca.pem'\n[model.'*']\nupstream = 'a'\n";
    let mut config = read(text);
    config.resolve_files(Path::new("/srv/waggle"));
    let file = |name: &str| config.upstreams()[name].roots_file.clone().unwrap();
    assert_eq!(file("a"), Path::new("/srv/waggle/ca.pem"));
    assert_eq!(file("b"), Path::new("/etc/ca.pem"));
    let source = &config.upstreams()["a"].credential.as_ref().unwrap().source;
    assert_eq!(*source, CredentialSource::File("/srv/waggle/keys/a".into()));
}

#[test]
fn each_key_is_looked_up_where_it_is_kept() {
    let text = "[upstream.a]\nurl = 'http://a'\ncredential = { environment = 'A' }\n\
                [upstream.b]\nurl = 'http://b'\ncredential = { tenant_secret = 'mine' }\ntenants = ['t']\n\
                [upstream.c]\nurl = 'http://c'\n[model.'*']\nupstream = 'a'\n";
    let config = read(text);
    let host = config.host_credentials(|source| match source {
        CredentialSource::Environment(name) if name == "A" => Ok(Secret::new("hunter2")),
        other => Err(format!("asked for {other:?}")),
    });
    let host = host.unwrap();
    assert_eq!([0, 1, 2, 3].map(|index| host.get(index).is_some()), [true, false, false, false]);
    let of_tenant = |tenant: &str, secret: &str| {
        let look_up = |name: &str| (name == "mine").then(|| Secret::new(secret));
        config.tenant_credentials(tenant, look_up)
    };
    let (mine, mistakes) = of_tenant("t", "hunter2");
    assert!(mistakes.is_empty(), "{mistakes:?}");
    assert_eq!([0, 1, 2].map(|index| mine.get(index).is_some()), [false, true, false]);
    assert!(of_tenant("other", "hunter2").0.get(1).is_none());
    assert!(config.tenant_credentials("t", |_| None).0.get(1).is_none());

    let failed = config.host_credentials(|_| Err("the environment variable `A` is not set")).unwrap_err();
    assert_eq!(failed[0].to_string(), "upstream.a.credential: the environment variable `A` is not set");
    assert!(!format!("{config:?} {host:?} {mine:?} {failed:?}").contains("hunter2"));
}

#[test]
fn a_secret_that_cannot_be_sent_costs_only_the_upstream_it_belongs_to() {
    let text = "[upstream.a]\nurl = 'http://a'\ncredential = { tenant_secret = 'first' }\n\
                [upstream.b]\nurl = 'http://b'\ncredential = { tenant_secret = 'second' }\n\
                [upstream.c]\nurl = 'http://c'\ncredential = { tenant_secret = 'third' }\n[model.'*']\nupstream = 'a'\n";
    let config = read(text);
    let look_up = |name: &str| Some(Secret::new(if name == "second" { "hunter2\n" } else { "hunter3" }));
    let (credentials, mistakes) = config.tenant_credentials("t", look_up);
    assert_eq!([0, 1, 2].map(|index| credentials.get(index).is_some()), [true, false, true]);
    let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].starts_with("upstream.b.credential: "), "{told:?}");
    assert!(
        told[0].contains("line end") && !format!("{credentials:?} {told:?}").contains("hunter"),
        "{told:?}"
    );
}

#[test]
fn a_credential_is_put_on_every_endpoint_and_only_there() {
    let text = "[upstream.a]\nendpoints = [{ url = 'http://a/v1' }, { url = 'https://b' }]\n\
                credential = { environment = 'A', query = 'key' }\n[model.'*']\nupstream = 'a'\n";
    let config = read(text);
    let upstream = &config.upstreams()["a"];
    assert_eq!(upstream.credential.as_ref().unwrap().place, CredentialPlace::query("key").unwrap());
    let credentials = upstream.credentials(&Secret::new("sk")).unwrap().unwrap();
    let check = |url: &str, expected: bool| {
        let uri: http::Uri = url.parse().unwrap();
        let mut path = uri.path_and_query().unwrap().clone();
        let target = crate::target::Target::of(&uri, true).unwrap();
        let mut headers = http::HeaderMap::new();
        credentials.inject(&target, &mut path, &mut headers, &mut Default::default()).unwrap();
        assert_eq!(path.query() == Some("key=sk"), expected, "{url}");
    };
    check("http://a/v1/chat/completions", true);
    check("http://a/v2", false);
    check("https://a/v1", false);
    check("https://b/anything", true);
    check("http://b/anything", false);
    assert!(UpstreamConfig::default().credentials(&Secret::new("sk")).unwrap().is_none());
}

#[test]
fn every_key_of_the_policy_is_a_key_of_an_upstream() {
    let message = toml::from_str::<Policy>("nonsense = 1").unwrap_err().to_string();
    let known = message.split("expected one of").nth(1).unwrap();
    let keys: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    assert!(keys.len() >= 13, "{message}");
    let message = toml::from_str::<UpstreamConfig>("nonsense = 1").unwrap_err().to_string();
    for key in keys {
        assert!(
            message.contains(&format!("`{key}`")),
            "an upstream does not know the key {key} of its policy"
        );
    }
}

#[test]
fn a_mistake_names_its_key_as_it_would_be_written() {
    let check =
        |path: &[&str], expected: &str| assert_eq!(ConfigMistake::new(path, "m").to_string(), expected);
    check(&["upstream", "a", "url"], "upstream.a.url: m");
    check(&["model", "gpt-5*", "failover"], "model.\"gpt-5*\".failover: m");
    check(&["model", ""], "model.\"\": m");
}
