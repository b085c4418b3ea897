//! The directory: what a change keeps, what it refuses, whom it tells.

use super::*;
use crate::api_key::KeyId;
use crate::testing::{directory, directory_with, id, issuer, tenant, tenant_with_key, upstream_secret};
use crate::{SecretSource, TenantSettings};
use std::sync::atomic::{AtomicUsize, Ordering};

fn named(name: &str, shown: &str) -> Tenant {
    Tenant { id: id(name), settings: TenantSettings { name: shown.to_owned(), ..TenantSettings::default() } }
}

#[test]
fn what_has_not_changed_keeps_its_entry_and_what_has_keeps_its_meter() {
    let directory = directory();
    directory.replace(Origin::File, [named("bank", "1"), named("shop", "1")]).unwrap();
    let entry = |name: &str| directory.entry(&id(name)).unwrap();
    let (bank, shop) = (entry("bank"), entry("shop"));
    let change = directory.replace(Origin::File, [named("bank", "2"), named("shop", "1")]).unwrap();
    assert_eq!(change, Change { changed: vec![id("bank")], ..Change::default() });
    assert!(Arc::ptr_eq(&shop, &entry("shop")));
    assert!(!Arc::ptr_eq(&bank, &entry("bank")) && Arc::ptr_eq(&bank.meter, &entry("bank").meter));
    assert!(entry("bank").revision > bank.revision);
}

#[test]
fn a_tenant_that_comes_back_is_another_one() {
    let directory = directory();
    directory.replace(Origin::File, [tenant("bank")]).unwrap();
    let before = directory.entry(&id("bank")).unwrap();
    let gone = directory.replace(Origin::File, Vec::<Tenant>::new()).unwrap();
    assert_eq!(gone.removed, [id("bank")]);
    directory.replace(Origin::File, [tenant("bank")]).unwrap();
    let after = directory.entry(&id("bank")).unwrap();
    assert!(after.revision > before.revision && !Arc::ptr_eq(&after.meter, &before.meter));
}

#[test]
fn an_origin_only_replaces_its_own() {
    let directory = directory();
    directory.replace(Origin::File, [tenant("bank")]).unwrap();
    directory.replace(Origin::Store, [tenant("shop")]).unwrap();
    directory.replace(Origin::Store, [tenant("kiosk")]).unwrap();
    assert!(directory.entry(&id("bank")).is_some() && directory.entry(&id("shop")).is_none());
    directory.update(Origin::Store, &[], &[id("bank"), id("kiosk"), id("nobody")]).unwrap();
    assert_eq!(directory.count(), 1);
}

#[test]
fn a_conflict_is_reported_with_both_and_changes_nothing() {
    let directory = directory();
    let (bank, _) = tenant_with_key("bank");
    let key = bank.settings.api_keys[0].clone();
    directory.replace(Origin::File, [bank]).unwrap();
    let mut shop = tenant("shop");
    shop.settings.api_keys.push(key);
    let refused = directory.replace(Origin::Store, [tenant("bank"), shop, tenant("kiosk")]).unwrap_err();
    let text = refused.to_string();
    assert_eq!(refused.conflicts.len(), 2, "{text}");
    assert!(text.contains("`bank` is in tenants.toml and in the store"), "{text}");
    assert!(text.contains("belongs to `bank` in tenants.toml and to `shop` in the store"), "{text}");
    assert_eq!(directory.count(), 1);
}

#[test]
fn within_one_origin_nothing_is_claimed_twice_either() {
    let directory = directory();
    let (bank, _) = tenant_with_key("bank");
    let mut shop = tenant("shop");
    shop.settings.api_keys.clone_from(&bank.settings.api_keys);
    let refused = directory.replace(Origin::File, [bank.clone(), shop.clone(), tenant("shop")]).unwrap_err();
    let on: Vec<&ConflictOn> = refused.conflicts.iter().map(|conflict| &conflict.on).collect();
    assert_eq!(on, [&ConflictOn::KeyId(bank.settings.api_keys[0].id.clone()), &ConflictOn::Id]);
    directory.replace(Origin::File, [bank]).unwrap();
    let refused = directory.update(Origin::File, &[Arc::new(shop)], &[]).unwrap_err();
    assert_eq!(refused.conflicts.len(), 1, "{refused}");
}

#[test]
fn a_key_may_move_from_one_tenant_to_another() {
    let directory = directory();
    let (mut bank, _) = tenant_with_key("bank");
    let keys = bank.settings.api_keys.clone();
    directory.replace(Origin::File, [bank.clone(), tenant("shop")]).unwrap();
    bank.settings.api_keys.clear();
    let mut shop = tenant("shop");
    shop.settings.api_keys = keys;
    directory.replace(Origin::File, [bank.clone(), shop.clone()]).unwrap();
    let holder = |directory: &Directory| {
        let id = KeyId::new(&shop.settings.api_keys[0].id).unwrap();
        directory.snapshot().by_key.get(&id).map(|place| place.entry.tenant.id.clone())
    };
    assert_eq!(holder(&directory), Some(id("shop")));
    directory.update(Origin::File, &[Arc::new(bank)], &[id("shop")]).unwrap();
    assert_eq!(holder(&directory), None);
}

