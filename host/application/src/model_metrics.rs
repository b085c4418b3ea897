//! What calls to models used, by tenant and model, and which tiers were chosen.

use std::sync::Arc;
use waggle_measure::{Counter, Family, PerTenant, TenantSlot, TopTenants};

/// Models that are told apart, for each tenant.
const MODELS_MAX: usize = 64;
/// Choices that are told apart: a tier and a reason each.
const CHOICES_MAX: usize = 64;
/// All that have no room of their own.
const OTHER: &str = "other";

/// Of all tenants.
pub(crate) struct ModelMetrics {
    used: PerTenant<Family<String, Used>>,
    /// By tier and reason, with a blank between them.
    tiers: Family<String, Counter>,
}

/// What one tenant used of one model.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) input: Counter,
    pub(crate) cached_input: Counter,
    pub(crate) output: Counter,
    pub(crate) cost_micros: Counter,
}

impl ModelMetrics {
    pub(crate) fn new(tenants: &Arc<TopTenants>) -> Self {
        Self {
            used: PerTenant::made_by(tenants, || Family::new(MODELS_MAX, OTHER.to_owned())),
            tiers: Family::new(CHOICES_MAX, format!("{OTHER} {OTHER}")),
        }
    }

    /// Where to count what a tenant uses of a model.
    pub(crate) fn of(&self, tenant: TenantSlot, model: &str) -> Arc<Used> {
        self.used.get(tenant).get(model)
    }

    /// A function has chosen a tier.
    pub(crate) fn count_choice(&self, tier: &str, reason: &str) {
        self.tiers.get(&*format!("{tier} {reason}")).increment();
    }

    /// All there is, by tenant and model.
    pub(crate) fn used(&self) -> Vec<(String, String, Arc<Used>)> {
        let of = |(tenant, models): (&str, &Family<String, Used>)| {
            let tenant = tenant.to_owned();
            models
                .series()
                .into_iter()
                .map(move |(model, used)| (tenant.clone(), model, used))
                .collect::<Vec<_>>()
        };
        self.used.each().flat_map(of).collect()
    }

    /// How often each tier was chosen, and why.
    pub(crate) fn tiers(&self) -> Vec<(String, String, u64)> {
        let split = |(choice, counter): (String, Arc<Counter>)| {
            let (tier, reason) = choice.split_once(' ')?;
            Some((tier.to_owned(), reason.to_owned(), counter.get()))
        };
        self.tiers.series().into_iter().filter_map(split).collect()
    }
}
