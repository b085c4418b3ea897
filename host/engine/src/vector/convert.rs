//! The interface's types as those of `waggle-vector`, and back. Texts and vectors are moved, never copied.

use crate::bindings::waggle::vector::index as guest;
use waggle_vector as host;

impl From<guest::Settings> for host::Settings {
    fn from(settings: guest::Settings) -> Self {
        Self { dimensions: settings.dimensions }
    }
}

impl From<host::Settings> for guest::Settings {
    fn from(settings: host::Settings) -> Self {
        Self { dimensions: settings.dimensions }
    }
}

impl From<host::Description> for guest::Description {
    fn from(description: host::Description) -> Self {
        let host::Description { settings, groups, chunks, bytes, revision } = description;
        Self { settings: settings.into(), groups, chunks, bytes, revision }
    }
}

impl From<guest::Chunk> for host::Chunk {
    fn from(chunk: guest::Chunk) -> Self {
        let guest::Chunk { ordinal, heading, text, note, vector } = chunk;
        Self { ordinal, heading, text, note, vector }
    }
}

impl From<host::Chunk> for guest::Chunk {
    fn from(chunk: host::Chunk) -> Self {
        let host::Chunk { ordinal, heading, text, note, vector } = chunk;
        Self { ordinal, heading, text, note, vector }
    }
}

impl From<guest::Value> for host::Value {
    fn from(value: guest::Value) -> Self {
        match value {
            guest::Value::Text(text) => Self::Text(text),
            guest::Value::Number(number) => Self::Number(number),
            guest::Value::Boolean(boolean) => Self::Boolean(boolean),
        }
    }
}

impl From<host::Value> for guest::Value {
    fn from(value: host::Value) -> Self {
        match value {
            host::Value::Text(text) => Self::Text(text),
            host::Value::Number(number) => Self::Number(number),
            host::Value::Boolean(boolean) => Self::Boolean(boolean),
        }
    }
}

impl From<guest::Attribute> for host::Attribute {
    fn from(attribute: guest::Attribute) -> Self {
        Self { name: attribute.name, value: attribute.value.into() }
    }
}

impl From<host::Attribute> for guest::Attribute {
    fn from(attribute: host::Attribute) -> Self {
        Self { name: attribute.name, value: attribute.value.into() }
    }
}

impl From<host::Group> for guest::Group {
    fn from(group: host::Group) -> Self {
        let host::Group { name, version, chunks, attributes } = group;
        Self { name, version, chunks, attributes: all(attributes) }
    }
}

impl From<guest::Comparison> for host::Comparison {
    fn from(comparison: guest::Comparison) -> Self {
        match comparison {
            guest::Comparison::Equal => Self::Equal,
            guest::Comparison::NotEqual => Self::NotEqual,
            guest::Comparison::Greater => Self::Greater,
            guest::Comparison::GreaterOrEqual => Self::GreaterOrEqual,
            guest::Comparison::Less => Self::Less,
            guest::Comparison::LessOrEqual => Self::LessOrEqual,
            guest::Comparison::OneOf => Self::OneOf,
            guest::Comparison::NotOneOf => Self::NotOneOf,
        }
    }
}

impl From<guest::FilterNode> for host::FilterNode {
    fn from(node: guest::FilterNode) -> Self {
        match node {
            guest::FilterNode::Compare(guest::Compare { attribute, comparison, values }) => {
                Self::Compare(host::Compare { attribute, comparison: comparison.into(), values: all(values) })
            }
            guest::FilterNode::All(nodes) => Self::All(nodes),
            guest::FilterNode::Any(nodes) => Self::Any(nodes),
        }
    }
}

impl From<guest::Fusion> for host::Fusion {
    fn from(fusion: guest::Fusion) -> Self {
        match fusion {
            guest::Fusion::Scores => Self::Scores,
            guest::Fusion::Ranks => Self::Ranks,
        }
    }
}

impl From<guest::Query> for host::Query {
    fn from(query: guest::Query) -> Self {
        Self {
            text: query.text,
            vector: query.vector,
            filter: all(query.filter),
            limit: query.limit,
            candidates: query.candidates,
            fusion: query.fusion.into(),
            text_weight: query.text_weight,
            vector_weight: query.vector_weight,
            rank_constant: query.rank_constant,
            vector_score_min: query.vector_score_min,
        }
    }
}

impl From<host::Hit> for guest::Hit {
    fn from(hit: host::Hit) -> Self {
        Self {
            index: hit.index,
            group: hit.group,
            version: hit.version,
            chunks: hit.chunks,
            attributes: all(hit.attributes),
            ordinal: hit.ordinal,
            heading: hit.heading,
            text: hit.text,
            note: hit.note,
            score: hit.score,
            vector_score: hit.vector_score,
            text_score: hit.text_score,
        }
    }
}

fn all<One, Other: From<One>>(list: Vec<One>) -> Vec<Other> {
    list.into_iter().map(Into::into).collect()
}
