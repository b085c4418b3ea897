//! `/v1/vector_stores`: create, list, read, change, delete.

use crate::files::deleted_json;
use crate::ingest::is_of;
use crate::key;
use crate::members::Addition;
use crate::pipeline;
use crate::plan::{Counts, Plan};
use crate::problem::{Problem, limit, wrong};
use crate::query::{PageQuery, list_json};
use crate::record::{StoreEntry, StoreRecord};
use crate::recorded::{self, Changed, Recorded, read_many};
use crate::roster::Roster;
use crate::route::WorkRoute;
use crate::service::{Beside, Service};
use crate::settings::Bounds;
use crate::strategy::Strategy;
use serde::de::MapAccess;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use waggle_conversation::{Store, Viewer};
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::json::{self, Elements, Fields, Path, Unknown, read_object, read_raw};
use waggle_openai::metadata::Metadata;
use waggle_openai::object::Object;
use waggle_openai::{ApiError, VectorStoreId, Whole};
use waggle_platform::{Platform, Reply};

/// The longest name and the longest description, in characters.
const NAME_CHARACTERS_MAX: usize = 256;
const DESCRIPTION_CHARACTERS_MAX: usize = 512;
/// The most files that a vector store begins with.
const FILES_MAX: usize = 500;
/// The most days until it expires.
const EXPIRES_DAYS_MAX: u32 = 365;
/// How old the time of its last use may be until it is noted anew, in seconds.
const ACTIVE_S: u64 = 60;

/// What the bodies hold that create and change a vector store.
#[derive(Default)]
struct StoreBody<'a> {
    is_new: bool,
    name: Option<Option<String>>,
    description: Option<Option<String>>,
    metadata: Option<Option<Metadata>>,
    expires_after: Option<&'a RawValue>,
    strategy: Option<&'a RawValue>,
    files: Vec<String>,
}

impl<'de: 'a, 'a> Fields<'de> for StoreBody<'a> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, path: &Path, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "name" => self.name = Some(map.next_value()?),
            "metadata" => self.metadata = Some(map.next_value()?),
            "expires_after" => self.expires_after = Some(map.next_value()?),
            "description" if self.is_new => self.description = Some(map.next_value()?),
            "chunking_strategy" if self.is_new => self.strategy = Some(map.next_value()?),
            "file_ids" if self.is_new => self.files = map.next_value_seed(Elements::new(path, FILES_MAX))?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> StoreBody<'a> {
    fn read(body: &'a [u8], is_new: bool) -> Result<Self, ApiError> {
        let mut fields = Self { is_new, ..Self::default() };
        if !(is_new && body.trim_ascii().is_empty()) {
            read_object(body, &mut fields, Unknown::Refused)?;
        }
        let is_long = |text: &Option<Option<String>>, characters_max| {
            text.iter().flatten().any(|text| text.chars().count() > characters_max)
        };
        if is_long(&fields.name, NAME_CHARACTERS_MAX) {
            return Err(wrong("name", &format!("a text of at most {NAME_CHARACTERS_MAX} characters")));
        }
        if is_long(&fields.description, DESCRIPTION_CHARACTERS_MAX) {
            let expected = format!("a text of at most {DESCRIPTION_CHARACTERS_MAX} characters");
            return Err(wrong("description", &expected));
        }
        Ok(fields)
    }

    fn expires_after_days(&self) -> Result<Option<u32>, ApiError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct ExpiresAfter {
            anchor: String,
            days: Whole<u32>,
        }
        let Some(raw) = self.expires_after else { return Ok(None) };
        let Some(Object(after)) = read_raw::<Option<Object<ExpiresAfter>>>(raw.get(), "expires_after")?
        else {
            return Ok(None);
        };
        if after.anchor != "last_active_at" {
            return Err(wrong("expires_after.anchor", "'last_active_at'"));
        }
        let Whole(days) = after.days;
        if !(1..=EXPIRES_DAYS_MAX).contains(&days) {
            return Err(wrong("expires_after.days", &format!("an integer from 1 to {EXPIRES_DAYS_MAX}")));
        }
        Ok(Some(days))
    }

    fn metadata(&self) -> Result<Box<RawValue>, Problem> {
        let metadata = self.metadata.clone().flatten().unwrap_or_default();
        Ok(to_raw_value(&metadata)?)
    }
}

#[derive(Serialize)]
struct ExpiresAfterShown {
    anchor: &'static str,
    days: u32,
}

