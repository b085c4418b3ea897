//! A search: candidates by words and by vectors, the exact cosine of each, their fusion, and the texts of those that are
//! left. All of it is read in one transaction, which sees a single state of all indexes.

use crate::encode::{lexeme, read_attributes, read_version, vector_text};
use crate::filter::condition;
use crate::graph;
use crate::scoped::{Given, Known, Scoped, column, text_column};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio_postgres::Row;
use waggle_vector::backend::{
    Fused, Weights, candidates, check_dimensions, counted_text, fuse, passes, words,
};
use waggle_vector::{FilterNode, Hit, Query, Settings, VectorError};

/// Where fewer than one chunk in so many may be found, comparing those is cheaper than walking past the others.
const SELECTIVE_SHARE: i64 = 10;

/// A chunk: the index by its place in the list, its group's number, and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    place: u32,
    group: i64,
    ordinal: i32,
}

/// A search of some indexes.
pub(crate) struct Search<'a> {
    scoped: &'a Scoped<'a>,
    indexes: &'a [Known],
    numbers: Vec<i64>,
    /// By an index's number, its place in the list.
    places: HashMap<i64, u32>,
    query: &'a Query,
    /// The numbers of the groups that may be found; none: all.
    allowed: Option<Vec<i64>>,
    /// How many chunks may be found.
    chunks: i64,
}

/// Searches indexes as if they were one. The query is within its bounds.
pub(crate) async fn search(
    scoped: &Scoped<'_>,
    indexes: &[Known],
    query: &Query,
    graph_chunks_min: u32,
) -> Result<Vec<Hit>, VectorError> {
    let search = Search::new(scoped, indexes, query).await?;
    if search.chunks == 0 {
        return Ok(Vec::new());
    }
    let count = candidates(query);
    let by_words = match &query.text {
        Some(text) if query.text_weight > 0.0 => search.by_words(counted_text(text), count).await?,
        _ => Vec::new(),
    };
    let weights = Weights::of(query);
    let Some(vector) = query.vector.as_deref().and_then(vector_text) else {
        let none = BTreeMap::new();
        return search.hits(fuse(&by_words, &[], &none, weights), &none).await;
    };
    let mut near = Vec::new();
    if query.vector_weight > 0.0 {
        near = search.by_vector(&vector, count, graph_chunks_min).await?;
    }
    let mut scores: BTreeMap<Key, f32> = near.iter().copied().collect();
    let keys: Vec<Key> = near.into_iter().map(|(key, _score)| key).collect();
    search.add_scores(&vector, by_words.iter().map(|(key, _score)| *key), &mut scores).await?;
    search.hits(fuse(&by_words, &keys, &scores, weights), &scores).await
}

impl<'a> Search<'a> {
    async fn new(
        scoped: &'a Scoped<'a>,
        indexes: &'a [Known],
        query: &'a Query,
    ) -> Result<Self, VectorError> {
        if let Some(vector) = &query.vector {
            for index in indexes {
                let settings = Settings { dimensions: index.dimensions };
                check_dimensions("the query's vector", vector, settings)?;
            }
        }
        // Of an index that is named twice the first place counts.
        let mut places = HashMap::with_capacity(indexes.len());
        for (place, index) in (0..).zip(indexes) {
            places.entry(index.number).or_insert(place);
        }
        let numbers: Vec<i64> = indexes.iter().map(|index| index.number).collect();
        let mut search = Self { scoped, indexes, numbers, places, query, allowed: None, chunks: 0 };
        search.chunks = indexes.iter().map(|index| index.chunks).sum();
        if !query.filter.is_empty() {
            (search.allowed, search.chunks) = search.allowed(&query.filter).await?;
        }
        Ok(search)
    }

    /// The groups that a filter lets pass, and how many chunks they have.
    async fn allowed(&self, filter: &[FilterNode]) -> Result<(Option<Vec<i64>>, i64), VectorError> {
        const FROM: &str = "from groups where tenant = $1 and index_number = any($2)";
        let rows = match condition(filter, 3) {
            Some(condition) => {
                let sql = format!("select number, chunk_count::bigint {FROM} and {}", condition.sql);
                let mut given: Vec<Given<'_>> = vec![&self.numbers];
                for parameter in &condition.parameters {
                    given.push(parameter.as_ref());
                }
                self.scoped.rows_once(&sql, &given).await?
            }
            None => {
                let sql = format!("select number, chunk_count::bigint, attributes {FROM}");
                let mut rows = self.scoped.rows(&sql, &[&self.numbers]).await?;
                let mut kept = Vec::new();
                for row in rows.drain(..) {
                    if passes(filter, &read_attributes(column(&row, "attributes")?)?) {
                        kept.push(row);
                    }
                }
                kept
            }
        };
        let (mut numbers, mut chunks) = (Vec::with_capacity(rows.len()), 0);
        for row in &rows {
            numbers.push(column(row, "number")?);
            chunks += column::<i64>(row, "chunk_count")?;
        }
        Ok((Some(numbers), chunks))
    }

