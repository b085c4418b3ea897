//! What changes an index: staging, publishing, removing. Each change is one transaction that has locked the index's row.

use crate::encode::{attributes_bytes, filterable, read_version, stored_version, vector_text, word_vector};
use crate::scoped::{Known, Scoped, column};
use std::collections::BTreeMap;
use waggle_vector::backend::{check_dimensions, text_bytes, words};
use waggle_vector::{Attribute, Chunk, Settings, VectorError};

/// A published group, as far as a change needs it.
struct Published {
    number: i64,
    version: u64,
    chunks: i64,
    words: i64,
    bytes: i64,
}

/// By how much the counts of an index change.
#[derive(Default)]
struct Difference {
    groups: i64,
    chunks: i64,
    words: i64,
    bytes: i64,
    /// 1 if a search can notice it.
    revision: i64,
}

async fn published(scoped: &Scoped<'_>, index: i64, group: &str) -> Result<Option<Published>, VectorError> {
    let sql = "select number, version, chunk_count::bigint, word_count, byte_count from groups \
               where tenant = $1 and index_number = $2 and name = $3";
    let rows = scoped.rows(sql, &[&index, &group.as_bytes()]).await?;
    let read = |row| {
        Ok(Published {
            number: column(row, "number")?,
            version: read_version(column(row, "version")?),
            chunks: column(row, "chunk_count")?,
            words: column(row, "word_count")?,
            bytes: column(row, "byte_count")?,
        })
    };
    rows.first().map(read).transpose()
}

