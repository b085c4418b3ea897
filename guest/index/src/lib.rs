//! Indexes of chunks as functions see them: `waggle:vector@0.1.0` as a trait, [`Index`], so that all that stands on it also
//! runs natively. `wit/deps/waggle-vector@0.1.0/package.wit` says what each function does and its bounds.
//!
//! [`key_value::KeyValueIndex`] implements it over any key-value store, for hosts that keep no indexes and for tests. What
//! it decides with is pure and stands beside it: [`bounds`], [`filter`], [`words`], [`fuse`]. This crate is the only writer
//! of the families `vector/`; `kv-schemas/` describes them.

pub mod bounds;
pub mod filter;
pub mod fuse;
mod key;
pub mod key_value;
pub mod words;

use std::future::Future;

/// An index did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// There is no index of this name.
    #[error("there is no such index")]
    NoSuchIndex,
    /// There is no such group, or no such version of it.
    #[error("there is no such group, or no such version of it")]
    NoSuchGroup,
    /// What was given is against a bound or a rule.
    #[error("{0}")]
    Invalid(String),
    /// All that the tenant may store is stored.
    #[error("{0}")]
    Full(String),
    /// Not now; the same call may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// What is stored cannot be read.
    #[error("the index is damaged: {0}")]
    Damaged(String),
    /// Anything else, for the operator.
    #[error("{0}")]
    Other(String),
}

/// What is fixed when an index is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The length of each vector; 0 for an index that is searched by words alone.
    pub dimensions: u32,
}

/// What an index holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What is fixed.
    pub settings: Settings,
    /// Published groups.
    pub groups: u64,
    /// Published chunks.
    pub chunks: u64,
    /// About how much is stored.
    pub bytes: u64,
    /// Grows with each change that a search can notice.
    pub revision: u64,
}

/// One chunk of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Its number in the group, from 0.
    pub ordinal: u32,
    /// The headings it stands under.
    pub heading: String,
    /// The text.
    pub text: String,
    /// What the function wants to know of it again.
    pub note: String,
    /// Its vector; never given by [`Index::read`].
    pub vector: Option<Vec<f32>>,
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
    /// True or false.
    Boolean(bool),
}

/// Attributes of a group: names with values.
pub type Attributes = Vec<(String, Value)>;

/// A published group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The version that is published.
    pub version: u64,
    /// How many chunks it has.
    pub chunks: u32,
    /// What it is filtered by.
    pub attributes: Attributes,
}

/// How an attribute is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// None of the values.
    NotOneOf,
}

/// A part of a filter.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterNode {
    /// An attribute against values.
    Compare {
        /// The attribute's name.
        attribute: String,
        /// How.
        comparison: Comparison,
        /// With what.
        values: Vec<Value>,
    },
    /// All of these earlier nodes.
    All(Vec<u32>),
    /// At least one of these earlier nodes.
    Any(Vec<u32>),
}

/// How what words and vectors have found becomes one ranking. The formulas are in the interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fusion {
    /// By the scores of both, each divided by the greatest.
    #[default]
    Scores,
    /// By the ranks of both.
    Ranks,
}

/// What is searched for.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// By words.
    pub text: Option<String>,
    /// By a vector.
    pub vector: Option<Vec<f32>>,
    /// Among which groups; the last node is the root, none means all.
    pub filter: Vec<FilterNode>,
    /// How many hits at most.
    pub limit: u32,
    /// How many chunks each way hands to the ranking; 0: as the index likes.
    pub candidates: u32,
    /// How both ways' candidates become one ranking.
    pub fusion: Fusion,
    /// The weight of words.
    pub text_weight: f32,
    /// The weight of vectors.
    pub vector_weight: f32,
    /// The constant of [`Fusion::Ranks`].
    pub rank_constant: f32,
    /// Leaves out what is less alike.
    pub vector_score_min: Option<f32>,
}

/// A chunk that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Which of the searched indexes, by its place.
    pub index: u32,
    /// Its group.
    pub group: String,
    /// The group's version.
    pub version: u64,
    /// How many chunks the group has.
    pub chunks: u32,
    /// The group's attributes.
    pub attributes: Attributes,
    /// The chunk's number.
    pub ordinal: u32,
    /// The headings it stands under.
    pub heading: String,
    /// Its text.
    pub text: String,
    /// Its note.
    pub note: String,
    /// By which hits are ordered.
    pub score: f32,
    /// The cosine between its vector and the query's.
    pub vector_score: Option<f32>,
    /// Its BM25 score.
    pub text_score: Option<f32>,
}

/// Indexes of one tenant. Each method is the function of `waggle:vector` of the same name.
pub trait Index: Clone {
    /// Makes an index.
    fn create(&self, index: &str, settings: Settings) -> impl Future<Output = Result<(), IndexError>>;
    /// What it holds.
    fn describe(&self, index: &str) -> impl Future<Output = Result<Description, IndexError>>;
    /// Names of indexes.
    fn list_indexes(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<String>, IndexError>>;
    /// Removes an index.
    fn drop_index(&self, index: &str) -> impl Future<Output = Result<(), IndexError>>;
    /// Adds chunks to a version that is not published yet.
    fn stage(
        &self,
        index: &str,
        group: &str,
        version: u64,
        chunks: Vec<Chunk>,
    ) -> impl Future<Output = Result<(), IndexError>>;
    /// How many chunks are staged, to the first that is missing.
    fn staged(&self, index: &str, group: &str, version: u64)
    -> impl Future<Output = Result<u32, IndexError>>;
    /// Makes the version the one that is found.
    fn publish(
        &self,
        index: &str,
        group: &str,
        version: u64,
        chunks: u32,
        attributes: Attributes,
    ) -> impl Future<Output = Result<(), IndexError>>;
    /// Forgets what was staged.
    fn discard(&self, index: &str, group: &str, version: u64)
    -> impl Future<Output = Result<(), IndexError>>;
    /// Removes groups.
    fn remove(&self, index: &str, groups: Vec<String>) -> impl Future<Output = Result<(), IndexError>>;
    /// Gives a group other attributes.
    fn set_attributes(
        &self,
        index: &str,
        group: &str,
        attributes: Attributes,
    ) -> impl Future<Output = Result<(), IndexError>>;
    /// Published groups.
    fn list_groups(
        &self,
        index: &str,
        after: Option<&str>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Group>, IndexError>>;
    /// Chunks of a published group, without vectors.
    fn read(
        &self,
        index: &str,
        group: &str,
        start: u32,
        count: u32,
    ) -> impl Future<Output = Result<Vec<Chunk>, IndexError>>;
    /// Searches.
    fn search(&self, indexes: &[&str], query: Query) -> impl Future<Output = Result<Vec<Hit>, IndexError>>;
}
