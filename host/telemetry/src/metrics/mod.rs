//! Metrics, as Prometheus reads them: [`Metrics`] asks each [`Source`] when it is scraped, and writes what they say as
//! OpenMetrics 1.0 or in Prometheus' own text format 0.0.4.
//!
//! Nothing is copied or formatted between scrapes: those that measure do so with `waggle-measure`, and a source reads that.

mod exposition;
mod families;
mod process;

pub use exposition::{Format, Rendered};
pub use families::{CounterSeries, Families, GaugeSeries, HistogramSeries, InfoSeries, Number, SERIES_MAX};
pub use process::{BuildInfo, ProcessSource};

use std::fmt;
use std::sync::{PoisonError, RwLock};

/// What has something to say at a scrape. It must not wait: for what takes long, keep a gauge up to date elsewhere.
///
/// Sources may write to the same family; what has the same labels is added up.
pub trait Source: Send + Sync {
    /// Writes all families of this source, as they are now.
    fn collect(&self, families: &mut Families);
}

impl<F: Fn(&mut Families) + Send + Sync> Source for F {
    fn collect(&self, families: &mut Families) {
        self(families);
    }
}

/// All metrics of the process.
#[derive(Default)]
pub struct Metrics {
    sources: RwLock<Vec<Box<dyn Source>>>,
}

impl Metrics {
    /// Without a source.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `source` at each scrape from now on. For parts of the host, at start: there is no way to take one back.
    pub fn register(&self, source: Box<dyn Source>) {
        self.sources.write().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// What all sources say now. Two scrapes at once do not wait for each other.
    #[must_use]
    pub fn gather(&self) -> Families {
        let mut families = Families::default();
        for source in self.sources.read().unwrap_or_else(PoisonError::into_inner).iter() {
            source.collect(&mut families);
        }
        families
    }

    /// The same as text.
    #[must_use]
    pub fn render(&self, format: Format) -> Rendered {
        exposition::render(self.gather(), format)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
