//! Calls in the name of tools, against a server on this machine that tells what it was sent.

use super::*;
use crate::account::{Active, TenantAccount};
use crate::outbound::tests::{PATIENCE, body, world};
use crate::request::{CallerFields, Ledger};
use crate::world::{FunctionWorld, OutboundPolicy, ToolCalls};
use async_trait::async_trait;
use http::{Request, Response};
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waggle_egress::{Credential, Credentials, EgressConfig};
use waggle_secret::Secret;

const TOOLS: &str = "tools.waggle.internal";

/// A tool `orders` that may call one port of this machine.
struct Orders {
    port: u16,
    credentials: Arc<Credentials>,
    places: Arc<Semaphore>,
    response_bytes_max: u64,
    asked: Mutex<Vec<String>>,
}

struct OnlyPort(u16);

impl OutboundPolicy for OnlyPort {
    fn decide(&self, _scheme: &str, host: &str, port: u16) -> OutboundDecision {
        match host {
            "127.0.0.1" if port == self.0 => OutboundDecision::Private,
            TOOLS => OutboundDecision::Public,
            _ => OutboundDecision::Denied,
        }
    }

    fn allows_internal(&self, _host: &str) -> bool {
        true
    }

    fn allows_socket(&self, _address: SocketAddr) -> bool {
        true
    }
}

#[async_trait]
impl ToolCalls for Orders {
    fn takes(&self, host: &str) -> bool {
        host == TOOLS
    }

    async fn call(&self, request: Request<WasiBody>, _context: ToolCallContext) -> Response<WasiBody> {
        self.asked.lock().unwrap().push(request.uri().path().to_owned());
        Response::new(body())
    }

    fn terms(&self, name: &str, _caller: &CallerFields) -> Result<ToolTerms, ToolRefusal> {
        if name != "orders" {
            return Err(ToolRefusal::Unknown);
        }
        let place: Result<OwnedSemaphorePermit, _> = Arc::clone(&self.places).try_acquire_owned();
        Ok(ToolTerms {
            outbound: Arc::new(OnlyPort(self.port)),
            credentials: Arc::clone(&self.credentials),
            timeout: PATIENCE,
            response_bytes_max: self.response_bytes_max,
            place: Box::new(place.map_err(|_full| ToolRefusal::Busy)?),
        })
    }
}

/// Answers each request with `answer`, and keeps what it was sent.
async fn server(answer: &'static str) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _peer)) = listener.accept().await {
            let mut head = vec![0_u8; 4_096];
            let read = stream.read(&mut head).await.unwrap();
            told.lock().unwrap().push(String::from_utf8_lossy(&head[..read]).into_owned());
            let length = answer.len();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
        }
    });
    (port, seen)
}

struct Scene {
    world: Arc<FunctionWorld>,
    tools: Arc<Orders>,
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(1 << 20).await
    }

    async fn with(response_bytes_max: u64) -> Self {
        let (port, seen) = server("an order").await;
        let origin = format!("http://127.0.0.1:{port}");
        let credential = |header: &str, value: &str| {
            Credential::new(&origin, "/", header, &Secret::new(value.to_owned())).unwrap()
        };
        let tools = Arc::new(Orders {
            port,
            credentials: Arc::new(Credentials::new(vec![credential("x-granted", "granted-key")])),
            places: Arc::new(Semaphore::new(1)),
            response_bytes_max,
            asked: Mutex::default(),
        });
        let config = EgressConfig {
            credentials: vec![credential("x-operator", "operator-key")],
            ..EgressConfig::default()
        };
        let world = FunctionWorld {
            egress: Arc::new(Egress::new(config).unwrap()),
            credentials: Arc::new(Credentials::new(vec![credential("x-tenant", "tenant-key")])),
            tools: Some(Arc::clone(&tools) as Arc<_>),
            outbound: Arc::new(OnlyPort(port)),
            ..Arc::into_inner(world()).unwrap()
        };
        Self { world: Arc::new(world), tools, port, seen }
    }

    fn call(
        &self,
        url: &str,
        fields: &[&str],
    ) -> impl Future<Output = Result<Response<WasiBody>, Error>> + use<> {
        let mut request = Request::get(url);
        for field in fields {
            request = request.header(TOOL_FIELD, *field);
        }
        let call = Call {
            world: Arc::clone(&self.world),
            account: TenantAccount::new(&Arc::new(Active::default())),
            ledger: Arc::new(Ledger::default()),
            caller: None,
            depth_max: 8,
            calls_max: 8,
            background_timeout: PATIENCE,
        };
        let nothing = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        call.send(request.body(nothing).unwrap(), None)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/orders/7", self.port)
    }

    fn sent(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_tools_call_carries_what_was_granted_and_nothing_else() {
    let scene = Scene::new().await;
    let answer = scene.call(&scene.url(), &["orders"]).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "an order");
    let sent = scene.sent().remove(0).to_ascii_lowercase();
    assert!(sent.contains("x-granted: granted-key"), "{sent}");
    for left_out in ["waggle-tool", "operator-key", "tenant-key"] {
        assert!(!sent.contains(left_out), "{left_out}: {sent}");
    }
    let _ = scene.call(&scene.url(), &[]).await.unwrap();
    let sent = scene.sent().remove(1).to_ascii_lowercase();
    assert!(
        sent.contains("operator-key") && sent.contains("tenant-key"),
        "any other call is as ever: {sent}"
    );
    assert!(!sent.contains("granted-key"), "{sent}");
}

