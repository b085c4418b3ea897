//! Calls to models whose endpoints misbehave: what the function gets, and how many attempts went out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use waggle_egress::CancellationToken;
use waggle_egress::upstream::{BreakerState, CallOptions, FailureKind};

use crate::support::{Upstream, until, until_closed, within};
use crate::upstream_servers::{
    DONE, Does, EVENTS_HEAD, POLICY, ROLE, STREAMED, Server, TOKEN, WHOLE, assert_idle, call, chunk,
    configured, events, json, request, snapshot, stream, upstreams, whole,
};

const HTML: &str = "<html><body>Bad Gateway</body></html>";

#[tokio::test]
async fn a_working_upstream_is_asked_once_and_its_connection_used_again() {
    let server = Server::start(|_| Does::Send(stream())).await;
    let upstreams = upstreams(&[&server.url], POLICY);
    for _ in 0..5 {
        let got = call(&upstreams, STREAMED).await;
        assert_eq!((got.status, got.body.as_deref().unwrap()), (200, [ROLE, TOKEN, DONE].concat().as_str()));
        assert_eq!((got.field("waggle-upstream"), got.field("waggle-attempts")), ("one", "1"));
    }
    assert_eq!((server.requests(), snapshot(&upstreams).attempts), (5, 5));
    assert_idle(&upstreams);
}

/// The fault of every request, what the function gets for it, and how many attempts arrive; three are allowed.
#[tokio::test]
async fn every_fault_ends_in_time_with_one_kind_of_failure() {
    let check = async |name: &str, body: &str, does: Does, status: u16, code: &str, attempts: usize| {
        let server = Server::start(move |_| does.clone()).await;
        let upstreams = upstreams(&[&server.url], POLICY);
        let started = Instant::now();
        let got = call(&upstreams, body).await;
        assert_eq!((got.status, got.code().as_str()), (status, code), "{name}: {got:?}");
        assert_eq!(server.requests(), attempts, "{name}");
        assert!(started.elapsed() < Duration::from_secs(10), "{name}");
        if status >= 500 || status == 429 {
            assert!(!got.field("retry-after").is_empty(), "{name}");
            assert_eq!(got.field("waggle-attempts"), attempts.to_string(), "{name}");
            assert!(!format!("{got:?}").contains("127.0.0.1"), "{name}: {got:?}");
        }
        assert_idle(&upstreams);
    };
    let hang = |text: &str| Does::SendAndHang(text.to_owned());
    let close = |text: String| Does::SendAndClose(text);
    let page = whole("200 OK", "content-type: text/html\r\n", HTML);
    let gone = "upstream_unavailable";
    check("black hole", STREAMED, hang(""), 504, "upstream_timeout", 3).await;
    check("black hole, whole", WHOLE, hang(""), 504, "upstream_timeout", 3).await;
    check("half a head", STREAMED, hang("HTTP/1.1 200 OK\r\nconte"), 504, "upstream_timeout", 3).await;
    let slow = Does::Drip(stream(), Duration::from_millis(50));
    check("slow head", STREAMED, slow, 504, "upstream_timeout", 3).await;
    check("stall before all", STREAMED, hang(EVENTS_HEAD), 504, "upstream_timeout", 3).await;
    check("stall before the token", STREAMED, hang(&events(&[ROLE])), 504, "upstream_timeout", 3).await;
    check("stall after it", STREAMED, hang(&events(&[ROLE, TOKEN])), 200, "HTTP-response-timeout", 1).await;
    check("cut before all", STREAMED, close(String::new()), 503, gone, 3).await;
    check("cut after the head", STREAMED, close(EVENTS_HEAD.to_owned()), 503, gone, 3).await;
    check("cut before the token", STREAMED, close(events(&[ROLE])), 503, gone, 3).await;
    let mid_event = format!("{}{}", events(&[ROLE, TOKEN]), &chunk(TOKEN)[..20]);
    check("cut mid-event", STREAMED, close(mid_event), 200, "HTTP-response-incomplete", 1).await;
    check("reset", STREAMED, Does::SendAndReset(String::new()), 503, gone, 3).await;
    check("html", STREAMED, Does::Send(page.clone()), 503, gone, 3).await;
    check("html, whole", WHOLE, Does::Send(page), 503, gone, 3).await;
    check("no http", STREAMED, close("SSH-2.0-OpenSSH_9.6\r\n".to_owned()), 503, gone, 3).await;
    let failing = Does::Send(whole("500 Internal Server Error", "", "secret of the inside"));
    check("500", STREAMED, failing, 503, gone, 3).await;
    let limited = Does::Send(whole("429 Too Many Requests", "", "{}"));
    check("429", STREAMED, limited, 429, "rate_limit_exceeded", 3).await;
    let later = Does::Send(whole("429 Too Many Requests", "retry-after: 30\r\n", "{}"));
    check("429, much later", STREAMED, later, 429, "rate_limit_exceeded", 1).await;
    let moved = Does::Send(whole("302 Found", "location: http://127.0.0.1:1/\r\n", ""));
    check("redirect", STREAMED, moved, 503, gone, 3).await;
    let wrong = Does::Send(whole(
        "400 Bad Request",
        "content-type: application/json\r\n",
        r#"{"error":{"code":"x"}}"#,
    ));
    check("complaint", STREAMED, wrong, 400, "x", 1).await;
    let key = Does::Send(whole("401 Unauthorized", "", "wrong key sk-1"));
    check("wrong key", STREAMED, key, 401, "upstream_unauthorized", 1).await;
}

