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
//! | `report`, `snapshot` | what is told of calls, and the state of upstreams |
//! | `spent` | prompts that were sent for nothing, and are billed all the same |
//! | `policy` | the numbers of all these, with their defaults and bounds |

mod breaker;
mod call;
mod concurrency;
mod config;
mod endpoints;
mod latency;
pub mod model_body;
pub mod policy;
mod report;
mod retry;
mod route;
mod snapshot;
mod spent;

pub use breaker::BreakerState;
pub use call::{
    Answered, CallOptions, Carrier, CollectError, MODELS_HOST, REQUEST_BODY_BYTES_MAX,
    RESPONSE_BODY_BYTES_MAX, UpstreamBody, Upstreams, collect,
};
pub use config::{
    Api, Apis, BaseUrl, BaseUrlError, ConfigMistake, CredentialConfig, CredentialSource, ENDPOINTS_MAX,
    Endpoint, FAILOVER_MAX, MODEL_NAME_BYTES_MAX, MODELS_MAX, ModelConfig, ModelName, ModelPattern,
    NameError, Price, PriceError, Prices, TENANTS_PER_UPSTREAM_MAX, UPSTREAM_NAME_BYTES_MAX, UPSTREAMS_MAX,
    UPSTREAMS_PER_MODEL_MAX, URL_BYTES_MAX, UpstreamConfig, UpstreamCredentials, UpstreamName,
    UpstreamsConfig,
};
pub use latency::Quantiles;
pub use report::{AttemptOutcome, AttemptReport, CallObserver, CallReport, Ending, FailureKind};
pub use route::{
    CANDIDATES_MAX, Candidate, Candidates, NoApi, NoCandidate, NoModel, Routes, cost_micros_max,
};
pub use snapshot::UpstreamSnapshot;
pub use spent::PromptsSpent;
