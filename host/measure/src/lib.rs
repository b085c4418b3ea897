//! What is measured where it happens, for next to nothing: [`Counter`], [`Gauge`], [`Histogram`], and series of them, by a
//! key ([`Family`]) or by tenant ([`PerTenant`], of whom only the largest have a name: [`TopTenants`]); and spans ([`trace`]).
//!
//! It stands below all other crates of the host, knows none of them and no format: `waggle-telemetry` reads it.

mod counter;
mod family;
mod histogram;
mod tenants;
mod timer;
pub mod trace;

pub use counter::{Counter, Gauge, Held};
pub use family::Family;
pub use histogram::{BOUNDS, Bounds, Histogram, HistogramSnapshot};
pub use tenants::{OTHER_TENANTS, PerTenant, TenantSeat, TenantSlot, TopTenants};
pub use timer::Timer;
