//! Two hosts that share a Redis: what one of them is told about tenants, the other knows within a second.

use crate::support::{Server, Setup, wait_until};
use crate::tenants_support::{Admin, Caller, in_force, key_in, state_of, tenant, try_tenant};
use serde_json::json;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

const PASSWORD: &str = "redis-password-of-this-test";
/// 32 bytes in base64.
const SEALING_KEY: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";

/// Another one.
const OTHER_SEALING_KEY: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
/// No request goes on for longer, so an erasure has not long to wait for other hosts. Work may, and is cut off.
const SHORT_RESPONSES: &str = "[engine]\nrequest_timeout_ms = 3000\nresponse_timeout_ms = 3000\n";

/// A Redis of this test's own, killed when dropped.
struct Redis {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Redis {
    /// None where there is no Redis on this machine.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--requirepass", PASSWORD])
            .args(["--save", "", "--appendonly", "no", "--dir", folder.path().to_str().unwrap()])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let redis = Self { process, port, _folder: folder };
        wait_until("Redis", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(redis)
    }

    /// A host with this sealing key, and more in its runtime configuration.
    fn host(&self, key: &str, more: &str) -> Server {
        let url = format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port);
        let config = format!(
            "[key_value_store.default]\ntype = \"redis\"\nurl = \"{url}\"\n\
             [tenancy]\nsealing_key_environment = \"SEALING_KEY\"\n{more}"
        );
        Setup::application().runtime_config(&config).env("SEALING_KEY", key).start()
    }

    /// Every key there is, quoted: they hold bytes that are no text.
    fn keys(&self) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port, "--no-auth-warning", "-a", PASSWORD, "--no-raw", "KEYS", "*"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn hosts_that_share_a_store_share_its_tenants() {
    let Some(redis) = Redis::start() else {
        eprintln!("skipped: this machine has no redis-server");
        return;
    };
    let (first, second) =
        (redis.host(SEALING_KEY, SHORT_RESPONSES), redis.host(SEALING_KEY, SHORT_RESPONSES));
    let there = async |key: &str| Caller::with(&second, key).status("/hello").await;
    assert_eq!(there("anything").await, 200, "open, as long as there are no tenants");
    let key = key_in(&tenant(&first, &["add", "bank-a"]));
    in_force("a tenant of the other host", async || there("anything").await == 401).await;
    assert_eq!(there(&key).await, 200);
    // What one host stored, the other reads.
    let conversation = Caller::with(&first, &key).conversation().await;
    let path = format!("/v1/conversations/{conversation}");
    assert_eq!(Caller::with(&second, &key).status(&path).await, 200);

    let admin = Admin::of(&first);
    admin.change("bank-a", json!({ "limits": { "request_body_bytes_max": 10 } })).await;
    in_force("a limit of the other host", async || {
        Caller::with(&second, &key).turn("more than ten bytes").await.status == 413
    })
    .await;
    tenant(&first, &["suspend", "bank-a"]);
    in_force("a suspension of the other host", async || there(&key).await == 403).await;
    tenant(&first, &["resume", "bank-a"]);
    in_force("its end", async || there(&key).await == 200).await;
    let next = key_in(&tenant(&first, &["rotate-key", "bank-a"]));
    in_force("a rotation of the other host", async || there(&key).await == 401).await;
    assert_eq!(there(&next).await, 200);

    // Changed by either, removed by either; the other one forgets it as well.
    tenant(&second, &["add", "shop-b"]);
    in_force("a tenant of the second host", async || tenant(&first, &["list"]).contains("shop-b")).await;
    let printed = tenant(&second, &["remove", "bank-a", "--erase", "--yes"]);
    assert!(printed.contains("a second look found 0"), "{printed}");
    in_force("the end of a tenant", async || Caller::with(&first, &next).status("/hello").await == 401).await;
    assert!(!redis.keys().contains("bank-a"), "{}", redis.keys());
    assert!(redis.keys().contains("shop-b"), "{}", redis.keys());
    for host in [&first, &second] {
        assert!(!host.output().contains(PASSWORD), "{}", host.output());
    }
}

#[tokio::test]
async fn an_erasure_is_refused_while_another_host_could_still_write() {
    let Some(redis) = Redis::start() else {
        eprintln!("skipped: this machine has no redis-server");
        return;
    };
    // A response may take ten minutes, as it may by default. Deliveries of work may take longer, but are cut off.
    let host = redis.host(SEALING_KEY, "");
    tenant(&host, &["add", "bank-a"]);
    let (done, _, error) = try_tenant(&state_of(&host.setup), &["remove", "bank-a", "--erase", "--yes"]);
    assert!(!done && error.contains("may go on with requests of `bank-a` for 60"), "{error}");
    let refused = Admin::of(&host).call("DELETE", "/tenants/bank-a?erase=true", None).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "tenant_not_quiet"), "{refused:?}");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((500..=602).contains(&seconds), "{refused:?}");
    let list = tenant(&host, &["list"]);
    assert!(list.contains("bank-a") && list.contains("suspended"), "{list}");
}

#[tokio::test]
async fn a_host_with_another_sealing_key_can_suspend() {
    let Some(redis) = Redis::start() else {
        eprintln!("skipped: this machine has no redis-server");
        return;
    };
    let first = redis.host(SEALING_KEY, "");
    let admin = Admin::of(&first);
    let settings = json!({ "variables": { "model_api_key": "sk-canary" } });
    let caller = Caller::with(&first, &admin.create("bank-a", settings).await);
    let second = redis.host(OTHER_SEALING_KEY, "");
    let list = tenant(&second, &["list"]);
    assert!(
        list.contains("NOT IN FORCE: variables.model_api_key: it was sealed under another key"),
        "{list}"
    );
    let printed = tenant(&second, &["suspend", "bank-a"]);
    assert!(printed.contains("`bank-a` is suspended") && printed.contains("another key"), "{printed}");
    in_force("a suspension by the other host", async || caller.status("/hello").await == 403).await;
    tenant(&first, &["resume", "bank-a"]);
    in_force("its end", async || caller.status("/hello").await == 200).await;
    tenant(&second, &["remove", "bank-a", "--yes"]);
    in_force("a removal by the other host", async || caller.status("/hello").await == 401).await;
}
