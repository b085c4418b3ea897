//! `/v1/vector_stores/{store}/file_batches`: files that are added together.

use crate::attributes::Attributes;
use crate::key;
use crate::members::{Addition, MemberBody};
use crate::plan::{Counts, Plan};
use crate::problem::{Problem, wrong};
use crate::query::PageQuery;
use crate::record::{Batch, BatchEntry, Member, MemberEntry, StoreRecord, Wish};
use crate::recorded::{self, Recorded, read_many};
use crate::roster::Roster;
use crate::service::{Beside, Service};
use crate::strategy::Strategy;
use serde::Serialize;
use serde::de::MapAccess;
use serde_json::value::RawValue;
use std::collections::HashSet;
use waggle_conversation::{Store, Viewer};
use waggle_index::Index;
use waggle_model::transport::Upstream;
use waggle_openai::json::{self, Elements, Fields, Path, Unknown, read_object};
use waggle_openai::{ApiError, FileBatchId, Nonce, VectorStoreId};
use waggle_platform::{Platform, Reply};

/// The most files of a batch.
const FILES_MAX: usize = 2_000;
/// The most batches that a vector store remembers; the oldest are forgotten, their files are not.
const BATCHES_MAX: usize = 1_000;

/// What the body holds that creates a batch.
#[derive(Default)]
struct BatchBody<'a> {
    file_ids: Option<Vec<String>>,
    files: Option<Vec<&'a RawValue>>,
    attributes: Option<Attributes>,
    strategy: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Fields<'de> for BatchBody<'a> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, path: &Path, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "file_ids" => self.file_ids = Some(map.next_value_seed(Elements::new(path, FILES_MAX))?),
            "files" => self.files = Some(map.next_value_seed(Elements::new(path, FILES_MAX))?),
            "attributes" => self.attributes = Some(map.next_value()?),
            "chunking_strategy" => self.strategy = Some(map.next_value()?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads the files of a batch that is to be made.
fn read_additions(body: &[u8]) -> Result<Vec<Addition>, ApiError> {
    let mut fields = BatchBody::default();
    read_object(body, &mut fields, Unknown::Refused)?;
    let BatchBody { file_ids, files, attributes, strategy } = fields;
    let additions: Vec<Addition> = match (file_ids.unwrap_or_default(), files.unwrap_or_default()) {
        (ids, files) if ids.is_empty() && files.is_empty() => return Err(ApiError::missing("file_ids")),
        (ids, files) if files.is_empty() => {
            let strategy = strategy.map(|raw| Strategy::read(raw.get(), "chunking_strategy")).transpose()?;
            let addition = |id: &String| {
                let addition = Addition::new(id, strategy.unwrap_or_default())?;
                Ok(Addition { attributes: attributes.clone(), ..addition })
            };
            ids.iter().map(addition).collect::<Result<_, ApiError>>()?
        }
        (ids, files) if ids.is_empty() => files
            .iter()
            .enumerate()
            .map(|(place, raw)| {
                let at_place = |error: ApiError| {
                    let param = error.param.as_ref().map(|param| format!("files[{place}].{param}"));
                    ApiError { param, ..error }
                };
                MemberBody::read_addition(raw.get().as_bytes()).map_err(at_place)
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(wrong("files", "left out where there are 'file_ids'")),
    };
    Ok(additions)
}

/// A batch as clients read it.
#[derive(Serialize)]
struct BatchObject {
    id: FileBatchId,
    object: &'static str,
    created_at: u64,
    vector_store_id: VectorStoreId,
    status: &'static str,
    file_counts: Counts,
}

impl BatchObject {
    fn new(store: VectorStoreId, id: FileBatchId, batch: &Batch, plan: &Plan, generation: u32) -> Self {
        let files: HashSet<Nonce> = batch.files.iter().copied().collect();
        let mut file_counts = Counts::default();
        for entry in plan.seen().filter(|entry| files.contains(&entry.id)) {
            file_counts.add(plan.status(entry, generation));
        }
        let status = match file_counts {
            _ if batch.cancelled => "cancelled",
            counts if counts.in_progress > 0 => "in_progress",
            counts if counts.total > 0 && counts.failed == counts.total => "failed",
            _ => "completed",
        };
        Self {
            id,
            object: "vector_store.files_batch",
            created_at: batch.created_at,
            vector_store_id: store,
            status,
            file_counts,
        }
    }

    fn reply(&self) -> Reply {
        let mut out = Vec::with_capacity(256);
        json::push(&mut out, self);
        Reply::json(out)
    }
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    async fn batch(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        id: FileBatchId,
    ) -> Result<(StoreRecord, Batch), Problem> {
        let record = self.open_store(viewer, store).await?;
        let batch: Option<Recorded<Batch>> = recorded::read(&self.store, &key::batch(store.0, id.0)).await?;
        let batch = batch.ok_or_else(|| ApiError::not_found("File batch", &id.to_string()))?;
        Ok((record, batch.value))
    }

    pub(crate) async fn create_batch(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        body: &[u8],
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let additions = read_additions(body)?;
        let record = self.open_store(viewer, store).await?;
        let files = self.files_of(viewer, &additions).await?;
        self.touch_store(store, &record).await?;
        let ids: Vec<Nonce> = additions.iter().map(|addition| addition.file.0).collect();
        let id = FileBatchId(self.nonce());
        let batch = Batch { created_at: self.now_s(), files: ids, cancelled: false };
        let roster = Roster::new(&self.store, key::batches(store.0));
        self.forget_batches(store, &roster).await?;
        roster.append(&[BatchEntry { id: id.0 }]).await?;
        recorded::create(&self.store, &key::batch(store.0, id.0), &batch).await?;
        self.add_files(store, additions, files, beside).await?;
        let plan = self.plan(store).await?;
        Ok(BatchObject::new(store, id, &batch, &plan, record.generation()).reply())
    }

    /// Makes room for one more batch.
    async fn forget_batches(&self, store: VectorStoreId, roster: &Roster<'_, S>) -> Result<(), Problem> {
        if roster.at_most().await? < BATCHES_MAX {
            return Ok(());
        }
        let entries: Vec<(u32, BatchEntry)> = roster.all().await?;
        let surplus = (entries.len() + 1).saturating_sub(BATCHES_MAX);
        for (page, entry) in entries.iter().take(surplus) {
            self.store.delete_many(vec![key::batch(store.0, entry.id)]).await?;
            roster
                .update(*page, |entries: &mut Vec<BatchEntry>| {
                    entries.retain(|other| other.id != entry.id);
                    true
                })
                .await?;
        }
        Ok(())
    }

    pub(crate) async fn get_batch(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        id: FileBatchId,
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let (record, batch) = self.batch(viewer, store, id).await?;
        let plan = self.plan(store).await?;
        let object = BatchObject::new(store, id, &batch, &plan, record.generation());
        if object.file_counts.in_progress > 0 {
            self.look_after(store, &record, &plan, beside).await;
        }
        Ok(object.reply())
    }

    pub(crate) async fn cancel_batch(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        id: FileBatchId,
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let (record, batch) = self.batch(viewer, store, id).await?;
        let plan = self.plan(store).await?;
        let object = BatchObject::new(store, id, &batch, &plan, record.generation());
        // It may have ended while its caller made up their mind: nothing is left to call off, and nothing is wrong.
        if object.file_counts.in_progress == 0 && !batch.cancelled {
            return Ok(object.reply());
        }
        let cancelled = recorded::change(&self.store, key::batch(store.0, id.0), |batch: &mut Batch| {
            let begins = !batch.cancelled;
            batch.cancelled = true;
            begins
        });
        let batch = cancelled.await?.value().unwrap_or(batch);
        let keys = batch.files.iter().map(|file| key::member(store.0, *file)).collect();
        let members: Vec<Option<Member>> = read_many(&self.store, keys).await?;
        for (file, member) in batch.files.iter().zip(members) {
            let Some(member) = member else { continue };
            let is_waiting = plan.find(*file, member.version).is_some_and(|entry| plan.is_waiting(entry));
            if is_waiting {
                let cancel = |entry: &mut MemberEntry| {
                    let is_waiting = entry.wish == Wish::Live && entry.published.is_empty();
                    if is_waiting {
                        entry.wish = Wish::Cancelling;
                    }
                    is_waiting
                };
                self.change_entry(store, *file, &member, cancel).await?;
            }
        }
        self.call_quietly(store, &record, beside).await?;
        let plan = self.plan(store).await?;
        Ok(BatchObject::new(store, id, &batch, &plan, record.generation()).reply())
    }

    pub(crate) async fn list_batch_members(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        id: FileBatchId,
        query: &str,
    ) -> Result<Reply, Problem> {
        let query = PageQuery::read(query)?;
        let (record, batch) = self.batch(viewer, store, id).await?;
        let files: HashSet<Nonce> = batch.files.into_iter().collect();
        self.members_json(store, &record, &query, |file| files.contains(&file)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waggle_openai::FileId;

    fn check(body: &str, expected: Result<usize, (u16, &str)>) {
        let read = read_additions(body.as_bytes());
        let read = read.as_ref().map(Vec::len);
        let read = read.map_err(|error| (error.status, error.param.as_deref().unwrap_or_default()));
        assert_eq!(read, expected, "{body:.80}");
    }

    #[test]
    fn a_batch_names_its_files_in_one_of_two_ways() {
        let file = FileId(Nonce::mint(1, 2)).to_string();
        check(&format!(r#"{{"file_ids":["{file}"],"attributes":{{"a":1}}}}"#), Ok(1));
        check(&format!(r#"{{"files":[{{"file_id":"{file}","attributes":{{"a":1}}}}]}}"#), Ok(1));
        check("{}", Err((400, "file_ids")));
        check(r#"{"file_ids":[]}"#, Err((400, "file_ids")));
        check(r#"{"file_ids":["x"]}"#, Err((404, "")));
        check(r#"{"file_ids":[1]}"#, Err((400, "file_ids[0]")));
        check(&format!(r#"{{"file_ids":["{file}"],"files":[{{"file_id":"{file}"}}]}}"#), Err((400, "files")));
        check(&format!(r#"{{"files":[{{"file_id":"{file}"}},{{}}]}}"#), Err((400, "files[1].file_id")));
        let many = vec![format!("\"{file}\""); FILES_MAX + 1].join(",");
        check(&format!(r#"{{"file_ids":[{many}]}}"#), Err((400, "file_ids")));
    }
}