#[tokio::test]
async fn a_port_where_nobody_listens_costs_next_to_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let upstreams = upstreams(&[&url], POLICY);
    let got = call(&upstreams, STREAMED).await;
    assert_eq!(
        (got.status, got.code().as_str(), got.field("waggle-attempts")),
        (503, "upstream_unavailable", "3")
    );
    assert_eq!(snapshot(&upstreams).failures[0], (FailureKind::Connect, 3));
}

#[tokio::test]
async fn a_connect_that_nobody_answers_is_a_time_out() {
    // A listener that never accepts, with its queue filled.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queue.push(stream.unwrap());
        assert!(queue.len() < 100, "the queue of the listener does not fill");
    }
    let upstreams = upstreams(&[&format!("http://{address}")], &format!("{POLICY}attempts_max = 1"));
    let got = call(&upstreams, STREAMED).await;
    assert_eq!((got.status, got.code().as_str()), (504, "upstream_timeout"));
}

#[tokio::test]
async fn what_does_not_speak_tls_is_no_upstream() {
    let server = Upstream::start(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        until_closed(&mut stream).await;
    })
    .await;
    let upstreams = upstreams(&[&format!("https://{}", server.address)], POLICY);
    let got = call(&upstreams, STREAMED).await;
    assert_eq!((got.status, got.code().as_str()), (503, "upstream_unavailable"));
    assert_eq!((server.connections(), snapshot(&upstreams).failures[0]), (3, (FailureKind::Connect, 3)));
}

#[tokio::test]
async fn an_encoding_that_nobody_asked_for_is_no_answer() {
    // What the upstream says of its answer, whether it is asked for a stream, and how many attempts go out.
    let check = async |encoding: &'static str, body: &str, status: u16, attempts: usize| {
        let server = Server::start(move |_| {
            let kind = "content-type: application/json\r\ncontent-encoding: ";
            Does::Send(whole("200 OK", &format!("{kind}{encoding}\r\n"), "{\"choices\":[]}"))
        })
        .await;
        let upstreams = upstreams(&[&server.url], POLICY);
        let got = call(&upstreams, body).await;
        assert_eq!((got.status, server.requests()), (status, attempts), "{encoding}");
        let no_answers = snapshot(&upstreams).failures[4];
        let failed = if status == 200 { 0 } else { attempts as u64 };
        assert_eq!(no_answers, (FailureKind::NoAnswer, failed), "{encoding}");
        assert_eq!(got.field("content-encoding").is_empty(), status != 200, "{encoding}");
    };
    check("gzip", WHOLE, 503, 3).await;
    check("gzip", STREAMED, 503, 3).await;
    check("identity, br", WHOLE, 503, 3).await;
    check("identity", WHOLE, 200, 1).await;
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let piece = "x".repeat(64 * 1024);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
    let server = Server::start(move |_| Does::Endless(head.to_owned(), piece.clone())).await;
    let upstreams = upstreams(&[&server.url], POLICY);
    let got = call(&upstreams, WHOLE).await;
    assert_eq!((got.status, got.code().as_str()), (200, "HTTP-response-incomplete"));
    server.until_closed().await;
    assert_idle(&upstreams);
}

#[tokio::test]
async fn one_failure_is_made_good_by_a_retry_or_another_upstream() {
    let check = async |first: Does| {
        let text = format!("{first:?}");
        let server =
            Server::start(move |number| if number == 0 { first.clone() } else { Does::Send(stream()) }).await;
        let upstreams = upstreams(&[&server.url], POLICY);
        let got = call(&upstreams, STREAMED).await;
        assert_eq!((got.status, got.field("waggle-attempts"), server.requests()), (200, "2", 2), "{text}");
        assert_idle(&upstreams);
    };
    check(Does::SendAndClose(String::new())).await;
    check(Does::SendAndHang(events(&[ROLE]))).await;
    check(Does::Send(whole("503 Service Unavailable", "retry-after: 0\r\n", ""))).await;
    let (bad, good) = (
        Server::start(|_| Does::SendAndHang(EVENTS_HEAD.to_owned())).await,
        Server::start(|_| Does::Send(stream())).await,
    );
    let upstreams = configured(&format!(
        "[upstream.a]\nurl = '{}'\n{POLICY}attempts_max = 1\n[upstream.b]\nurl = '{}'\n\
         [model.m]\nupstreams = ['a', 'b']\n",
        bad.url, good.url
    ));
    let got = call(&upstreams, STREAMED).await;
    assert_eq!((got.status, got.field("waggle-upstream")), (200, "b"));
    assert_eq!((bad.requests(), good.requests()), (1, 1));
}

