//! The simulated model over real sockets.

#[cfg(test)]
mod api;
#[cfg(test)]
mod common;
#[cfg(test)]
mod faults;
#[cfg(test)]
#[cfg(feature = "tls")]
mod tls;
