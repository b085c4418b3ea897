//! The bytes of components: kept in parts beside the tools, so that every host that shares the store has them; each once
//! in a tenant, however many tools are it.

use super::change::json;
use super::{Registry, RegistryError, ToolSource, now_s};
use crate::head::ComponentEntry;
use crate::keys::{self, Listing, timely};
use crate::{Digest, Function};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Bytes of a component.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// Components of a tenant.
pub const COMPONENTS_MAX: usize = 256;
/// Bytes of all components of a tenant.
const COMPONENTS_BYTES_MAX: u64 = 1 << 30;
/// Bytes of a part.
const PART_BYTES: usize = 512 << 10;
/// Parts that are read or written at once.
const PAGE_PARTS: usize = 8;
/// How long a component stays that was uploaded and that no tool has, seconds.
pub(super) const UNUSED_KEPT_S: u64 = 3_600;
/// How often an upload is told to the head anew because another host was faster.
const ATTEMPTS_MAX: usize = 8;

/// A component that was uploaded: the record under `component/…` (kv-schemas/host-tool-component.json).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// `sha256:` and 64 hexadecimal digits of its bytes.
    pub digest: String,
    /// How many it has.
    pub bytes: u64,
    /// What it can do.
    pub functions: Vec<Function>,
}

impl Registry {
    /// Keeps a component, so that tools can be added that are it; one that no tool has within an hour may be removed
    /// again. What is there already is not written again.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] says what is wrong with it; [`RegistryError::TooMuch`]; or the store's failure.
    pub async fn put_component(
        &self,
        tenant: &str,
        bytes: Bytes,
        source: &dyn ToolSource,
    ) -> Result<Component, RegistryError> {
        if bytes.len() > COMPONENT_BYTES_MAX {
            let message =
                format!("the component has {} bytes; at most {COMPONENT_BYTES_MAX} are allowed", bytes.len());
            return Err(RegistryError::TooMuch(message));
        }
        let digest = Digest::of(&bytes);
        // It may be there, and asked for again: then it is known what it can do, and its hour begins anew.
        match self.component_of(tenant, &digest).await {
            Ok(known) if self.enter(tenant, &digest, &known, true).await? => return Ok(known),
            // There is none, or it was removed just now.
            Ok(_) | Err(RegistryError::NoComponent(_)) => {}
            Err(error) => return Err(error),
        }
        self.has_room(tenant, bytes.len() as u64)?;
        let functions = source.inspect(bytes.clone()).await?;
        let component = Component { digest: digest.to_string(), bytes: bytes.len() as u64, functions };
        self.write_parts(tenant, &digest, &bytes).await?;
        self.enter(tenant, &digest, &component, false).await?;
        Ok(component)
    }

    /// The bytes of a component of the tenant. They are what the digest says.
    ///
    /// # Errors
    /// [`RegistryError::NoComponent`], [`RegistryError::Unreadable`], or the store's failure.
    pub async fn component(&self, tenant: &str, digest: &str) -> Result<Bytes, RegistryError> {
        let parsed: Digest = digest.parse().map_err(|_| RegistryError::NoComponent(digest.to_owned()))?;
        let component = self.component_of(tenant, &parsed).await?;
        let hex = parsed.hex();
        let parts: Vec<String> = part_keys(&hex, component.bytes);
        let mut bytes =
            BytesMut::with_capacity(usize::try_from(component.bytes).unwrap_or(0).min(COMPONENT_BYTES_MAX));
        for page in parts.chunks(PAGE_PARTS) {
            for part in timely(self.keys.get(tenant, page)).await? {
                // One that is removed at this moment has no parts any more.
                bytes.extend_from_slice(&part.ok_or_else(|| RegistryError::NoComponent(digest.to_owned()))?);
            }
        }
        let bytes = bytes.freeze();
        if Digest::of(&bytes) == parsed {
            return Ok(bytes);
        }
        tracing::error!(tenant, digest, "the bytes of a component are damaged");
        Err(RegistryError::Unreadable(digest.to_owned()))
    }

