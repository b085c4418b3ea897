//! What every backend needs besides the trait, so that all of them mean the same: the words of a text, the bounds of the
//! interface, the fusion of two rankings, what a filter lets pass, and what is counted.

pub use crate::{
    analysis::words,
    bounds::{
        candidates, check_attributes, check_chunks, check_dimensions, check_group_name, check_group_names,
        check_query, check_read_count, check_searched, check_settings, check_tenant, counted_text,
        text_bytes,
    },
    filter::passes,
    fusion::{Fused, Weights, fuse},
    metrics::Metrics,
};
