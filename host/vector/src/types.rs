//! What an index is made of, as `waggle:vector@0.1.0` has it; `bounds` checks it.

use crate::{VectorError, bounds::check_index_name};
use std::{fmt, sync::Arc};

/// The name of an index: 1 to 128 of the characters `a-z A-Z 0-9 _ - .`, not beginning with a dot. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexName(Arc<str>);

impl IndexName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`VectorError::Invalid`], which says what a name may be.
    pub fn parse(name: &str) -> Result<Self, VectorError> {
        check_index_name(name)?;
        Ok(Self(name.into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<&str> for IndexName {
    type Error = VectorError;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::parse(name)
    }
}

/// What is fixed when an index is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The length of each vector; 0 for an index that is searched by words alone.
    pub dimensions: u32,
}

/// What an index holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What is fixed.
    pub settings: Settings,
    /// Published groups.
    pub groups: u64,
    /// Published chunks.
    pub chunks: u64,
    /// About how much is stored, staged chunks included, bytes.
    pub bytes: u64,
    /// Grows with each change that a search can notice.
    pub revision: u64,
}

/// One chunk of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Its number in the group, from 0.
    pub ordinal: u32,
    /// The headings it stands under; searched as well.
    pub heading: String,
    /// The text.
    pub text: String,
    /// What the function wants to know of it again, opaque.
    pub note: String,
    /// Its vector, of the index's dimensions; compared by the angle alone. Never given when chunks are read.
    pub vector: Option<Vec<f32>>,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, compared by its bytes.
    Text(String),
    /// A number.
    Number(f64),
    /// True or false; true is greater.
    Boolean(bool),
}

/// What a group is filtered by.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its name; of two with the same name the first counts.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// A published group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The version that is published.
    pub version: u64,
    /// How many chunks it has.
    pub chunks: u32,
    /// What it is filtered by.
    pub attributes: Vec<Attribute>,
}

/// How an attribute is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Equal,
    /// Another, or none.
    NotEqual,
    /// Greater.
    Greater,
    /// Greater, or the same.
    GreaterOrEqual,
    /// Less.
    Less,
    /// Less, or the same.
    LessOrEqual,
    /// One of the values.
    OneOf,
    /// None of the values, or no attribute.
    NotOneOf,
}

/// An attribute against values.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    /// The attribute's name.
    pub attribute: String,
    /// How.
    pub comparison: Comparison,
    /// With what: one value, but for `OneOf` and `NotOneOf`. Values of different types are never equal, and neither is
    /// greater.
    pub values: Vec<Value>,
}

/// A part of a filter, which is a list of nodes with its root last. Nodes refer to earlier ones by their place.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterNode {
    /// An attribute against values.
    Compare(Compare),
    /// All of these nodes; of none: passes.
    All(Vec<u32>),
    /// At least one of these nodes; of none: does not pass.
    Any(Vec<u32>),
}

/// How what words and vectors have found becomes one ranking. The formulas are in the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fusion {
    /// By the scores of both, each divided by the greatest.
    #[default]
    Scores,
    /// By the ranks of both.
    Ranks,
}

/// What is searched for.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// By words, if given: the first 8 KiB of it.
    pub text: Option<String>,
    /// By a vector, if given.
    pub vector: Option<Vec<f32>>,
    /// Among which groups; empty: all.
    pub filter: Vec<FilterNode>,
    /// How many hits at most, 1 to 100.
    pub limit: u32,
    /// How many chunks each way hands to the ranking, up to 1,000; 0: ten times `limit`, at least 50.
    pub candidates: u32,
    /// How both ways' candidates become one ranking.
    pub fusion: Fusion,
    /// The weight of words; with 0 words are not searched.
    pub text_weight: f32,
    /// The weight of vectors; with 0 vectors are not searched.
    pub vector_weight: f32,
    /// The constant of [`Fusion::Ranks`]: weight / (constant + rank), ranks from 1.
    pub rank_constant: f32,
    /// Leaves out chunks whose cosine is less, and those without a vector. Without a vector in the query it means nothing.
    pub vector_score_min: Option<f32>,
}

/// A chunk that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Which of the searched indexes, by its place in the list.
    pub index: u32,
    /// Its group.
    pub group: String,
    /// The group's version.
    pub version: u64,
    /// How many chunks the group has.
    pub chunks: u32,
    /// The group's attributes.
    pub attributes: Vec<Attribute>,
    /// The chunk's number.
    pub ordinal: u32,
    /// The headings it stands under.
    pub heading: String,
    /// Its text.
    pub text: String,
    /// Its note.
    pub note: String,
    /// By which hits are ordered, the greatest first.
    pub score: f32,
    /// The exact cosine between its vector and the query's, whichever way it was found.
    pub vector_score: Option<f32>,
    /// Its BM25 score, if its words found it. Comparable within one answer only.
    pub text_score: Option<f32>,
}
