//! API keys of the store's tenants.

use super::{Registry, RegistryError};
use crate::{API_KEYS_MAX, ApiKey, TenantId, TenantSettings};
use std::time::{SystemTime, UNIX_EPOCH};
use waggle_secret::Secret;

/// What is asked of a new key.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// For people.
    pub name: String,
    /// What its holder may do.
    pub scopes: Vec<String>,
    /// From when on it no longer counts, seconds since 1970.
    pub expires_at: Option<u64>,
}

impl Registry {
    /// Gives a tenant another key. The key itself cannot be had again.
    ///
    /// # Errors
    /// As [`Registry::replace`].
    pub async fn add_key(&self, id: &TenantId, key: NewKey) -> Result<(ApiKey, Secret), RegistryError> {
        let added = self.edit(id, None, |settings| {
            let now = now_s();
            make_room(settings, now);
            let made = ApiKey::generate(&key.name, key.scopes.clone(), now, key.expires_at);
            settings.api_keys.push(made.0.clone());
            Ok(made)
        });
        Ok(added.await?.1)
    }

    /// Puts a new key in the place of an old one: with its name, its scopes and as long a life. The old one counts for
    /// `grace_s` seconds more, unless it expires earlier anyway.
    ///
    /// # Errors
    /// As [`Registry::replace`], and [`RegistryError::KeyNotFound`].
    pub async fn rotate_key(
        &self,
        id: &TenantId,
        key_id: &str,
        grace_s: u64,
    ) -> Result<(ApiKey, Secret), RegistryError> {
        let rotated = self.edit(id, None, |settings| {
            let now = now_s();
            let old = key_of(settings, key_id)?;
            let life_s = old.expires_at.map(|expires_at| expires_at.saturating_sub(old.created_at));
            let expires_at = life_s.map(|life_s| now.saturating_add(life_s));
            let made = ApiKey::generate(&old.name, old.scopes.clone(), now, expires_at);
            // One that was made on a host whose clock is ahead still expires after it was made.
            let end = now.saturating_add(grace_s).max(old.created_at);
            old.expires_at = Some(old.expires_at.map_or(end, |expires_at| expires_at.min(end)));
            make_room(settings, now);
            settings.api_keys.push(made.0.clone());
            Ok(made)
        });
        Ok(rotated.await?.1)
    }

    /// Takes a key away: the next request with it is refused.
    ///
    /// # Errors
    /// As [`Registry::replace`], and [`RegistryError::KeyNotFound`].
    pub async fn revoke_key(&self, id: &TenantId, key_id: &str) -> Result<(), RegistryError> {
        let revoked = self.edit(id, None, |settings| {
            key_of(settings, key_id)?;
            settings.api_keys.retain(|key| key.id != key_id);
            Ok(())
        });
        revoked.await.map(|_| ())
    }

    /// When this host last accepted a key, seconds since 1970; nothing if it has not since its start.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub fn last_used(&self, id: &TenantId, key_id: &str) -> Result<Option<u64>, RegistryError> {
        Ok(self.get(id)?.entry.and_then(|entry| entry.last_used(key_id)))
    }
}

/// Where there is no room for another key, those that have expired go.
fn make_room(settings: &mut TenantSettings, now: u64) {
    if settings.api_keys.len() >= API_KEYS_MAX {
        settings.api_keys.retain(|key| key.expires_at.is_none_or(|expires_at| expires_at > now));
    }
}

fn key_of<'a>(settings: &'a mut TenantSettings, key_id: &str) -> Result<&'a mut ApiKey, RegistryError> {
    let found = settings.api_keys.iter_mut().find(|key| key.id == key_id);
    found.ok_or_else(|| RegistryError::KeyNotFound(key_id.chars().take(crate::API_KEY_ID_BYTES).collect()))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