    fn key(&self, row: &Row) -> Result<Key, VectorError> {
        let index: i64 = column(row, "index_number")?;
        let place = self.places.get(&index).copied().unwrap_or_default();
        Ok(Key { place, group: column(row, "group_number")?, ordinal: column(row, "ordinal")? })
    }

    /// The chunks that score best by their words, best first: BM25 with k1 = 1.2 and b = 0.75 over all indexes searched.
    /// How rare a word is, is counted among all chunks, whether they may be found or not.
    async fn by_words(&self, text: &str, count: usize) -> Result<Vec<(Key, f32)>, VectorError> {
        const SQL: &str = "with terms as materialized (
                select * from unnest($3::text[], $4::integer[]) as t(lexeme, term)),
            matched as materialized (
                select c.index_number, c.group_number, c.ordinal, c.word_count, t.term,
                    cardinality(w.positions) as frequency
                from chunks c cross join lateral unnest(c.words) as w join terms t on t.lexeme = w.lexeme
                where c.tenant = $1 and c.index_number = any($2) and c.words @@ $5::text::tsquery),
            rarity as (
                select term, ln(1 + ($6::float8 - count(*) + 0.5) / (count(*) + 0.5)) as weight
                from matched group by term)
            select index_number, group_number, ordinal, sum(weight * frequency * 2.2
                / (frequency + 1.2 * (0.25 + 0.75 * word_count / $7::float8)))::real as score
            from matched join rarity using (term)
            where $8::bigint[] is null or group_number = any($8)
            group by 1, 2, 3 order by score desc, 1, 2, 3 limit $9";
        let distinct: BTreeSet<String> = words(text).into_iter().collect();
        if distinct.is_empty() {
            return Ok(Vec::new());
        }
        let (mut lexemes, mut terms) = (Vec::new(), Vec::new());
        for index in self.places.keys() {
            for (term, word) in (0_i32..).zip(&distinct) {
                lexemes.push(lexeme(*index, word));
                terms.push(term);
            }
        }
        let wanted: Vec<String> = lexemes.iter().map(|lexeme| format!("'{lexeme}'")).collect();
        let wanted = wanted.join("|");
        let chunks = self.indexes.iter().map(|index| index.chunks).sum::<i64>() as f64;
        let all_words = self.indexes.iter().map(|index| index.words).sum::<i64>() as f64;
        let mean = (all_words / chunks.max(1.0)).max(1.0);
        let limit = count as i64;
        let given: [Given<'_>; 8] =
            [&self.numbers, &lexemes, &terms, &wanted, &chunks, &mean, &self.allowed, &limit];
        let rows = self.scoped.rows(SQL, &given).await?;
        rows.iter().map(|row| Ok((self.key(row)?, column(row, "score")?))).collect()
    }

    /// The chunks whose vectors are nearest, the nearest first, with their cosines. By a graph where there is one and most
    /// chunks may be found; else each vector is compared.
    async fn by_vector(
        &self,
        vector: &str,
        count: usize,
        graph_chunks_min: u32,
    ) -> Result<Vec<(Key, f32)>, VectorError> {
        let published = self.indexes.iter().map(|index| index.chunks).sum::<i64>();
        let is_selective = self.chunks < i64::from(graph_chunks_min)
            || self.chunks.saturating_mul(SELECTIVE_SHARE) < published;
        let mut best: Vec<(Key, f32)> = Vec::new();
        for (place, index) in self.indexes.iter().enumerate() {
            if self.numbers[..place].contains(&index.number) {
                continue;
            }
            let found = match index.has_graph && !is_selective {
                true => self.by_graph(index, vector, count).await?,
                false => None,
            };
            let found = match found {
                Some(found) => found,
                None => self.by_comparing(index, vector, count).await?,
            };
            best.extend(found);
        }
        best.sort_by(|(one, nearer), (other, farther)| farther.total_cmp(nearer).then(one.cmp(other)));
        best.truncate(count);
        Ok(best)
    }

