//! The indexes of hosts that have none: kept in the component's key-value store, by [`waggle_index::key_value`]. Spin
//! composes it with the functions that name it in `[component.NAME.dependencies]` of spin.toml, whose store it uses; `waggle
//! up` keeps indexes itself and has no use for it.
//!
//! A shell without logic. What is unsafe in it is what wit-bindgen generates to export an interface, and nothing of ours.

mod convert;

mod bindings {
    //! Generated from `wit/`.
    spin_sdk::wit_bindgen::generate!({
        runtime_path: "::spin_sdk::wit_bindgen::rt",
        inline: "package waggle:vector-fallback@0.1.0;
                 world fallback {
                   export waggle:vector/index@0.1.0;
                 }",
        path: "../../wit/deps/waggle-vector@0.1.0",
        generate_all,
    });
}

use bindings::exports::waggle::vector::index as vector;
use convert::{attributes_of, chunk, chunk_of, description, group, hit, query_of};
use vector::{Attribute, Chunk, Description, Error, Group, Guest, Hit, Query, Settings};
use waggle_index::Index as _;
use waggle_index::key_value::KeyValueIndex;
use waggle_wasi::WasiStore;

struct Fallback;

fn indexes() -> KeyValueIndex<WasiStore> {
    KeyValueIndex::new(WasiStore)
}

impl Guest for Fallback {
    async fn create(index: String, settings: Settings) -> Result<(), Error> {
        let settings = waggle_index::Settings { dimensions: settings.dimensions };
        Ok(indexes().create(&index, settings).await?)
    }

    async fn describe(index: String) -> Result<Description, Error> {
        Ok(description(&indexes().describe(&index).await?))
    }

    async fn list_indexes(after: Option<String>, limit: u32) -> Result<Vec<String>, Error> {
        Ok(indexes().list_indexes(after.as_deref(), limit).await?)
    }

    async fn drop_index(index: String) -> Result<(), Error> {
        Ok(indexes().drop_index(&index).await?)
    }

    async fn stage(index: String, group: String, version: u64, chunks: Vec<Chunk>) -> Result<(), Error> {
        let chunks = chunks.into_iter().map(chunk_of).collect();
        Ok(indexes().stage(&index, &group, version, chunks).await?)
    }

    async fn staged(index: String, group: String, version: u64) -> Result<u32, Error> {
        Ok(indexes().staged(&index, &group, version).await?)
    }

    async fn publish(
        index: String,
        group: String,
        version: u64,
        chunks: u32,
        attributes: Vec<Attribute>,
    ) -> Result<(), Error> {
        Ok(indexes().publish(&index, &group, version, chunks, attributes_of(attributes)).await?)
    }

    async fn discard(index: String, group: String, version: u64) -> Result<(), Error> {
        Ok(indexes().discard(&index, &group, version).await?)
    }

    async fn remove(index: String, groups: Vec<String>) -> Result<(), Error> {
        Ok(indexes().remove(&index, groups).await?)
    }

    async fn set_attributes(index: String, group: String, attributes: Vec<Attribute>) -> Result<(), Error> {
        Ok(indexes().set_attributes(&index, &group, attributes_of(attributes)).await?)
    }

    async fn list_groups(index: String, after: Option<String>, limit: u32) -> Result<Vec<Group>, Error> {
        let groups = indexes().list_groups(&index, after.as_deref(), limit).await?;
        Ok(groups.into_iter().map(group).collect())
    }

    async fn read(index: String, group: String, start: u32, count: u32) -> Result<Vec<Chunk>, Error> {
        let chunks = indexes().read(&index, &group, start, count).await?;
        Ok(chunks.into_iter().map(chunk).collect())
    }

    async fn search(names: Vec<String>, query: Query) -> Result<Vec<Hit>, Error> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let hits = indexes().search(&names, query_of(query)).await?;
        Ok(hits.into_iter().map(hit).collect())
    }
}

bindings::export!(Fallback with_types_in bindings);
