//! The load generator against a server that answers rightly, wrongly, or not at all.

#[cfg(test)]
mod open;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod scenario_files;
#[cfg(test)]
mod stub;
