//! The registry over a store in memory: one host, two hosts, and a store that fails.

mod model;
mod sealing;

use super::*;
use crate::testing::{
    NOW_S, directory, id, issuer, knock, sealing_key, tenant, tenant_with_key, token, upstream_secret,
};
use crate::{Caller, Denied, Door, SecretSource};
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An application that does not declare `undeclared`, declares `secret_…` as secret, and takes no value `wrong`.
fn rules() -> TenantRules {
    let check: TenantCheck = Arc::new(|tenant| {
        let of = |name: &str, what: &str| FieldMistake::new(&["variables", name], what);
        let found = tenant.settings.variables.iter().filter_map(|(name, value)| match value.as_plain() {
            _ if name == "undeclared" => Some(of(name, "not declared")),
            Some("wrong") => Some(of(name, "does not fit")),
            Some(_) => None,
            None => Some(of(name, "sealed")),
        });
        found.collect()
    });
    TenantRules { check, secret_variables: Arc::new(|name| name.starts_with("secret_")) }
}

/// A host: what it knows and its door.
pub(super) struct Host {
    pub(super) registry: Arc<Registry>,
    pub(super) directory: Arc<Directory>,
    pub(super) door: Door,
}

impl Host {
    pub(super) async fn over(store: Arc<dyn TenantStore>) -> Self {
        let directory = directory();
        Self::with(store, directory, sealing_key(1)).await
    }

    /// One whose key is another than that of the others.
    async fn with_another_key(store: Arc<dyn TenantStore>) -> Self {
        Self::with(store, crate::testing::directory_sealed_by(2), sealing_key(2)).await
    }

    async fn with(store: Arc<dyn TenantStore>, directory: Arc<Directory>, key: Arc<SealingKey>) -> Self {
        let opened = Registry::open(store, Arc::clone(&directory), key, rules()).await;
        Self { registry: opened.unwrap(), door: Door::new(Arc::clone(&directory)), directory }
    }

    async fn knock(&self, credential: &str) -> Result<Caller, Denied> {
        knock(&self.door, credential).await
    }
}

async fn host() -> Host {
    Host::over(Arc::new(MemoryTenantStore::default())).await
}

fn new_key(name: &str) -> NewKey {
    NewKey { name: name.to_owned(), ..NewKey::default() }
}

#[tokio::test]
async fn a_change_is_in_force_before_it_returns() {
    let host = host().await;
    let (registry, bank) = (&host.registry, id("bank"));
    assert!(host.directory.is_open());
    registry.create(tenant("bank")).await.unwrap();
    let (key, secret) = registry.add_key(&bank, new_key("ci")).await.unwrap();
    assert_eq!(host.knock(secret.expose()).await.unwrap().tenant.tenant.id, bank);
    assert_eq!(registry.last_used(&bank, &key.id).unwrap(), Some(NOW_S));

    registry.suspend(&bank).await.unwrap();
    assert_eq!(host.knock(secret.expose()).await.err(), Some(Denied::Suspended));
    registry.resume(&bank).await.unwrap();
    host.knock(secret.expose()).await.unwrap();

    registry.revoke_key(&bank, &key.id).await.unwrap();
    assert_eq!(host.knock(secret.expose()).await.err(), Some(Denied::UnknownKey));

    let (_, another) = registry.add_key(&bank, new_key("ci")).await.unwrap();
    host.knock(another.expose()).await.unwrap();
    registry.remove(&bank, None).await.unwrap();
    assert_eq!(host.knock(another.expose()).await.err(), Some(Denied::UnknownKey));
    assert!(!host.directory.is_open() && registry.list(None, 10).is_empty());
}