    async fn by_comparing(
        &self,
        index: &Known,
        vector: &str,
        count: usize,
    ) -> Result<Vec<(Key, f32)>, VectorError> {
        const SQL: &str = "select index_number, group_number, ordinal, \
            (1 - (embedding <=> $3::text::vector))::real as score from chunks \
            where tenant = $1 and index_number = $2 and embedding is not null \
            and ($4::bigint[] is null or group_number = any($4)) \
            order by embedding <=> $3::text::vector, group_number, ordinal limit $5";
        let given: [Given<'_>; 4] = [&index.number, &vector, &self.allowed, &(count as i64)];
        let rows = self.scoped.rows(SQL, &given).await?;
        rows.iter().map(|row| Ok((self.key(row)?, column(row, "score")?))).collect()
    }

    /// None if the graph leads to fewer than are wanted, as it may where a filter leaves out what is nearest.
    async fn by_graph(
        &self,
        index: &Known,
        vector: &str,
        count: usize,
    ) -> Result<Option<Vec<(Key, f32)>>, VectorError> {
        let sql = graph::search(index);
        self.scoped.set(&graph::settings(count)).await?;
        let given: [Given<'_>; 3] = [&vector, &self.allowed, &(count as i64)];
        let rows = self.scoped.rows_once(&sql, &given).await?;
        self.scoped.set(graph::SETTINGS_AFTER).await?;
        if rows.len() < count {
            return Ok(None);
        }
        rows.iter().map(|row| Ok((self.key(row)?, column(row, "score")?))).collect::<Result<_, _>>().map(Some)
    }

    /// The cosines of chunks that only their words found.
    async fn add_scores(
        &self,
        vector: &str,
        keys: impl Iterator<Item = Key>,
        scores: &mut BTreeMap<Key, f32>,
    ) -> Result<(), VectorError> {
        const SQL: &str = "select k.place, (1 - (c.embedding <=> $5::text::vector))::real as score \
            from unnest($2::bigint[], $3::bigint[], $4::integer[]) with ordinality \
                as k(index_number, group_number, ordinal, place) \
            join chunks c using (index_number, group_number, ordinal) \
            where c.tenant = $1 and c.embedding is not null";
        let keys: Vec<Key> = keys.filter(|key| !scores.contains_key(key)).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let (indexes, groups, ordinals) = self.columns(&keys);
        for row in self.scoped.rows(SQL, &[&indexes, &groups, &ordinals, &vector]).await? {
            if let Some(key) = keys.get(ordinality(&row)?) {
                scores.insert(*key, column(&row, "score")?);
            }
        }
        Ok(())
    }

    fn columns(&self, keys: &[Key]) -> (Vec<i64>, Vec<i64>, Vec<i32>) {
        (
            keys.iter().filter_map(|key| self.numbers.get(key.place as usize).copied()).collect(),
            keys.iter().map(|key| key.group).collect(),
            keys.iter().map(|key| key.ordinal).collect(),
        )
    }

    /// The best of what was found, with their texts.
    async fn hits(
        &self,
        fused: Vec<Fused<Key>>,
        scores: &BTreeMap<Key, f32>,
    ) -> Result<Vec<Hit>, VectorError> {
        const SQL: &str = "select k.place, g.name, g.version, g.chunk_count, g.attributes, c.heading, c.body, c.note \
            from unnest($2::bigint[], $3::bigint[], $4::integer[]) with ordinality \
                as k(index_number, group_number, ordinal, place) \
            join chunks c using (index_number, group_number, ordinal) \
            join groups g on g.tenant = $1 and g.index_number = c.index_number and g.number = c.group_number \
            where c.tenant = $1 order by k.place";
        let least = self.query.vector.as_ref().and(self.query.vector_score_min);
        let is_near = |found: &Fused<Key>| {
            least.is_none_or(|least| scores.get(&found.key).is_some_and(|score| *score >= least))
        };
        let found: Vec<_> = fused.into_iter().filter(is_near).take(self.query.limit as usize).collect();
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Key> = found.iter().map(|found| found.key).collect();
        let (indexes, groups, ordinals) = self.columns(&keys);
        let rows = self.scoped.rows(SQL, &[&indexes, &groups, &ordinals]).await?;
        let mut hits = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(found) = found.get(ordinality(row)?) {
                hits.push(hit(row, found, scores.get(&found.key).copied())?);
            }
        }
        Ok(hits)
    }
}

/// The place in the list of keys that a row is about; the server counts from 1.
fn ordinality(row: &Row) -> Result<usize, VectorError> {
    let place: i64 = column(row, "place")?;
    Ok(usize::try_from(place - 1).unwrap_or(usize::MAX))
}

fn hit(row: &Row, found: &Fused<Key>, vector_score: Option<f32>) -> Result<Hit, VectorError> {
    let chunks: i32 = column(row, "chunk_count")?;
    Ok(Hit {
        index: found.key.place,
        group: text_column(row, "name")?,
        version: read_version(column(row, "version")?),
        chunks: chunks.cast_unsigned(),
        attributes: read_attributes(column(row, "attributes")?)?,
        ordinal: found.key.ordinal.cast_unsigned(),
        heading: text_column(row, "heading")?,
        text: text_column(row, "body")?,
        note: text_column(row, "note")?,
        score: found.score,
        vector_score,
        text_score: found.text_score,
    })
}
