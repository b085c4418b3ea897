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
    abandoned: PerTenant<Abandoned>,
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

/// Prompts of one tenant that upstreams have read for nothing.
#[derive(Debug, Default)]
pub(crate) struct Abandoned {
    pub(crate) prompts: Counter,
    pub(crate) tokens: Counter,
    pub(crate) cost_micros: Counter,
}

impl Abandoned {
    /// So many prompts more, of so many tokens together.
    pub(crate) fn add(&self, prompts: u32, tokens: u64, cost_micros: u64) {
        self.prompts.add(prompts.into());
        self.tokens.add(tokens);
        self.cost_micros.add(cost_micros);
    }
}

impl ModelMetrics {
    pub(crate) fn new(tenants: &Arc<TopTenants>) -> Self {
        Self {
            used: PerTenant::made_by(tenants, || Family::new(MODELS_MAX, OTHER.to_owned())),
            abandoned: PerTenant::new(tenants),
            tiers: Family::new(CHOICES_MAX, format!("{OTHER} {OTHER}")),
        }
    }

    /// Where to count what a tenant uses of a model.
    pub(crate) fn of(&self, tenant: TenantSlot, model: &str) -> Arc<Used> {
        self.used.get(tenant).get(model)
    }

    /// Where to count what upstreams have read for a tenant for nothing.
    pub(crate) fn abandoned_of(&self, tenant: TenantSlot) -> &Abandoned {
        self.abandoned.get(tenant)
    }

    /// What they have, by tenant.
    pub(crate) fn abandoned(&self) -> impl Iterator<Item = (&str, &Abandoned)> {
        self.abandoned.each()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_for_nothing_is_counted_apart_from_what_was_answered() {
        let tenants = TopTenants::new(2, ["bank"]);
        let metrics = ModelMetrics::new(&tenants);
        let seat = tenants.seat("bank");
        assert_eq!(metrics.abandoned().count(), 0);
        metrics.of(seat.slot(), "large").input.add(7);
        metrics.abandoned_of(seat.slot()).add(2, 30, 5);
        metrics.abandoned_of(seat.slot()).add(1, 10, 0);
        let abandoned: Vec<_> = metrics.abandoned().collect();
        let [(tenant, of)] = abandoned[..] else { panic!("{abandoned:?}") };
        assert_eq!((tenant, of.prompts.get(), of.tokens.get(), of.cost_micros.get()), ("bank", 3, 40, 5));
        assert_eq!(metrics.used()[0].2.input.get(), 7);
    }
}
