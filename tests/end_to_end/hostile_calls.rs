//! Callers that lie about who they are: fields that only the host may set, credentials that are none, and storms of
//! them. What a function is told of its caller comes from the host alone.

use crate::neighbours::tenants::{Caller, GOOD, Good, check_sound, key_of, with_tenants};
use crate::support::{Function, Server, Setup, client_builder};
use futures::future::join_all;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// A tenant that exists and is suspended.
const SUSPENDED: &str = "suspended";
/// Tenant that limits nothing and has two keys.
const OTHER: &str = "other";
/// What the forged fields say.
const FORGED: &str = "forged";

fn start() -> Server {
    let stored = "key_value_stores = [\"default\"]";
    let functions = [
        Function::guest("headers-echo"),
        Function::guest("trailers-echo"),
        Function::guest("kv-probe").with(stored),
        Function::hello(),
    ];
    let tenants = [(GOOD, ""), (OTHER, ""), (SUSPENDED, "state = \"suspended\"")];
    with_tenants(Setup::functions(&functions), tenants).start()
}

/// An answer as it came over the wire.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(key, _value)| key.eq_ignore_ascii_case(name)).map(|(_key, value)| value).next()
    }

    /// All that is the same for everybody: no date, no request id.
    fn comparable(&self) -> String {
        let differs = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default();
            !["date", "x-request-id"].contains(&&*name.to_ascii_lowercase())
        };
        let lines: Vec<&str> = self.head.lines().filter(differs).collect();
        format!("{}\n\n{}", lines.join("\n"), self.body)
    }
}

/// Sends a head of HTTP/1.1 as it is; `lines` are its fields after `Host`, each with its line end.
fn send(server: &Server, path: &str, lines: impl AsRef<[u8]>) -> Answer {
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n").into_bytes();
    request.extend_from_slice(lines.as_ref());
    request.extend_from_slice(b"connection: close\r\n\r\n");
    converse(server, &request)
}

/// Sends bytes as they are and reads the answer.
fn converse(server: &Server, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is no answer's business.
    let _reset = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { dechunked(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body }
}

/// A body without the lengths of its chunks (RFC 9112, section 7.1).
fn dechunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, begins)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&begins[..length]);
        rest = begins[length..].trim_start_matches("\r\n");
    }
    body
}

fn bearer(tenant: &str) -> String {
    format!("authorization: Bearer {}\r\n", key_of(tenant))
}

/// Fields that only the host may set, as a caller may try to write them.
const RESERVED: [&str; 26] = [
    "waggle-user",
    "waggle-scopes",
    "waggle-session",
    "waggle-request-id",
    "waggle-tenant",
    "waggle-anything",
    "waggle-",
    "Waggle-User",
    "WAGGLE-USER",
    "wAgGlE-sCoPeS",
    "waggle_user",
    "waggle_scopes",
    "Waggle_Request_Id",
    "WAGGLE_TENANT",
    "waggle-user_",
    "spin-path-info",
    "spin-full-url",
    "spin-matched-route",
    "spin-base-path",
    "spin-raw-component-route",
    "spin-component-route",
    "spin-client-addr",
    "spin-path-match-user",
    "Spin-Anything",
    "SPIN_CLIENT_ADDR",
    "spin_path_info",
];

/// The fields a function may be told by the host, with the beginning of what they say here.
const TOLD: [(&str, &str); 8] = [
    ("waggle-request-id", "req_"),
    ("spin-path-info", "/x"),
    ("spin-full-url", "http://"),
    ("spin-matched-route", "/headers-echo/..."),
    ("spin-base-path", "/"),
    ("spin-raw-component-route", "/headers-echo/..."),
    ("spin-component-route", "/headers-echo"),
    ("spin-client-addr", "127.0.0.1:"),
];

