//! The types of `waggle:vector` from those of [`waggle_index`] and back: one for one, moved and not copied.

use super::vector;
use waggle_index::{
    Attributes, Chunk, Comparison, Description, FilterNode, Fusion, Group, Hit, IndexError, Query, Settings,
    Value,
};

impl From<vector::Error> for IndexError {
    fn from(error: vector::Error) -> Self {
        match error {
            vector::Error::NoSuchIndex => Self::NoSuchIndex,
            vector::Error::NoSuchGroup => Self::NoSuchGroup,
            vector::Error::Invalid(reason) => Self::Invalid(reason),
            vector::Error::Full(reason) => Self::Full(reason),
            vector::Error::Unavailable(reason) => Self::Unavailable(reason),
            vector::Error::Damaged(reason) => Self::Damaged(reason),
            vector::Error::Other(reason) => Self::Other(reason),
        }
    }
}

fn value(value: Value) -> vector::Value {
    match value {
        Value::Text(text) => vector::Value::Text(text),
        Value::Number(number) => vector::Value::Number(number),
        Value::Boolean(boolean) => vector::Value::Boolean(boolean),
    }
}

fn value_of(value: vector::Value) -> Value {
    match value {
        vector::Value::Text(text) => Value::Text(text),
        vector::Value::Number(number) => Value::Number(number),
        vector::Value::Boolean(boolean) => Value::Boolean(boolean),
    }
}

pub(super) fn attributes(attributes: Attributes) -> Vec<vector::Attribute> {
    let attribute = |(name, given)| vector::Attribute { name, value: value(given) };
    attributes.into_iter().map(attribute).collect()
}

fn attributes_of(attributes: Vec<vector::Attribute>) -> Attributes {
    attributes.into_iter().map(|attribute| (attribute.name, value_of(attribute.value))).collect()
}

pub(super) fn chunk(chunk: Chunk) -> vector::Chunk {
    let Chunk { ordinal, heading, text, note, vector } = chunk;
    vector::Chunk { ordinal, heading, text, note, vector }
}

pub(super) fn chunk_of(chunk: vector::Chunk) -> Chunk {
    let vector::Chunk { ordinal, heading, text, note, vector } = chunk;
    Chunk { ordinal, heading, text, note, vector }
}

pub(super) fn description_of(description: &vector::Description) -> Description {
    Description {
        settings: Settings { dimensions: description.settings.dimensions },
        groups: description.groups,
        chunks: description.chunks,
        bytes: description.bytes,
        revision: description.revision,
    }
}

pub(super) fn group_of(group: vector::Group) -> Group {
    let vector::Group { name, version, chunks, attributes } = group;
    Group { name, version, chunks, attributes: attributes_of(attributes) }
}

fn comparison(comparison: Comparison) -> vector::Comparison {
    match comparison {
        Comparison::Equal => vector::Comparison::Equal,
        Comparison::NotEqual => vector::Comparison::NotEqual,
        Comparison::Greater => vector::Comparison::Greater,
        Comparison::GreaterOrEqual => vector::Comparison::GreaterOrEqual,
        Comparison::Less => vector::Comparison::Less,
        Comparison::LessOrEqual => vector::Comparison::LessOrEqual,
        Comparison::OneOf => vector::Comparison::OneOf,
        Comparison::NotOneOf => vector::Comparison::NotOneOf,
    }
}

fn filter_node(node: FilterNode) -> vector::FilterNode {
    match node {
        FilterNode::Compare { attribute, comparison: how, values } => {
            let values = values.into_iter().map(value).collect();
            vector::FilterNode::Compare(vector::Compare { attribute, comparison: comparison(how), values })
        }
        FilterNode::All(nodes) => vector::FilterNode::All(nodes),
        FilterNode::Any(nodes) => vector::FilterNode::Any(nodes),
    }
}

fn fusion(fusion: Fusion) -> vector::Fusion {
    match fusion {
        Fusion::Scores => vector::Fusion::Scores,
        Fusion::Ranks => vector::Fusion::Ranks,
    }
}

pub(super) fn query(query: Query) -> vector::Query {
    vector::Query {
        text: query.text,
        vector: query.vector,
        filter: query.filter.into_iter().map(filter_node).collect(),
        limit: query.limit,
        candidates: query.candidates,
        fusion: fusion(query.fusion),
        text_weight: query.text_weight,
        vector_weight: query.vector_weight,
        rank_constant: query.rank_constant,
        vector_score_min: query.vector_score_min,
    }
}

pub(super) fn hit_of(hit: vector::Hit) -> Hit {
    Hit {
        index: hit.index,
        group: hit.group,
        version: hit.version,
        chunks: hit.chunks,
        attributes: attributes_of(hit.attributes),
        ordinal: hit.ordinal,
        heading: hit.heading,
        text: hit.text,
        note: hit.note,
        score: hit.score,
        vector_score: hit.vector_score,
        text_score: hit.text_score,
    }
}
