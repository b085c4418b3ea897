//! The graph of an index: an HNSW index of pgvector over the chunks of that one index alone, so that a search never walks
//! past the vectors of another tenant. It is made when an index has become large, and used where few are left out.

use crate::scoped::Known;

/// pgvector builds no graph of longer vectors.
pub(crate) const DIMENSIONS_MAX: u32 = 2_000;
/// The most near vectors that pgvector looks at.
const EXPANSION_MAX: usize = 1_000;
/// The fewest.
const EXPANSION_MIN: usize = 64;

/// Whether an index is to get a graph.
pub(crate) fn is_wanted(index: &Known, chunks_min: u32) -> bool {
    !index.has_graph
        && (1..=DIMENSIONS_MAX).contains(&index.dimensions)
        && index.chunks >= i64::from(chunks_min)
}

/// Its name; nothing of it is a tenant's.
pub(crate) fn name(index: i64) -> String {
    format!("graph_{index}")
}

/// The statement that makes it while others read and write.
pub(crate) fn build(index: &Known) -> String {
    format!(
        "create index concurrently if not exists {} on chunks \
         using hnsw ((embedding::vector({})) vector_cosine_ops) where index_number = {}",
        name(index.number),
        index.dimensions,
        index.number
    )
}

/// The statement that removes it.
pub(crate) fn remove(index: i64) -> String {
    format!("drop index concurrently if exists {}", name(index))
}

/// The search that walks it. The number stands in the text, because the server uses a partial index only where it sees that
/// its condition holds.
pub(crate) fn search(index: &Known) -> String {
    let distance = format!("embedding::vector({}) <=> $2::text::vector", index.dimensions);
    format!(
        "select index_number, group_number, ordinal, (1 - ({distance}))::real as score from chunks \
         where tenant = $1 and index_number = {} and ($3::bigint[] is null or group_number = any($3)) \
         order by {distance} limit $4",
        index.number
    )
}

/// How widely it is searched, and that it is: the server knows too little of how much sorting by distance costs.
pub(crate) fn settings(count: usize) -> String {
    let expansion = (count * 2).clamp(EXPANSION_MIN, EXPANSION_MAX);
    format!(
        "set local hnsw.ef_search = {expansion}; set local enable_sort = off; set local enable_seqscan = off"
    )
}

/// What holds again for the statements after it.
pub(crate) const SETTINGS_AFTER: &str = "set local enable_sort = on; set local enable_seqscan = on";
