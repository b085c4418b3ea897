//! Random changes on two hosts against a model: after each, both let in whom the model lets in, and nobody else.

use super::{Host, MemoryTenantStore, new_key};
use crate::testing::{NOW_S, id, issuer, knock, tenant, token};
use crate::{ApiKey, Origin, RegistryError, Tenant, TenantState};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use waggle_secret::Secret;

const NAMES: [&str; 4] = ["bank", "shop", "kiosk", "default"];

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Remove(usize),
    AddKey(usize),
    RevokeKey(usize, usize),
    RotateKey(usize, usize),
    Suspend(usize),
    Resume(usize),
    /// The file has these tenants from now on, each with one key and its issuer.
    File(BTreeSet<usize>),
}

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    let name = 0..NAMES.len();
    let step = prop_oneof![
        3 => name.clone().prop_map(Step::Create),
        1 => name.clone().prop_map(Step::Remove),
        3 => name.clone().prop_map(Step::AddKey),
        2 => (name.clone(), 0usize..4).prop_map(|(name, key)| Step::RevokeKey(name, key)),
        1 => (name.clone(), 0usize..4).prop_map(|(name, key)| Step::RotateKey(name, key)),
        2 => name.clone().prop_map(Step::Suspend),
        2 => name.clone().prop_map(Step::Resume),
        1 => proptest::collection::btree_set(name, 0..2).prop_map(Step::File),
    ];
    proptest::collection::vec((any::<bool>(), step), 1..24)
}

/// What a tenant should be.
#[derive(Clone)]
struct Expected {
    origin: Origin,
    active: bool,
    keys: Vec<(ApiKey, Arc<Secret>)>,
}

/// The tenants there should be, and every key there ever was.
#[derive(Default)]
struct Model {
    store: BTreeMap<usize, Expected>,
    file: BTreeMap<usize, Expected>,
    all_keys: Vec<Arc<Secret>>,
}

impl Model {
    fn expected(&self, name: usize) -> Option<&Expected> {
        self.file.get(&name).or_else(|| self.store.get(&name))
    }

    /// The tenant of the store that a change is for; none if the file has it.
    fn of_store(&mut self, name: usize) -> Option<&mut Expected> {
        if self.file.contains_key(&name) { None } else { self.store.get_mut(&name) }
    }

    fn keep(&mut self, secret: Secret) -> Arc<Secret> {
        let secret = Arc::new(secret);
        self.all_keys.push(Arc::clone(&secret));
        secret
    }

    async fn take(&mut self, hosts: &[Host; 2], first: bool, step: &Step) {
        let registry = &hosts[usize::from(!first)].registry;
        match *step {
            Step::Create(name) => {
                let mut new = tenant(NAMES[name]);
                new.settings.issuers.push(issuer(NAMES[name], 1));
                let created = registry.create(new).await;
                let free = self.expected(name).is_none();
                assert_eq!(created.is_ok(), free, "{:?}", created.err());
                if free {
                    self.store
                        .insert(name, Expected { origin: Origin::Store, active: true, keys: Vec::new() });
                }
            }
            Step::Remove(name) => {
                // One that the file has as well can be removed from the store.
                let removed = registry.remove(&id(NAMES[name]), None).await;
                assert_eq!(removed.is_ok(), self.store.remove(&name).is_some(), "{:?}", removed.err());
            }
            Step::AddKey(name) => {
                let added = registry.add_key(&id(NAMES[name]), new_key("")).await;
                self.note_key(name, added);
            }
            Step::RevokeKey(name, key) => {
                let Some(tenant) = self.of_store(name).filter(|tenant| key < tenant.keys.len()) else {
                    return;
                };
                let (gone, _) = tenant.keys.remove(key);
                registry.revoke_key(&id(NAMES[name]), &gone.id).await.unwrap();
            }
            Step::RotateKey(name, key) => {
                let Some(tenant) = self.of_store(name).filter(|tenant| key < tenant.keys.len()) else {
                    return;
                };
                let (old, _) = tenant.keys.remove(key);
                let rotated = registry.rotate_key(&id(NAMES[name]), &old.id, 0).await;
                self.note_key(name, rotated);
            }
            Step::Suspend(name) => {
                let done = registry.suspend(&id(NAMES[name])).await.is_ok();
                self.note_state(name, done, false);
            }
            Step::Resume(name) => {
                let done = registry.resume(&id(NAMES[name])).await.is_ok();
                self.note_state(name, done, true);
            }
            Step::File(ref names) => self.read_file(hosts, names),
        }
    }