/// A vector store as clients read it.
#[derive(Serialize)]
struct StoreObject<'a> {
    id: VectorStoreId,
    object: &'static str,
    created_at: u64,
    name: &'a str,
    description: Option<&'a str>,
    usage_bytes: u64,
    file_counts: Counts,
    status: &'static str,
    expires_after: Option<ExpiresAfterShown>,
    expires_at: Option<u64>,
    last_active_at: u64,
    metadata: &'a RawValue,
    /// By words and vectors, or by words alone.
    waggle_search: &'static str,
    /// The model of its vectors.
    waggle_embedding_model: Option<&'a str>,
}

impl<'a> StoreObject<'a> {
    fn new(id: VectorStoreId, record: &'a StoreRecord, plan: &Plan, now_s: u64) -> Self {
        let file_counts = plan.counts(record.generation());
        let status = match file_counts.in_progress {
            _ if record.has_expired(now_s) => "expired",
            0 => "completed",
            _ => "in_progress",
        };
        let embedding = record.embedding.as_ref().filter(|embedding| embedding.dimensions > 0);
        Self {
            id,
            object: "vector_store",
            created_at: record.created_at,
            name: &record.name,
            description: record.description.as_deref(),
            usage_bytes: plan.bytes(),
            file_counts,
            status,
            expires_after: record
                .expires_after_days
                .map(|days| ExpiresAfterShown { anchor: "last_active_at", days }),
            expires_at: record.expires_at(),
            last_active_at: record.last_active_at,
            metadata: &record.metadata,
            waggle_search: if embedding.is_some() { "hybrid" } else { "lexical" },
            waggle_embedding_model: embedding.map(|embedding| embedding.model.as_str()),
        }
    }

    fn reply(&self) -> Reply {
        let mut out = Vec::with_capacity(512);
        json::push(&mut out, self);
        Reply::json(out)
    }
}

pub(crate) fn store_not_found(id: VectorStoreId) -> ApiError {
    ApiError::not_found("Vector store", &id.to_string())
}

