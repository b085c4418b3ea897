//! Requests that are refused: what the client reads.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn every_mistake_of_a_body_is_told_at_once_where_it_stands() {
    let served = served().await;
    #[track_caller]
    fn told(answered: &Answered, expected: &[(&str, &str)]) {
        let found = answered.mistakes();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (pointer, part) in expected {
            let fits = found.iter().any(|(place, detail)| place == pointer && detail.contains(part));
            assert!(fits, "{pointer}: {part} is not in {found:?}");
        }
    }
    let cases = [
        (json!({}), vec![("/id", "missing")]),
        (json!([]), vec![("", "expected an object")]),
        (json!({ "id": "Bank" }), vec![("/id", "'B' at position 1")]),
        (json!({ "id": "a", "nmae": 1 }), vec![("/nmae", "unknown field; expected one of `id`, `settings`")]),
        (
            json!({ "id": 3, "settings": { "limits": { "requests_per_second": 0, "x": 1 }, "log_file": "yes" } }),
            vec![
                ("/id", "expected a string, found a number"),
                ("/settings/limits/requests_per_second", "1 to 1000000"),
                ("/settings/limits/x", "unknown field"),
                ("/settings/log_file", "expected true or false"),
            ],
        ),
        (
            json!({ "id": "a", "settings": { "secrets": { "s": { "secret": {} } }, "state": "gone" } }),
            vec![
                ("/settings/secrets/s/origin", "missing"),
                ("/settings/secrets/s/secret", "exactly 1"),
                ("/settings/state", "expected `active` or `suspended`"),
            ],
        ),
        (
            json!({ "id": "a", "settings": { "secrets": { "s": { "origin": "https://a.test",
                "secret": { "file": "/etc/passwd" } } } } }),
            vec![("/settings/secrets/s/secret/file", "only tenants.toml")],
        ),
        // What the records' own check finds, and what the application finds.
        (
            json!({ "id": "a", "settings": { "functions": ["chat", "nope"], "secrets": { "s": { "origin": "x",
                "secret": { "value": "v" } } } } }),
            vec![("/settings/secrets/s/origin", ""), ("/settings/functions/1", "there is no `nope`")],
        ),
    ];
    for (body, expected) in cases {
        let answered = served.post("/tenants", body).await;
        assert_eq!(answered.status, 422, "{}", answered.text);
        told(&answered, &expected);
    }
    served.post("/tenants", json!({ "id": "acme" })).await;
    let answered = served.post("/tenants/acme/keys", json!({ "name": "a\nb", "scopes": ["a b"] })).await;
    told(&answered, &[("/name", "control character"), ("/scopes", "visible ASCII")]);
    let answered = served.post("/tenants/acme/keys/x/rotate", json!({ "grace_s": 2_592_001 })).await;
    told(&answered, &[("/grace_s", "0 to 2592000")]);
    let answered = served.ask(Method::PUT, "/tenants/acme", Some(json!({ "api_keys": [] }))).await;
    told(&answered, &[("/api_keys", "unknown field")]);
}

