//! Calls against scripted upstreams, on a clock that stands still.
