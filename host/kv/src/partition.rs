//! Where one tenant's part of one store begins and ends in the space of keys.

use crate::{
    Error,
    limits::{LABEL_BYTES_MAX, TENANT_BYTES_MAX},
};
use std::sync::Arc;

/// One tenant's part of one named store: a prefix of every key inside the engine.
///
/// The prefix is the tenant id and the store label, each after its length in bytes (two bytes, big-endian). Because
/// the lengths come first, no prefix is the beginning of another one, so no key, whatever its bytes, reaches from
/// one partition into another. Cloning is cheap.
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
