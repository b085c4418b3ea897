//! Vector stores and what is in them: found, listed, searched, removed.

use crate::plan::is_meant;
use crate::shape::{FoundEntry, Named, Page};
use crate::{Hit, Knowledge, KnowledgeError, Member, Store};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Elements of a page.
const PAGE: usize = 100;
/// The most pages that are read of one list.
const PAGES_MAX: usize = 1_000;
/// What ids of vector stores begin with, and how long they are.
const STORE_PREFIX: &str = "vs_";
const STORE_ID_BYTES: usize = 27;

/// Whether a name is an id.
fn is_id(name: &str) -> bool {
    name.len() == STORE_ID_BYTES && name.starts_with(STORE_PREFIX)
}

impl Knowledge {
    /// All elements of a list, oldest first. `path` has a query already.
    async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, KnowledgeError> {
        let mut all = Vec::new();
        let mut after = String::new();
        for _page in 0..PAGES_MAX {
            let page: Page<T> = self.get(&format!("{path}&order=asc&limit={PAGE}{after}")).await?;
            all.extend(page.data);
            match page.last_id.filter(|_| page.has_more) {
                Some(last) => after = format!("&after={last}"),
                None => break,
            }
        }
        Ok(all)
    }

    /// All vector stores, oldest first.
    ///
    /// # Errors
    /// The server's.
    pub async fn stores(&self) -> Result<Vec<Store>, KnowledgeError> {
        self.all("/v1/vector_stores?").await
    }

    /// The vector store that is called so, by its name or its id.
    ///
    /// # Errors
    /// There is none, there are several, or the server's.
    pub async fn store(&self, name: &str) -> Result<Store, KnowledgeError> {
        let none = || KnowledgeError::NoStore { name: name.to_owned() };
        if is_id(name) {
            let found = self.get(&format!("/v1/vector_stores/{name}")).await;
            return found.map_err(|error| if error.is_not_found() { none() } else { error });
        }
        let mut called: Vec<Store> =
            self.stores().await?.into_iter().filter(|store| store.name == name).collect();
        if called.len() > 1 {
            let ids = called.into_iter().map(|store| store.id).collect();
            return Err(KnowledgeError::SeveralStores { name: name.to_owned(), ids });
        }
        called.pop().ok_or_else(none)
    }

    /// The vector store that is called so, made if there is none of that name.
    ///
    /// # Errors
    /// As [`Knowledge::store`]; an id of none is none.
    pub async fn store_or_new(&self, name: &str) -> Result<Store, KnowledgeError> {
        match self.store(name).await {
            Err(KnowledgeError::NoStore { .. }) if !is_id(name) => {
                self.post("/v1/vector_stores", &json!({ "name": name })).await
            }
            other => other,
        }
    }

    /// The files of a vector store, oldest first.
    ///
    /// # Errors
    /// The server's.
    pub async fn members(&self, store: &str) -> Result<Vec<Member>, KnowledgeError> {
        self.all(&format!("/v1/vector_stores/{store}/files?")).await
    }

    /// The ids of those files of a vector store that are being taken in.
    pub(crate) async fn coming(&self, store: &str) -> Result<Vec<String>, KnowledgeError> {
        let path = format!("/v1/vector_stores/{store}/files?filter=in_progress");
        Ok(self.all::<Named>(&path).await?.into_iter().map(|named| named.id).collect())
    }

    /// What a vector store says to a question, the best first; `results_max` from 1 to 50.
    ///
    /// # Errors
    /// The server's.
    pub async fn search(
        &self,
        store: &str,
        question: &str,
        results_max: Option<u32>,
    ) -> Result<Vec<Hit>, KnowledgeError> {
        let mut body = json!({ "query": question });
        if let (Some(results_max), Some(fields)) = (results_max, body.as_object_mut()) {
            fields.insert("max_num_results".to_owned(), results_max.into());
        }
        let page: Page<FoundEntry> = self.post(&format!("/v1/vector_stores/{store}/search"), &body).await?;
        Ok(page.data.into_iter().map(Hit::from).collect())
    }

    /// Removes files of a vector store by what they are called, by the folders they are in, or by their ids. All of them
    /// are removed or, when one name means nothing, none. How many there were.
    ///
    /// # Errors
    /// A name means nothing, or the server's.
    pub async fn remove_files(&self, store: &Store, names: &[String]) -> Result<usize, KnowledgeError> {
        let members = self.members(&store.id).await?;
        let mut meant: Vec<&Member> = Vec::new();
        for name in names {
            let is_it = |member: &&Member| {
                member.id == *name || member.path().is_some_and(|path| is_meant(path, name))
            };
            let before = meant.len();
            meant.extend(members.iter().filter(is_it));
            if meant.len() == before {
                return Err(KnowledgeError::NoFile { name: name.clone(), store: store.name.clone() });
            }
        }
        meant.sort_by(|one, other| one.id.cmp(&other.id));
        meant.dedup_by(|one, other| one.id == other.id);
        for member in &meant {
            self.remove_member(&store.id, member).await?;
        }
        Ok(meant.len())
    }

    /// Removes a vector store, and of its files those that were added by this client. How many these were.
    ///
    /// # Errors
    /// The server's.
    pub async fn remove_store(&self, store: &Store) -> Result<usize, KnowledgeError> {
        let members = self.members(&store.id).await;
        // One that has expired lists nothing any more, and can be deleted all the same.
        let members = match members {
            Err(KnowledgeError::Refused { code: Some(code), .. }) if code == "vector_store_expired" => {
                Vec::new()
            }
            other => other?,
        };
        let own: Vec<&Member> = members.iter().filter(|member| member.path().is_some()).collect();
        for member in &own {
            self.remove_member(&store.id, member).await?;
        }
        self.delete(&format!("/v1/vector_stores/{}", store.id)).await?;
        Ok(own.len())
    }

    /// Deletes a file that was added by this client, and takes any other out of the vector store only: whoever uploaded
    /// that may have it elsewhere.
    async fn remove_member(&self, store: &str, member: &Member) -> Result<(), KnowledgeError> {
        match member.path() {
            Some(_own) => self.delete_file(&member.id).await,
            None => self.delete(&format!("/v1/vector_stores/{store}/files/{}", member.id)).await,
        }
    }

    /// Deletes a file, out of all vector stores.
    pub(crate) async fn delete_file(&self, id: &str) -> Result<(), KnowledgeError> {
        self.delete(&format!("/v1/files/{id}")).await
    }

    /// Has a file taken in that is uploaded already.
    pub(crate) async fn add_member(
        &self,
        store: &str,
        file: &str,
        attributes: &Value,
    ) -> Result<Named, KnowledgeError> {
        let body = json!({ "file_id": file, "attributes": attributes });
        self.post(&format!("/v1/vector_stores/{store}/files"), &body).await
    }
}
