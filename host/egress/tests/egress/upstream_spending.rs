//! Which calls that were given up have cost a prompt, by what went over the wire.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use waggle_egress::upstream::{CallOptions, PromptsSpent, Upstreams};

use crate::support::within;
use crate::upstream_servers::{Does, ROLE, STREAMED, Server, events, request, upstreams};

/// Long enough for a request to arrive on this machine.
const PATIENCE: Duration = Duration::from_millis(300);

/// How many prompts a call has spent whose client goes before it is answered.
async fn given_up(upstreams: &Upstreams) -> u32 {
    let spent = PromptsSpent::default();
    let options = CallOptions { spent: Some(&spent), ..CallOptions::default() };
    let gone = timeout(PATIENCE, upstreams.call(request(STREAMED), options)).await;
    assert!(gone.is_err(), "the call ended by itself");
    spent.prompts()
}

#[tokio::test]
async fn a_request_that_arrived_has_cost_its_prompt() {
    for text in [String::new(), events(&[ROLE])] {
        let sent = text.clone();
        let server = Server::start(move |_| Does::SendAndHang(sent.clone())).await;
        let upstreams = upstreams(&[&server.url], "first_byte_timeout_ms = 60_000");
        assert_eq!((within(given_up(&upstreams)).await, server.requests()), (1, 1), "{text:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_connection_has_cost_nothing() {
    // Connections are accepted by the system, and nobody answers the first message of TLS.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let upstreams = upstreams(&[&url], "connect_timeout_ms = 60_000");
    assert_eq!(within(given_up(&upstreams)).await, 0);
}
