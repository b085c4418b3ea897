//! The tables. They are made when the indexes are opened, by whichever host comes first.

/// Held while the tables are made.
pub(crate) const LOCK: i64 = 0x7761_6767_6c65_0001;
/// Held while a graph is built.
pub(crate) const GRAPH_LOCK: i64 = 0x7761_6767_6c65_0002;

/// What makes the tables where they are not there; the schema is the first of the search path.
///
/// Names and texts are bytes, because texts of the server have no byte 0. What is staged stands apart, so that neither an
/// inverted index nor a graph ever has what is not published, and a search need not know of it.
pub(crate) const TABLES: &str = "
create table if not exists indexes (
    tenant bytea not null,
    name text collate \"C\" not null,
    number bigint generated always as identity,
    dimensions integer not null,
    group_count bigint not null default 0,
    chunk_count bigint not null default 0,
    word_count bigint not null default 0,
    byte_count bigint not null default 0,
    revision bigint not null default 0,
    has_graph boolean not null default false,
    primary key (tenant, name)
);
create table if not exists groups (
    tenant bytea not null,
    index_number bigint not null,
    name bytea not null,
    number bigint generated always as identity,
    version bigint not null,
    chunk_count integer not null,
    word_count bigint not null,
    byte_count bigint not null,
    attributes bytea not null,
    filterable jsonb not null,
    primary key (tenant, index_number, name)
);
create unique index if not exists groups_by_number on groups (tenant, index_number, number);
create table if not exists chunks (
    tenant bytea not null,
    index_number bigint not null,
    group_number bigint not null,
    ordinal integer not null,
    heading bytea not null,
    body bytea not null,
    note bytea not null,
    words tsvector not null,
    word_count integer not null,
    embedding vector,
    primary key (tenant, index_number, group_number, ordinal)
);
create index if not exists chunks_by_word on chunks using gin (words) with (fastupdate = off);
create table if not exists staged (
    tenant bytea not null,
    index_number bigint not null,
    group_name bytea not null,
    version bigint not null,
    ordinal integer not null,
    heading bytea not null,
    body bytea not null,
    note bytea not null,
    words tsvector not null,
    word_count integer not null,
    byte_count bigint not null,
    embedding vector,
    primary key (tenant, index_number, group_name, version, ordinal)
);
";