    fn note_key(&mut self, name: usize, made: Result<(ApiKey, Secret), RegistryError>) {
        assert_eq!(made.is_ok(), self.of_store(name).is_some(), "{:?}", made.err());
        if let Ok((key, secret)) = made {
            let secret = self.keep(secret);
            self.of_store(name).unwrap().keys.push((key, secret));
        }
    }

    fn note_state(&mut self, name: usize, done: bool, active: bool) {
        let tenant = self.of_store(name);
        assert_eq!(done, tenant.is_some());
        if let Some(tenant) = tenant {
            tenant.active = active;
        }
    }

    /// A file that names what the store has is refused; both hosts have the same file.
    fn read_file(&mut self, hosts: &[Host; 2], names: &BTreeSet<usize>) {
        let mut next = BTreeMap::new();
        let mut tenants: Vec<Tenant> = Vec::new();
        for &name in names {
            let (mut new, secret) = crate::testing::tenant_with_key(NAMES[name]);
            new.settings.issuers.push(issuer(NAMES[name], 1));
            let keys = vec![(new.settings.api_keys[0].clone(), self.keep(secret))];
            next.insert(name, Expected { origin: Origin::File, active: true, keys });
            tenants.push(new);
        }
        let taken = names.iter().any(|name| self.store.contains_key(name));
        for host in hosts {
            let replaced = host.directory.replace(Origin::File, tenants.clone());
            assert_eq!(replaced.is_err(), taken);
        }
        if !taken {
            self.file = next;
        }
    }

    async fn check(&self, host: &Host) {
        let ids: BTreeSet<String> =
            host.directory.entries().iter().map(|entry| entry.tenant.id.to_string()).collect();
        let expected = |name: &usize| NAMES[*name].to_owned();
        assert_eq!(ids, self.store.keys().chain(self.file.keys()).map(expected).collect());
        for (name, text) in NAMES.iter().enumerate() {
            let expected = self.expected(name);
            let entry = host.directory.entries().into_iter().find(|entry| entry.tenant.id == id(text));
            assert_eq!(entry.as_ref().map(|entry| entry.origin), expected.map(|tenant| tenant.origin));
            assert_eq!(
                entry.map(|entry| entry.tenant.settings.state == TenantState::Active),
                expected.map(|tenant| tenant.active)
            );
            let let_in = knock(&host.door, &token(text, 1, NOW_S + 99)).await.is_ok();
            assert_eq!(let_in, expected.is_some_and(|tenant| tenant.active), "the token of {text}");
        }
        let now: BTreeMap<&str, &str> = (0..NAMES.len())
            .filter_map(|name| Some((name, self.expected(name).filter(|tenant| tenant.active)?)))
            .flat_map(|(name, tenant)| tenant.keys.iter().map(move |(_, key)| (key.expose(), NAMES[name])))
            .collect();
        for key in &self.all_keys {
            let caller = knock(&host.door, key.expose()).await.ok();
            let whose = caller.map(|caller| caller.tenant.tenant.id.to_string());
            assert_eq!(whose.as_deref(), now.get(key.expose()).copied());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whoever_should_not_be_let_in_is_not(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(MemoryTenantStore::default());
            let hosts = [Host::over(store.clone()).await, Host::over(store).await];
            let mut model = Model::default();
            // As soon as there is a file, if only an empty one, nobody is let in without a credential.
            model.read_file(&hosts, &BTreeSet::new());
            for (first, step) in &steps {
                model.take(&hosts, *first, step).await;
                model.check(&hosts[usize::from(!*first)]).await;
                for host in &hosts {
                    host.registry.follow().await.unwrap();
                    model.check(host).await;
                }
            }
        });
    }
}
