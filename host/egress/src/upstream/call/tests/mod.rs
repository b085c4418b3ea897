//! Calls against scripted upstreams, on a clock that moves only when everybody waits.

mod answers;
mod attempts;
mod bodies;
mod breaking;
mod drops;
mod failover;
mod hedging;
mod patience;
mod script;
mod spending;
