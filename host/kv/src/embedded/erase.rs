//! Counting and erasing all that one tenant has in an engine.

use super::{batch::Change, engine::Engine, record};
use crate::{Erased, Error, TenantPart, Usage, partition::end_of_prefix};
use bytes::Bytes;
use fjall::Readable;
use std::{ops::ControlFlow, thread};

/// Records that are looked at under one snapshot: a long-lived one would keep old values from leaving the disk.
const COUNT_PAGE_RECORDS_MAX: usize = 10_000;
/// Records that one batch deletes; small, because writers of other keys wait for it.
const ERASE_BATCH_ENTRIES_MAX: usize = 500;
/// Entries of the expiry index looked at under one snapshot.
const EXPIRY_PAGE_ENTRIES_MAX: usize = 10_000;
/// Walks that look for what was written during the one before.
const ERASE_WALKS_MAX: usize = 3;

impl Engine {
    /// The live keys of the tenant.
    pub(super) fn usage(&self, tenant: &TenantPart) -> Result<Usage, Error> {
        let now_ms = self.now_ms();
        let mut usage = Usage::default();
        self.each_page(tenant, COUNT_PAGE_RECORDS_MAX, |records| {
            records
                .iter()
                .filter(|record| record.is_live(now_ms))
                .for_each(|record| usage.add(tenant, record));
            Ok(())
        })?;
        Ok(usage)
    }

    /// Deletes the tenant's records and their entries in the expiry index, then has them leave the files.
    pub(super) fn erase(&self, tenant: &TenantPart) -> Result<Erased, Error> {
        let mut erased = Erased::default();
        for _ in 0..ERASE_WALKS_MAX {
            let deleted = self.delete_records(tenant)?;
            erased.keys += deleted.keys;
            erased.bytes += deleted.bytes;
            self.delete_expiry_entries(tenant)?;
            erased.remaining = self.count_records(tenant)?;
            if erased.remaining == 0 {
                break;
            }
        }
        self.purge()?;
        Ok(erased)
    }

    fn delete_records(&self, tenant: &TenantPart) -> Result<Usage, Error> {
        let now_ms = self.now_ms();
        let mut deleted = Usage::default();
        self.each_page(tenant, ERASE_BATCH_ENTRIES_MAX, |records| {
            let changes = records.iter().map(|record| Change::delete(record.key.clone())).collect();
            // The caller waits for all of them at the end.
            let _ = self.write_all(changes)?;
            records
                .iter()
                .filter(|record| record.is_live(now_ms))
                .for_each(|record| deleted.add(tenant, record));
            // Who waits for one of these locks comes first.
            thread::yield_now();
            Ok(())
        })?;
        Ok(deleted)
    }

    /// Every record counts, one that has expired as well: it is still there.
    fn count_records(&self, tenant: &TenantPart) -> Result<u64, Error> {
        let mut count = 0;
        self.each_page(tenant, COUNT_PAGE_RECORDS_MAX, |records| {
            count += records.len() as u64;
            Ok(())
        })?;
        Ok(count)
    }

    /// The index is sorted by time, so all of it is looked at: it holds the tenant's keys.
    fn delete_expiry_entries(&self, tenant: &TenantPart) -> Result<(), Error> {
        let mut start = Vec::new();
        loop {
            let (mut own, mut last, mut seen) = (Vec::new(), None, 0);
            let snapshot = self.database.snapshot();
            for entry in snapshot.range(&self.expiry, start.clone()..).take(EXPIRY_PAGE_ENTRIES_MAX) {
                let entry = Bytes::from(entry.key().map_err(|error| self.error(error))?);
                seen += 1;
                if entry.get(record::HEADER_BYTES..).is_some_and(|key| key.starts_with(tenant.prefix())) {
                    own.push(entry.clone());
                }
                last = Some(entry);
            }
            drop(snapshot);
            for entries in own.chunks(ERASE_BATCH_ENTRIES_MAX) {
                self.remove_expiry_entries(entries)?;
                thread::yield_now();
            }
            match last {
                Some(last) if seen == EXPIRY_PAGE_ENTRIES_MAX => start = behind(&last),
                _ => return Ok(()),
            }
        }
    }

    /// Calls `visit` with the tenant's records, expired ones included, some at a time.
    fn each_page(
        &self,
        tenant: &TenantPart,
        records_max: usize,
        mut visit: impl FnMut(&[Found]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(end) = end_of_prefix(tenant.prefix().to_vec()) else { return Ok(()) };
        let mut start = tenant.prefix().to_vec();
        let mut page = Vec::new();
        loop {
            page.clear();
            let snapshot = self.database.snapshot();
            let mut entries = snapshot.range(&self.data, start.clone()..end.clone()).take(records_max);
            let outcome = entries.try_for_each(|entry| match entry.into_inner() {
                Err(error) => ControlFlow::Break(self.error(error)),
                Ok((key, value)) => match self.expires_ms(&value) {
                    Err(error) => ControlFlow::Break(error),
                    Ok(expires_ms) => {
                        let value_bytes = value.len().saturating_sub(record::HEADER_BYTES) as u64;
                        page.push(Found { key: key.into(), value_bytes, expires_ms });
                        ControlFlow::Continue(())
                    }
                },
            });
            drop((entries, snapshot));
            if let ControlFlow::Break(error) = outcome {
                return Err(error);
            }
            visit(&page)?;
            match page.last() {
                Some(last) if page.len() == records_max => start = behind(&last.key),
                _ => return Ok(()),
            }
        }
    }
}

/// A record of the tenant, without its value.
struct Found {
    key: Bytes,
    value_bytes: u64,
    expires_ms: u64,
}

impl Found {
    fn is_live(&self, now_ms: u64) -> bool {
        !record::is_expired(self.expires_ms, now_ms)
    }
}

impl Usage {
    fn add(&mut self, tenant: &TenantPart, record: &Found) {
        self.keys += 1;
        self.bytes += tenant.guest_key_bytes(&record.key) + record.value_bytes;
    }
}

/// The smallest key after this one.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
