//! Every bound and rule of `waggle:vector@0.1.0` with the check that holds it. A refusal names the bound. Nothing here
//! looks at what is stored.

use crate::{Attributes, Chunk, IndexError, Query, Settings, Value};

/// The most dimensions of an index.
pub const DIMENSIONS_MAX: u32 = 4_096;
/// The bytes of an index's name.
pub const INDEX_NAME_BYTES_MAX: usize = 128;
/// The indexes of a tenant.
pub const INDEXES_MAX: usize = 10_000;
/// The bytes of a group's name.
pub const GROUP_NAME_BYTES_MAX: usize = 128;
/// The greatest number of a chunk.
pub const ORDINAL_MAX: u32 = 99_999;
/// The bytes of the headings a chunk stands under.
pub const HEADING_BYTES_MAX: usize = 1_024;
/// The bytes of a chunk's text.
pub const TEXT_BYTES_MAX: usize = 32 * 1_024;
/// The bytes of a chunk's note.
pub const NOTE_BYTES_MAX: usize = 1_024;
/// The chunks of one call of `stage`.
pub const STAGE_CHUNKS_MAX: usize = 256;
/// The bytes of one call of `stage`: headings, texts, notes, and vectors at four bytes a dimension.
pub const STAGE_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// The attributes of a group.
pub const ATTRIBUTES_MAX: usize = 32;
/// The bytes of an attribute's name.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
/// The bytes of an attribute's text, and of a text that one is compared with.
pub const ATTRIBUTE_TEXT_BYTES_MAX: usize = 512;
/// The nodes of a filter.
pub const FILTER_NODES_MAX: usize = 100;
/// The values that `one-of` and `not-one-of` take.
pub const FILTER_VALUES_MAX: usize = 100;
/// The groups of one call of `remove`.
pub const REMOVE_GROUPS_MAX: usize = 1_000;
/// The names or groups of one answer of `list-indexes` or `list-groups`.
pub const LIST_ENTRIES_MAX: u32 = 1_000;
/// The chunks of one answer of `read`.
pub const READ_CHUNKS_MAX: u32 = 256;
/// The indexes of one search.
pub const SEARCH_INDEXES_MAX: usize = 16;
/// The bytes of a query's text that count.
pub const QUERY_TEXT_BYTES_MAX: usize = 8 * 1_024;
/// The hits of one search.
pub const HITS_MAX: u32 = 100;
/// The chunks that one way of searching hands to the ranking.
pub const CANDIDATES_MAX: u32 = 1_000;
/// As many it hands on for each hit that is asked for, where the query does not say how many.
pub const CANDIDATES_PER_HIT: u32 = 10;
/// As many it hands on at least, where the query does not say how many.
pub const CANDIDATES_MIN: u32 = 50;

/// The refusal with this text.
pub(crate) fn invalid(text: impl Into<String>) -> IndexError {
    IndexError::Invalid(text.into())
}

fn at_most(what: &str, unit: &str, count: usize, max: usize) -> Result<(), IndexError> {
    if count <= max {
        return Ok(());
    }
    Err(invalid(format!("{what}: {count} {unit}, where at most {max} are allowed")))
}

fn name(what: &str, name: &str, bytes_max: usize) -> Result<(), IndexError> {
    if name.is_empty() {
        return Err(invalid(format!("{what} is empty")));
    }
    at_most(what, "bytes", name.len(), bytes_max)
}

/// Checks an index's name.
///
/// # Errors
/// It is empty, too long, begins with a dot or has another character than `a-z A-Z 0-9 _ - .`.
pub fn index_name(index: &str) -> Result<(), IndexError> {
    name("the name of an index", index, INDEX_NAME_BYTES_MAX)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if index.starts_with('.') {
        return Err(invalid("the name of an index begins with a dot"));
    }
    if !index.bytes().all(allowed) {
        return Err(invalid("the name of an index has another character than a-z A-Z 0-9 _ - ."));
    }
    Ok(())
}

/// Checks a group's name.
///
/// # Errors
/// It is empty or too long.
pub fn group_name(group: &str) -> Result<(), IndexError> {
    name("the name of a group", group, GROUP_NAME_BYTES_MAX)
}

/// Checks what an index is made with.
///
/// # Errors
/// There are too many dimensions.
pub fn settings(settings: Settings) -> Result<(), IndexError> {
    at_most("the vectors of an index", "dimensions", settings.dimensions as usize, DIMENSIONS_MAX as usize)
}

/// Checks what one call of `stage` brings for an index of so many dimensions.
///
/// # Errors
/// There are too many chunks or bytes, or one of the chunks is against a bound; the text names it.
pub fn chunks(chunks: &[Chunk], dimensions: u32) -> Result<(), IndexError> {
    at_most("one call of stage", "chunks", chunks.len(), STAGE_CHUNKS_MAX)?;
    let mut bytes = 0;
    for one in chunks {
        chunk(one, dimensions).map_err(|error| match error {
            IndexError::Invalid(text) => invalid(format!("chunk {}: {text}", one.ordinal)),
            other => other,
        })?;
        let vector = one.vector.as_ref().map_or(0, |vector| size_of::<f32>() * vector.len());
        bytes += one.heading.len() + one.text.len() + one.note.len() + vector;
    }
    at_most("one call of stage", "bytes", bytes, STAGE_BYTES_MAX)
}

