//! Indexes over `waggle:vector`, which a host offers or a component of the application does.

mod bindings {
    //! Generated from `wit/`.
    spin_sdk::wit_bindgen::generate!({
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        inline: "package waggle:wasi@0.1.0;
                 world index {
                   import waggle:vector/index@0.1.0;
                 }",
        path: "../../wit/deps/waggle-vector@0.1.0",
        generate_all,
    });
}

mod convert;

use bindings::waggle::vector::index as vector;
use convert::{attributes, chunk, chunk_of, description_of, group_of, hit_of, query};
use waggle_index::{Attributes, Chunk, Description, Group, Hit, Index, IndexError, Query, Settings};

/// The component's indexes.
#[derive(Clone, Copy, Debug)]
pub struct WasiIndex;

impl Index for WasiIndex {
    async fn create(&self, index: &str, settings: Settings) -> Result<(), IndexError> {
        let settings = vector::Settings { dimensions: settings.dimensions };
        Ok(vector::create(index.to_owned(), settings).await?)
    }

    async fn describe(&self, index: &str) -> Result<Description, IndexError> {
        Ok(description_of(&vector::describe(index.to_owned()).await?))
    }

    async fn list_indexes(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, IndexError> {
        Ok(vector::list_indexes(after.map(str::to_owned), limit).await?)
    }

    async fn drop_index(&self, index: &str) -> Result<(), IndexError> {
        Ok(vector::drop_index(index.to_owned()).await?)
    }

    async fn stage(
        &self,
        index: &str,
        group: &str,
        version: u64,
        chunks: Vec<Chunk>,
    ) -> Result<(), IndexError> {
        let chunks = chunks.into_iter().map(chunk).collect();
        Ok(vector::stage(index.to_owned(), group.to_owned(), version, chunks).await?)
    }

    async fn staged(&self, index: &str, group: &str, version: u64) -> Result<u32, IndexError> {
        Ok(vector::staged(index.to_owned(), group.to_owned(), version).await?)
    }

    async fn publish(
        &self,
        index: &str,
        group: &str,
        version: u64,
        chunks: u32,
        of_group: Attributes,
    ) -> Result<(), IndexError> {
        let (index, group, of_group) = (index.to_owned(), group.to_owned(), attributes(of_group));
        Ok(vector::publish(index, group, version, chunks, of_group).await?)
    }

    async fn discard(&self, index: &str, group: &str, version: u64) -> Result<(), IndexError> {
        Ok(vector::discard(index.to_owned(), group.to_owned(), version).await?)
    }

    async fn remove(&self, index: &str, groups: Vec<String>) -> Result<(), IndexError> {
        Ok(vector::remove(index.to_owned(), groups).await?)
    }

    async fn set_attributes(&self, index: &str, group: &str, of_group: Attributes) -> Result<(), IndexError> {
        Ok(vector::set_attributes(index.to_owned(), group.to_owned(), attributes(of_group)).await?)
    }

    async fn list_groups(
        &self,
        index: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Group>, IndexError> {
        let groups = vector::list_groups(index.to_owned(), after.map(str::to_owned), limit).await?;
        Ok(groups.into_iter().map(group_of).collect())
    }

    async fn read(&self, index: &str, group: &str, start: u32, count: u32) -> Result<Vec<Chunk>, IndexError> {
        let chunks = vector::read(index.to_owned(), group.to_owned(), start, count).await?;
        Ok(chunks.into_iter().map(chunk_of).collect())
    }

    async fn search(&self, indexes: &[&str], searched: Query) -> Result<Vec<Hit>, IndexError> {
        let indexes = indexes.iter().map(|index| (*index).to_owned()).collect();
        let hits = vector::search(indexes, query(searched)).await?;
        Ok(hits.into_iter().map(hit_of).collect())
    }
}
