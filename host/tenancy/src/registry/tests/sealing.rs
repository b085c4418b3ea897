//! What is sealed, what opens it, and what can be done without the key.

use super::*;
use crate::{TenantVariable, VARIABLE_BYTES_MAX};

fn bank(variables: &[(&str, &str)]) -> Tenant {
    let mut bank = tenant("bank");
    bank.settings.variables =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    bank
}

fn in_force(host: &Host) -> Vec<(String, String)> {
    let entry = host.directory.entry(&id("bank")).unwrap();
    entry.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn stored(store: &dyn TenantStore) -> String {
    let (_, records) = store.load().await.unwrap();
    records.into_iter().map(|record| String::from_utf8(record.settings).unwrap()).collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn a_secret_variable_is_sealed_at_rest_and_open_in_force() {
    let store = Arc::new(MemoryTenantStore::default());
    let host = Host::over(store.clone()).await;
    let values = [("model", "m-1"), ("secret_empty", ""), ("secret_token", "canary\n")];
    let view = host.registry.create(bank(&values)).await.unwrap();
    assert_eq!(in_force(&host), owned(&values));
    let text = stored(&*store).await;
    assert!(!text.contains("canary") && text.contains("\"model\":\"m-1\""), "{text}");
    assert!(!format!("{:?}", view.tenant).contains("canary"));
    assert_eq!(in_force(&Host::over(store.clone()).await), owned(&values), "another host opens it");

    // What was read can be written back, and stays the same to the letter.
    let entry = view.entry.unwrap();
    let again = host.registry.replace(&id("bank"), view.tenant.settings.clone(), None).await.unwrap();
    assert_eq!(again.tenant, view.tenant);
    assert!(Arc::ptr_eq(&again.entry.unwrap(), &entry), "nothing has changed, so no instance ends");

    let longest = "x".repeat(VARIABLE_BYTES_MAX);
    let long = bank(&[("secret_token", &longest)]);
    host.registry.replace(&id("bank"), long.settings, None).await.unwrap();
    assert_eq!(in_force(&host), owned(&[("secret_token", &longest)]));
}

#[tokio::test]
async fn a_record_from_before_variables_were_sealed_is_in_force_and_sealed_with_the_next_change() {
    let store = Arc::new(MemoryTenantStore::default());
    let settings = serde_json::to_vec(&bank(&[("secret_token", "canary")]).settings).unwrap();
    store.put(&id("bank"), settings, None).await.unwrap();
    let host = Host::over(store.clone()).await;
    assert_eq!(in_force(&host), owned(&[("secret_token", "canary")]));
    host.registry.add_key(&id("bank"), new_key("ci")).await.unwrap();
    assert!(!stored(&*store).await.contains("canary"));
    assert_eq!(in_force(&host), owned(&[("secret_token", "canary")]));
}

#[tokio::test]
async fn the_application_checks_values_and_not_what_they_are_sealed_as() {
    let host = host().await;
    let refused = host.registry.create(bank(&[("secret_token", "wrong")])).await;
    let Err(RegistryError::Invalid(mistakes)) = refused else { panic!() };
    assert_eq!((mistakes.len(), mistakes[0].message.as_str()), (1, "does not fit"));
    host.registry.create(bank(&[("secret_token", "canary")])).await.unwrap();
    // Everything is checked again with each change.
    host.registry.add_key(&id("bank"), new_key("ci")).await.unwrap();
}

#[tokio::test]
async fn a_variable_that_this_hosts_key_does_not_open_keeps_its_tenant_out_of_force() {
    let store = Arc::new(MemoryTenantStore::default());
    Host::over(store.clone()).await.registry.create(bank(&[("secret_token", "canary")])).await.unwrap();
    let other = Host::with_another_key(store).await;
    let view = other.registry.get(&id("bank")).unwrap();
    let problem = view.problem.unwrap_or_default();
    assert!(problem.starts_with("variables.secret_token: it was sealed under another key"), "{problem}");
    let Err(RegistryError::Invalid(mistakes)) = other.registry.add_key(&id("bank"), new_key("ci")).await
    else {
        panic!()
    };
    assert_eq!(mistakes[0].path, ["variables", "secret_token"]);
    // Another tenant's sealed value does not open either.
    let variables = [("secret_token".to_owned(), view.tenant.settings.variables["secret_token"].clone())];
    assert!(matches!(variables[0].1, TenantVariable::Sealed(_)));
    let settings = TenantSettings { variables: variables.into(), ..TenantSettings::default() };
    let shop = Tenant { id: id("shop"), settings };
    assert!(matches!(host().await.registry.create(shop).await, Err(RegistryError::Invalid(_))));
}

#[tokio::test]
async fn a_tenant_whose_secrets_do_not_open_here_is_suspended_and_removed_all_the_same() {
    let store = Arc::new(MemoryTenantStore::default());
    let first = Host::over(store.clone()).await;
    let mut bank = bank(&[("secret_token", "canary")]);
    let secret = upstream_secret(SecretSource::Value("sk-1".to_owned()));
    bank.settings.secrets.insert("a".to_owned(), secret);
    first.registry.create(bank).await.unwrap();
    let (_, key) = first.registry.add_key(&id("bank"), new_key("ci")).await.unwrap();

    let other = Host::with_another_key(store).await;
    let view = other.registry.suspend(&id("bank")).await.unwrap();
    assert_eq!(view.tenant.settings.state, TenantState::Suspended);
    assert!(view.problem.unwrap().contains("sealed under another key"));
    first.registry.follow().await.unwrap();
    assert_eq!(first.knock(key.expose()).await.err(), Some(Denied::Suspended));
    // To serve it again, its secrets must open; they are still what they were.
    assert!(matches!(other.registry.resume(&id("bank")).await, Err(RegistryError::Invalid(_))));
    first.registry.resume(&id("bank")).await.unwrap();
    first.knock(key.expose()).await.unwrap();

    other.registry.follow().await.unwrap();
    other.registry.remove(&id("bank"), None).await.unwrap();
    first.registry.follow().await.unwrap();
    assert_eq!(first.knock(key.expose()).await.err(), Some(Denied::UnknownKey));
}

#[tokio::test]
async fn a_tenant_that_the_application_no_longer_takes_can_be_suspended() {
    let store = Arc::new(MemoryTenantStore::default());
    // As it was stored when spin.toml still declared that variable.
    let settings = serde_json::to_vec(&bank(&[("undeclared", "x")]).settings).unwrap();
    store.put(&id("bank"), settings, None).await.unwrap();
    let host = Host::over(store).await;
    assert!(matches!(host.registry.resume(&id("bank")).await, Err(RegistryError::Invalid(_))));
    host.registry.suspend(&id("bank")).await.unwrap();
    assert!(!host.directory.entry(&id("bank")).unwrap().is_active());
}

#[tokio::test(start_paused = true)]
async fn since_when_a_tenant_is_quiet_is_known() {
    let store = Arc::new(MemoryTenantStore::default());
    let (host, other) = (Host::over(store.clone()).await, Host::over(store.clone()).await);
    host.registry.create(tenant("bank")).await.unwrap();
    let quiet = |host: &Host| {
        let since = host.registry.get(&id("bank")).unwrap().quiet_since;
        since.map(|since| since.elapsed().as_secs())
    };
    let second = || tokio::time::advance(Duration::from_secs(1));
    assert_eq!(quiet(&host), None);
    host.registry.suspend(&id("bank")).await.unwrap();
    second().await;
    assert_eq!(quiet(&host), Some(1));
    // A change by this host that leaves it suspended does not begin anew, one by another host might hide a resumption.
    host.registry.add_key(&id("bank"), new_key("ci")).await.unwrap();
    host.registry.suspend(&id("bank")).await.unwrap();
    assert_eq!(quiet(&host), Some(1));
    other.registry.follow().await.unwrap();
    assert_eq!(quiet(&other), Some(0));
    other.registry.resume(&id("bank")).await.unwrap();
    other.registry.suspend(&id("bank")).await.unwrap();
    host.registry.follow().await.unwrap();
    assert_eq!(quiet(&host), Some(0));
    second().await;
    host.registry.follow().await.unwrap();
    assert_eq!(quiet(&host), Some(1), "nothing has changed");
    host.registry.resume(&id("bank")).await.unwrap();
    assert_eq!(quiet(&host), None);

    store.put(&id("kiosk"), b"{".to_vec(), None).await.unwrap();
    host.registry.follow().await.unwrap();
    assert!(host.registry.get(&id("kiosk")).unwrap().quiet_since.is_some(), "nobody can serve it");
}