async fn count(scoped: &Scoped<'_>, index: i64, by: Difference) -> Result<(), VectorError> {
    let sql = "update indexes set group_count = group_count + $3, chunk_count = chunk_count + $4, \
               word_count = word_count + $5, byte_count = byte_count + $6, revision = revision + $7 \
               where tenant = $1 and number = $2";
    let given: [crate::scoped::Given<'_>; 6] =
        [&index, &by.groups, &by.chunks, &by.words, &by.bytes, &by.revision];
    scoped.rows(sql, &given).await.map(|_none| ())
}

/// The first value of a statement that has one row of one number.
async fn number(
    scoped: &Scoped<'_>,
    sql: &str,
    given: &[crate::scoped::Given<'_>],
) -> Result<i64, VectorError> {
    let rows = scoped.rows(sql, given).await?;
    rows.first().map_or(Ok(0), |row| column(row, "number"))
}

/// Chunks as the columns of `staged`.
#[derive(Default)]
struct Columns {
    ordinals: Vec<i32>,
    headings: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    notes: Vec<Vec<u8>>,
    words: Vec<String>,
    word_counts: Vec<i32>,
    bytes: Vec<i64>,
    vectors: Vec<Option<String>>,
}

impl Columns {
    /// Of two chunks of the same number the later counts.
    fn new(index: i64, chunks: Vec<Chunk>) -> Self {
        let chunks: BTreeMap<u32, Chunk> = chunks.into_iter().map(|chunk| (chunk.ordinal, chunk)).collect();
        let mut columns = Self::default();
        for chunk in chunks.into_values() {
            let mut all = words(&chunk.heading);
            all.extend(words(&chunk.text));
            let vector_bytes = chunk.vector.as_deref().map_or(0, size_of_val);
            columns.ordinals.push(chunk.ordinal.cast_signed());
            columns.words.push(word_vector(index, &all));
            columns.word_counts.push(i32::try_from(all.len()).unwrap_or(i32::MAX));
            columns.bytes.push((text_bytes(&chunk) + vector_bytes) as i64);
            columns.vectors.push(chunk.vector.as_deref().and_then(vector_text));
            columns.headings.push(chunk.heading.into_bytes());
            columns.bodies.push(chunk.text.into_bytes());
            columns.notes.push(chunk.note.into_bytes());
        }
        columns
    }
}

/// Adds chunks to a version that is not published yet.
pub(crate) async fn stage(
    scoped: &Scoped<'_>,
    index: &Known,
    group: &str,
    version: u64,
    chunks: Vec<Chunk>,
) -> Result<(), VectorError> {
    for chunk in &chunks {
        if let Some(vector) = &chunk.vector {
            let settings = Settings { dimensions: index.dimensions };
            check_dimensions(&format!("the vector of chunk {}", chunk.ordinal), vector, settings)?;
        }
    }
    if let Some(published) = published(scoped, index.number, group).await?
        && version <= published.version
    {
        return Err(VectorError::Invalid(format!(
            "version {} of the group is published; chunks can be staged of greater versions only, not of {version}",
            published.version
        )));
    }
    let columns = Columns::new(index.number, chunks);
    let (name, stored) = (group.as_bytes(), stored_version(version));
    let delete = "with gone as (delete from staged where tenant = $1 and index_number = $2 and group_name = $3 \
                  and version = $4 and ordinal = any($5) returning byte_count) \
                  select coalesce(sum(byte_count), 0)::bigint as number from gone";
    let replaced = number(scoped, delete, &[&index.number, &name, &stored, &columns.ordinals]).await?;
    let insert = "insert into staged (tenant, index_number, group_name, version, ordinal, heading, body, note, words, \
                  word_count, byte_count, embedding) \
                  select $1::bytea, $2::bigint, $3::bytea, $4::bigint, c.ordinal, c.heading, c.body, c.note, c.words::tsvector, c.word_count, \
                  c.byte_count, c.embedding::vector \
                  from unnest($5::integer[], $6::bytea[], $7::bytea[], $8::bytea[], $9::text[], $10::integer[], \
                  $11::bigint[], $12::text[]) \
                  as c(ordinal, heading, body, note, words, word_count, byte_count, embedding)";
    let given: [crate::scoped::Given<'_>; 11] = [
        &index.number,
        &name,
        &stored,
        &columns.ordinals,
        &columns.headings,
        &columns.bodies,
        &columns.notes,
        &columns.words,
        &columns.word_counts,
        &columns.bytes,
        &columns.vectors,
    ];
    scoped.rows(insert, &given).await?;
    let bytes = columns.bytes.iter().sum::<i64>() - replaced;
    count(scoped, index.number, Difference { bytes, ..Difference::default() }).await
}

/// How many chunks of a version are staged, to the first that is missing, and how many in all.
pub(crate) async fn staged(
    scoped: &Scoped<'_>,
    index: i64,
    group: &str,
    version: u64,
) -> Result<(u32, i64), VectorError> {
    let sql = "select count(*) filter (where ordinal = place) as in_order, count(*) as in_all from ( \
               select ordinal, row_number() over (order by ordinal) - 1 as place from staged \
               where tenant = $1 and index_number = $2 and group_name = $3 and version = $4) as numbered";
    let rows = scoped.rows(sql, &[&index, &group.as_bytes(), &stored_version(version)]).await?;
    let Some(row) = rows.first() else { return Ok((0, 0)) };
    let in_order: i64 = column(row, "in_order")?;
    Ok((u32::try_from(in_order).unwrap_or(u32::MAX), column(row, "in_all")?))
}

/// Makes a version the one that is found.
pub(crate) async fn publish(
    scoped: &Scoped<'_>,
    index: i64,
    group: &str,
    version: u64,
    chunks: u32,
    attributes: &[Attribute],
) -> Result<(), VectorError> {
    let before = published(scoped, index, group).await?;
    match &before {
        Some(before) if before.version == version => {
            return set_attributes(scoped, index, group, attributes).await;
        }
        Some(before) if version < before.version => {
            return Err(VectorError::Invalid(format!(
                "version {} of the group is published; {version} is not greater",
                before.version
            )));
        }
        _ => {}
    }
    let (in_order, in_all) = staged(scoped, index, group, version).await?;
    if in_order != chunks || in_all != i64::from(chunks) {
        return Err(VectorError::Invalid(format!(
            "the version was to have the chunks from 0 on, {chunks} of them; {in_all} are staged, and up to the first \
             that is missing {in_order}"
        )));
    }
    let mut difference = replace(scoped, index, group, version, attributes).await?;
    difference.groups = if before.is_none() { 1 } else { 0 };
    if let Some(before) = before {
        difference.chunks -= before.chunks;
        difference.words -= before.words;
        difference.bytes -= before.bytes;
    }
    count(scoped, index, difference).await
}

/// Puts what is staged of a version in the place of what is published of the group, and forgets what was staged before.
async fn replace(
    scoped: &Scoped<'_>,
    index: i64,
    group: &str,
    version: u64,
    attributes: &[Attribute],
) -> Result<Difference, VectorError> {
    let (name, stored) = (group.as_bytes(), stored_version(version));
    let upsert = "insert into groups as g (tenant, index_number, name, version, chunk_count, word_count, byte_count, \
                  attributes, filterable) \
                  select $1::bytea, $2::bigint, $3::bytea, $4::bigint, count(*), coalesce(sum(word_count), 0), \
                  coalesce(sum(byte_count), 0), $5::bytea, $6::text::jsonb from staged \
                  where tenant = $1 and index_number = $2 and group_name = $3 and version = $4 \
                  on conflict (tenant, index_number, name) do update set version = excluded.version, \
                  chunk_count = excluded.chunk_count, word_count = excluded.word_count, \
                  byte_count = excluded.byte_count, attributes = excluded.attributes, filterable = excluded.filterable \
                  returning number, chunk_count::bigint, word_count, byte_count";
    let (as_given, compared) = (attributes_bytes(attributes), filterable(attributes));
    let rows = scoped.rows(upsert, &[&index, &name, &stored, &as_given, &compared]).await?;
    let missing = || VectorError::Other("PostgreSQL did not return the group that was published".to_owned());
    let row = rows.first().ok_or_else(missing)?;
    let number: i64 = column(row, "number")?;
    delete_chunks(scoped, index, &[number]).await?;
    let insert = "insert into chunks (tenant, index_number, group_number, ordinal, heading, body, note, words, \
                  word_count, embedding) \
                  select tenant, index_number, $5::bigint, ordinal, heading, body, note, words, word_count, embedding from staged \
                  where tenant = $1 and index_number = $2 and group_name = $3 and version = $4";
    scoped.rows(insert, &[&index, &name, &stored, &number]).await?;
    let forget = "with gone as (delete from staged where tenant = $1 and index_number = $2 and group_name = $3 \
                  and version <= $4 returning byte_count) \
                  select coalesce(sum(byte_count), 0)::bigint as number from gone";
    let forgotten = self::number(scoped, forget, &[&index, &name, &stored]).await?;
    let bytes: i64 = column(row, "byte_count")?;
    Ok(Difference {
        groups: 0,
        chunks: column(row, "chunk_count")?,
        words: column(row, "word_count")?,
        bytes: bytes - forgotten,
        revision: 1,
    })
}

async fn delete_chunks(scoped: &Scoped<'_>, index: i64, groups: &[i64]) -> Result<(), VectorError> {
    let sql = "delete from chunks where tenant = $1 and index_number = $2 and group_number = any($3)";
    scoped.rows(sql, &[&index, &groups]).await.map(|_none| ())
}

/// Forgets what was staged of a version.
pub(crate) async fn discard(
    scoped: &Scoped<'_>,
    index: i64,
    group: &str,
    version: u64,
) -> Result<(), VectorError> {
    let sql = "with gone as (delete from staged where tenant = $1 and index_number = $2 and group_name = $3 \
               and version = $4 returning byte_count) \
               select coalesce(sum(byte_count), 0)::bigint as number from gone";
    let bytes = number(scoped, sql, &[&index, &group.as_bytes(), &stored_version(version)]).await?;
    count(scoped, index, Difference { bytes: -bytes, ..Difference::default() }).await
}

/// Removes groups, published and staged.
pub(crate) async fn remove(scoped: &Scoped<'_>, index: i64, groups: &[String]) -> Result<(), VectorError> {
    let names: Vec<&[u8]> = groups.iter().map(|name| name.as_bytes()).collect();
    let staged = "with gone as (delete from staged where tenant = $1 and index_number = $2 and group_name = any($3) \
                  returning byte_count) select coalesce(sum(byte_count), 0)::bigint as number from gone";
    let mut by =
        Difference { bytes: -number(scoped, staged, &[&index, &names]).await?, ..Difference::default() };
    let published = "delete from groups where tenant = $1 and index_number = $2 and name = any($3) \
                     returning number, chunk_count::bigint, word_count, byte_count";
    let rows = scoped.rows(published, &[&index, &names]).await?;
    let mut numbers: Vec<i64> = Vec::with_capacity(rows.len());
    for row in &rows {
        numbers.push(column(row, "number")?);
        by.groups -= 1;
        by.chunks -= column::<i64>(row, "chunk_count")?;
        by.words -= column::<i64>(row, "word_count")?;
        by.bytes -= column::<i64>(row, "byte_count")?;
        by.revision = 1;
    }
    delete_chunks(scoped, index, &numbers).await?;
    count(scoped, index, by).await
}

/// Gives a published group other attributes.
pub(crate) async fn set_attributes(
    scoped: &Scoped<'_>,
    index: i64,
    group: &str,
    attributes: &[Attribute],
) -> Result<(), VectorError> {
    let Some(published) = published(scoped, index, group).await? else {
        return Err(VectorError::NoSuchGroup);
    };
    let sql = "update groups set attributes = $4, filterable = $5::text::jsonb \
               where tenant = $1 and index_number = $2 and number = $3";
    let (as_given, compared) = (attributes_bytes(attributes), filterable(attributes));
    scoped.rows(sql, &[&index, &published.number, &as_given, &compared]).await?;
    count(scoped, index, Difference { revision: 1, ..Difference::default() }).await
}

/// Removes an index with all it holds.
pub(crate) async fn drop_index(scoped: &Scoped<'_>, index: i64) -> Result<(), VectorError> {
    for sql in [
        "delete from chunks where tenant = $1 and index_number = $2",
        "delete from groups where tenant = $1 and index_number = $2",
        "delete from staged where tenant = $1 and index_number = $2",
        "delete from indexes where tenant = $1 and number = $2",
    ] {
        scoped.rows(sql, &[&index]).await?;
    }
    Ok(())
}

/// Removes all that a tenant has; the numbers of indexes that had a graph.
pub(crate) async fn erase(scoped: &Scoped<'_>) -> Result<Vec<i64>, VectorError> {
    // Locked first, so that no change of one of them is under way.
    let rows =
        scoped.rows("select number, has_graph from indexes where tenant = $1 order by name for update", &[]);
    let mut graphs = Vec::new();
    for row in rows.await? {
        if column(&row, "has_graph")? {
            graphs.push(column(&row, "number")?);
        }
    }
    for sql in [
        "delete from chunks where tenant = $1",
        "delete from groups where tenant = $1",
        "delete from staged where tenant = $1",
        "delete from indexes where tenant = $1",
    ] {
        scoped.rows(sql, &[]).await?;
    }
    Ok(graphs)
}
