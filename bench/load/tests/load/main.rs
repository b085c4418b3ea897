//! The load generator against a server that answers rightly, wrongly, or not at all.

#[cfg(test)]
mod runs;
#[cfg(test)]
mod stub;
