//! What the host's own records promise over every store, run by `main.rs`.

use crate::{Fixture, value};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use waggle_kv::{Error, HostRecords, Partition, Put, TenantPart};

pub(crate) async fn records_are_written_by_revision_and_loaded_at_a_version(fixture: Fixture) {
    let records = HostRecords::new(fixture.store.clone(), "tenants").unwrap();
    let other_family = HostRecords::new(fixture.store.clone(), "tenants2").unwrap();
    assert!(!records.claimed().await.unwrap());
    assert_eq!(records.load().await.unwrap(), (0, vec![]));
    let check = async |outcome: Result<Put, Error>, expected: Put| {
        assert_eq!(outcome.unwrap(), expected);
    };
    let done = |number| Put::Done { revision: number, version: number };
    let changed = |revision| Put::Changed { revision };
    check(records.put("acme", value("1"), Some(1)).await, changed(None)).await;
    check(records.remove("acme", 1).await, changed(None)).await;
    assert!(!records.claimed().await.unwrap());
    check(records.put("acme", value("1"), None).await, done(1)).await;
    assert!(records.claimed().await.unwrap() && !other_family.claimed().await.unwrap());
    check(records.put("acme", value("2"), None).await, changed(Some(1))).await;
    check(records.put("shop", value(""), None).await, done(2)).await;
    check(records.put("acme", value("2"), Some(1)).await, done(3)).await;
    check(records.put("acme", value("3"), Some(1)).await, changed(Some(3))).await;
    let both = vec![("acme".to_owned(), 3, value("2")), ("shop".to_owned(), 2, value(""))];
    assert_eq!(records.load().await.unwrap(), (3, both));
    check(records.remove("acme", 1).await, changed(Some(3))).await;
    check(records.remove("acme", 3).await, done(4)).await;
    assert_eq!(records.load().await.unwrap(), (4, vec![("shop".to_owned(), 2, value(""))]));
    // A record that comes again has a revision that it never had.
    check(records.put("acme", value("4"), None).await, done(5)).await;
    for id in ["", &"x".repeat(257)] {
        let error = records.put(id, value("1"), None).await.unwrap_err();
        assert!(matches!(error, Error::PartitionName { .. }), "{error}");
    }
    for i in 0..1_200 {
        let outcome = records.put(&format!("t{i:04}"), value(i.to_string()), None).await;
        check(outcome, done(6 + i)).await;
    }
    let (version, all) = records.load().await.unwrap();
    assert!(version == 1_205 && all.len() == 1_202 && all.is_sorted_by_key(|record| record.0.clone()));
    assert_eq!(records.version().await.unwrap(), version);
    no_tenant_leads_there(&fixture).await;
}

async fn no_tenant_leads_there(fixture: &Fixture) {
    for tenant in ["\0", "tenants", "\0\u{7}tenants", "@host"] {
        let part = TenantPart::new(tenant).unwrap();
        assert_eq!(fixture.store.usage(&part).await.unwrap().keys, 0, "{tenant:?}");
        let at = Partition::new(tenant, "tenants").unwrap();
        assert_eq!(fixture.store.get(&at, "version").await.unwrap(), None, "{tenant:?}");
    }
}

/// Each host adds to shared counters and makes and removes records of its own, while others load.
pub(crate) async fn two_hosts_lose_no_change_of_each_other(fixture: Fixture) {
    const ROUNDS: u64 = 60;
    let hosts =
        [&fixture.store, &fixture.second].map(|store| HostRecords::new(store.clone(), "tenants").unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let loader = tokio::spawn({
        let (records, done) = (hosts[0].clone(), done.clone());
        async move {
            let mut last = 0;
            while !done.load(Ordering::Acquire) {
                let (version, all) = records.load().await.unwrap();
                let revisions: HashSet<u64> = all.iter().map(|record| record.1).collect();
                assert!(
                    revisions.len() == all.len() && revisions.iter().all(|revision| *revision <= version)
                );
                assert!(version >= last, "went back from {last} to {version}");
                last = version;
            }
        }
    });
    let writers: Vec<_> = hosts
        .iter()
        .cloned()
        .enumerate()
        .map(|(host, records)| {
            tokio::spawn(async move {
                let mut changes = 0;
                for round in 0..ROUNDS {
                    add_one(&records, &format!("shared-{}", round % 3)).await;
                    let own = format!("host-{host}-{}", round / 2);
                    let outcome = if round % 2 == 0 {
                        records.put(&own, value("v"), None).await.unwrap()
                    } else {
                        let (_, all) = records.load().await.unwrap();
                        let revision = all.iter().find(|record| record.0 == own).unwrap().1;
                        records.remove(&own, revision).await.unwrap()
                    };
                    assert!(matches!(outcome, Put::Done { .. }), "{outcome:?}");
                    changes += 2;
                }
                changes
            })
        })
        .collect();
    let mut changes = 0;
    for writer in writers {
        changes += writer.await.unwrap();
    }
    done.store(true, Ordering::Release);
    loader.await.unwrap();
    let (version, all) = hosts[1].load().await.unwrap();
    assert_eq!(version, changes);
    let sum: u64 = all.iter().map(|record| String::from_utf8_lossy(&record.2).parse::<u64>().unwrap()).sum();
    assert_eq!((all.len(), sum), (3, 2 * ROUNDS));
}

async fn add_one(records: &HostRecords, id: &str) {
    loop {
        let (_, all) = records.load().await.unwrap();
        let found = all.iter().find(|record| record.0 == id);
        let count: u64 = found.map_or(0, |record| String::from_utf8_lossy(&record.2).parse().unwrap());
        let put =
            records.put(id, value((count + 1).to_string()), found.map(|record| record.1)).await.unwrap();
        if matches!(put, Put::Done { .. }) {
            return;
        }
    }
}

pub(crate) async fn host_records_must_not_expire(fixture: Fixture) {
    let error = HostRecords::new(fixture.store.clone(), "tenants").err().unwrap();
    assert!(matches!(error, Error::Config { field: "time_to_live", .. }), "{error}");
}
