//! Names are looked up, the addresses are checked, and the checked address is the one that is connected to.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use waggle_egress::{Egress, EgressConfig, EgressError, Resolve, ResolveFuture, SendOptions};

use crate::support::{Upstream, egress, failure, fetch, get, named, within};

/// Answers each lookup with the next list; with the last one for ever.
#[derive(Debug)]
struct Scripted {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    lookups: Arc<AtomicUsize>,
}

impl Resolve for Scripted {
    fn resolve(&self, _host: &str) -> ResolveFuture {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(async move { Ok(answer) })
    }
}

fn scripted(answers: &[&[&str]]) -> (Egress, Arc<AtomicUsize>) {
    let lookups = Arc::new(AtomicUsize::new(0));
    let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
    let answers = Mutex::new(answers.iter().map(parse).collect());
    let resolver = Scripted { answers, lookups: Arc::clone(&lookups) };
    (Egress::with_resolver(EgressConfig::default(), Arc::new(resolver)).unwrap(), lookups)
}

/// A lookup that never ends, or always fails.
#[derive(Debug)]
enum Broken {
    Hangs,
    Fails,
}

impl Resolve for Broken {
    fn resolve(&self, _host: &str) -> ResolveFuture {
        match self {
            Self::Hangs => Box::pin(std::future::pending()),
            Self::Fails => Box::pin(async { Err(io::Error::other("no such name")) }),
        }
    }
}

/// The error of a call to a host that nobody has named.
async fn unnamed(egress: &Egress, url: &str) -> EgressError {
    within(egress.send(get(url), SendOptions::default())).await.unwrap_err()
}

#[tokio::test]
async fn this_machine_is_out_of_reach_however_it_is_spelled() {
    let upstream = Upstream::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let port = upstream.address.port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "127.1",
        "0177.0.0.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[::7f00:1]",
        "0.0.0.0",
        "0",
        "[::]",
        "127.255.255.254",
    ];
    for host in hosts {
        let error = unnamed(&egress(), &format!("http://{host}:{port}/")).await;
        assert_eq!(error.code(), "destination-IP-prohibited", "{host}: {error}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn the_error_names_host_address_and_what_to_do() {
    let (egress, _) = scripted(&[&["10.1.2.3"]]);
    let message = unnamed(&egress, "http://intra.example/").await.to_string();
    for part in ["intra.example", "10.1.2.3", "private", "allowed_outbound_hosts"] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
}

#[tokio::test]
async fn a_named_host_may_lead_to_this_machine_but_not_to_its_credentials() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let (egress, _) = scripted(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let url = |host: &str| format!("http://{host}:{}/", upstream.address.port());
    assert_eq!(fetch(&egress, &url("a.example")).await.unwrap(), "hi");
    assert_eq!(failure(&egress, &url("b.example")).await, "destination-IP-prohibited");
}

#[tokio::test]
async fn a_name_that_changes_its_address_after_the_check_gains_nothing() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let url = format!("http://rebind.example:{}/", upstream.address.port());
    // First the address that passes the check, then the one that would not: with a second lookup before the connect,
    // the call would go to the second. Here 127.0.0.1 passes (the host is named) and the metadata address would not.
    let (egress, lookups) = scripted(&[&["127.0.0.1"], &["169.254.169.254"]]);
    assert_eq!(fetch(&egress, &url).await.unwrap(), "hi");
    assert_eq!(lookups.load(Ordering::SeqCst), 1, "a call looks its host up once");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn forbidden_addresses_among_allowed_ones_are_never_tried() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let url = format!("http://mixed.example:{}/", upstream.address.port());
    let (egress, _) = scripted(&[&["169.254.169.254", "127.0.0.1"]]);
    assert_eq!(fetch(&egress, &url).await.unwrap(), "hi");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let url = format!("http://two.example:{}/", upstream.address.port());
    let (egress, _) = scripted(&[&["::1", "127.9.9.9", "127.0.0.1"]]);
    assert_eq!(fetch(&egress, &url).await.unwrap(), "hi");
}

#[tokio::test]
async fn a_lookup_that_fails_or_hangs_or_finds_nothing_is_a_dns_error() {
    let with = |resolver: Broken| Egress::with_resolver(EgressConfig::default(), Arc::new(resolver)).unwrap();
    assert_eq!(failure(&with(Broken::Fails), "http://a.example/").await, "DNS-error");
    let options = SendOptions { connect_timeout: Some(Duration::from_millis(50)), ..named() };
    let error = within(with(Broken::Hangs).send(get("http://a.example/"), options)).await.unwrap_err();
    assert_eq!(error.code(), "DNS-timeout");
    let (nothing, _) = scripted(&[&[]]);
    assert_eq!(failure(&nothing, "http://a.example/").await, "DNS-error");
}