    /// What is known of a component.
    pub(super) async fn component_of(
        &self,
        tenant: &str,
        digest: &Digest,
    ) -> Result<Component, RegistryError> {
        let record = self.read(tenant, &keys::component(&digest.hex())).await?;
        let record = record.ok_or_else(|| RegistryError::NoComponent(digest.to_string()))?;
        serde_json::from_slice(&record).map_err(|_damaged| RegistryError::Unreadable(digest.to_string()))
    }

    fn has_room(&self, tenant: &str, bytes: u64) -> Result<(), RegistryError> {
        let Some(held) = self.held(tenant) else { return Ok(()) };
        if held.head.components.len() >= COMPONENTS_MAX {
            let message = format!(
                "the tenant has {COMPONENTS_MAX} components, which is the most; remove tools that have one"
            );
            return Err(RegistryError::TooMuch(message));
        }
        let together = held.head.component_bytes().saturating_add(bytes);
        if together > COMPONENTS_BYTES_MAX {
            let message = format!(
                "the tenant's components would have {together} bytes together, at most {COMPONENTS_BYTES_MAX} are allowed"
            );
            return Err(RegistryError::TooMuch(message));
        }
        Ok(())
    }

    /// Nobody reads parts that no head tells of, so that they may be written one after the other.
    async fn write_parts(&self, tenant: &str, digest: &Digest, bytes: &Bytes) -> Result<(), RegistryError> {
        let hex = digest.hex();
        let starts: Vec<usize> = (0..bytes.len()).step_by(PART_BYTES).collect();
        for page in starts.chunks(PAGE_PARTS) {
            let part = |start: &usize| {
                let end = bytes.len().min(start + PART_BYTES);
                (keys::part(&hex, start / PART_BYTES), Some(bytes.slice(*start..end)))
            };
            timely(self.keys.swap(tenant, Listing::new(), page.iter().map(part).collect())).await?;
        }
        Ok(())
    }

    /// Tells the head of a component whose parts are written; with `only_again`, of one that it knows, or not at all.
    /// Whether it knows it now.
    async fn enter(
        &self,
        tenant: &str,
        digest: &Digest,
        component: &Component,
        only_again: bool,
    ) -> Result<bool, RegistryError> {
        let _turn = self.turn.lock().await;
        let hex = digest.hex();
        for _ in 0..ATTEMPTS_MAX {
            let held = self.current(tenant).await?;
            let mut head = held.head.clone();
            if only_again && !head.components.contains_key(&hex) {
                return Ok(false);
            }
            head.revision += 1;
            head.components
                .insert(hex.clone(), ComponentEntry { bytes: component.bytes, uploaded_at: now_s() });
            let expected = vec![(keys::HEAD.to_owned(), held.written.clone())];
            let changes = vec![
                (keys::component(&hex), Some(json(component)?)),
                (keys::HEAD.to_owned(), Some(json(&head)?)),
            ];
            // Told before, so that the tenant is on the list as soon as it has anything; tools have not changed, so
            // nobody needs to be told after.
            timely(self.keys.touch(tenant, false)).await?;
            if timely(self.keys.swap(tenant, expected, changes)).await? {
                self.current(tenant).await?;
                return Ok(true);
            }
        }
        Err(RegistryError::Contended)
    }
}

/// All keys of a component.
pub(super) fn keys_of(hex: &str, bytes: u64) -> Vec<String> {
    let mut keys = part_keys(hex, bytes);
    keys.push(keys::component(hex));
    keys
}

fn part_keys(hex: &str, bytes: u64) -> Vec<String> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(COMPONENT_BYTES_MAX);
    (0..bytes.div_ceil(PART_BYTES)).map(|number| keys::part(hex, number)).collect()
}
