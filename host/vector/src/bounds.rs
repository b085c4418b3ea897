//! The bounds of `waggle:vector@0.1.0`, in one place, and the checks against them.

use crate::{Attribute, Chunk, Comparison, FilterNode, Query, Settings, Value, VectorError};

/// Bytes of a tenant's id.
pub const TENANT_BYTES_MAX: usize = 128;
/// Bytes of an index's name.
pub const INDEX_NAME_BYTES_MAX: usize = 128;
/// Numbers of a vector.
pub const DIMENSIONS_MAX: u32 = 4_096;
/// Bytes of a group's name.
pub const GROUP_NAME_BYTES_MAX: usize = 128;
/// Chunks of a group.
pub const CHUNKS_PER_GROUP_MAX: u32 = 100_000;
/// Bytes of a chunk's headings.
pub const HEADING_BYTES_MAX: usize = 1_024;
/// Bytes of a chunk's text.
pub const TEXT_BYTES_MAX: usize = 32 * 1_024;
/// Bytes of a chunk's note.
pub const NOTE_BYTES_MAX: usize = 1_024;
/// Chunks that are staged by one call.
pub const CHUNKS_PER_CALL_MAX: usize = 256;
/// Bytes of headings, texts and notes that are staged by one call. Vectors are bounded by their own length.
pub const STAGED_BYTES_PER_CALL_MAX: usize = 4 * 1_024 * 1_024;
/// Attributes of a group.
pub const ATTRIBUTES_MAX: usize = 32;
/// Bytes of an attribute's name.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
/// Bytes of an attribute's text.
pub const ATTRIBUTE_TEXT_BYTES_MAX: usize = 512;
/// Nodes of a filter.
pub const FILTER_NODES_MAX: usize = 100;
/// Values that an attribute is compared with at once.
pub const FILTER_VALUES_MAX: usize = 100;
/// Groups that are removed by one call.
pub const GROUPS_PER_REMOVAL_MAX: usize = 1_000;
/// Names or groups of one page.
pub const PAGE_MAX: u32 = 1_000;
/// Chunks that are read by one call.
pub const READ_CHUNKS_MAX: u32 = 256;
/// Hits of a search.
pub const LIMIT_MAX: u32 = 100;
/// Chunks that each way of searching hands to the ranking.
pub const CANDIDATES_MAX: u32 = 1_000;
/// Indexes that are searched as one.
pub const SEARCHED_INDEXES_MAX: usize = 16;
/// Bytes of a query's text that count; what follows is not looked at.
pub const QUERY_TEXT_BYTES_MAX: usize = 8 * 1_024;

type Checked = Result<(), VectorError>;

fn invalid(text: impl Into<String>) -> VectorError {
    VectorError::Invalid(text.into())
}

fn at_most(what: &str, has: usize, most: usize, unit: &str) -> Checked {
    if has <= most {
        return Ok(());
    }
    Err(invalid(format!("{what} has {has} {unit}; it may have {most}")))
}

/// A tenant's id has 1 to [`TENANT_BYTES_MAX`] bytes.
///
/// # Errors
/// [`VectorError::Invalid`].
pub fn check_tenant(tenant: &str) -> Checked {
    if tenant.is_empty() {
        return Err(invalid("the tenant's id is empty"));
    }
    at_most("the tenant's id", tenant.len(), TENANT_BYTES_MAX, "bytes")
}

pub(crate) fn check_index_name(name: &str) -> Checked {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty()
        || name.len() > INDEX_NAME_BYTES_MAX
        || name.starts_with('.')
        || !name.bytes().all(is_allowed)
    {
        return Err(invalid(format!(
            "an index's name has 1 to {INDEX_NAME_BYTES_MAX} of the characters a-z A-Z 0-9 _ - . and does not begin with a dot"
        )));
    }
    Ok(())
}

/// An index has at most [`DIMENSIONS_MAX`] dimensions.
///
/// # Errors
/// [`VectorError::Invalid`].
pub fn check_settings(settings: Settings) -> Checked {
    if settings.dimensions <= DIMENSIONS_MAX {
        return Ok(());
    }
    Err(invalid(format!("an index may have {DIMENSIONS_MAX} dimensions, not {}", settings.dimensions)))
}

/// A group's name has 1 to [`GROUP_NAME_BYTES_MAX`] bytes.
///
/// # Errors
/// [`VectorError::Invalid`].
pub fn check_group_name(name: &str) -> Checked {
    if name.is_empty() {
        return Err(invalid("a group's name is empty"));
    }
    at_most("a group's name", name.len(), GROUP_NAME_BYTES_MAX, "bytes")
}