#[tokio::test]
async fn a_rotated_key_counts_until_its_grace_is_over() {
    let host = host().await;
    let (registry, bank) = (&host.registry, id("bank"));
    registry.create(tenant("bank")).await.unwrap();
    let asked =
        NewKey { scopes: vec!["chat".to_owned()], expires_at: Some(u64::from(u32::MAX)), ..new_key("ci") };
    let (old, old_secret) = registry.add_key(&bank, asked).await.unwrap();
    let (new, new_secret) = registry.rotate_key(&bank, &old.id, 60).await.unwrap();
    assert_eq!((&new.name, &new.scopes), (&old.name, &old.scopes));
    assert_eq!(new.expires_at.unwrap() - new.created_at, old.expires_at.unwrap() - old.created_at);
    let kept = registry.get(&bank).unwrap().tenant.settings.api_keys.clone();
    let old_end = kept.iter().find(|key| key.id == old.id).unwrap().expires_at.unwrap();
    assert_eq!(old_end, new.created_at + 60);
    let at = async |secret: &waggle_secret::Secret, now_s| {
        let header = format!("Bearer {}", secret.expose());
        host.door.identify_at(Some(header.as_bytes()), false, now_s).await.err()
    };
    assert_eq!(at(&old_secret, old_end - 1).await, None);
    assert_eq!(at(&old_secret, old_end).await, Some(Denied::KeyExpired));
    assert_eq!(at(&new_secret, old_end).await, None);
    // A second rotation of the old key does not let it live longer.
    registry.rotate_key(&bank, &old.id, 1_000_000).await.unwrap();
    assert_eq!(at(&old_secret, old_end).await, Some(Denied::KeyExpired));
}

