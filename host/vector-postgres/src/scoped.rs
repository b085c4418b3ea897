//! The one way to the tables: every statement names the tenant first, and none is run without.

use crate::error::of_server;
use deadpool_postgres::{Client, Transaction};
use tokio_postgres::{IsolationLevel, Row, types::ToSql};
use waggle_vector::{IndexName, VectorError};

/// A value of a statement.
pub(crate) type Given<'a> = &'a (dyn ToSql + Sync);

/// What is known of an index.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// By which the tables name it.
    pub(crate) number: i64,
    /// The length of its vectors.
    pub(crate) dimensions: u32,
    /// Published groups.
    pub(crate) groups: i64,
    /// Published chunks.
    pub(crate) chunks: i64,
    /// Words of published chunks, with repetitions.
    pub(crate) words: i64,
    /// Bytes, staged chunks included.
    pub(crate) bytes: i64,
    /// Changes that a search can notice.
    pub(crate) revision: i64,
    /// Whether a graph leads to its vectors.
    pub(crate) has_graph: bool,
}

/// A transaction for one tenant.
pub(crate) struct Scoped<'a> {
    transaction: Transaction<'a>,
    tenant: &'a [u8],
}

impl<'a> Scoped<'a> {
    /// One that changes something. It waits for others where they change the same index.
    pub(crate) async fn changing(client: &'a mut Client, tenant: &'a str) -> Result<Self, VectorError> {
        let transaction = client.transaction().await.map_err(|error| of_server(&error))?;
        Ok(Self { transaction, tenant: tenant.as_bytes() })
    }

    /// One that sees a single state of all tables.
    pub(crate) async fn reading(client: &'a mut Client, tenant: &'a str) -> Result<Self, VectorError> {
        let builder =
            client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let transaction = builder.start().await.map_err(|error| of_server(&error))?;
        Ok(Self { transaction, tenant: tenant.as_bytes() })
    }

    /// Makes what was changed durable.
    pub(crate) async fn commit(self) -> Result<(), VectorError> {
        self.transaction.commit().await.map_err(|error| of_server(&error))
    }

    /// The rows of a statement whose first value, `$1`, is the tenant; the others follow from `$2` on. The server keeps it
    /// prepared, so `sql` must be one of a fixed number of texts.
    pub(crate) async fn rows(&self, sql: &str, given: &[Given<'_>]) -> Result<Vec<Row>, VectorError> {
        let statement = self.transaction.prepare_cached(sql).await.map_err(|error| of_server(&error))?;
        let all = self.with_tenant(given);
        self.transaction.query(&statement, &all).await.map_err(|error| of_server(&error))
    }

    /// The same for a text that was made for this query; the server forgets it.
    pub(crate) async fn rows_once(&self, sql: &str, given: &[Given<'_>]) -> Result<Vec<Row>, VectorError> {
        let all = self.with_tenant(given);
        self.transaction.query(sql, &all).await.map_err(|error| of_server(&error))
    }

    fn with_tenant<'b>(&'b self, given: &[Given<'b>]) -> Vec<Given<'b>> {
        let tenant: Given<'b> = &self.tenant;
        [tenant].into_iter().chain(given.iter().copied()).collect()
    }

    /// Sets what holds until the transaction ends. It takes no value that a tenant gives.
    pub(crate) async fn set(&self, settings: &str) -> Result<(), VectorError> {
        self.transaction.batch_execute(settings).await.map_err(|error| of_server(&error))
    }

    /// An index.
    pub(crate) async fn known(&self, index: &IndexName) -> Result<Known, VectorError> {
        self.find(index, "select * from indexes where tenant = $1 and name = $2").await
    }

    /// An index that no other transaction changes until this one ends.
    pub(crate) async fn locked(&self, index: &IndexName) -> Result<Known, VectorError> {
        self.find(index, "select * from indexes where tenant = $1 and name = $2 for update").await
    }

    async fn find(&self, index: &IndexName, sql: &str) -> Result<Known, VectorError> {
        let rows = self.rows(sql, &[&index.as_str()]).await?;
        rows.first().map_or(Err(VectorError::NoSuchIndex), known)
    }
}

fn known(row: &Row) -> Result<Known, VectorError> {
    let dimensions: i32 = column(row, "dimensions")?;
    Ok(Known {
        number: column(row, "number")?,
        dimensions: dimensions.cast_unsigned(),
        groups: column(row, "group_count")?,
        chunks: column(row, "chunk_count")?,
        words: column(row, "word_count")?,
        bytes: column(row, "byte_count")?,
        revision: column(row, "revision")?,
        has_graph: column(row, "has_graph")?,
    })
}

/// A column of a row; one that is not there, or of another type, was made by something else.
pub(crate) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    name: &str,
) -> Result<T, VectorError> {
    row.try_get(name).map_err(|error| VectorError::Damaged(format!("a table in PostgreSQL: {error}")))
}

/// A text that was stored as bytes.
pub(crate) fn text_column(row: &Row, name: &str) -> Result<String, VectorError> {
    let bytes: Vec<u8> = column(row, name)?;
    String::from_utf8(bytes)
        .map_err(|_error| VectorError::Damaged(format!("the column {name} of a table in PostgreSQL")))
}