#[tokio::test]
async fn what_is_not_granted_is_not_called() {
    let scene = Scene::new().await;
    let check = async |url: &str, fields: &[&str]| {
        let refused = scene.call(url, fields).await.err();
        assert!(matches!(refused, Some(Error::HttpRequestDenied)), "{url} {fields:?}: {refused:?}");
    };
    let url = scene.url();
    check(&url, &["other"]).await;
    check(&url, &[""]).await;
    check(&url, &["orders", "orders"]).await;
    check("http://127.0.0.1:1/", &["orders"]).await;
    check("http://169.254.169.254/latest/meta-data", &["orders"]).await;
    // What a function may call by itself, a tool may not.
    for inside in ["chat.spin.internal", "self", "models.waggle.internal", "work.waggle.internal", TOOLS] {
        check(&format!("http://{inside}/v1/tools"), &["orders"]).await;
    }
    assert_eq!(scene.sent(), [""; 0]);
    assert!(scene.tools.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_function_without_tools_sends_nothing_in_the_name_of_one() {
    let mut scene = Scene::new().await;
    let world = FunctionWorld {
        tools: None,
        ..Arc::into_inner(std::mem::replace(&mut scene.world, world())).unwrap()
    };
    scene.world = Arc::new(world);
    let refused = scene.call(&scene.url(), &["orders"]).await.err();
    assert!(matches!(refused, Some(Error::HttpRequestDenied)), "{refused:?}");
    assert_eq!(scene.sent(), [""; 0]);
}

#[tokio::test]
async fn the_hosts_own_address_is_answered_by_the_host() {
    let scene = Scene::new().await;
    scene.call(&format!("http://{TOOLS}/v1/tools"), &[]).await.unwrap();
    assert_eq!(*scene.tools.asked.lock().unwrap(), ["/v1/tools"]);
}

#[tokio::test]
async fn a_place_is_taken_until_the_answer_has_ended() {
    let scene = Scene::new().await;
    let held = scene.call(&scene.url(), &["orders"]).await.unwrap();
    let refused = scene.call(&scene.url(), &["orders"]).await.err();
    assert!(matches!(refused, Some(Error::ConnectionLimitReached)), "{refused:?}");
    drop(held);
    scene.call(&scene.url(), &["orders"]).await.unwrap();
}

#[tokio::test]
async fn an_answer_breaks_off_at_its_bound() {
    let check = async |bytes_max: u64, is_whole: bool| {
        let scene = Scene::with(bytes_max).await;
        let answer = scene.call(&scene.url(), &["orders"]).await.unwrap();
        assert_eq!(answer.into_body().collect().await.is_ok(), is_whole, "{bytes_max}");
    };
    check(8, true).await;
    check(7, false).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_ends_with_its_time() {
    let frames = futures::stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        Some((Ok::<_, Error>(Frame::data(Bytes::from_static(b"."))), ()))
    });
    let endless = http_body_util::StreamBody::new(frames).boxed_unsync();
    let until = Instant::now() + Duration::from_secs(1);
    let read = ToolBody::new(endless, until, u64::MAX, Box::new(())).collect().await;
    assert!(matches!(read, Err(Error::HttpResponseTimeout)));
    assert!(Instant::now() >= until);
}