#[tokio::test]
async fn what_does_not_fit_the_way_in_is_refused_with_its_status() {
    let served = served().await;
    served.post("/tenants", json!({ "id": "acme" })).await;
    let check = async |method: &str,
                       path: &str,
                       fields: &[(&str, &str)],
                       body: &'static str,
                       status: u16,
                       code: &str| {
        let mut request = served.request(method.parse().unwrap(), path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answered = served.send(request.body(Full::from(body)).unwrap()).await;
        assert_eq!(
            (answered.status, answered.json["code"].as_str().unwrap()),
            (status, code),
            "{method} {path}"
        );
        answered
    };
    let json = [("content-type", "application/json")];
    check("GET", "/nothing", &[], "", 404, "unknown_path").await;
    check("GET", "/tenants/none", &[], "", 404, "unknown_tenant").await;
    check("GET", "/tenants/Not%2FAn%00Id", &[], "", 404, "unknown_tenant").await;
    check("DELETE", "/tenants/acme/keys/none", &[], "", 404, "unknown_key").await;
    let other = check("PATCH", "/tenants/acme", &json, "{}", 405, "method_not_allowed").await;
    assert_eq!(other.header(header::ALLOW), "HEAD, GET, PUT, DELETE");
    check("GET", "/tenants?limit=0&x=1", &[], "", 400, "invalid_query").await;
    check("GET", "/tenants?limit=1001", &[], "", 400, "invalid_query").await;
    check("GET", "/tenants?after=%00", &[], "", 400, "invalid_query").await;
    check("DELETE", "/tenants/acme?erase=yes", &[], "", 400, "invalid_query").await;
    check("POST", "/tenants", &json, "{", 400, "malformed_json").await;
    check("POST", "/tenants", &json, "", 400, "malformed_json").await;
    check("POST", "/tenants", &[], "{}", 415, "not_json").await;
    check("POST", "/tenants", &[("content-type", "text/plain")], "{}", 415, "not_json").await;
    check("POST", "/tenants", &json, r#"{"id":"acme"}"#, 409, "tenant_exists").await;
    check("GET", "/tenants", &[("host", "localhost")], "", 421, "host").await;
    let large = " ".repeat((1 << 20) + 1);
    let request = served.request(Method::POST, "/tenants").header("content-type", "application/json");
    let answered = served.send(request.body(Full::from(large)).unwrap()).await;
    assert_eq!((answered.status, &answered.json["code"]), (413, &json!("body_too_large")));
}

#[tokio::test]
async fn without_the_key_nothing_but_health_and_the_document_is_answered() {
    let served = served().await;
    let send = async |method: Method, path: &str, key: Option<&str>| {
        let uri = format!("/admin/v1{path}");
        let mut request = Request::builder().method(method).uri(uri).header("host", "localhost");
        if let Some(key) = key {
            request = request.header(header::AUTHORIZATION, key);
        }
        served.send(request.body(Full::default()).unwrap()).await
    };
    for path in ["/health", "/openapi.json"] {
        assert_eq!(send(Method::GET, path, None).await.status, 200);
    }
    let refused = send(Method::GET, "/tenants", None).await;
    assert_eq!(
        (refused.status, refused.header(header::WWW_AUTHENTICATE)),
        (401, "Bearer realm=\"waggle-admin\"")
    );
    assert_eq!(send(Method::GET, "/nothing", None).await.status, 401, "paths are not for everybody");
    assert_eq!(send(Method::PATCH, "/tenants", Some("Bearer wrong")).await.status, 401);
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) && statuses.len() < 100 {
        statuses.push(send(Method::GET, "/tenants", Some("Bearer wrong")).await.status);
    }
    assert!(statuses.contains(&401) && statuses.last() == Some(&429), "{statuses:?}");
    let right = format!("Bearer {KEY}");
    assert_eq!(send(Method::GET, "/tenants", Some(&right)).await.status, 200);
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_not_answered_to() {
    let served = served().await;
    for path in ["/health", "/tenants"] {
        let request = Request::builder()
            .uri(format!("/admin/v1{path}"))
            .header("host", format!("evil.test:{}", served.address.port()))
            .header(header::AUTHORIZATION, format!("Bearer {KEY}"));
        assert_eq!(served.send(request.body(Full::default()).unwrap()).await.status, 421);
    }
}

#[tokio::test]
async fn a_pages_script_gets_no_leave_from_here() {
    let served = served().await;
    let request = served.request(Method::OPTIONS, "/tenants").header("origin", "https://evil.test");
    let answered = served.send(request.body(Full::default()).unwrap()).await;
    assert_eq!(answered.status, 405);
    assert!(!answered.headers.keys().any(|name| name.as_str().starts_with("access-control")));
}

#[tokio::test]
async fn a_head_past_its_bounds_ends_the_connection() {
    let served = served().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let head =
        format!("GET /admin/v1/health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(20 << 10));
    // The server may close before all is written.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn the_document_names_each_route_and_nothing_else() {
    let served = served().await;
    let document = served.get("/openapi.json").await.json;
    assert_eq!(document["openapi"], "3.1.0");
    for (path, operations) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{id}", "a").replace("{key}", "b");
        for method in ["get", "put", "post", "delete", "patch", "options", "trace"] {
            let method_there: Method = method.to_uppercase().parse().unwrap();
            let routed = matches!(find(&method_there, &concrete), Found::Route(..));
            assert_eq!(routed, operations.get(method).is_some(), "{method} {path}");
        }
    }
    let documented: usize =
        document["paths"].as_object().unwrap().values().map(|one| one.as_object().unwrap().len()).sum();
    assert_eq!(documented, crate::route::ROUTES.len());
}
