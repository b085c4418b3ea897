//! Where one tenant's part of one store begins and ends in the space of keys.
//!
//! Every key inside an engine begins with a tenant id and a store label, each after its length in bytes (two bytes,
//! big-endian). Because the lengths come first, no prefix is the beginning of another one. The length 0 is the
//! host's own: no tenant id is empty, and no label.

use crate::{
    Error,
    limits::{LABEL_BYTES_MAX, TENANT_BYTES_MAX},
};
use std::sync::Arc;

/// One tenant's part of one named store: a prefix of every key inside the engine.
///
/// No prefix is the beginning of another one, so no key, whatever its bytes, reaches from one partition into
/// another. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Partition(Arc<[u8]>);

impl Partition {
    /// Names a partition.
    ///
    /// # Errors
    /// [`Error::PartitionName`] when the tenant or the label is empty or longer than
    /// [`TENANT_BYTES_MAX`](crate::TENANT_BYTES_MAX) or [`LABEL_BYTES_MAX`](crate::LABEL_BYTES_MAX).
    pub fn new(tenant: &str, store: &str) -> Result<Self, Error> {
        let mut prefix = Vec::with_capacity(4 + tenant.len() + store.len());
        push("tenant id", tenant, TENANT_BYTES_MAX, &mut prefix)?;
        push("store label", store, LABEL_BYTES_MAX, &mut prefix)?;
        Ok(Self(prefix.into()))
    }

    /// Names a part of a store that belongs to the host itself and that no tenant id leads to: where a tenant's has
    /// the length of an id, this one has 0.
    ///
    /// # Errors
    /// [`Error::PartitionName`] when the label is empty or too long.
    pub fn host(store: &str) -> Result<Self, Error> {
        let mut prefix = NO_NAME.to_vec();
        push("store label", store, LABEL_BYTES_MAX, &mut prefix)?;
        Ok(Self(prefix.into()))
    }

    /// Names what the host keeps of its own for one tenant. It is a part of what the tenant has, and is erased with it,
    /// but no store leads to it: where a store's label has its length, this has 0, and no label is empty.
    ///
    /// # Errors
    /// [`Error::PartitionName`] when the tenant or the family is empty or too long.
    pub fn host_of(tenant: &str, family: &str) -> Result<Self, Error> {
        let mut prefix = Vec::with_capacity(6 + tenant.len() + family.len());
        push("tenant id", tenant, TENANT_BYTES_MAX, &mut prefix)?;
        prefix.extend_from_slice(&NO_NAME);
        push("store label", family, LABEL_BYTES_MAX, &mut prefix)?;
        Ok(Self(prefix.into()))
    }

    /// The bytes that stand before every key of this partition.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.0
    }

    /// The key inside the engine.
    pub(crate) fn full_key(&self, key: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() + key.len());
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(key.as_bytes());
        bytes
    }
}

/// The length of an id that no tenant has, and of a label that no store has.
const NO_NAME: [u8; 2] = [0, 0];

/// All that one tenant has in a store, whatever the label. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantPart(Arc<[u8]>);

impl TenantPart {
    /// Names a tenant's part.
    ///
    /// # Errors
    /// [`Error::PartitionName`] when the tenant id is empty or longer than
    /// [`TENANT_BYTES_MAX`](crate::TENANT_BYTES_MAX).
    pub fn new(tenant: &str) -> Result<Self, Error> {
        let mut prefix = Vec::with_capacity(2 + tenant.len());
        push("tenant id", tenant, TENANT_BYTES_MAX, &mut prefix)?;
        Ok(Self(prefix.into()))
    }

    /// The bytes that stand before every key of this tenant and of no other.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes a guest counts in a key of this tenant: those after the label.
    pub(crate) fn guest_key_bytes(&self, full: &[u8]) -> u64 {
        let rest = full.get(self.0.len()..).unwrap_or_default();
        let label_bytes =
            rest.first_chunk::<2>().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
        rest.len().saturating_sub(2 + label_bytes) as u64
    }
}

/// The smallest key after all that begin with this prefix; `None` if there is none.
pub(crate) fn end_of_prefix(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}

fn push(what: &'static str, name: &str, max: usize, prefix: &mut Vec<u8>) -> Result<(), Error> {
    let bytes = name.len();
    let error = || Error::PartitionName { what, bytes, max };
    if bytes == 0 || bytes > max {
        return Err(error());
    }
    let length = u16::try_from(bytes).map_err(|_| error())?;
    prefix.extend_from_slice(&length.to_be_bytes());
    prefix.extend_from_slice(name.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_follows_all_its_keys() {
        let check = |prefix: &[u8], expected: Option<&[u8]>| {
            assert_eq!(end_of_prefix(prefix.to_vec()).as_deref(), expected, "{prefix:?}");
        };
        check(b"ab", Some(b"ac"));
        check(b"a\xff\xff", Some(b"b"));
        check(b"\xff", None);
        check(b"", None);
    }

    #[test]
    fn a_tenants_part_holds_its_partitions_and_nothing_else() {
        let check = |tenant: &str, other: Partition, expected: bool| {
            let part = TenantPart::new(tenant).unwrap();
            assert_eq!(other.prefix().starts_with(part.prefix()), expected, "{tenant:?} {other:?}");
        };
        let of = |tenant: &str, label: &str| Partition::new(tenant, label).unwrap();
        check("a", of("a", "x"), true);
        check("a", of("a", "y"), true);
        check("a", of("ab", "x"), false);
        check("ab", of("a", "bx"), false);
        for tenant in ["a", "\0", "\0\0", "\0\u{1}a", "@host"] {
            check(tenant, Partition::host("a").unwrap(), false);
        }
        assert!(TenantPart::new("").is_err() && Partition::new("", "a").is_err());
    }

    #[test]
    fn what_the_host_keeps_for_a_tenant_is_the_tenants_and_no_stores() {
        let own = Partition::host_of("acme", "budget").unwrap();
        let starts = |part: &[u8]| own.prefix().starts_with(part);
        assert!(starts(TenantPart::new("acme").unwrap().prefix()));
        for label in ["budget", "\0", "\0\0", "\0\u{6}budget"] {
            assert!(!starts(Partition::new("acme", label).unwrap().prefix()), "{label:?}");
        }
        for tenant in ["acm", "acme2", "\0"] {
            assert!(!starts(TenantPart::new(tenant).unwrap().prefix()), "{tenant:?}");
        }
        assert!(Partition::host_of("", "budget").is_err() && Partition::host_of("acme", "").is_err());
    }

    #[test]
    fn a_guest_counts_its_key_without_what_the_host_puts_before_it() {
        let part = TenantPart::new("acme").unwrap();
        let full = Partition::new("acme", "default").unwrap().full_key("12345");
        assert_eq!(part.guest_key_bytes(&full), 5);
    }
}