/// 400: it has not been used for so long that it has ended.
fn expired(id: VectorStoreId) -> ApiError {
    let error = ApiError::invalid(format!("Vector store with id '{id}' has expired."));
    ApiError { code: Some("vector_store_expired"), ..error }
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// The record of a vector store that is there for the viewer.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn store_record(
        &self,
        viewer: &Viewer,
        id: VectorStoreId,
    ) -> Result<Option<StoreRecord>, Problem> {
        let record: Option<Recorded<StoreRecord>> = recorded::read(&self.store, &key::store(id.0)).await?;
        let is_there = |record: &StoreRecord| viewer.sees(&record.user) && !record.deleting;
        Ok(record.map(|record| record.value).filter(is_there))
    }

    /// The record of a vector store that is used.
    ///
    /// # Errors
    /// 404: there is none for the viewer; 400: it has expired.
    pub(crate) async fn open_store(
        &self,
        viewer: &Viewer,
        id: VectorStoreId,
    ) -> Result<StoreRecord, Problem> {
        let record = self.store_record(viewer, id).await?.ok_or_else(|| store_not_found(id))?;
        if record.has_expired(self.now_s()) {
            return Err(expired(id).into());
        }
        Ok(record)
    }

    /// Notes that a vector store is in use, if that was not noted just before.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn touch_store(&self, id: VectorStoreId, record: &StoreRecord) -> Result<(), Problem> {
        let now_s = self.now_s();
        if now_s.saturating_sub(record.last_active_at) >= ACTIVE_S {
            recorded::change(&self.store, key::store(id.0), |record: &mut StoreRecord| {
                let is_older = record.last_active_at < now_s;
                record.last_active_at = now_s;
                is_older
            })
            .await?;
        }
        Ok(())
    }

    pub(crate) async fn plan(&self, id: VectorStoreId) -> Result<Plan, Problem> {
        Ok(Plan::new(Roster::new(&self.store, key::members(id.0)).all().await?))
    }

    pub(crate) async fn create_store(
        &self,
        viewer: &Viewer,
        body: &[u8],
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let body = StoreBody::read(body, true)?;
        let expires_after_days = body.expires_after_days()?;
        let strategy = body.strategy.map(|raw| Strategy::read(raw.get(), "chunking_strategy")).transpose()?;
        let additions: Vec<Addition> = body
            .files
            .iter()
            .map(|id| Addition::new(id, strategy.unwrap_or_default()))
            .collect::<Result<_, _>>()?;
        let files = self.files_of(viewer, &additions).await?;
        let bounds = Bounds::read(&self.platform).await?;
        let owner = viewer.owner();
        let roster = Roster::new(&self.store, key::stores(&key::owner(&owner)));
        if roster.at_most().await? >= bounds.vector_stores_max
            && roster.all::<StoreEntry>().await?.len() >= bounds.vector_stores_max
        {
            let message = format!(
                "There are {} vector stores already (vector_stores_max). Delete some that are no longer needed.",
                bounds.vector_stores_max
            );
            return Err(limit("vector_store_limit_exceeded", message).into());
        }
        let id = VectorStoreId(self.nonce());
        let page = roster.append(&[StoreEntry { id: id.0 }]).await?.first().copied().unwrap_or_default();
        let now_s = self.now_s();
        let record = StoreRecord {
            user: owner,
            created_at: now_s,
            name: body.name.clone().flatten().unwrap_or_default(),
            description: body.description.clone().flatten(),
            metadata: body.metadata()?,
            expires_after_days,
            last_active_at: now_s,
            page,
            embedding: None,
            next: None,
            retired: Vec::new(),
            expiring: files.iter().any(|file| file.expires_at.is_some()),
            called_at_ms: 0,
            deleting: false,
        };
        recorded::create(&self.store, &key::store(id.0), &record).await?;
        if let Err(problem) = self.add_files(id, additions, files, beside).await {
            self.undo_store(viewer, id, beside).await;
            return Err(problem);
        }
        Ok(StoreObject::new(id, &record, &self.plan(id).await?, now_s).reply())
    }

    /// Takes a vector store back whose files nobody takes in. It is done here, since the queue has just refused work.
    async fn undo_store(&self, viewer: &Viewer, id: VectorStoreId, beside: &mut Beside) {
        let undone = match self.mark_deleting(id).await {
            Ok(()) => self.sweep(viewer, id, beside).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = undone {
            let reason = problem.log.unwrap_or(problem.error.message);
            self.platform.log(&format!("vector_store={id} was not taken back: {reason}"));
        }
    }

    pub(crate) async fn get_store(
        &self,
        viewer: &Viewer,
        id: VectorStoreId,
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let record = self.store_record(viewer, id).await?.ok_or_else(|| store_not_found(id))?;
        let plan = self.plan(id).await?;
        self.look_after(id, &record, &plan, beside).await;
        Ok(StoreObject::new(id, &record, &plan, self.now_s()).reply())
    }

    pub(crate) async fn list_stores(&self, viewer: &Viewer, query: &str) -> Result<Reply, Problem> {
        let query = PageQuery::read(query)?;
        let owner = query.on_behalf_of(viewer)?.owner();
        let roster = Roster::new(&self.store, key::stores(&key::owner(&owner)));
        let entries: Vec<(u32, StoreEntry)> = roster.all().await?;
        // What is being deleted, or was not made to its end, takes no place of a page.
        let keys = entries.iter().map(|(_, entry)| key::store(entry.id)).collect();
        let records: Vec<Option<StoreRecord>> = read_many(&self.store, keys).await?;
        let found = entries.into_iter().zip(records).filter_map(|((_, entry), record)| {
            Some((VectorStoreId(entry.id), record.filter(|record| !record.deleting)?))
        });
        let (page, has_more) = query.select(found.collect(), |(id, _)| id.to_string())?;
        let now_s = self.now_s();
        let mut objects = Vec::with_capacity(page.len());
        for (id, record) in &page {
            objects.push(StoreObject::new(*id, record, &self.plan(*id).await?, now_s));
        }
        Ok(Reply::json(list_json(&objects, |object| object.id.to_string(), has_more)))
    }

    pub(crate) async fn update_store(
        &self,
        viewer: &Viewer,
        id: VectorStoreId,
        body: &[u8],
    ) -> Result<Reply, Problem> {
        let body = StoreBody::read(body, false)?;
        let days = body.expires_after_days()?;
        let metadata = body.metadata()?;
        self.store_record(viewer, id).await?.ok_or_else(|| store_not_found(id))?;
        let changed = recorded::change(&self.store, key::store(id.0), |record: &mut StoreRecord| {
            if let Some(name) = &body.name {
                record.name = name.clone().unwrap_or_default();
            }
            if body.metadata.is_some() {
                record.metadata = metadata.clone();
            }
            if body.expires_after.is_some() {
                record.expires_after_days = days;
            }
            !record.deleting
        });
        let Changed::Stored(record) = changed.await? else { return Err(store_not_found(id).into()) };
        Ok(StoreObject::new(id, &record, &self.plan(id).await?, self.now_s()).reply())
    }

    pub(crate) async fn delete_store(
        &self,
        viewer: &Viewer,
        id: VectorStoreId,
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let record: Option<Recorded<StoreRecord>> = recorded::read(&self.store, &key::store(id.0)).await?;
        // A deletion that nobody went on with goes on when it is asked for again.
        let record = record.filter(|record| viewer.sees(&record.value.user));
        record.ok_or_else(|| store_not_found(id))?;
        self.begin_deletion(id, beside).await?;
        Ok(deleted_json(id, "vector_store.deleted"))
    }

    /// Has nobody see a vector store any more, and what is in it deleted.
    ///
    /// # Errors
    /// The store's; nobody takes the work, though there is a queue: it is asked for again then.
    pub(crate) async fn begin_deletion(&self, id: VectorStoreId, beside: &mut Beside) -> Result<(), Problem> {
        self.mark_deleting(id).await?;
        self.hand_over(WorkRoute::Sweep(id), beside).await
    }

    async fn mark_deleting(&self, id: VectorStoreId) -> Result<(), Problem> {
        recorded::change(&self.store, key::store(id.0), |record: &mut StoreRecord| {
            let begins = !record.deleting;
            record.deleting = true;
            begins
        })
        .await?;
        Ok(())
    }

    /// Calls somebody where the embedding model that is configured is another than that of a vector store. That nobody takes
    /// the work is told to the log alone.
    pub(crate) async fn look_at_model(
        &self,
        id: VectorStoreId,
        record: &StoreRecord,
        settings: &waggle_search::SearchSettings,
        beside: &mut Beside,
    ) {
        let is_another = record.target().is_some_and(|target| !is_of(target, settings));
        if !is_another {
            return;
        }
        if let Err(problem) = self.call_again(id, &[0], beside).await {
            let reason = problem.log.unwrap_or(problem.error.message);
            self.platform.log(&format!("vector_store={id} nobody was called: {reason}"));
        }
    }

    /// The variables of searches, for those who only look.
    ///
    /// # Errors
    /// 500: one is wrong.
    pub(crate) async fn search_settings(&self) -> Result<waggle_search::SearchSettings, Problem> {
        pipeline::settings(&self.platform).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, is_new: bool, expected: Result<Option<u32>, &str>) {
        let read = StoreBody::read(body.as_bytes(), is_new);
        let read = read.and_then(|body| body.expires_after_days());
        let read = read.as_ref().map(|days| *days);
        assert_eq!(read.map_err(|error| error.param.as_deref().unwrap_or_default()), expected, "{body:.80}");
    }

    #[test]
    fn bodies_are_held_to_their_bounds() {
        check("", true, Ok(None));
        check("{}", true, Ok(None));
        check("", false, Err(""));
        check(r#"{"expires_after":null}"#, false, Ok(None));
        let days = |days: i64| format!(r#"{{"expires_after":{{"anchor":"last_active_at","days":{days}}}}}"#);
        check(&days(1), true, Ok(Some(1)));
        check(&days(365), true, Ok(Some(365)));
        check(&days(0), true, Err("expires_after.days"));
        check(&days(366), true, Err("expires_after.days"));
        check(&days(-1), true, Err("expires_after"));
        check(r#"{"expires_after":{"anchor":"now","days":1}}"#, true, Err("expires_after.anchor"));
        check(&format!(r#"{{"name":"{}"}}"#, "é".repeat(256)), true, Ok(None));
        check(&format!(r#"{{"name":"{}"}}"#, "é".repeat(257)), true, Err("name"));
        check(&format!(r#"{{"description":"{}"}}"#, "x".repeat(513)), true, Err("description"));
        check(r#"{"description":"x"}"#, false, Err("description"));
        check(r#"{"file_ids":[]}"#, false, Err("file_ids"));
        check(r#"{"file_ids":[1]}"#, true, Err("file_ids[0]"));
        check(r#"{"metadata":{"a":1}}"#, true, Err("metadata"));
        check(r#"{"other":1}"#, true, Err("other"));
    }
}