/// The groups of one removal.
///
/// # Errors
/// [`VectorError::Invalid`].
pub fn check_group_names(names: &[String]) -> Checked {
    at_most("the call", names.len(), GROUPS_PER_REMOVAL_MAX, "groups")?;
    names.iter().try_for_each(|name| check_group_name(name))
}

/// The chunks of one call.
///
/// # Errors
/// [`VectorError::Invalid`].
pub fn check_chunks(chunks: &[Chunk]) -> Checked {
    at_most("the call", chunks.len(), CHUNKS_PER_CALL_MAX, "chunks")?;
    let bytes = chunks.iter().map(text_bytes).sum();
    at_most("the call", bytes, STAGED_BYTES_PER_CALL_MAX, "bytes of text")?;
    chunks.iter().try_for_each(check_chunk)
}

/// Bytes of all that is text in a chunk.
#[must_use]
pub fn text_bytes(chunk: &Chunk) -> usize {
    chunk.heading.len() + chunk.text.len() + chunk.note.len()
}

fn check_chunk(chunk: &Chunk) -> Checked {
    let what = |part: &str| format!("{part} of chunk {}", chunk.ordinal);
    if chunk.ordinal >= CHUNKS_PER_GROUP_MAX {
        let last = CHUNKS_PER_GROUP_MAX - 1;
        return Err(invalid(format!("a chunk's number is at most {last}, not {}", chunk.ordinal)));
    }
    if chunk.text.is_empty() {
        return Err(invalid(format!("{} is empty", what("the text"))));
    }
    at_most(&what("the text"), chunk.text.len(), TEXT_BYTES_MAX, "bytes")?;
    at_most(&what("the heading"), chunk.heading.len(), HEADING_BYTES_MAX, "bytes")?;
    at_most(&what("the note"), chunk.note.len(), NOTE_BYTES_MAX, "bytes")?;
    chunk.vector.as_deref().map_or(Ok(()), |vector| check_vector(&what("the vector"), vector))
}

/// A vector that has a direction. Whether it has the index's dimensions, only the index knows.
fn check_vector(what: &str, vector: &[f32]) -> Checked {
    at_most(what, vector.len(), DIMENSIONS_MAX as usize, "dimensions")?;
    if !vector.iter().all(|number| number.is_finite()) {
        return Err(invalid(format!("{what} has a number that is not finite")));
    }
    if vector.iter().all(|number| *number == 0.0) {
        return Err(invalid(format!("{what} is all zeros, so it has no direction")));
    }
    Ok(())
}

/// Whether a vector may stand in, or search, an index of these dimensions.
///
/// # Errors
/// [`VectorError::Invalid`].
pub fn check_dimensions(what: &str, vector: &[f32], settings: Settings) -> Checked {
    if vector.len() == settings.dimensions as usize {
        return Ok(());
    }
    if settings.dimensions == 0 {
        return Err(invalid(format!("{what} has {} dimensions; the index has none", vector.len())));
    }
    Err(invalid(format!("{what} has {} dimensions; the index has {}", vector.len(), settings.dimensions)))
}

/// The attributes of one group.
///
/// # Errors
/// [`VectorError::Invalid`].
pub fn check_attributes(attributes: &[Attribute]) -> Checked {
    at_most("a group", attributes.len(), ATTRIBUTES_MAX, "attributes")?;
    attributes.iter().try_for_each(|attribute| {
        check_attribute_name(&attribute.name)?;
        check_value(&attribute.value)
    })
}

fn check_attribute_name(name: &str) -> Checked {
    if name.is_empty() {
        return Err(invalid("an attribute's name is empty"));
    }
    at_most("an attribute's name", name.len(), ATTRIBUTE_NAME_BYTES_MAX, "bytes")
}

fn check_value(value: &Value) -> Checked {
    match value {
        Value::Text(text) => at_most("an attribute's text", text.len(), ATTRIBUTE_TEXT_BYTES_MAX, "bytes"),
        Value::Number(_) | Value::Boolean(_) => Ok(()),
    }
}

pub(crate) fn check_filter(nodes: &[FilterNode]) -> Checked {
    at_most("the filter", nodes.len(), FILTER_NODES_MAX, "nodes")?;
    nodes.iter().enumerate().try_for_each(|(place, node)| check_node(place, node))
}

