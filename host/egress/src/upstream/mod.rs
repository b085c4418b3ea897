//! Model endpoints: which model is where, and what is done so that one that is slow, failing or lying does not take the
//! service down.
//!
//! A call to a model passes these modules, top to bottom:
//!
//! | module | what it does |
//! |---|---|
//! | `config` | `[upstream.NAME]` and `[model.NAME]` of the runtime configuration, checked |
//! | `route` | from the model a function names to the upstreams that can answer, first choice first |
//! | `model_body` | reads the model's name off a request's body, and writes another into it |
//! | `call` | the call from end to end: attempts, failover, the first piece of a stream |
//! | `retry` | what may be tried again, how long to wait before, and how often over all calls |
//! | `breaker`, `endpoints` | who is not asked at the moment, and who is asked next |
//! | `concurrency` | how many calls an upstream gets at once, learnt from its latency |
//! | `latency` | how long first bytes take: for hedges and for people |
//! | `policy` | the numbers of all these, with their defaults and bounds |

mod breaker;
mod concurrency;
mod endpoints;
mod latency;
pub mod policy;
mod retry;
