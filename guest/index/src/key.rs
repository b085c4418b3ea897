//! The keys of this crate's families, built here and nowhere else.

/// How many values the names of a tenant's indexes are spread over.
pub(crate) const CATALOGUE_BUCKETS: u64 = 64;
/// How many values the groups of an index are spread over.
pub(crate) const GROUP_SHARDS: u64 = 32;

/// The counter that indexes and the calls that stage draw their numbers from.
pub(crate) const SEQUENCE: &str = "vector/sequence";

/// One of the values that name the tenant's indexes.
pub(crate) fn catalogue(bucket: u64) -> String {
    format!("vector/catalogue/{bucket:02}")
}

/// The value that names this index, if there is one.
pub(crate) fn catalogue_of(index: &str) -> String {
    catalogue(spread(index, CATALOGUE_BUCKETS))
}

/// One of the values that an index's groups stand in.
pub(crate) fn groups(index: u64, shard: u64) -> String {
    format!("vector/index/{index:012}/groups/{shard:02}")
}

/// The value that this group stands in, if there is one.
pub(crate) fn groups_of(index: u64, group: &str) -> String {
    groups(index, spread(group, GROUP_SHARDS))
}

/// What a page's chunks are found by, as words.
pub(crate) fn words(index: u64, batch: u64, part: u32) -> String {
    page(index, batch, part, "words")
}

/// The vectors of a page's chunks.
pub(crate) fn vectors(index: u64, batch: u64, part: u32) -> String {
    page(index, batch, part, "vectors")
}

/// The texts of a page's chunks.
pub(crate) fn texts(index: u64, batch: u64, part: u32) -> String {
    page(index, batch, part, "texts")
}

fn page(index: u64, batch: u64, part: u32, what: &str) -> String {
    format!("vector/index/{index:012}/page/{batch:012}-{part:03}/{what}")
}

/// Which of so many a name falls to: FNV-1a, so that it is the same for ever.
fn spread(name: &str, count: u64) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = name.bytes().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    hash % count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_what_they_are() {
        assert_eq!(catalogue_of("vs_1"), "vector/catalogue/22");
        assert_eq!(groups_of(7, "file-1"), "vector/index/000000000007/groups/01");
        assert_eq!(words(7, 8, 9), "vector/index/000000000007/page/000000000008-009/words");
        assert_eq!(vectors(7, 8, 9), "vector/index/000000000007/page/000000000008-009/vectors");
        assert_eq!(texts(7, 8, 9), "vector/index/000000000007/page/000000000008-009/texts");
    }
}