fn check_node(place: usize, node: &FilterNode) -> Checked {
    match node {
        FilterNode::Compare(compare) => {
            check_attribute_name(&compare.attribute)?;
            let is_list = matches!(compare.comparison, Comparison::OneOf | Comparison::NotOneOf);
            if !is_list && compare.values.len() != 1 {
                let has = compare.values.len();
                return Err(invalid(format!(
                    "node {place} of the filter compares with one value, not {has}"
                )));
            }
            at_most(
                &format!("node {place} of the filter"),
                compare.values.len(),
                FILTER_VALUES_MAX,
                "values",
            )?;
            compare.values.iter().try_for_each(check_value)
        }
        FilterNode::All(nodes) | FilterNode::Any(nodes) => {
            at_most(&format!("node {place} of the filter"), nodes.len(), FILTER_NODES_MAX, "nodes")?;
            match nodes.iter().find(|node| **node as usize >= place) {
                Some(node) => Err(invalid(format!(
                    "node {place} of the filter refers to node {node}, which is not an earlier one"
                ))),
                None => Ok(()),
            }
        }
    }
}

/// All of a query but what only the index knows.
///
/// # Errors
/// [`VectorError::Invalid`].
pub fn check_query(query: &Query) -> Checked {
    check_filter(&query.filter)?;
    if !(1..=LIMIT_MAX).contains(&query.limit) {
        return Err(invalid(format!("`limit` is {}; it must be from 1 to {LIMIT_MAX}", query.limit)));
    }
    if query.candidates > CANDIDATES_MAX {
        return Err(invalid(format!(
            "`candidates` is {}; it may be up to {CANDIDATES_MAX}",
            query.candidates
        )));
    }
    let numbers = [
        ("text-weight", query.text_weight),
        ("vector-weight", query.vector_weight),
        ("rank-constant", query.rank_constant),
    ];
    for (name, number) in numbers {
        if !number.is_finite() || number < 0.0 {
            return Err(invalid(format!("`{name}` is {number}; it must be 0 or more, and finite")));
        }
    }
    if query.vector_score_min.is_some_and(f32::is_nan) {
        return Err(invalid("`vector-score-min` is not a number"));
    }
    query.vector.as_deref().map_or(Ok(()), |vector| check_vector("the query's vector", vector))
}

/// How many indexes are searched.
///
/// # Errors
/// [`VectorError::Invalid`].
pub fn check_searched(indexes: usize) -> Checked {
    at_most("the search", indexes, SEARCHED_INDEXES_MAX, "indexes")
}

/// How many chunks are read.
///
/// # Errors
/// [`VectorError::Invalid`].
pub fn check_read_count(count: u32) -> Checked {
    if count <= READ_CHUNKS_MAX {
        return Ok(());
    }
    Err(invalid(format!("`count` is {count}; it may be up to {READ_CHUNKS_MAX}")))
}

/// The part of a query's text that counts, cut where a character ends.
#[must_use]
pub fn counted_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(QUERY_TEXT_BYTES_MAX)]
}

