//! What is read off a body and what is written into it, held against a parser that builds a tree.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[test]
fn what_the_host_must_know_is_read_off_the_top_level() {
    let body = bytes(
        r#" {"messages":[{"role":"user","content":"hi","model":"inner","stream":false}],
        "model" : "gpt-5", "models":["gpt-5","a","b","a"],"stream":true,"max_tokens":10,"max_completion_tokens":20,
        "user":"u-1","tools":[{}],"metadata":{"model":"m"}} "#,
    );
    let call = read(&body).unwrap();
    assert_eq!((&*call.model, call.stream, call.tokens_max), ("gpt-5", true, Some(20)));
    assert_eq!((call.user.as_deref(), &call.models), (Some("u-1"), &vec![Cow::from("a"), Cow::from("b")]));
    let messages = r#"[{"role":"user","content":"hi","model":"inner","stream":false}]"#;
    assert_eq!(call.prompt_bytes, messages.len() + "[{}]".len());
    assert!(matches!(call.model, Cow::Borrowed(_)) && matches!(call.user, Some(Cow::Borrowed(_))));
}

#[test]
fn what_is_left_out_or_null_has_its_default() {
    for rest in [
        "",
        r#","models":null,"stream":null,"max_tokens":null,"max_completion_tokens":null,"user":null"#,
        r#","models":[],"stream":false"#,
    ] {
        let body = bytes(&format!(r#"{{"model":"m"{rest}}}"#));
        let call = read(&body).unwrap();
        assert_eq!((&*call.model, call.models.len(), call.stream), ("m", 0, false), "{rest}");
        assert_eq!((call.tokens_max, call.user, call.prompt_bytes), (None, None, 0), "{rest}");
    }
}

#[test]
fn escapes_are_understood_in_names_and_values() {
    let body = bytes(r#"{"mod\u0065l":"a\"b\\\u4e2d","\u0073tream":true}"#);
    let call = read(&body).unwrap();
    assert_eq!((&*call.model, call.stream), ("a\"b\\中", true));
    assert_eq!(
        call.with_model("x\"\\中").as_ref(),
        r#"{"mod\u0065l":"x\"\\中","\u0073tream":true}"#.as_bytes()
    );
}

#[test]
fn what_is_no_call_is_refused_with_the_member_that_is_wrong() {
    let check = |body: &str, param: Option<&str>, part: &str| {
        let error = read(&bytes(body)).unwrap_err();
        assert_eq!(error.param(), param, "{body}");
        assert!(error.to_string().contains(part), "{error} lacks {part:?}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    };
    check("", None, "no valid JSON");
    check("hunter2", None, "line 1");
    check("{\"model\":\"m\",\n}", None, "line 2");
    check(r#"{"model":"m"} x"#, None, "no valid JSON");
    check(r#"{"model":"m""#, None, "no valid JSON");
    check(r#"{"model":"m","messages":[1,]}"#, None, "no valid JSON");
    check(r#"["model"]"#, None, "must be a JSON object");
    check(r#""hunter2""#, None, "must be a JSON object");
    check("7", None, "must be a JSON object");
    check("{}", Some("model"), "Missing");
    check(r#"{"Model":"m","nested":{"model":"m"}}"#, Some("model"), "Missing");
    check(r#"{"model":"a","model":"b"}"#, Some("model"), "more than once");
    check(r#"{"model":"a","mod\u0065l":"b"}"#, Some("model"), "more than once");
    check(r#"{"model":"a","stream":true,"stream":false}"#, Some("stream"), "more than once");
    check(r#"{"model":"a","max_tokens":1,"max_tokens":2}"#, Some("max_tokens"), "more than once");
    check(r#"{"models":[],"model":"a","models":["b"]}"#, Some("models"), "more than once");
    check(r#"{"model":null}"#, Some("model"), "1 to 256 bytes");
    check(r#"{"model":7}"#, Some("model"), "1 to 256 bytes");
    check(r#"{"model":["hunter2"]}"#, Some("model"), "1 to 256 bytes");
    check(r#"{"model":""}"#, Some("model"), "1 to 256 bytes");
    check(r#"{"model":"a\nb"}"#, Some("model"), "without control characters");
    check(&format!(r#"{{"model":"{}"}}"#, "m".repeat(257)), Some("model"), "1 to 256 bytes");
    check(r#"{"model":"m","models":"hunter2"}"#, Some("models"), "a list");
    check(r#"{"model":"m","models":[1]}"#, Some("models"), "1 to 256 bytes");
    check(r#"{"model":"m","stream":"true"}"#, Some("stream"), "true or false");
    check(r#"{"model":"m","stream":1}"#, Some("stream"), "true or false");
    check(r#"{"model":"m","max_tokens":-1}"#, Some("max_tokens"), "a whole number");
    check(r#"{"model":"m","max_tokens":1.5}"#, Some("max_tokens"), "a whole number");
    check(r#"{"model":"m","max_completion_tokens":"9"}"#, Some("max_completion_tokens"), "a whole number");
    check(r#"{"model":"m","user":7}"#, Some("user"), "a string");
    let many: Vec<String> = (0..16).map(|number| format!("\"m{number}\"")).collect();
    check(&format!(r#"{{"model":"m","models":[{}]}}"#, many.join(",")), Some("models"), "at most 15");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    for body in
        [&b"{\"model\":\"\xff\"}"[..], b"{\"model\":\"m\",\"x\":\"\xff\"}", b"\xef\xbb\xbf{\"model\":\"m\"}"]
    {
        let error = read(&Bytes::copy_from_slice(body)).unwrap_err();
        assert!(matches!(error, BodyError::NotJson { .. } | BodyError::Invalid { .. }), "{error:?}");
    }
}

#[test]
fn the_name_is_replaced_in_its_place_and_the_rest_stays() {
    let check = |body: &str, expected: &str| {
        let changed = with_model(&bytes(body), "new").unwrap();
        assert_eq!(std::str::from_utf8(&changed).unwrap(), expected);
    };
    check(r#"{"model":"old"}"#, r#"{"model":"new"}"#);
    check(
        r#" { "a" : 1.50 , "model"	: "old" , "b":[ ] } "#,
        r#" { "a" : 1.50 , "model"	: "new" , "b":[ ] } "#,
    );
    check(
        r#"{"x":{"model":"old","models":["a"]},"model":"old"}"#,
        r#"{"x":{"model":"old","models":["a"]},"model":"new"}"#,
    );
    check(r#"{"x":"\"model\":\"old\"","model":"old"}"#, r#"{"x":"\"model\":\"old\"","model":"new"}"#);
    check(r#"{"models":["a"],"model":"old"}"#, r#"{"model":"new"}"#);
    check(r#"{ "models" : ["a"] , "model":"old"}"#, r#"{ "model":"new"}"#);
    check(r#"{"model":"old" , "models":["a"] }"#, r#"{"model":"new" }"#);
    check(r#"{"model":"old","models":[],"b":1}"#, r#"{"model":"new","b":1}"#);
    check(r#"{"a":1,"models":null,"model":"old"}"#, r#"{"a":1,"model":"new"}"#);
    check(r#"{"model":"new","models":["a"]}"#, r#"{"model":"new"}"#);
}

#[test]
fn a_body_that_stays_as_it_is_is_not_copied() {
    let body = bytes(r#"{"model":"m","x":1}"#);
    assert_eq!(with_model(&body, "m").unwrap().as_ptr(), body.as_ptr());
    assert_ne!(with_model(&body, "n").unwrap().as_ptr(), body.as_ptr());
}

#[test]
fn a_deeply_nested_body_is_read_without_running_out_of_stack() {
    let depth = 1_000_000;
    let body = bytes(&format!(r#"{{"x":{}{},"model":"old"}}"#, "[".repeat(depth), "]".repeat(depth)));
    let changed = with_model(&body, "new").unwrap();
    assert!(changed.ends_with(br#","model":"new"}"#));
}

/// Any JSON, with the names that matter among those of the members.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_name(), inner), 0..4)
                .prop_map(|members| { Value::Object(members.into_iter().collect::<Map<_, _>>()) }),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("model".to_owned()),
        Just("models".to_owned()),
        Just("stream".to_owned()),
        any::<String>()
    ]
}

/// A member of the top level and how its name and the space around it are written.
fn any_member() -> impl Strategy<Value = (String, Value)> {
    (any::<String>().prop_filter("read", |name| !is_read(name)), any_json())
}

fn is_read(name: &str) -> bool {
    let read =
        ["model", "models", "stream", "user", "max_tokens", "max_completion_tokens", "max_output_tokens"];
    read.contains(&name)
}

fn space() -> impl Strategy<Value = String> {
    "[ \t\n\r]{0,2}"
}

proptest! {
    #[test]
    fn the_changed_body_means_the_same_but_for_the_model(
        mut members in prop::collection::vec((any_member(), space(), space()), 0..6),
        model in "[ -~]{1,20}",
        further in prop::option::of(prop::collection::vec("[a-z]{1,5}", 0..5)),
        (model_at, further_at) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        new in "[ -~]{1,20}",
        (open, close) in (space(), space()),
    ) {
        let own = (("model".to_owned(), Value::from(model.clone())), open.clone(), close.clone());
        members.insert(model_at.index(members.len() + 1), own);
        if let Some(further) = &further {
            let own = (("models".to_owned(), json!(further)), close.clone(), open.clone());
            members.insert(further_at.index(members.len() + 1), own);
        }
        let written: Vec<String> = members
            .iter()
            .map(|((name, value), before, after)| format!("{before}{}{after}:{before}{value}{after}", json!(name)))
            .collect();
        let body = format!("{open}{{{}}}{close}", written.join(","));
        let mut expected: Map<String, Value> = serde_json::from_str(&body).unwrap();

        let body = bytes(&body);
        let call = read(&body).unwrap();
        prop_assert_eq!(&call.model, &model);
        let mut distinct: Vec<String> = Vec::new();
        for name in further.unwrap_or_default() {
            if name != model && !distinct.contains(&name) {
                distinct.push(name);
            }
        }
        prop_assert_eq!(&call.models, &distinct);

        let changed = call.with_model(&new);
        expected.insert("model".to_owned(), Value::from(new.clone()));
        expected.remove("models");
        let tree: Map<String, Value> = serde_json::from_slice(&changed).unwrap();
        prop_assert_eq!(tree, expected);
        // Every other member is there as it was written, in its order, and nothing else; white space that stood around
        // what is gone may be gone as well.
        let kept: Vec<String> = members
            .iter()
            .zip(written)
            .filter(|(((name, _), _, _), _)| name != "models")
            .map(|(((name, _), before, after), written)| match name.as_str() {
                "model" => format!("{before}{}{after}:{before}{}{after}", json!(name), json!(new)),
                _ => written,
            })
            .collect();
        let kept = format!("{open}{{{}}}{close}", kept.join(","));
        let text = std::str::from_utf8(&changed).unwrap();
        let squeezed = |text: &str| text.chars().filter(|one| !one.is_ascii_whitespace()).collect::<String>();
        prop_assert_eq!(squeezed(text), squeezed(&kept));
        if members.iter().all(|((name, _), _, _)| name != "models") {
            prop_assert!(text == kept || new == model);
        }
    }

    #[test]
    fn whatever_a_parser_refuses_is_refused(body in any::<Vec<u8>>()) {
        let parsed = serde_json::from_slice::<Value>(&body);
        let read = read(&Bytes::from(body)).is_ok();
        prop_assert!(!read || parsed.is_ok());
    }
}