/// Whether a function's list of what it was sent holds what the host says and nothing that a caller forged.
fn check_told(echo: &str, case: &str) {
    assert!(!echo.contains(FORGED), "{case}: {echo}");
    let is_reserved = |name: &str| {
        let name = name.replace('_', "-");
        name.starts_with("waggle-") || name.starts_with("spin-")
    };
    let mut told: Vec<(&str, &str)> = echo
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _value)| is_reserved(name))
        .collect();
    told.sort_unstable();
    let mut expected = TOLD;
    expected.sort_unstable();
    let names =
        |fields: &[(&str, &str)]| fields.iter().map(|(name, _value)| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&told), names(&expected), "{case}: {echo}");
    for ((name, value), (_name, begins)) in told.iter().zip(&expected) {
        assert!(value.starts_with(begins), "{case}: {name} is {value}");
    }
    assert!(!echo.contains("authorization") && !echo.contains(&key_of(GOOD)), "{case}: {echo}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_can_set_what_only_the_host_may_say() {
    let server = start();
    let check = |lines: &str| {
        let answer = send(&server, "/headers-echo/x", format!("{}{lines}", bearer(GOOD)));
        assert_eq!(answer.status, 200, "{lines:?}: {}", answer.body);
        check_told(&answer.body, lines);
    };
    check("");
    for name in RESERVED {
        check(&format!("{name}: {FORGED}\r\n"));
        check(&format!("{name}: {FORGED}\r\n{name}: {FORGED} again\r\n"));
        check(&format!("{name}:{FORGED}\r\nconnection: {name}\r\n"));
        check(&format!("connection: x-other, {name}\r\n{name}: {FORGED}\r\nx-other: {FORGED}\r\n"));
    }
    let all: String = RESERVED.iter().map(|name| format!("{name}: {FORGED}\r\n")).collect();
    check(&all);
    // What the host says cannot be taken off by calling it a field of the connection.
    check("connection: waggle-request-id, spin-client-addr, spin-path-info\r\nconnection: waggle-user\r\n");
    check("connection: close, WAGGLE-REQUEST-ID\r\n");
    check("proxy-authorization: Bearer forged\r\nte: forged\r\nkeep-alive: forged\r\nupgrade: forged\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_can_say_it_behind_the_body() {
    let server = start();
    let fields: String = RESERVED.iter().map(|name| format!("{name}: {FORGED}\r\n")).collect();
    let head = format!("POST /trailers-echo/ HTTP/1.1\r\nhost: localhost\r\n{}", bearer(GOOD));
    let body = "transfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\n";
    let answer =
        converse(&server, format!("{head}{body}x-own: kept\r\n{fields}{}\r\n", bearer(OTHER)).as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let reserved = answer.body.lines().find(|line| {
        let name = line.to_ascii_lowercase().replace('_', "-");
        ["waggle-", "spin-", "authorization"].iter().any(|prefix| name.starts_with(prefix))
    });
    assert_eq!(reserved, None, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_caller_can_over_http_2_either() {
    let server = start();
    let client = client_builder().http2_prior_knowledge().build().unwrap();
    let url = server.url("/headers-echo/x");
    let check = async |names: &[&str]| {
        let request = names.iter().fold(client.get(&url).bearer_auth(key_of(GOOD)), |request, name| {
            request.header(*name, FORGED).header(*name, format!("{FORGED} again"))
        });
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.version(), response.status().as_u16()),
            (reqwest::Version::HTTP_2, 200),
            "{names:?}"
        );
        check_told(&response.text().await.unwrap(), &format!("{names:?}"));
    };
    check(&[]).await;
    for name in RESERVED {
        check(&[name]).await;
    }
    check(&RESERVED).await;
    let key = key_of(GOOD);
    let twice =
        client.get(&url).bearer_auth(&key).header("authorization", format!("Bearer {key}")).send().await;
    assert_eq!(twice.unwrap().status(), 400);
}

/// The error object of OpenAI's API and the challenge that RFC 6750 asks for.
fn check_refusal(answer: &Answer, status: u16, code: &str, case: &str) {
    assert_eq!(answer.status, status, "{case}: {}", answer.body);
    let body: serde_json::Value = serde_json::from_str(&answer.body)
        .unwrap_or_else(|error| panic!("{case}: {error} in {}", answer.body));
    let error = &body["error"];
    assert_eq!(body.as_object().unwrap().len(), 1, "{case}: {body}");
    assert_eq!(
        (&error["code"], &error["type"]),
        (&code.into(), &"invalid_request_error".into()),
        "{case}: {body}"
    );
    assert!(error["message"].is_string() && error["param"].is_null(), "{case}: {body}");
    let challenge = answer.field("www-authenticate").is_some_and(|value| value.starts_with("Bearer"));
    assert_eq!(challenge, status == 401, "{case}: {}", answer.head);
    assert_eq!(answer.field("content-type"), Some("application/json"), "{case}: {}", answer.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_credentials_are_none() {
    let server = start();
    let (good, other) = (bearer(GOOD), bearer(OTHER));
    for lines in [
        format!("{good}{other}"),
        format!("{other}{good}"),
        format!("{good}{good}"),
        format!("authorization: \r\n{good}"),
        format!("{good}Authorization: Basic eDp5\r\n"),
    ] {
        check_refusal(&send(&server, "/v1/models", &lines), 400, "bad_request", &lines);
        assert_eq!(send(&server, "/hello", &lines).status, 400, "{lines}");
    }
    check_sound(&server, "two credentials").await;
}

/// `Authorization` values that are no credential of anybody.
fn malformed() -> Vec<Vec<u8>> {
    let key = key_of(GOOD);
    let (id, secret) = (&key[3..15], &key[16..]);
    let texts = [
        String::new(),
        " ".into(),
        "Bearer".into(),
        "Bearer ".into(),
        "Bearer \t".into(),
        key.clone(),
        format!("Basic {key}"),
        "Basic Z29vZDpnb29k".into(),
        format!("Token {key}"),
        format!("Bearer\t{key}"),
        format!("Bearer={key}"),
        format!("Bearer:{key}"),
        format!("Bearer \"{key}\""),
        format!("Bearer {key} {key}"),
        format!("Bearer {key},{key}"),
        format!("Bearer {key}, Bearer {key}"),
        format!("Bearer {key};"),
        format!("Bearer {key}%00"),
        format!("Bearer Bearer {key}"),
        format!("Digest username=\"{GOOD}\""),
        "Bearer wk_".into(),
        "Bearer wk__".into(),
        format!("Bearer wk_{id}"),
        format!("Bearer wk_{id}_"),
        format!("Bearer wk_{id}_{}", &secret[1..]),
        format!("Bearer wk_{id}_{secret}="),
        format!("Bearer wk_{id}_{secret}a"),
        format!("Bearer wk_{id}{secret}"),
        format!("Bearer wk_{}_{secret}", id.to_uppercase()),
        format!("Bearer WK_{id}_{secret}"),
        format!("Bearer Wk_{id}_{secret}"),
        format!("Bearer {}", key.to_uppercase()),
        format!("Bearer {}", key.replace('_', "-")),
        "Bearer null".into(),
        "Bearer undefined".into(),
        "Bearer sk-1234567890".into(),
        "Bearer ..".into(),
        "Bearer a.b.c".into(),
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJnb29kIn0.".into(),
        "Bearer eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiJnb29kIn0.AAAA".into(),
        format!("Bearer {}", ".".repeat(10_000)),
        format!("Bearer {}", "a".repeat(40_000)),
        format!("Bearer wk_{}", "a".repeat(40_000)),
        format!("Bearer {}.{}.{}", "a".repeat(5_000), "b".repeat(5_000), "c".repeat(5_000)),
        "Bearer ключ".into(),
        format!("Bearer {key}\u{a0}"),
    ];
    let mut values: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    values.push(b"Bearer \xff\xfe".to_vec());
    values.push([b"Bearer ".as_slice(), &[0x80; 43]].concat());
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_credential_is_refused_in_the_shape_of_the_api() {
    let server = start();
    let none = send(&server, "/v1/models", "");
    check_refusal(&none, 401, "invalid_api_key", "no credential");
    for value in malformed() {
        let line = [b"authorization: ".as_slice(), &value, b"\r\n"].concat();
        let case = String::from_utf8_lossy(&value).chars().take(100).collect::<String>();
        let answer = send(&server, "/v1/models", &line);
        check_refusal(&answer, 401, "invalid_api_key", &case);
        let echoed = String::from_utf8_lossy(&value)
            .split(' ')
            .any(|part| part.len() > 8 && answer.body.contains(part));
        assert!(!echoed, "{case} is repeated in {}", answer.body);
        let elsewhere = send(&server, "/hello", &line);
        assert_eq!(elsewhere.status, 401, "{case}");
        assert_eq!(elsewhere.field("content-type"), Some("application/problem+json"), "{case}");
    }
    for path in ["/v1/models?access_token=", "/v1/models?api_key=", "/v1/models?key="] {
        let answer = send(&server, &format!("{path}{}", key_of(GOOD)), "");
        check_refusal(&answer, 401, "invalid_api_key", path);
    }
    for name in ["x-api-key", "api-key", "proxy-authorization", "x-authorization", "cookie"] {
        let answer = send(&server, "/v1/models", format!("{name}: Bearer {}\r\n", key_of(GOOD)));
        check_refusal(&answer, 401, "invalid_api_key", name);
    }
    // The scheme's case does not matter (RFC 9110, section 11.1), nor how many spaces follow it.
    for scheme in ["bearer", "BEARER", "Bearer "] {
        let answer = send(&server, "/hello", format!("authorization: {scheme} {}\r\n", key_of(GOOD)));
        assert_eq!((answer.status, &*answer.body), (200, "hello\n"), "{scheme}");
    }
    assert!(
        !server.output().contains(&key_of(GOOD)[16..]),
        "a key's secret is in the log: {}",
        server.output()
    );
    check_sound(&server, "malformed credentials").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_tells_an_unknown_key_from_a_wrong_secret() {
    let server = start();
    let with_secret_of = |id_of: &str, secret_of: &str| {
        format!("authorization: Bearer {}_{}\r\n", &key_of(id_of)[..15], &key_of(secret_of)[16..])
    };
    let unknown = send(&server, "/v1/models", with_secret_of("nobody", "nobody"));
    check_refusal(&unknown, 401, "invalid_api_key", "an unknown key");
    for (case, line) in [
        ("a wrong secret", with_secret_of(GOOD, "nobody")),
        ("another tenant's secret", with_secret_of(GOOD, OTHER)),
        ("an unknown id with a known secret", with_secret_of("nobody", GOOD)),
        ("a suspended tenant's id", with_secret_of(SUSPENDED, "nobody")),
        ("an id that is none", format!("authorization: Bearer wk_000000000000_{}\r\n", &key_of(GOOD)[16..])),
    ] {
        assert_eq!(send(&server, "/v1/models", &line).comparable(), unknown.comparable(), "{case}");
    }
    // One who has the key of a suspended tenant has a right to know.
    check_refusal(
        &send(&server, "/v1/models", bearer(SUSPENDED)),
        403,
        "tenant_suspended",
        "a suspended tenant",
    );
}

/// Requests of the storm.
const STORM: usize = 4_000;
const STORM_AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_bad_credentials_harms_nobody() {
    let server = start();
    let good = Good::watch(&server).await;
    let bad: Vec<String> =
        (0..STORM_AT_ONCE).map(|number| format!("Bearer {}", key_of(&format!("nobody-{number}")))).collect();
    let before = server.output().len();
    let storm = bad.iter().map(|bad| {
        let (client, url) = (client_builder().build().unwrap(), server.url("/hello"));
        async move {
            for number in 0..STORM / STORM_AT_ONCE {
                // Every third is a token of somebody whom nobody knows: to verify costs more than to look up.
                let value = if number % 3 == 0 { "Bearer eyJhbGciOiJFZERTQSJ9.e30.AAAA" } else { bad };
                let response = client.get(&url).header("authorization", value).send().await.unwrap();
                assert_eq!(response.status(), 401);
                response.bytes().await.unwrap();
            }
        }
    });
    join_all(storm).await;
    good.check_unharmed("a storm of bad credentials").await;
    check_sound(&server, "a storm of bad credentials").await;
    let logged = server.output().len() - before;
    assert!(logged < 1 << 20, "{STORM} refusals left {logged} bytes in the log");
    assert_eq!(Caller::new(&server, OTHER).outcome("/hello", &[]).await, "200 hello\n");
}