/// How many chunks each way of searching hands to the ranking.
#[must_use]
pub fn candidates(query: &Query) -> usize {
    const LEAST_BY_ITSELF: u32 = 50;
    let wanted = match query.candidates {
        0 => (query.limit * 10).max(LEAST_BY_ITSELF),
        given => given,
    };
    wanted.max(query.limit).min(CANDIDATES_MAX) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compare;

    fn chunk() -> Chunk {
        Chunk { ordinal: 0, heading: String::new(), text: "a".into(), note: String::new(), vector: None }
    }

    fn query() -> Query {
        Query {
            text: None,
            vector: None,
            filter: Vec::new(),
            limit: 10,
            candidates: 0,
            fusion: crate::Fusion::Scores,
            text_weight: 1.0,
            vector_weight: 1.0,
            rank_constant: 60.0,
            vector_score_min: None,
        }
    }

    fn is_fine(checked: Checked, fine: bool, what: &str) {
        match checked {
            Ok(()) => assert!(fine, "{what}: accepted"),
            Err(VectorError::Invalid(why)) => assert!(!fine, "{what}: {why}"),
            Err(error) => panic!("{what}: {error}"),
        }
    }

    #[test]
    fn names_of_indexes_are_held_to_their_characters() {
        let check = |name: &str, fine: bool| is_fine(check_index_name(name), fine, name);
        for name in ["a", "A-b_c.9", "-", &"x".repeat(128)] {
            check(name, true);
        }
        for name in ["", ".a", "a/b", "ä", "a b", "..", &"x".repeat(129)] {
            check(name, false);
        }
    }

    #[test]
    fn chunks_are_held_to_their_bounds() {
        let check = |chunk: Chunk, fine: bool| is_fine(check_chunk(&chunk), fine, &format!("{chunk:.40?}"));
        let vector = |vector: Vec<f32>| Chunk { vector: Some(vector), ..chunk() };
        check(chunk(), true);
        check(Chunk { ordinal: 99_999, ..chunk() }, true);
        check(Chunk { ordinal: 100_000, ..chunk() }, false);
        check(Chunk { text: String::new(), ..chunk() }, false);
        check(Chunk { text: "a".repeat(32_768), ..chunk() }, true);
        check(Chunk { text: "a".repeat(32_769), ..chunk() }, false);
        check(Chunk { heading: "a".repeat(1_024), note: "a".repeat(1_024), ..chunk() }, true);
        check(Chunk { heading: "a".repeat(1_025), ..chunk() }, false);
        check(Chunk { note: "a".repeat(1_025), ..chunk() }, false);
        check(vector(vec![0.0, 1.0]), true);
        check(vector(vec![0.0, -0.0]), false);
        check(vector(vec![]), false);
        check(vector(vec![1.0, f32::NAN]), false);
        check(vector(vec![1.0; 4_097]), false);
        is_fine(check_chunks(&vec![chunk(); 256]), true, "256 chunks");
        is_fine(check_chunks(&vec![chunk(); 257]), false, "257 chunks");
        let large = vec![Chunk { text: "a".repeat(32_768), ..chunk() }; 128];
        is_fine(check_chunks(&large), true, "4 MiB");
        let note = Chunk { note: "a".into(), ..large[0].clone() };
        is_fine(check_chunks(&[large[1..].to_vec(), vec![note]].concat()), false, "4 MiB and a byte");
    }

    #[test]
    fn filters_refer_to_earlier_nodes_only() {
        let compare = |comparison: Comparison, values: usize| {
            let values = vec![Value::Boolean(true); values];
            FilterNode::Compare(Compare { attribute: "a".into(), comparison, values })
        };
        let check =
            |nodes: Vec<FilterNode>, fine: bool| is_fine(check_filter(&nodes), fine, &format!("{nodes:?}"));
        check(vec![], true);
        check(vec![FilterNode::All(vec![])], true);
        check(vec![FilterNode::All(vec![0])], false);
        check(vec![compare(Comparison::Equal, 1), FilterNode::Any(vec![0, 0])], true);
        check(vec![compare(Comparison::Equal, 0)], false);
        check(vec![compare(Comparison::Less, 2)], false);
        check(vec![compare(Comparison::OneOf, 0)], true);
        check(vec![compare(Comparison::OneOf, 100)], true);
        check(vec![compare(Comparison::NotOneOf, 101)], false);
        check(vec![FilterNode::All(vec![]); 101], false);
    }

    #[test]
    fn queries_are_held_to_their_bounds() {
        let check = |query: Query, fine: bool| is_fine(check_query(&query), fine, &format!("{query:?}"));
        check(query(), true);
        check(Query { limit: 0, ..query() }, false);
        check(Query { limit: 100, candidates: 1_000, ..query() }, true);
        check(Query { limit: 101, ..query() }, false);
        check(Query { candidates: 1_001, ..query() }, false);
        check(Query { text_weight: -1.0, ..query() }, false);
        check(Query { rank_constant: f32::NAN, ..query() }, false);
        check(Query { vector_weight: f32::INFINITY, ..query() }, false);
        check(Query { vector: Some(vec![0.0]), ..query() }, false);
        check(Query { vector_score_min: Some(f32::NAN), ..query() }, false);
    }

    #[test]
    fn candidates_are_never_fewer_than_hits() {
        let check = |limit: u32, given: u32, expected: usize| {
            assert_eq!(
                candidates(&Query { limit, candidates: given, ..query() }),
                expected,
                "{limit} {given}"
            );
        };
        check(1, 0, 50);
        check(10, 0, 100);
        check(100, 0, 1_000);
        check(10, 3, 10);
        check(10, 300, 300);
    }

    #[test]
    fn a_query_is_cut_where_a_character_ends() {
        let text = "中".repeat(3_000);
        assert_eq!(counted_text(&text).len(), 8_190);
        assert_eq!(counted_text("short"), "short");
    }
}