#[tokio::test]
async fn a_failure_that_is_told_whole_leaves_the_connection_for_the_retry() {
    let server = Server::start(|_| Does::Send(whole("429 Too Many Requests", "", "{}"))).await;
    let got = call(&upstreams(&[&server.url], POLICY), STREAMED).await;
    assert_eq!((got.status, server.requests(), server.connections()), (429, 3, 1));
}

#[tokio::test]
async fn an_open_breaker_refuses_at_once_and_one_probe_finds_the_way_back() {
    let works = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&works);
    let server = Server::start(move |_| {
        if switch.load(SeqCst) { Does::Send(json()) } else { Does::Send(whole("500 Oh", "", "")) }
    })
    .await;
    let policy = format!("{POLICY}attempts_max = 1\n[upstream.one.breaker]\nopen_ms = 400");
    let upstreams = upstreams(&[&server.url], &policy);
    for _ in 0..5 {
        assert_eq!(call(&upstreams, WHOLE).await.code(), "upstream_unavailable");
    }
    let started = Instant::now();
    let mut refused = 0;
    while started.elapsed() < Duration::from_millis(200) {
        assert_eq!(call(&upstreams, WHOLE).await.code(), "upstream_open");
        refused += 1;
    }
    assert_eq!(server.requests(), 5);
    assert!(refused > 20, "{refused} refusals in 200 ms");
    works.store(true, SeqCst);
    until("the breaker lets a probe pass", || snapshot(&upstreams).breaker == BreakerState::HalfOpen).await;
    let calls: Vec<_> = (0..50).map(|_| call(&upstreams, WHOLE)).collect();
    let answered = futures::future::join_all(calls).await.iter().filter(|got| got.status == 200).count();
    assert!(answered >= 1);
    assert_eq!(snapshot(&upstreams).breaker, BreakerState::Closed);
    assert_eq!(call(&upstreams, WHOLE).await.status, 200);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_left_out_while_the_other_one_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let server = Server::start(|_| Does::Send(json())).await;
    let upstreams = upstreams(&[&dead, &server.url], POLICY);
    for _ in 0..40 {
        assert_eq!(call(&upstreams, WHOLE).await.status, 200);
    }
    let snapshot = snapshot(&upstreams);
    assert_eq!(snapshot.endpoints, [BreakerState::Open, BreakerState::Closed]);
    assert_eq!((server.requests(), snapshot.attempts), (40, 45));
}

#[tokio::test]
async fn a_cancelled_call_closes_its_connection_at_once() {
    for text in [String::new(), events(&[ROLE]), events(&[ROLE, TOKEN])] {
        let sent = text.clone();
        let server = Server::start(move |_| Does::SendAndHang(sent.clone())).await;
        let upstreams = upstreams(&[&server.url], "first_byte_timeout_ms = 60_000");
        let cancelled = CancellationToken::new();
        let calling = tokio::spawn({
            let (upstreams, cancelled) = (upstreams.clone(), cancelled.clone());
            async move {
                let options = CallOptions { cancelled: Some(cancelled), ..CallOptions::default() };
                let response = upstreams.call(request(STREAMED), options).await?;
                response.into_body().collect().await.map(|_| ())
            }
        });
        until("the call arrives", || server.requests() == 1).await;
        cancelled.cancel();
        let error = within(calling).await.unwrap().unwrap_err();
        assert!(matches!(error, waggle_egress::EgressError::Cancelled), "{text:?}: {error}");
        server.until_closed().await;
        assert_idle(&upstreams);
    }
}

#[tokio::test]
async fn a_thousand_clients_that_go_leave_neither_place_nor_connection() {
    let server = Server::start(|number| match number % 5 {
        0 => Does::Send(stream()),
        1 => Does::SendAndHang(events(&[ROLE])),
        2 => Does::SendAndHang(events(&[ROLE, TOKEN])),
        3 => Does::SendAndClose(String::new()),
        _ => Does::SendAndHang(String::new()),
    })
    .await;
    let policy = "first_byte_timeout_ms = 60_000\n[upstream.one.breaker]\nfailures = 1000\nfailures_per_100_calls = 100";
    let upstreams = upstreams(&[&server.url], policy);
    let calls: Vec<_> = (0..1_000_u64)
        .map(|number| {
            let upstreams = upstreams.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(number % 50 * 10)).await;
                let calling = async {
                    let response = upstreams.call(request(STREAMED), CallOptions::default()).await?;
                    response.into_body().collect().await
                };
                drop(tokio::time::timeout(Duration::from_millis(number * 13 % 120), calling).await);
            })
        })
        .collect();
    for call in calls {
        within(call).await.unwrap();
    }
    assert_idle(&upstreams);
    // How many get as far as that before they go depends on how busy the machine is.
    assert!(server.requests() > 20, "{}", server.requests());
    drop(upstreams);
    server.until_closed().await;
}