#[test]
fn the_limits_in_force_are_the_tenants_own_or_the_hosts() {
    let defaults = Limits { requests_per_second: Some(10), wait_ms_max: Some(5), ..Limits::default() };
    let directory = directory_with(defaults, PathBuf::new());
    let mut bank = tenant("bank");
    bank.settings.limits.wait_ms_max = Some(7);
    directory.replace(Origin::File, [bank]).unwrap();
    let limits = directory.entry(&id("bank")).unwrap().limits;
    assert_eq!(limits, Limits { wait_ms_max: Some(7), ..defaults });
    assert_eq!(directory.default_entry().limits, defaults);
}

#[test]
fn secrets_are_read_when_a_tenant_comes_into_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "sk-1\n").unwrap();
    let directory = directory_with(Limits::default(), folder.path().to_owned());
    let mut bank = tenant("bank");
    let source = SecretSource::File("key".to_owned());
    bank.settings.secrets.insert("openai".to_owned(), upstream_secret(source));
    let value = || directory.entry(&id("bank")).unwrap().upstream_secrets()[0].1.expose().to_owned();
    directory.replace(Origin::File, [bank.clone()]).unwrap();
    assert_eq!(value(), "sk-1");
    assert_eq!(directory.replace(Origin::File, [bank.clone()]).unwrap(), Change::default());
    std::fs::write(&file, "sk-2").unwrap();
    assert_eq!(directory.replace(Origin::File, [bank.clone()]).unwrap().changed, [id("bank")]);
    assert_eq!(value(), "sk-2");
    for (content, part) in [("a\nb", "no header field"), ("", "is empty")] {
        std::fs::write(&file, content).unwrap();
        let refused = directory.replace(Origin::File, [bank.clone()]).unwrap_err().to_string();
        let place = "tenant `bank`: secrets.openai.secret: ";
        assert!(refused.starts_with(place) && refused.contains(part), "{refused}");
        assert_eq!(value(), "sk-2");
    }
}

#[test]
fn a_shared_key_that_is_too_short_is_a_mistake_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "short").unwrap();
    let directory = directory_with(Limits::default(), folder.path().to_owned());
    let mut bank = tenant("bank");
    let mut issuer = issuer("bank", 1);
    issuer.secret = Some(SecretSource::File("key".to_owned()));
    bank.settings.issuers.push(issuer);
    let refused = directory.replace(Origin::File, [bank]).unwrap_err().to_string();
    assert!(refused.contains("issuers.0.secret: the value has 5 bytes"), "{refused}");
}

#[test]
fn listeners_are_told_who_changed_and_that_the_default_tenant_went() {
    let directory = directory();
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    directory.on_change(Box::new(move |ids| sink.lock().unwrap().push(ids.to_vec())));
    directory.replace(Origin::File, [tenant("bank"), tenant("shop")]).unwrap();
    directory.replace(Origin::File, [tenant("bank"), tenant("shop")]).unwrap();
    directory.replace(Origin::File, [named("bank", "2")]).unwrap();
    let told = told.lock().unwrap();
    let expected = [vec![id("bank"), id("shop"), TenantId::default_tenant()], vec![id("bank"), id("shop")]];
    assert_eq!(*told, expected);
}

#[test]
fn issuers_are_only_told_when_one_of_them_changed() {
    let directory = directory();
    let generation = || directory.issuers().generation();
    let start = generation();
    directory.replace(Origin::File, [tenant("bank")]).unwrap();
    assert_eq!(generation(), start);
    let mut bank = named("bank", "2");
    bank.settings.issuers.push(issuer("bank", 1));
    directory.replace(Origin::File, [bank.clone()]).unwrap();
    let with_issuer = generation();
    assert!(with_issuer > start);
    bank.settings.name = "3".to_owned();
    directory.replace(Origin::File, [bank]).unwrap();
    assert_eq!(generation(), with_issuer);
    directory.replace(Origin::File, Vec::<Tenant>::new()).unwrap();
    assert!(generation() > with_issuer);
}

#[test]
fn ten_thousand_tenants_are_replaced_and_only_the_changed_one_is_new() {
    let directory = directory();
    let mut tenants: Vec<Tenant> =
        (0..10_000).map(|number| tenant_with_key(&format!("t{number}")).0).collect();
    directory.replace(Origin::Store, tenants.clone()).unwrap();
    let before = Arc::clone(&directory.snapshot());
    tenants[7].settings.name = "another".to_owned();
    let change = directory.replace(Origin::Store, tenants).unwrap();
    assert_eq!(change, Change { changed: vec![id("t7")], ..Change::default() });
    let after = directory.snapshot();
    assert_eq!((after.by_id.len(), after.by_key.len()), (10_000, 10_000));
    let kept = after.by_id.iter().filter(|(id, entry)| Arc::ptr_eq(entry, &before.by_id[*id])).count();
    assert_eq!(kept, 9_999);
}

#[test]
fn readers_see_whole_states_while_tenants_change() {
    let directory = directory();
    let both = |name: &str| [named("bank", name), named("shop", name)];
    directory.replace(Origin::File, both("0")).unwrap();
    let reads = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            loop {
                let snapshot = Arc::clone(&directory.snapshot());
                let name = |tenant: &str| snapshot.by_id[tenant].tenant.settings.name.clone();
                assert_eq!(name("bank"), name("shop"));
                reads.fetch_add(1, Ordering::Relaxed);
                if name("bank") == "200" {
                    return;
                }
            }
        });
        for round in 1..=200 {
            directory.replace(Origin::File, both(&round.to_string())).unwrap();
        }
        reader.join().unwrap();
    });
    assert!(reads.into_inner() > 0);
}
