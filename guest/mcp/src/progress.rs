//! How far a call is, told while it runs.

/// Where a running call says how far it is.
pub trait Progress {
    /// `done` of `total`, in whatever is counted. A report that does not go beyond the last is dropped, as the protocol
    /// wants it.
    fn report(&mut self, done: f64, total: Option<f64>, message: &str);
}

/// Where reports go that nobody has asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unheard;

impl Progress for Unheard {
    fn report(&mut self, _done: f64, _total: Option<f64>, _message: &str) {}
}
