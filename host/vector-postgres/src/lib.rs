//! Indexes of chunks in PostgreSQL with pgvector, for those whom one machine does not suffice. Why so, and when it is the
//! better choice, stands in docs/decisions/0024-indexes-elsewhere.md.
//!
//! [`Postgres`] is a backend of [`VectorIndexes`]; several hosts may use the same tables. All statements go through
//! `scoped`, which gives each of them the tenant. Words are those of `waggle-vector`, ranked by BM25 that is computed in
//! SQL; vectors are compared one by one until an index is large, and by a graph of its own then.

mod change;
mod encode;
mod error;
mod filter;
mod graph;
mod schema;
mod scoped;
mod search;
mod server;
mod tls;

pub use error::OpenError;

use async_trait::async_trait;
use scoped::{Given, Known, Scoped, column, text_column};
use server::Server;
use std::sync::Arc;
use waggle_vector::backend::{
    Metrics, check_attributes, check_chunks, check_group_name, check_group_names, check_query,
    check_read_count, check_searched, check_settings, check_tenant,
};
use waggle_vector::{
    Attribute, Chunk, Description, Group, Hit, IndexName, Operation, PAGE_MAX, PostgresConfig, Query,
    Settings, Usage, VectorError, VectorIndexes, VectorSnapshot,
};

/// Indexes in PostgreSQL.
pub struct Postgres {
    server: Arc<Server>,
    metrics: Metrics,
}

impl Postgres {
    /// Connects to the server and makes the tables where they are not there.
    ///
    /// # Errors
    /// [`OpenError`], which never holds the password.
    pub async fn open(config: &PostgresConfig) -> Result<Self, OpenError> {
        Ok(Self { server: Arc::new(Server::open(config).await?), metrics: Metrics::default() })
    }

    /// Builds the graph of an index now, if it is large enough to have one; otherwise that is done in the background.
    ///
    /// # Errors
    /// [`VectorError::NoSuchIndex`], and those of the server.
    pub async fn settle(&self, tenant: &str, index: &IndexName) -> Result<(), VectorError> {
        let known = self.known(tenant, index).await?;
        self.server.build_graph(tenant, index, &known).await
    }

    /// Whether an index has a graph.
    ///
    /// # Errors
    /// [`VectorError::NoSuchIndex`], and those of the server.
    pub async fn has_graph(&self, tenant: &str, index: &IndexName) -> Result<bool, VectorError> {
        Ok(self.known(tenant, index).await?.has_graph)
    }

    async fn known(&self, tenant: &str, index: &IndexName) -> Result<Known, VectorError> {
        let mut client = self.server.client().await?;
        let scoped = Scoped::reading(&mut client, tenant).await?;
        scoped.known(index).await
    }

    /// Has the graph built in the background, if the index has become large.
    fn look_at(&self, tenant: &str, index: &IndexName, known: Known) {
        if !graph::is_wanted(&known, self.server.graph_chunks_min) {
            return;
        }
        let (server, tenant, index) = (Arc::clone(&self.server), tenant.to_owned(), index.clone());
        tokio::spawn(async move {
            if let Err(error) = server.build_graph(&tenant, &index, &known).await {
                tracing::warn!(tenant, %index, %error, "no graph of an index in PostgreSQL was built");
            }
        });
    }

    async fn create_index(
        &self,
        tenant: &str,
        index: &IndexName,
        settings: Settings,
    ) -> Result<(), VectorError> {
        check_tenant(tenant)?;
        check_settings(settings)?;
        let mut client = self.server.client().await?;
        let scoped = Scoped::changing(&mut client, tenant).await?;
        let sql = "insert into indexes (tenant, name, dimensions) values ($1, $2, $3) on conflict do nothing";
        scoped.rows(sql, &[&index.as_str(), &settings.dimensions.cast_signed()]).await?;
        let dimensions = scoped.known(index).await?.dimensions;
        scoped.commit().await?;
        if dimensions == settings.dimensions {
            return Ok(());
        }
        Err(VectorError::Invalid(format!(
            "there is an index {index} of {dimensions} dimensions, not of {}",
            settings.dimensions
        )))
    }

