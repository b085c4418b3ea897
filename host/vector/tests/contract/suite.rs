//! What every backend promises. A test program of a backend has this file as a module, brings all that is in it into its root,
//! and names its [`Fixture`] in `contract!`.

#[path = "../support/chunks.rs"]
pub(crate) mod chunks;
pub(crate) mod erasing;
pub(crate) mod filters;
pub(crate) mod groups;
pub(crate) mod indexes;
pub(crate) mod searching;
pub(crate) mod tenants;

use std::{any::Any, sync::Arc};
use waggle_vector::{Attribute, Chunk, Hit, Query, TenantBounds, TenantIndexes, VectorError, VectorIndexes};

/// A backend under test and what has to live as long as it.
pub(crate) struct Fixture {
    pub(crate) all: Arc<dyn VectorIndexes>,
    _kept: Box<dyn Any + Send + Sync>,
}

pub(crate) const BOUNDS: TenantBounds = TenantBounds { bytes_max: None, indexes_max: 10_000 };

impl Fixture {
    pub(crate) fn new(all: impl VectorIndexes, kept: impl Any + Send + Sync) -> Self {
        Self { all: Arc::new(all), _kept: Box::new(kept) }
    }

    pub(crate) fn of(&self, tenant: &str) -> TenantIndexes {
        self.within(tenant, BOUNDS)
    }

    pub(crate) fn within(&self, tenant: &str, bounds: TenantBounds) -> TenantIndexes {
        TenantIndexes::new(Arc::clone(&self.all), tenant, bounds)
    }

    /// A tenant's indexes with one that is empty, named `docs`.
    pub(crate) async fn docs(&self) -> TenantIndexes {
        let indexes = self.of("acme");
        indexes.create("docs", chunks::SETTINGS).await.unwrap();
        indexes
    }
}

/// Stages chunks of a group and publishes them.
pub(crate) async fn put(indexes: &TenantIndexes, group: &str, version: u64, chunks: Vec<Chunk>) {
    put_with(indexes, group, version, chunks, Vec::new()).await;
}

pub(crate) async fn put_with(
    indexes: &TenantIndexes,
    group: &str,
    version: u64,
    chunks: Vec<Chunk>,
    attributes: Vec<Attribute>,
) {
    let count = u32::try_from(chunks.len()).unwrap();
    indexes.stage("docs", group, version, chunks).await.unwrap();
    indexes.publish("docs", group, version, count, attributes).await.unwrap();
}

pub(crate) async fn search(indexes: &TenantIndexes, query: Query) -> Vec<Hit> {
    indexes.search(&["docs"], query).await.unwrap()
}

/// The groups and numbers of hits, in their order.
pub(crate) fn places(hits: &[Hit]) -> Vec<(&str, u32)> {
    hits.iter().map(|hit| (hit.group.as_str(), hit.ordinal)).collect()
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
pub(crate) fn is_invalid<T: std::fmt::Debug>(outcome: Result<T, VectorError>, expected: &str) {
    match outcome {
        Err(VectorError::Invalid(text)) => assert!(text.contains(expected), "{text}"),
        other => panic!("{other:?} in place of a refusal: {expected}"),
    }
}

/// Tests of each behaviour over a backend, by the module that has it. The second is a future of an optional [`Fixture`]:
/// without one nothing is tested, and whoever makes it says why.
macro_rules! contract {
    ($backend:ident, $fixture:expr) => {
        contract! { @tests $backend $fixture;
            indexes {
                an_index_is_made_once_and_described;
                an_index_of_other_settings_is_refused;
                names_come_in_pages;
                what_is_not_there_is_told;
                dropping_an_index_leaves_nothing_of_it;
                no_more_indexes_than_the_tenant_may_have;
                no_more_bytes_than_the_tenant_may_have;
            }
            groups {
                staged_chunks_are_found_when_they_are_published;
                a_new_version_takes_the_place_of_the_old_one;
                staged_chunks_are_counted_to_the_first_that_is_missing;
                publishing_needs_exactly_the_chunks_that_are_said;
                publishing_again_changes_the_attributes;
                versions_only_grow;
                discarding_forgets_one_version;
                removing_skips_what_is_not_there;
                groups_come_in_pages;
                chunks_are_read_in_their_order;
                a_group_may_be_empty;
                attributes_are_those_of_published_groups;
            }
            searching {
                words_are_found_in_both_languages;
                vectors_are_found_by_their_angle;
                both_ways_are_fused;
                vectors_that_tell_nothing_apart_leave_the_order_to_the_words;
                scores_of_several_indexes_are_measured_by_the_best_of_all;
                a_way_without_weight_is_not_taken;
                every_hit_has_its_exact_cosine;
                what_is_not_alike_enough_is_left_out;
                several_indexes_are_searched_as_one;
                a_query_that_does_not_fit_is_refused;
                a_query_of_nothing_finds_nothing;
                at_most_the_limit_is_found;
                searches_go_on_while_chunks_come_and_go;
            }
            filters {
                only_groups_that_pass_are_found;
                a_selective_filter_finds_all_it_should;
            }
            tenants {
                two_tenants_never_see_each_other;
                tenants_with_like_names_are_different;
            }
            erasing {
                erasing_leaves_nothing_of_one_tenant_and_all_of_the_others;
                usage_counts_what_there_is;
            }
        }
    };
    (@tests $backend:ident $fixture:expr; $($subject:ident { $($behaviour:ident;)* })*) => {
        mod $backend {
            $(mod $subject {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    if let Some(fixture) = $fixture.await {
                        crate::$subject::$behaviour(fixture).await;
                    }
                })*
            })*
        }
    };
}
