//! What a tenant is using up at this moment.

use crate::Limits;
use std::sync::{Arc, Mutex, PoisonError};

/// The counts of one tenant.
pub struct Meter {
    limits: Mutex<Limits>,
}

impl Meter {
    /// A meter at zero.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits: Mutex::new(limits) })
    }

    /// Changes the limits; the counts stay.
    pub fn set_limits(&self, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }
}