    async fn names(&self, tenant: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, VectorError> {
        let mut client = self.server.client().await?;
        let scoped = Scoped::reading(&mut client, tenant).await?;
        let sql = "select name from indexes where tenant = $1 and ($2::text is null or name > $2) order by name limit $3";
        // No name of an index has a byte 0, which the server would not take.
        let after = after.map(|after| after.split('\0').next().unwrap_or_default());
        let rows = scoped.rows(sql, &[&after, &i64::from(limit.min(PAGE_MAX))]).await?;
        rows.iter().map(|row| column(row, "name")).collect()
    }

    async fn drop_one(&self, tenant: &str, index: &IndexName) -> Result<(), VectorError> {
        let mut client = self.server.client().await?;
        let scoped = Scoped::changing(&mut client, tenant).await?;
        let known = match scoped.locked(index).await {
            Err(VectorError::NoSuchIndex) => return Ok(()),
            known => known?,
        };
        change::drop_index(&scoped, known.number).await?;
        scoped.commit().await?;
        if known.has_graph {
            self.server.remove_graphs(vec![known.number]);
        }
        Ok(())
    }

    async fn stage_chunks(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), VectorError> {
        check_group_name(group)?;
        check_chunks(&chunks)?;
        let mut client = self.server.client().await?;
        let scoped = Scoped::changing(&mut client, tenant).await?;
        let known = scoped.locked(index).await?;
        change::stage(&scoped, &known, group, version, chunks).await?;
        scoped.commit().await
    }

    async fn count_staged(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
    ) -> Result<u32, VectorError> {
        let mut client = self.server.client().await?;
        let scoped = Scoped::reading(&mut client, tenant).await?;
        let known = scoped.known(index).await?;
        Ok(change::staged(&scoped, known.number, group, version).await?.0)
    }

    async fn publish_group(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
        chunks: u32,
        attributes: &[Attribute],
    ) -> Result<(), VectorError> {
        check_group_name(group)?;
        check_attributes(attributes)?;
        let mut client = self.server.client().await?;
        let scoped = Scoped::changing(&mut client, tenant).await?;
        let known = scoped.locked(index).await?;
        change::publish(&scoped, known.number, group, version, chunks, attributes).await?;
        scoped.commit().await?;
        drop(client);
        let chunks = known.chunks + i64::from(chunks);
        self.look_at(tenant, index, Known { chunks, ..known });
        Ok(())
    }

    async fn discard_staged(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
    ) -> Result<(), VectorError> {
        let mut client = self.server.client().await?;
        let scoped = Scoped::changing(&mut client, tenant).await?;
        let known = scoped.locked(index).await?;
        change::discard(&scoped, known.number, group, version).await?;
        scoped.commit().await
    }

    async fn remove_groups(
        &self,
        tenant: &str,
        index: &IndexName,
        groups: &[String],
    ) -> Result<(), VectorError> {
        check_group_names(groups)?;
        let mut client = self.server.client().await?;
        let scoped = Scoped::changing(&mut client, tenant).await?;
        let known = scoped.locked(index).await?;
        change::remove(&scoped, known.number, groups).await?;
        scoped.commit().await
    }

    async fn change_attributes(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        attributes: &[Attribute],
    ) -> Result<(), VectorError> {
        check_attributes(attributes)?;
        let mut client = self.server.client().await?;
        let scoped = Scoped::changing(&mut client, tenant).await?;
        let known = scoped.locked(index).await?;
        change::set_attributes(&scoped, known.number, group, attributes).await?;
        scoped.commit().await
    }

    async fn groups(
        &self,
        tenant: &str,
        index: &IndexName,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Group>, VectorError> {
        let mut client = self.server.client().await?;
        let scoped = Scoped::reading(&mut client, tenant).await?;
        let known = scoped.known(index).await?;
        let sql = "select name, version, chunk_count, attributes from groups where tenant = $1 and index_number = $2 \
                   and ($3::bytea is null or name > $3) order by name limit $4";
        let given: [Given<'_>; 3] =
            [&known.number, &after.map(str::as_bytes), &i64::from(limit.min(PAGE_MAX))];
        let rows = scoped.rows(sql, &given).await?;
        let group = |row: &tokio_postgres::Row| {
            let chunks: i32 = column(row, "chunk_count")?;
            Ok(Group {
                name: text_column(row, "name")?,
                version: encode::read_version(column(row, "version")?),
                chunks: chunks.cast_unsigned(),
                attributes: encode::read_attributes(column(row, "attributes")?)?,
            })
        };
        rows.iter().map(group).collect()
    }

    async fn read_chunks(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        start: u32,
        count: u32,
    ) -> Result<Vec<Chunk>, VectorError> {
        check_read_count(count)?;
        let mut client = self.server.client().await?;
        let scoped = Scoped::reading(&mut client, tenant).await?;
        let known = scoped.known(index).await?;
        let sql = "select number from groups where tenant = $1 and index_number = $2 and name = $3";
        let rows = scoped.rows(sql, &[&known.number, &group.as_bytes()]).await?;
        let number: i64 = rows.first().map_or(Err(VectorError::NoSuchGroup), |row| column(row, "number"))?;
        let sql = "select ordinal, heading, body, note from chunks where tenant = $1 and index_number = $2 \
                   and group_number = $3 and ordinal >= $4::bigint and ordinal < $5::bigint order by ordinal";
        let (start, end) = (i64::from(start), i64::from(start) + i64::from(count));
        let rows = scoped.rows(sql, &[&known.number, &number, &start, &end]).await?;
        let chunk = |row: &tokio_postgres::Row| {
            let ordinal: i32 = column(row, "ordinal")?;
            Ok(Chunk {
                ordinal: ordinal.cast_unsigned(),
                heading: text_column(row, "heading")?,
                text: text_column(row, "body")?,
                note: text_column(row, "note")?,
                vector: None,
            })
        };
        rows.iter().map(chunk).collect()
    }

    async fn search_indexes(
        &self,
        tenant: &str,
        indexes: &[IndexName],
        query: &Query,
    ) -> Result<Vec<Hit>, VectorError> {
        check_searched(indexes.len())?;
        check_query(query)?;
        let mut client = self.server.client().await?;
        let scoped = Scoped::reading(&mut client, tenant).await?;
        let mut known = Vec::with_capacity(indexes.len());
        for index in indexes {
            known.push(scoped.known(index).await?);
        }
        search::search(&scoped, &known, query, self.server.graph_chunks_min).await
    }
}

#[async_trait]
impl VectorIndexes for Postgres {
    async fn create(&self, tenant: &str, index: &IndexName, settings: Settings) -> Result<(), VectorError> {
        self.metrics.measured(Operation::Create, self.create_index(tenant, index, settings)).await
    }

    async fn describe(&self, tenant: &str, index: &IndexName) -> Result<Description, VectorError> {
        let work = async {
            let known = self.known(tenant, index).await?;
            Ok(Description {
                settings: Settings { dimensions: known.dimensions },
                groups: known.groups.cast_unsigned(),
                chunks: known.chunks.cast_unsigned(),
                bytes: known.bytes.cast_unsigned(),
                revision: known.revision.cast_unsigned(),
            })
        };
        self.metrics.measured(Operation::Describe, work).await
    }

    async fn list_indexes(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, VectorError> {
        self.metrics.measured(Operation::ListIndexes, self.names(tenant, after, limit)).await
    }

    async fn drop_index(&self, tenant: &str, index: &IndexName) -> Result<(), VectorError> {
        self.metrics.measured(Operation::DropIndex, self.drop_one(tenant, index)).await
    }

    async fn stage(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), VectorError> {
        let work = self.stage_chunks(tenant, index, group, version, chunks);
        self.metrics.measured(Operation::Stage, work).await
    }

    async fn staged(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
    ) -> Result<u32, VectorError> {
        self.metrics.measured(Operation::Staged, self.count_staged(tenant, index, group, version)).await
    }

    async fn publish(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
        chunks: u32,
        attributes: Vec<Attribute>,
    ) -> Result<(), VectorError> {
        let work = self.publish_group(tenant, index, group, version, chunks, &attributes);
        self.metrics.measured(Operation::Publish, work).await
    }

    async fn discard(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        version: u64,
    ) -> Result<(), VectorError> {
        self.metrics.measured(Operation::Discard, self.discard_staged(tenant, index, group, version)).await
    }

    async fn remove(&self, tenant: &str, index: &IndexName, groups: Vec<String>) -> Result<(), VectorError> {
        self.metrics.measured(Operation::Remove, self.remove_groups(tenant, index, &groups)).await
    }

    async fn set_attributes(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        attributes: Vec<Attribute>,
    ) -> Result<(), VectorError> {
        let work = self.change_attributes(tenant, index, group, &attributes);
        self.metrics.measured(Operation::SetAttributes, work).await
    }

    async fn list_groups(
        &self,
        tenant: &str,
        index: &IndexName,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Group>, VectorError> {
        self.metrics.measured(Operation::ListGroups, self.groups(tenant, index, after, limit)).await
    }

    async fn read(
        &self,
        tenant: &str,
        index: &IndexName,
        group: &str,
        start: u32,
        count: u32,
    ) -> Result<Vec<Chunk>, VectorError> {
        self.metrics.measured(Operation::Read, self.read_chunks(tenant, index, group, start, count)).await
    }

    async fn search(
        &self,
        tenant: &str,
        indexes: &[IndexName],
        query: Query,
    ) -> Result<Vec<Hit>, VectorError> {
        self.metrics.measured(Operation::Search, self.search_indexes(tenant, indexes, &query)).await
    }

    async fn erase(&self, tenant: &str) -> Result<(), VectorError> {
        let mut client = self.server.client().await?;
        let scoped = Scoped::changing(&mut client, tenant).await?;
        let graphs = change::erase(&scoped).await?;
        scoped.commit().await?;
        self.server.remove_graphs(graphs);
        Ok(())
    }

    async fn usage(&self, tenant: &str) -> Result<Usage, VectorError> {
        let mut client = self.server.client().await?;
        let scoped = Scoped::reading(&mut client, tenant).await?;
        let sql = "select count(*) as indexes, coalesce(sum(chunk_count), 0)::bigint as chunks, \
                   coalesce(sum(byte_count), 0)::bigint as bytes from indexes where tenant = $1";
        let rows = scoped.rows(sql, &[]).await?;
        let Some(row) = rows.first() else { return Ok(Usage::default()) };
        let number = |name: &str| column::<i64>(row, name).map(i64::cast_unsigned);
        Ok(Usage { indexes: number("indexes")?, chunks: number("chunks")?, bytes: number("bytes")? })
    }

    async fn check(&self) -> Result<(), String> {
        self.server.check().await.map_err(|error| error.to_string())
    }

    /// Indexes are the server's, so none is ever in memory here.
    fn metrics(&self) -> VectorSnapshot {
        self.metrics.snapshot(0, 0)
    }
}