#[tokio::test]
async fn keys_that_have_expired_make_room_for_new_ones() {
    let host = host().await;
    let bank = id("bank");
    let mut full = tenant("bank");
    full.settings.api_keys = (0..crate::API_KEYS_MAX)
        .map(|n| crate::ApiKey::generate("", Vec::new(), 0, (n > 0).then_some(1)).0)
        .collect();
    host.registry.create(full).await.unwrap();
    let (added, _) = host.registry.add_key(&bank, new_key("ci")).await.unwrap();
    let kept = host.registry.get(&bank).unwrap().tenant.settings.api_keys.clone();
    assert_eq!((kept.len(), &kept[1].id), (2, &added.id));
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_reason() {
    let host = host().await;
    let registry = &host.registry;
    let (of_file, _) = tenant_with_key("file");
    let key = of_file.settings.api_keys[0].clone();
    host.directory.replace(Origin::File, [of_file]).unwrap();
    let view = registry.create(tenant("bank")).await.unwrap();
    let bank = id("bank");

    assert!(matches!(registry.create(tenant("bank")).await, Err(RegistryError::Exists(_))));
    assert!(matches!(registry.create(tenant("file")).await, Err(RegistryError::FromFile(_))));
    assert!(matches!(registry.suspend(&id("file")).await, Err(RegistryError::FromFile(_))));
    assert!(matches!(registry.remove(&id("file"), None).await, Err(RegistryError::FromFile(_))));
    assert!(matches!(registry.suspend(&id("nobody")).await, Err(RegistryError::NotFound(_))));
    assert!(matches!(registry.remove(&id("nobody"), None).await, Err(RegistryError::NotFound(_))));
    assert!(matches!(registry.revoke_key(&bank, "none").await, Err(RegistryError::KeyNotFound(_))));
    assert!(matches!(registry.rotate_key(&bank, "none", 0).await, Err(RegistryError::KeyNotFound(_))));

    let mut same_key = tenant("shop");
    same_key.settings.api_keys.push(key);
    assert!(matches!(registry.create(same_key).await, Err(RegistryError::Conflict(_))));

    let settings = TenantSettings { name: "The bank".to_owned(), ..TenantSettings::default() };
    registry.replace(&bank, settings.clone(), Some(view.revision)).await.unwrap();
    let late = registry.replace(&bank, settings, Some(view.revision)).await;
    assert!(matches!(late, Err(RegistryError::RevisionMismatch { .. })));
    let late = registry.remove(&bank, Some(view.revision)).await;
    assert!(matches!(late, Err(RegistryError::RevisionMismatch { .. })));
}

#[tokio::test]
async fn every_kind_of_mistake_is_reported_and_nothing_is_written() {
    let store = Arc::new(MemoryTenantStore::default());
    let host = Host::over(store.clone()).await;
    let mut bank = tenant("bank");
    bank.settings.limits.wait_ms_max = Some(60_001);
    bank.settings.variables.insert("undeclared".to_owned(), "".into());
    bank.settings
        .secrets
        .insert("a".to_owned(), upstream_secret(SecretSource::File("/etc/passwd".to_owned())));
    let Err(RegistryError::Invalid(mistakes)) = host.registry.create(bank).await else { panic!() };
    let mut paths: Vec<String> = mistakes.iter().map(|mistake| mistake.path.join(".")).collect();
    paths.sort();
    assert_eq!(paths, ["limits.wait_ms_max", "secrets.a.secret", "variables.undeclared"]);
    assert_eq!(store.version().await.unwrap(), 0);
    assert!(host.directory.is_open());
}

#[tokio::test]
async fn replacing_settings_keeps_the_api_keys() {
    let host = host().await;
    let bank = id("bank");
    host.registry.create(tenant("bank")).await.unwrap();
    let (_, secret) = host.registry.add_key(&bank, new_key("ci")).await.unwrap();
    let settings = TenantSettings { name: "The bank".to_owned(), ..TenantSettings::default() };
    let view = host.registry.replace(&bank, settings, None).await.unwrap();
    assert_eq!((view.tenant.settings.name.as_str(), view.tenant.settings.api_keys.len()), ("The bank", 1));
    host.knock(secret.expose()).await.unwrap();
    let other = tenant_with_key("bank").0.settings;
    let Err(RegistryError::Invalid(mistakes)) = host.registry.replace(&bank, other, None).await else {
        panic!()
    };
    assert_eq!(mistakes[0].path, ["api_keys"]);
}

#[tokio::test]
async fn secrets_are_sealed_at_rest_and_open_in_force() {
    let store = Arc::new(MemoryTenantStore::default());
    let host = Host::over(store.clone()).await;
    let mut bank = tenant("bank");
    bank.settings.issuers.push(issuer("bank", 1));
    let source = SecretSource::Value("sk-canary\n".to_owned());
    bank.settings.secrets.insert("openai".to_owned(), upstream_secret(source));
    let view = host.registry.create(bank).await.unwrap();
    assert_eq!(view.entry.unwrap().upstream_secrets()[0].1.expose(), "sk-canary");
    host.knock(&token("bank", 1, NOW_S + 9)).await.unwrap();

    let (_, records) = store.load().await.unwrap();
    let text = String::from_utf8(records[0].settings.clone()).unwrap();
    assert!(
        text.contains("v1.") && !text.contains("canary") && !text.contains("at the very least"),
        "{text}"
    );
    assert!(!format!("{:?}", view.tenant).contains("v1."));

    // What was read can be written back; what belongs to another tenant cannot.
    let settings = view.tenant.settings.clone();
    host.registry.replace(&id("bank"), settings.clone(), None).await.unwrap();
    let Err(RegistryError::Invalid(mistakes)) =
        host.registry.create(Tenant { id: id("shop"), settings }).await
    else {
        panic!()
    };
    assert_eq!(mistakes[0].path, ["secrets", "openai", "secret"]);
}

#[tokio::test]
async fn a_tenant_that_cannot_be_in_force_is_left_out_alone_and_can_be_removed() {
    let store = Arc::new(MemoryTenantStore::default());
    let first = Host::over(store.clone()).await;
    let mut bank = tenant("bank");
    bank.settings.secrets.insert("a".to_owned(), upstream_secret(SecretSource::Value("sk-1".to_owned())));
    first.registry.create(bank).await.unwrap();
    first.registry.create(tenant("shop")).await.unwrap();
    store.put(&id("kiosk"), b"{\"name\": 7}".to_vec(), None).await.unwrap();

    let Host { registry, directory, .. } = Host::with_another_key(store).await;
    let problem = |name: &str| registry.get(&id(name)).unwrap().problem.unwrap_or_default().to_string();
    assert!(problem("bank").contains("sealed under another key"), "{}", problem("bank"));
    assert!(problem("bank").contains("secrets.a.secret"));
    assert!(problem("kiosk").contains("cannot be read (line 1"), "{}", problem("kiosk"));
    assert_eq!(problem("shop"), "");
    assert_eq!(directory.count(), 1);
    let unreadable = registry.suspend(&id("kiosk")).await;
    assert!(matches!(unreadable, Err(RegistryError::Unreadable(_))));
    registry.remove(&id("kiosk"), None).await.unwrap();
    registry.remove(&id("bank"), None).await.unwrap();
    assert_eq!(registry.list(None, 10).len(), 1);
}

#[tokio::test]
async fn both_origins_are_listed_page_by_page() {
    let host = host().await;
    for name in ["b", "d"] {
        host.registry.create(tenant(name)).await.unwrap();
    }
    host.directory.replace(Origin::File, [tenant("a"), tenant("c")]).unwrap();
    let page = |after: Option<&str>| -> Vec<String> {
        let after = after.map(id);
        let views = host.registry.list(after.as_ref(), 3);
        views.iter().map(|view| view.tenant.id.to_string()).collect()
    };
    assert_eq!(page(None), ["a", "b", "c"]);
    assert_eq!(page(Some("c")), ["d"]);
    assert_eq!(host.registry.get(&id("a")).unwrap().origin, Origin::File);
}

#[tokio::test]
async fn two_hosts_lose_none_of_their_changes() {
    let store: Arc<dyn TenantStore> = Arc::new(MemoryTenantStore::default());
    let one = Host::over(Arc::clone(&store)).await;
    one.registry.create(tenant("bank")).await.unwrap();
    let two = Host::over(store).await;
    let bank = id("bank");
    let mut keys = Vec::new();
    for round in 0..5 {
        // Neither has seen what the other has just written.
        keys.push(one.registry.add_key(&bank, new_key(&round.to_string())).await.unwrap().1);
        keys.push(two.registry.add_key(&bank, new_key(&round.to_string())).await.unwrap().1);
    }
    one.registry.follow().await.unwrap();
    for host in [&one, &two] {
        for key in &keys {
            host.knock(key.expose()).await.unwrap();
        }
    }
    let stale = one.registry.get(&bank).unwrap().revision;
    two.registry.suspend(&bank).await.unwrap();
    let late = one.registry.replace(&bank, TenantSettings::default(), Some(stale)).await;
    assert!(matches!(late, Err(RegistryError::RevisionMismatch { .. })));
    two.registry.remove(&bank, None).await.unwrap();
    assert!(matches!(one.registry.resume(&bank).await, Err(RegistryError::NotFound(_))));
    two.registry.create(tenant("shop")).await.unwrap();
    assert!(matches!(one.registry.create(tenant("shop")).await, Err(RegistryError::Exists(_))));
}

#[tokio::test(start_paused = true)]
async fn another_hosts_change_is_seen_within_half_a_second() {
    let store: Arc<dyn TenantStore> = Arc::new(MemoryTenantStore::default());
    let (one, two) = (Host::over(Arc::clone(&store)).await, Host::over(store).await);
    let watching = tokio::spawn(Arc::clone(&two.registry).watch(Duration::from_millis(500)));
    assert!(two.directory.is_open());
    one.registry.create(tenant("bank")).await.unwrap();
    let (key, secret) = one.registry.add_key(&id("bank"), new_key("ci")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(501)).await;
    two.knock(secret.expose()).await.unwrap();
    one.registry.revoke_key(&id("bank"), &key.id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(501)).await;
    assert_eq!(two.knock(secret.expose()).await.err(), Some(Denied::UnknownKey));
    one.registry.remove(&id("bank"), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(501)).await;
    assert!(two.directory.count() == 0 && !two.directory.is_open());
    watching.abort();
}

#[tokio::test]
async fn a_tenant_in_both_origins_is_the_files_until_the_file_gives_way() {
    let store: Arc<dyn TenantStore> = Arc::new(MemoryTenantStore::default());
    let (one, two) = (Host::over(Arc::clone(&store)).await, Host::over(store).await);
    let (of_file, of_file_key) = tenant_with_key("bank");
    two.directory.replace(Origin::File, [of_file]).unwrap();
    one.registry.create(tenant("bank")).await.unwrap();
    one.registry.create(tenant("shop")).await.unwrap();
    let (_, of_store_key) = one.registry.add_key(&id("bank"), new_key("ci")).await.unwrap();
    two.registry.follow().await.unwrap();
    assert_eq!(two.directory.count(), 2, "the conflict keeps nobody else out");
    two.knock(of_file_key.expose()).await.unwrap();
    assert!(two.knock(of_store_key.expose()).await.is_err());
    two.directory.replace(Origin::File, Vec::<Tenant>::new()).unwrap();
    two.registry.follow().await.unwrap();
    two.knock(of_store_key.expose()).await.unwrap();
    assert!(two.knock(of_file_key.expose()).await.is_err());
}

/// A store that can be made to fail, or never to answer.
#[derive(Default)]
struct Failing {
    store: MemoryTenantStore,
    fails: AtomicBool,
    hangs: AtomicBool,
    /// Fails after it has written.
    forgets: AtomicBool,
}

impl Failing {
    async fn trouble(&self) -> Result<(), StoreFailure> {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let fails = self.fails.load(Ordering::Relaxed);
        if fails { Err(StoreFailure::new("no connection")) } else { Ok(()) }
    }
}

#[async_trait]
impl TenantStore for Failing {
    async fn version(&self) -> Result<u64, StoreFailure> {
        self.trouble().await?;
        self.store.version().await
    }

    async fn load(&self) -> Result<(u64, Vec<StoredTenant>), StoreFailure> {
        self.trouble().await?;
        self.store.load().await
    }

    async fn put(
        &self,
        id: &TenantId,
        settings: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<u64, WriteFailure> {
        self.trouble().await?;
        let revision = self.store.put(id, settings, expected).await?;
        if self.forgets.load(Ordering::Relaxed) {
            return Err(StoreFailure::new("the connection broke").into());
        }
        Ok(revision)
    }

    async fn remove(&self, id: &TenantId, expected: u64) -> Result<(), WriteFailure> {
        self.trouble().await?;
        self.store.remove(id, expected).await
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_fails_what_is_in_force_stays() {
    let store = Arc::new(Failing::default());
    let host = Host::over(store.clone()).await;
    host.registry.create(tenant("bank")).await.unwrap();
    let (key, secret) = host.registry.add_key(&id("bank"), new_key("ci")).await.unwrap();
    for trouble in [&store.fails, &store.hangs] {
        trouble.store(true, Ordering::Relaxed);
        let failed = host.registry.revoke_key(&id("bank"), &key.id).await;
        assert!(matches!(failed, Err(RegistryError::Store(_))), "{failed:?}");
        assert!(host.registry.follow().await.is_err());
        host.knock(secret.expose()).await.unwrap();
        trouble.store(false, Ordering::Relaxed);
    }
    host.registry.revoke_key(&id("bank"), &key.id).await.unwrap();
    assert!(host.knock(secret.expose()).await.is_err());
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_found_out_at_the_next_look() {
    let store = Arc::new(Failing::default());
    let host = Host::over(store.clone()).await;
    host.registry.create(tenant("bank")).await.unwrap();
    let (_, secret) = host.registry.add_key(&id("bank"), new_key("ci")).await.unwrap();
    store.forgets.store(true, Ordering::Relaxed);
    assert!(host.registry.suspend(&id("bank")).await.is_err());
    host.knock(secret.expose()).await.unwrap();
    host.registry.follow().await.unwrap();
    assert_eq!(host.knock(secret.expose()).await.err(), Some(Denied::Suspended));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_no_empty_store() {
    let store = Arc::new(Failing::default());
    store.fails.store(true, Ordering::Relaxed);
    let opened = Registry::open(store, directory(), sealing_key(1), rules()).await;
    assert!(opened.is_err());
}