fn chunk(chunk: &Chunk, dimensions: u32) -> Result<(), IndexError> {
    if chunk.ordinal > ORDINAL_MAX {
        return Err(invalid(format!("the number of a chunk is at most {ORDINAL_MAX}")));
    }
    at_most("its heading", "bytes", chunk.heading.len(), HEADING_BYTES_MAX)?;
    if chunk.text.is_empty() {
        return Err(invalid("its text is empty"));
    }
    at_most("its text", "bytes", chunk.text.len(), TEXT_BYTES_MAX)?;
    at_most("its note", "bytes", chunk.note.len(), NOTE_BYTES_MAX)?;
    chunk.vector.as_ref().map_or(Ok(()), |found| vector(found, dimensions))
}

/// Checks a vector, a chunk's or a query's, for an index of so many dimensions.
///
/// # Errors
/// The index has no vectors or others, or a component is not finite, or all are zero.
pub fn vector(vector: &[f32], dimensions: u32) -> Result<(), IndexError> {
    if dimensions == 0 {
        return Err(invalid("there is a vector, and the index has none"));
    }
    if vector.len() != dimensions as usize {
        let found = vector.len();
        return Err(invalid(format!("a vector of {found} dimensions, where the index has {dimensions}")));
    }
    if !vector.iter().all(|component| component.is_finite()) {
        return Err(invalid("a component of the vector is not finite"));
    }
    if vector.iter().all(|component| *component == 0.0) {
        return Err(invalid("the vector is all zeros"));
    }
    Ok(())
}

/// Checks how many chunks a version is said to have.
///
/// # Errors
/// There can be none of the last number.
pub fn published_chunks(chunks: u32) -> Result<(), IndexError> {
    at_most("a group", "chunks", chunks as usize, ORDINAL_MAX as usize + 1)
}

/// Checks a group's attributes.
///
/// # Errors
/// There are too many, two of one name, or one is against a bound.
pub fn attributes(attributes: &Attributes) -> Result<(), IndexError> {
    at_most("a group", "attributes", attributes.len(), ATTRIBUTES_MAX)?;
    for (place, (name, value)) in attributes.iter().enumerate() {
        attribute_name(name)?;
        attribute_value(value)?;
        if attributes.iter().take(place).any(|(earlier, _)| earlier == name) {
            return Err(invalid(format!("the attribute `{name}` is given twice")));
        }
    }
    Ok(())
}

pub(crate) fn attribute_name(attribute: &str) -> Result<(), IndexError> {
    name("the name of an attribute", attribute, ATTRIBUTE_NAME_BYTES_MAX)
}

pub(crate) fn attribute_value(value: &Value) -> Result<(), IndexError> {
    match value {
        Value::Text(text) => at_most("a value", "bytes", text.len(), ATTRIBUTE_TEXT_BYTES_MAX),
        Value::Number(number) if !number.is_finite() => Err(invalid("a value is no finite number")),
        Value::Number(_) | Value::Boolean(_) => Ok(()),
    }
}

pub(crate) fn filter_nodes(count: usize) -> Result<(), IndexError> {
    at_most("a filter", "nodes", count, FILTER_NODES_MAX)
}

pub(crate) fn filter_values(count: usize) -> Result<(), IndexError> {
    at_most("a comparison", "values", count, FILTER_VALUES_MAX)
}

/// Checks the groups of one call of `remove`.
///
/// # Errors
/// There are too many, or one has a name that none can have.
pub fn removed_groups(groups: &[String]) -> Result<(), IndexError> {
    at_most("one call of remove", "groups", groups.len(), REMOVE_GROUPS_MAX)?;
    groups.iter().try_for_each(|group| group_name(group))
}

/// Checks all of a query but its filter and its vector's dimensions, which [`crate::filter`] and [`vector`] do.
///
/// # Errors
/// A number is out of its range, or no way of searching is taken.
pub fn query(indexes: usize, query: &Query) -> Result<(), IndexError> {
    if indexes == 0 {
        return Err(invalid("a search names no index"));
    }
    at_most("one search", "indexes", indexes, SEARCH_INDEXES_MAX)?;
    if query.limit == 0 {
        return Err(invalid("the limit of a search is at least 1"));
    }
    at_most("the limit of a search", "hits", query.limit as usize, HITS_MAX as usize)?;
    at_most("a search", "candidates", query.candidates as usize, CANDIDATES_MAX as usize)?;
    let weights = [
        ("text-weight", query.text_weight),
        ("vector-weight", query.vector_weight),
        ("rank-constant", query.rank_constant),
    ];
    for (what, weight) in weights {
        if !weight.is_finite() || weight < 0.0 {
            return Err(invalid(format!("{what} is no finite number from 0 on")));
        }
    }
    if query.vector_score_min.is_some_and(f32::is_nan) {
        return Err(invalid("vector-score-min is no number"));
    }
    if taken_text(query).is_none() && taken_vector(query).is_none() {
        return Err(invalid("a search needs a text or a vector whose weight is not 0"));
    }
    Ok(())
}

/// The text that is searched by, if it is: as much of it as counts.
pub fn taken_text(query: &Query) -> Option<&str> {
    let text = query.text.as_deref().filter(|_| query.text_weight > 0.0)?;
    text.get(..text.floor_char_boundary(QUERY_TEXT_BYTES_MAX))
}

/// The vector that is searched by, if it is.
pub fn taken_vector(query: &Query) -> Option<&[f32]> {
    query.vector.as_deref().filter(|_| query.vector_weight > 0.0)
}

/// How many chunks each way of searching hands to the ranking.
pub fn candidates(query: &Query) -> usize {
    let asked = match query.candidates {
        0 => query.limit.saturating_mul(CANDIDATES_PER_HIT).max(CANDIDATES_MIN),
        asked => asked,
    };
    asked.min(CANDIDATES_MAX) as usize
}

/// How many entries a listing answers with.
pub fn listed(limit: u32) -> usize {
    limit.min(LIST_ENTRIES_MAX) as usize
}
