//! The server: connections to it, the tables, and the graphs that are built in the background.

use crate::error::{OpenError, of_pool, of_server};
use crate::scoped::{Known, Scoped};
use crate::tls::Tls;
use crate::{graph, schema};
use deadpool_postgres::{Client, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use std::{fs, str::FromStr, sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_postgres::Config;
use waggle_vector::{IndexName, PostgresConfig, VectorError};

/// Graphs that wait to be removed, at most; more than that stay until an operator removes them, and harm only by their space.
const REMOVALS_MAX: usize = 64;

/// Connections to one server, all with the same schema.
pub(crate) struct Server {
    pool: Pool,
    /// From so many chunks on an index gets a graph.
    pub(crate) graph_chunks_min: u32,
    /// One graph is built at a time.
    building: Semaphore,
    removing: Arc<Semaphore>,
}

impl Server {
    /// Connects and makes the tables where they are not there.
    pub(crate) async fn open(config: &PostgresConfig) -> Result<Self, OpenError> {
        let timeout = Duration::from_millis(config.connect_timeout_ms.into());
        let manager = Manager::from_config(
            server_config(config)?,
            Tls::new(config.roots_file.as_deref())?,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(config.connections_max as usize)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(timeout))
            .recycle_timeout(Some(timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| OpenError::Pool(error.to_string()))?;
        let server = Self {
            pool,
            graph_chunks_min: config.graph_chunks_min,
            building: Semaphore::new(1),
            removing: Arc::new(Semaphore::new(REMOVALS_MAX)),
        };
        server.make_tables(&config.schema).await.map_err(OpenError::Server)?;
        match server.is_durable().await.map_err(OpenError::Server)? {
            true => Ok(server),
            false => Err(OpenError::NotDurable),
        }
    }

    /// A connection that no one else uses.
    pub(crate) async fn client(&self) -> Result<Client, VectorError> {
        self.pool.get().await.map_err(|error| of_pool(&error))
    }

    /// Whether the server answers.
    pub(crate) async fn check(&self) -> Result<(), VectorError> {
        self.client().await?.batch_execute("select 1").await.map_err(|error| of_server(&error))
    }

    /// Several hosts may begin at once; the lock lets one of them make the tables, and ends with the transaction.
    async fn make_tables(&self, schema: &str) -> Result<(), VectorError> {
        let statements = format!(
            "begin; select pg_advisory_xact_lock({}); create schema if not exists {schema}; \
             create extension if not exists vector schema public; {} commit;",
            schema::LOCK,
            schema::TABLES
        );
        let client = self.client().await?;
        let made = client.batch_execute(&statements).await.map_err(|error| of_server(&error));
        if made.is_err() {
            // The transaction stays open after an error; the connection is not to be used again.
            drop(Object::take(client));
        }
        made
    }

    async fn is_durable(&self) -> Result<bool, VectorError> {
        let client = self.client().await?;
        let row =
            client.query_one("show synchronous_commit", &[]).await.map_err(|error| of_server(&error))?;
        let setting: String = crate::column(&row, "synchronous_commit")?;
        Ok(setting != "off")
    }

    /// Builds the graph of an index, if it is to have one and no other host builds one now.
    pub(crate) async fn build_graph(
        &self,
        tenant: &str,
        index: &IndexName,
        known: &Known,
    ) -> Result<(), VectorError> {
        if !graph::is_wanted(known, self.graph_chunks_min) {
            return Ok(());
        }
        // Whoever finds another building leaves it: the next change of the index asks again.
        let Ok(_alone) = self.building.try_acquire() else { return Ok(()) };
        // Building takes as long as it takes, so the connection is not one of the pool afterwards.
        let client = Object::take(self.client().await?);
        let unbounded = "set statement_timeout = 0; set maintenance_work_mem = '256MB'";
        client.batch_execute(unbounded).await.map_err(|error| of_server(&error))?;
        let lock = "select pg_try_advisory_lock($1)";
        let row = client.query_one(lock, &[&schema::GRAPH_LOCK]).await.map_err(|error| of_server(&error))?;
        if !row.get::<_, bool>(0) {
            return Ok(());
        }
        // What an earlier attempt left unfinished has the name already.
        for statement in [graph::remove(known.number), graph::build(known)] {
            client.batch_execute(&statement).await.map_err(|error| of_server(&error))?;
        }
        drop(client);
        self.tell_of_graph(tenant, index, known.number).await
    }

    async fn tell_of_graph(&self, tenant: &str, index: &IndexName, number: i64) -> Result<(), VectorError> {
        let mut client = self.client().await?;
        let scoped = Scoped::changing(&mut client, tenant).await?;
        let is_there = scoped.locked(index).await.is_ok_and(|known| known.number == number);
        if !is_there {
            // It was dropped meanwhile.
            self.remove_graphs(vec![number]);
            return Ok(());
        }
        scoped
            .rows("update indexes set has_graph = true where tenant = $1 and number = $2", &[&number])
            .await?;
        scoped.commit().await
    }

    /// Removes graphs of indexes that are no more, in the background: it waits for searches that began before.
    pub(crate) fn remove_graphs(&self, indexes: Vec<i64>) {
        if indexes.is_empty() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.removing).try_acquire_owned() else { return };
        let pool = self.pool.clone();
        tokio::spawn(async move {
            let _permit = permit;
            for index in indexes {
                let removed = match pool.get().await {
                    Ok(client) => {
                        client.batch_execute(&graph::remove(index)).await.map_err(|error| of_server(&error))
                    }
                    Err(error) => Err(of_pool(&error)),
                };
                if let Err(error) = removed {
                    tracing::warn!(graph = graph::name(index), %error, "a graph in PostgreSQL was not removed");
                }
            }
        });
    }
}

fn server_config(config: &PostgresConfig) -> Result<Config, OpenError> {
    let mut server = Config::from_str(&config.url).map_err(|_secret| OpenError::Url)?;
    if server.get_hosts().is_empty() {
        return Err(OpenError::Url);
    }
    if let Some(path) = &config.password_file {
        let text = fs::read_to_string(path);
        let text = text.map_err(|source| OpenError::File { path: path.clone(), source })?;
        server.password(text.trim_end_matches(['\r', '\n']));
    }
    let options = format!(
        "{} -c search_path={},public -c statement_timeout={}",
        server.get_options().unwrap_or_default(),
        config.schema,
        config.statement_timeout_ms
    );
    server.options(options);
    server.application_name("waggle");
    server.connect_timeout(Duration::from_millis(config.connect_timeout_ms.into()));
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_address_is_refused_without_being_shown() {
        for url in ["postgresql://user:hunter2@host:port/x", "hunter2", "", "http://hunter2@x"] {
            let error = server_config(&PostgresConfig::at(url)).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_password_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "hunter2\n").unwrap();
        let at =
            |path| PostgresConfig { password_file: Some(path), ..PostgresConfig::at("postgresql://a@b/c") };
        assert_eq!(server_config(&at(path)).unwrap().get_password(), Some("hunter2".as_bytes()));
        assert!(matches!(server_config(&at("nowhere".into())), Err(OpenError::File { .. })));
    }
}
