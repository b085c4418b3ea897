//! What an administrator does with tenants and keys.

use super::*;
use std::time::Instant;

#[tokio::test]
async fn a_tenant_is_created_shown_changed_and_removed() {
    let served = served().await;
    let created = served.post("/tenants", json!({ "id": "acme", "settings": { "name": "Acme" } })).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.header(header::LOCATION), "/admin/v1/tenants/acme");
    let shown = served.get("/tenants/acme").await;
    assert_eq!(shown.header(header::ETAG), created.header(header::ETAG));
    assert_eq!(
        (&shown.json["source"], &shown.json["settings"]["state"]),
        (&json!("store"), &json!("active"))
    );
    let mut settings = shown.json["settings"].clone();
    settings["limits"]["requests_per_second"] = json!(7);
    let changed = served.ask(Method::PUT, "/tenants/acme", Some(settings)).await;
    assert_eq!(changed.json["settings"]["limits"]["requests_per_second"], 7);
    assert_ne!(changed.header(header::ETAG), created.header(header::ETAG));
    let id = TenantId::new("acme").unwrap();
    assert_eq!(served.directory.entry(&id).unwrap().limits.requests_per_second, Some(7), "it is in force");
    assert_eq!(served.ask(Method::DELETE, "/tenants/acme", None).await.status, 204);
    assert_eq!(served.calls(), ["ended acme"]);
    assert_eq!(served.get("/tenants/acme").await.status, 404);
}

