//! The types of `waggle:vector`, as it is exported, from those of [`waggle_index`] and back: one for one, moved and not
//! copied.

use crate::vector;
use waggle_index::{
    Attributes, Chunk, Comparison, Description, FilterNode, Fusion, Group, Hit, IndexError, Query, Value,
};

impl From<IndexError> for vector::Error {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::NoSuchIndex => Self::NoSuchIndex,
            IndexError::NoSuchGroup => Self::NoSuchGroup,
            IndexError::Invalid(reason) => Self::Invalid(reason),
            IndexError::Full(reason) => Self::Full(reason),
            IndexError::Unavailable(reason) => Self::Unavailable(reason),
            IndexError::Damaged(reason) => Self::Damaged(reason),
            IndexError::Other(reason) => Self::Other(reason),
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

fn attributes(attributes: Attributes) -> Vec<vector::Attribute> {
    let attribute = |(name, given)| vector::Attribute { name, value: value(given) };
    attributes.into_iter().map(attribute).collect()
}

pub(crate) fn attributes_of(attributes: Vec<vector::Attribute>) -> Attributes {
    attributes.into_iter().map(|attribute| (attribute.name, value_of(attribute.value))).collect()
}

pub(crate) fn chunk(chunk: Chunk) -> vector::Chunk {
    let Chunk { ordinal, heading, text, note, vector } = chunk;
    vector::Chunk { ordinal, heading, text, note, vector }
}

pub(crate) fn chunk_of(chunk: vector::Chunk) -> Chunk {
    let vector::Chunk { ordinal, heading, text, note, vector } = chunk;
    Chunk { ordinal, heading, text, note, vector }
}

pub(crate) fn description(description: &Description) -> vector::Description {
    vector::Description {
        settings: vector::Settings { dimensions: description.settings.dimensions },
        groups: description.groups,
        chunks: description.chunks,
        bytes: description.bytes,
        revision: description.revision,
    }
}

pub(crate) fn group(group: Group) -> vector::Group {
    let Group { name, version, chunks, attributes: of_group } = group;
    vector::Group { name, version, chunks, attributes: attributes(of_group) }
}

fn comparison_of(comparison: vector::Comparison) -> Comparison {
    match comparison {
        vector::Comparison::Equal => Comparison::Equal,
        vector::Comparison::NotEqual => Comparison::NotEqual,
        vector::Comparison::Greater => Comparison::Greater,
        vector::Comparison::GreaterOrEqual => Comparison::GreaterOrEqual,
        vector::Comparison::Less => Comparison::Less,
        vector::Comparison::LessOrEqual => Comparison::LessOrEqual,
        vector::Comparison::OneOf => Comparison::OneOf,
        vector::Comparison::NotOneOf => Comparison::NotOneOf,
    }
}

fn filter_node_of(node: vector::FilterNode) -> FilterNode {
    match node {
        vector::FilterNode::Compare(vector::Compare { attribute, comparison, values }) => {
            let values = values.into_iter().map(value_of).collect();
            FilterNode::Compare { attribute, comparison: comparison_of(comparison), values }
        }
        vector::FilterNode::All(nodes) => FilterNode::All(nodes),
        vector::FilterNode::Any(nodes) => FilterNode::Any(nodes),
    }
}

fn fusion_of(fusion: vector::Fusion) -> Fusion {
    match fusion {
        vector::Fusion::Scores => Fusion::Scores,
        vector::Fusion::Ranks => Fusion::Ranks,
    }
}

pub(crate) fn query_of(query: vector::Query) -> Query {
    Query {
        text: query.text,
        vector: query.vector,
        filter: query.filter.into_iter().map(filter_node_of).collect(),
        limit: query.limit,
        candidates: query.candidates,
        fusion: fusion_of(query.fusion),
        text_weight: query.text_weight,
        vector_weight: query.vector_weight,
        rank_constant: query.rank_constant,
        vector_score_min: query.vector_score_min,
    }
}

pub(crate) fn hit(hit: Hit) -> vector::Hit {
    vector::Hit {
        index: hit.index,
        group: hit.group,
        version: hit.version,
        chunks: hit.chunks,
        attributes: attributes(hit.attributes),
        ordinal: hit.ordinal,
        heading: hit.heading,
        text: hit.text,
        note: hit.note,
        score: hit.score,
        vector_score: hit.vector_score,
        text_score: hit.text_score,
    }
}