#[tokio::test]
async fn suspending_and_resuming_are_in_force_at_once() {
    let served = served().await;
    served.post("/tenants", json!({ "id": "acme" })).await;
    let id = TenantId::new("acme").unwrap();
    for (path, state, active) in
        [("suspend", "suspended", false), ("suspend", "suspended", false), ("resume", "active", true)]
    {
        let answered = served.ask(Method::POST, &format!("/tenants/acme/{path}"), None).await;
        assert_eq!((answered.status, &answered.json["settings"]["state"]), (200, &json!(state)));
        assert_eq!(served.directory.entry(&id).unwrap().is_active(), active);
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let served = served().await;
    for id in ["d", "b", "a", "e", "c"] {
        served.post("/tenants", json!({ "id": id })).await;
    }
    let mut ids = Vec::new();
    let mut path = "/tenants?limit=2".to_owned();
    loop {
        let page = served.get(&path).await;
        let tenants = page.json["tenants"].as_array().unwrap();
        assert!(tenants.len() <= 2);
        ids.extend(tenants.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        let Some(next) = page.json["next"].as_str() else { break };
        path = format!("/tenants?limit=2&after={next}");
    }
    assert_eq!(ids, ["a", "b", "c", "d", "e"]);
    assert_eq!(served.get("/tenants").await.json["tenants"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_key_is_shown_once_and_rotated_and_revoked() {
    let served = served().await;
    served.post("/tenants", json!({ "id": "acme" })).await;
    let made = served
        .post("/tenants/acme/keys", json!({ "name": "ci", "scopes": ["chat"], "expires_in_s": 60 }))
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let secret = made.json["secret"].as_str().unwrap().to_owned();
    let id = made.json["key"]["id"].as_str().unwrap().to_owned();
    assert!(secret.starts_with(&format!("wk_{id}_")), "{secret}");
    let (created, expires) = (&made.json["key"]["created_at"], &made.json["key"]["expires_at"]);
    assert_eq!(expires.as_u64().unwrap() - created.as_u64().unwrap(), 60);

    let rotated = served.post(&format!("/tenants/acme/keys/{id}/rotate"), json!({ "grace_s": 5 })).await;
    assert_eq!((rotated.status, &rotated.json["key"]["name"]), (201, &json!("ci")));
    let list = served.get("/tenants/acme/keys").await;
    assert_eq!(list.json["keys"].as_array().unwrap().len(), 2);
    assert!(!list.text.contains("hash") && !list.text.contains(&secret[16..]));

    let path = format!("/tenants/acme/keys/{id}");
    assert_eq!(served.ask(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(served.ask(Method::DELETE, &path, None).await.json["code"], "unknown_key");
    // Without a body, the key has no name and no end.
    let plain = served.ask(Method::POST, "/tenants/acme/keys", None).await;
    assert_eq!((plain.status, &plain.json["key"]["expires_at"]), (201, &Value::Null));
}

#[tokio::test]
async fn an_erasure_is_proven_and_one_that_is_not_leaves_the_tenant_suspended() {
    let served = served().await;
    served.post("/tenants", json!({ "id": "acme", "settings": { "name": "Acme" } })).await;
    served.post("/tenants/acme/keys", json!({})).await;
    let refused = served.ask(Method::DELETE, "/tenants/acme?erase=true", None).await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("tenant_active")));
    assert!(refused.json["detail"].as_str().unwrap().contains("waggle tenant suspend acme"));
    assert_eq!(served.get("/tenants/acme").await.json["settings"]["name"], "Acme", "nothing has changed");
    served.post("/tenants/acme/suspend", json!({})).await;
    let left = StoreErasure { store: "default".into(), keys: 1, bytes: 1, remaining: 1 };
    *served.application.fails.lock().unwrap() = Some(ErasureReport { stores: vec![left], log_files: 0 });
    let failed = served.ask(Method::DELETE, "/tenants/acme?erase=true", None).await;
    assert_eq!((failed.status, &failed.json["code"]), (500, &json!("erasure_incomplete")));
    let stays = served.get("/tenants/acme").await.json["settings"].clone();
    assert_eq!((&stays["state"], &stays["name"]), (&json!("suspended"), &json!("")), "{stays}");
    assert_eq!(served.get("/tenants/acme/keys").await.json, json!({ "keys": [] }));
    let erased = served.ask(Method::DELETE, "/tenants/acme?erase=true", None).await;
    assert_eq!(erased.status, 200, "{}", erased.text);
    assert_eq!(erased.json["erased"]["stores"][0]["remaining"], 0);
    assert_eq!(served.calls(), ["erase acme", "erase acme", "ended acme"]);
    assert_eq!(served.get("/tenants/acme").await.status, 404);
}

#[tokio::test]
async fn an_erasure_waits_for_hosts_that_share_the_store() {
    let served = served().await;
    served.post("/tenants", json!({ "id": "acme" })).await;
    served.post("/tenants/acme/suspend", json!({})).await;
    *served.application.quiet_after.lock().unwrap() = Duration::from_secs(602);
    let refused = served.ask(Method::DELETE, "/tenants/acme?erase=true", None).await;
    assert_eq!((refused.status, &refused.json["code"]), (409, &json!("tenant_not_quiet")));
    let seconds: u64 = refused.header(header::RETRY_AFTER).parse().unwrap();
    assert!((590..=602).contains(&seconds), "{seconds}");
    assert_eq!(served.calls(), Vec::<String>::new());

    let began = Instant::now();
    let quiet_after = Duration::from_millis(700);
    *served.application.quiet_after.lock().unwrap() = quiet_after;
    served.post("/tenants/acme/resume", json!({})).await;
    served.post("/tenants/acme/suspend", json!({})).await;
    let erased = served.ask(Method::DELETE, "/tenants/acme?erase=true", None).await;
    assert_eq!(erased.status, 200, "{}", erased.text);
    assert!(began.elapsed() >= quiet_after, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_record_that_nobody_can_read_is_erased_without_more_ado() {
    let served = served().await;
    let id = TenantId::new("damaged").unwrap();
    served.store.put(&id, b"{".to_vec(), None).await.unwrap();
    // Any change that finds another's makes this host read all of them.
    served.post("/tenants", json!({ "id": "damaged" })).await;
    assert_eq!(served.post("/tenants/damaged/suspend", json!({})).await.json["code"], "unreadable");
    let erased = served.ask(Method::DELETE, "/tenants/damaged?erase=true", None).await;
    assert_eq!(erased.status, 200, "{}", erased.text);
}

#[tokio::test]
async fn a_change_is_made_on_what_was_seen_or_not_at_all() {
    let served = served().await;
    let seen = served.post("/tenants", json!({ "id": "acme" })).await;
    let tag = seen.header(header::ETAG).to_owned();
    served.post("/tenants/acme/suspend", json!({})).await;
    let with_tag = |method: Method, tag: &str, body: &'static str| {
        let request = served.request(method, "/tenants/acme").header(header::IF_MATCH, tag);
        request.header(header::CONTENT_TYPE, "application/json").body(Full::from(body)).unwrap()
    };
    assert_eq!(served.send(with_tag(Method::PUT, &tag, "{}")).await.status, 412);
    assert_eq!(served.send(with_tag(Method::DELETE, &tag, "")).await.status, 412);
    let now = served.get("/tenants/acme").await.header(header::ETAG).to_owned();
    assert_eq!(served.send(with_tag(Method::PUT, &now, "{}")).await.status, 200);
    assert_eq!(served.send(with_tag(Method::DELETE, "*", "")).await.status, 204);
}

#[tokio::test]
async fn without_a_condition_a_tenant_is_removed_whatever_another_host_made_of_it() {
    let served = served().await;
    let seen = served.post("/tenants", json!({ "id": "acme" })).await;
    let id = TenantId::new("acme").unwrap();
    // Another host changes it; this one has not looked yet.
    let revision = seen.json["revision"].as_u64().unwrap();
    let settings = serde_json::to_vec(&TenantSettings::default()).unwrap();
    served.store.put(&id, settings, Some(revision)).await.unwrap();
    let tag = seen.header(header::ETAG).to_owned();
    let request = served.request(Method::DELETE, "/tenants/acme").header(header::IF_MATCH, tag);
    assert_eq!(served.send(request.body(Full::default()).unwrap()).await.status, 412);

    let (_, records) = served.store.load().await.unwrap();
    let settings = serde_json::to_vec(&TenantSettings::default()).unwrap();
    served.store.put(&id, settings, Some(records[0].revision)).await.unwrap();
    assert_eq!(served.ask(Method::DELETE, "/tenants/acme", None).await.status, 204);
    assert!(served.store.load().await.unwrap().1.is_empty());
}

#[tokio::test]
async fn a_tenant_of_the_file_is_shown_but_not_changed() {
    let served = served().await;
    served.configure_by_file("filed", json!({ "name": "Filed" }));
    assert_eq!(served.get("/tenants/filed").await.json["source"], "file");
    assert_eq!(served.get("/tenants/filed/usage").await.json["instances"], 2);
    for (method, path, body) in [
        (Method::PUT, "/tenants/filed", Some(json!({}))),
        (Method::DELETE, "/tenants/filed", None),
        (Method::DELETE, "/tenants/filed?erase=true", None),
        (Method::POST, "/tenants/filed/suspend", None),
        (Method::POST, "/tenants/filed/keys", None),
        (Method::POST, "/tenants", Some(json!({ "id": "filed" }))),
    ] {
        let answered = served.ask(method, path, body).await;
        assert_eq!((answered.status, &answered.json["code"]), (409, &json!("tenant_of_file")), "{path}");
        assert!(answered.json["detail"].as_str().unwrap().contains("tenants.toml"));
    }
    assert_eq!(served.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn an_unknown_tenant_is_named() {
    let served = served().await;
    for (method, path) in [(Method::GET, ""), (Method::DELETE, ""), (Method::POST, "/suspend")] {
        let answered = served.ask(method, &format!("/tenants/nobody{path}"), None).await;
        assert_eq!((answered.status, &answered.json["code"]), (404, &json!("unknown_tenant")));
        assert_eq!(answered.json["detail"], "There is no tenant `nobody`.");
    }
}

#[tokio::test]
async fn the_client_of_the_command_line_speaks_to_it() {
    let served = served().await;
    let url = format!("http://{}", served.address);
    let client = crate::AdminClient::new(&url, &Secret::new(KEY)).unwrap();
    let body = json!({ "id": "acme" });
    assert_eq!(client.post("/tenants", &body).await.unwrap()["id"], "acme");
    let again = client.post("/tenants", &body).await.unwrap_err();
    assert_eq!(again.code(), Some("tenant_exists"));
    assert_eq!(client.delete("/tenants/acme").await.unwrap(), Value::Null);
}

#[tokio::test]
async fn after_the_stop_nobody_is_let_in() {
    let mut served = served().await;
    assert_eq!(served.get("/health").await.status, 200);
    served.stop().await;
    assert!(TcpStream::connect(served.address).await.is_err());
}
