//! `/v1/vector_stores/{store}/files`: files in a vector store.

use crate::attributes::Attributes;
use crate::files::{deleted_json, file_not_found};
use crate::ingest::{index_name, or_gone};
use crate::key;
use crate::pipeline::note;
use crate::plan::{Plan, lane_of};
use crate::problem::{Problem, limit};
use crate::query::{PageQuery, Status, list_json};
use crate::record::{File, LastError, Member, MemberEntry, STORES_PER_FILE_MAX, StoreRecord, Wish};
use crate::recorded::{self, Changed, Recorded, read_many};
use crate::roster::Roster;
use crate::service::{Beside, Service};
use crate::settings::Bounds;
use crate::strategy::{Shown, Strategy};
use serde::Serialize;
use serde::de::MapAccess;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use waggle_conversation::{Store, Viewer, hex};
use waggle_index::{Index, IndexError};
use waggle_model::transport::Upstream;
use waggle_openai::json::{self, Fields, Path, Text, Unknown, read_object, read_raw};
use waggle_openai::{ApiError, FileId, Nonce, VectorStoreId};
use waggle_platform::{Platform, Reply};

/// How many bytes of a hash say that files are alike.
const ALIKE_BYTES: usize = 16;
/// How many chunks are read at once.
const CHUNKS_READ: u32 = 256;
/// How much text one page of a file's content has, in bytes, and a chunk more.
const CONTENT_BYTES_MAX: usize = 8 << 20;

/// A file that is to be added.
#[derive(Debug, Clone)]
pub(crate) struct Addition {
    pub(crate) file: FileId,
    /// None: as they are, or none.
    pub(crate) attributes: Option<Attributes>,
    pub(crate) strategy: Strategy,
}

impl Addition {
    /// A file as a client names it, without attributes.
    ///
    /// # Errors
    /// 404: it is none of ours.
    pub(crate) fn new(id: &str, strategy: Strategy) -> Result<Self, ApiError> {
        let file = FileId::parse(id).ok_or_else(|| ApiError::not_found("File", id))?;
        Ok(Self { file, attributes: None, strategy })
    }
}

/// What the bodies hold that add and change a file.
#[derive(Default)]
pub(crate) struct MemberBody<'a> {
    is_new: bool,
    pub(crate) file: Option<Text<'a>>,
    pub(crate) attributes: Option<Attributes>,
    pub(crate) strategy: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Fields<'de> for MemberBody<'a> {
    fn read<A: MapAccess<'de>>(&mut self, name: &str, _path: &Path, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "file_id" if self.is_new => self.file = Some(map.next_value()?),
            "attributes" => self.attributes = Some(map.next_value()?),
            "chunking_strategy" if self.is_new => self.strategy = Some(map.next_value()?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> MemberBody<'a> {
    /// Reads the body that adds a file.
    ///
    /// # Errors
    /// 400 naming what is wrong; 404: the file is none of ours.
    pub(crate) fn read_addition(body: &'a [u8]) -> Result<Addition, ApiError> {
        let mut fields = Self { is_new: true, ..Self::default() };
        read_object(body, &mut fields, Unknown::Refused)?;
        let file = fields.file.ok_or_else(|| ApiError::missing("file_id"))?;
        let strategy =
            fields.strategy.map(|raw| Strategy::read(raw.get(), "chunking_strategy")).transpose()?;
        let addition = Addition::new(&file, strategy.unwrap_or_default())?;
        Ok(Addition { attributes: fields.attributes, ..addition })
    }

    fn read_change(body: &'a [u8]) -> Result<Attributes, ApiError> {
        let mut fields = Self::default();
        read_object(body, &mut fields, Unknown::Refused)?;
        fields.attributes.ok_or_else(|| ApiError::missing("attributes"))
    }
}

/// A file in a vector store as clients read it.
#[derive(Serialize)]
pub(crate) struct MemberObject<'a> {
    pub(crate) id: FileId,
    object: &'static str,
    usage_bytes: u64,
    created_at: u64,
    vector_store_id: VectorStoreId,
    status: Status,
    last_error: Option<&'a LastError>,
    chunking_strategy: Shown,
    attributes: &'a Attributes,
}

impl<'a> MemberObject<'a> {
    fn new(store: VectorStoreId, entry: &MemberEntry, member: &'a Member, status: Status) -> Self {
        Self {
            id: FileId(entry.id),
            object: "vector_store.file",
            usage_bytes: entry.bytes,
            created_at: entry.created_at,
            vector_store_id: store,
            status,
            last_error: member.last_error.as_ref().filter(|_| status == Status::Failed),
            chunking_strategy: member.strategy.into(),
            attributes: &member.attributes,
        }
    }
}

/// The files that are to be added, each once: of one that is named twice the later word counts.
fn each_once(additions: Vec<Addition>, files: Vec<File>) -> Vec<(Addition, File)> {
    let mut wanted: Vec<(Addition, File)> = Vec::with_capacity(files.len());
    let mut places: HashMap<Nonce, usize> = HashMap::with_capacity(files.len());
    for pair in additions.into_iter().zip(files) {
        let place = *places.entry(pair.0.file.0).or_insert(wanted.len());
        match wanted.get_mut(place) {
            Some(earlier) => *earlier = pair,
            None => wanted.push(pair),
        }
    }
    wanted
}

/// What files have in common of which only one is taken in.
fn alike(hash: &str, strategy: Strategy, attributes: &Attributes) -> String {
    let mut digest = Sha256::new();
    for part in [hash.as_bytes(), &recorded::encode(&strategy), &recorded::encode(attributes)] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().get(..ALIKE_BYTES).map(hex).unwrap_or_default()
}

fn member_not_found(id: FileId) -> ApiError {
    ApiError::not_found("Vector store file", &id.to_string())
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    /// The records of the files that are to be added.
    ///
    /// # Errors
    /// 404: one is not there for the viewer.
    pub(crate) async fn files_of(
        &self,
        viewer: &Viewer,
        additions: &[Addition],
    ) -> Result<Vec<File>, Problem> {
        let keys = additions.iter().map(|addition| key::file(addition.file.0)).collect();
        let files: Vec<Option<File>> = read_many(&self.store, keys).await?;
        let now_s = self.now_s();
        let is_there = |file: &File| viewer.sees(&file.user) && file.is_there(now_s);
        let found = additions.iter().zip(files).map(|(addition, file)| {
            file.filter(is_there).ok_or_else(|| Problem::from(file_not_found(addition.file)))
        });
        found.collect()
    }

    /// Adds files to a vector store, and has them taken in. One that is in there stays as it is, but for the attributes
    /// that are given; one that failed or was cancelled begins anew.
    ///
    /// # Errors
    /// 429: there would be more than may be; nobody takes the work.
    pub(crate) async fn add_files(
        &self,
        store: VectorStoreId,
        additions: Vec<Addition>,
        files: Vec<File>,
        beside: &mut Beside,
    ) -> Result<(), Problem> {
        let wanted = each_once(additions, files);
        let plan = self.plan(store).await?;
        let keys = wanted.iter().map(|(addition, _)| key::member(store.0, addition.file.0)).collect();
        let members: Vec<Option<Member>> = read_many(&self.store, keys).await?;
        let (mut new, mut lanes) = (Vec::new(), Vec::new());
        for ((addition, file), member) in wanted.into_iter().zip(members) {
            let entry = member.as_ref().and_then(|member| plan.find(addition.file.0, member.version));
            match entry.filter(|entry| entry.wish == Wish::Live) {
                Some(entry) => {
                    // Whoever added it may have died before anybody was called.
                    lanes.extend(plan.is_waiting(entry).then(|| lane_of(entry.id)));
                    if let Some(attributes) = addition.attributes {
                        self.change_attributes(store, addition.file, attributes, beside).await?;
                    }
                }
                None => new.push((addition, file, member)),
            }
        }
        let added = if new.is_empty() { Vec::new() } else { self.add_new(store, &plan, new).await? };
        lanes.extend(added.iter().map(|(file, _)| lane_of(*file)));
        lanes.sort_unstable();
        lanes.dedup();
        if let Err(problem) = self.call_lanes(store, &lanes, beside).await {
            for (file, member) in &added {
                self.hide(store, *file, member).await?;
            }
            return Err(problem);
        }
        Ok(())
    }

    async fn add_new(
        &self,
        store: VectorStoreId,
        plan: &Plan,
        new: Vec<(Addition, File, Option<Member>)>,
    ) -> Result<Vec<(Nonce, Member)>, Problem> {
        let bounds = Bounds::read(&self.platform).await?;
        check_room(plan, new.len(), &bounds)?;
        if new.iter().any(|(_, file, _)| file.expires_at.is_some()) {
            recorded::change(&self.store, key::store(store.0), |record: &mut StoreRecord| {
                let begins = !record.expiring;
                record.expiring = true;
                begins
            })
            .await?;
        }
        self.list_members_anew(store, new).await
    }

    /// Writes entries and records of files that are new in a vector store; those of which another did the same are left to
    /// that.
    async fn list_members_anew(
        &self,
        store: VectorStoreId,
        new: Vec<(Addition, File, Option<Member>)>,
    ) -> Result<Vec<(Nonce, Member)>, Problem> {
        let (now_s, now_ms) = (self.now_s(), self.platform.now_ms());
        let mut pairs = Vec::with_capacity(new.len());
        for (addition, file, before) in new {
            self.join(store, addition.file).await?;
            // Two at the same moment differ by chance; each is greater than the one before.
            let drawn = now_ms << 10 | u64::try_from(self.platform.random() & 1023).unwrap_or_default();
            let version = before.as_ref().map_or(drawn, |before| drawn.max(before.version + 1));
            let attributes = addition.attributes.unwrap_or_default();
            let entry = MemberEntry {
                id: addition.file.0,
                version,
                created_at: now_s,
                wish: Wish::Live,
                alike: alike(&file.hash, addition.strategy, &attributes),
                published: Vec::new(),
                bytes: 0,
            };
            let member = Member {
                version,
                page: 0,
                created_at: now_s,
                filename: note(&file.filename),
                hash: file.hash,
                expires_at: file.expires_at,
                attributes,
                strategy: addition.strategy,
                last_error: None,
                attempts: 0,
                waiting_since: None,
                split: None,
            };
            pairs.push((entry, member, before));
        }
        let entries: Vec<MemberEntry> = pairs.iter().map(|(entry, ..)| entry.clone()).collect();
        let pages = Roster::new(&self.store, key::members(store.0)).append(&entries).await?;
        let mut added = Vec::with_capacity(pairs.len());
        for ((entry, member, before), page) in pairs.into_iter().zip(pages) {
            let member = Member { page, ..member };
            if self.put_member(store, entry.id, &member, before.as_ref()).await? {
                self.join(store, FileId(entry.id)).await?;
                added.push((entry.id, member));
            } else {
                self.hide(store, entry.id, &member).await?;
            }
        }
        Ok(added)
    }

    /// Writes the record of a file that is added, in place of one of an earlier addition, whose entry goes; `false` when
    /// another has added it meanwhile.
    async fn put_member(
        &self,
        store: VectorStoreId,
        file: Nonce,
        member: &Member,
        before: Option<&Member>,
    ) -> Result<bool, Problem> {
        let key = key::member(store.0, file);
        let seen: Option<Recorded<Member>> = recorded::read(&self.store, &key).await?;
        let version = seen.as_ref().map(|seen| seen.value.version);
        let is_same = version.is_none() || version == before.map(|before| before.version);
        let stored = match &seen {
            _ if !is_same => false,
            Some(seen) => recorded::replace(&self.store, &key, seen, member).await?,
            None => recorded::create(&self.store, &key, member).await?,
        };
        if stored && let Some(seen) = seen {
            self.hide(store, file, &seen.value).await?;
        }
        Ok(stored)
    }

    /// Notes in a file's record that it is in a vector store.
    async fn join(&self, store: VectorStoreId, id: FileId) -> Result<(), Problem> {
        let mut is_full = false;
        let changed = recorded::change(&self.store, key::file(id.0), |file: &mut File| {
            let is_in = file.stores.contains(&store.0);
            is_full = !is_in && file.stores.len() >= STORES_PER_FILE_MAX;
            if !is_in {
                file.stores.push(store.0);
            }
            !is_in && !is_full && !file.deleting
        });
        match changed.await? {
            Changed::Missing => Err(file_not_found(id).into()),
            Changed::Unwanted(file) if file.deleting => Err(file_not_found(id).into()),
            Changed::Unwanted(_) if is_full => {
                let message = format!("File '{id}' is in {STORES_PER_FILE_MAX} vector stores already.");
                Err(limit("file_stores_limit_exceeded", message).into())
            }
            Changed::Stored(_) | Changed::Unwanted(_) => Ok(()),
        }
    }

    /// Gives a file other attributes, wherever it is found.
    async fn change_attributes(
        &self,
        store: VectorStoreId,
        file: FileId,
        attributes: Attributes,
        beside: &mut Beside,
    ) -> Result<(), Problem> {
        let changed = recorded::change(&self.store, key::member(store.0, file.0), |member: &mut Member| {
            let is_other = member.attributes != attributes;
            member.attributes = attributes.clone();
            is_other
        });
        let Changed::Stored(member) = changed.await? else { return Ok(()) };
        let alike = alike(&member.hash, member.strategy, &member.attributes);
        let mut published = Vec::new();
        let change = |entry: &mut MemberEntry| {
            published.clone_from(&entry.published);
            entry.alike.clone_from(&alike);
            true
        };
        self.change_entry(store, file.0, &member, change).await?;
        for generation in published {
            let attributes = member.attributes.of_group(member.expires_at);
            let index = index_name(store, generation);
            or_gone(self.index.set_attributes(&index, &file.to_string(), attributes).await)?;
        }
        // It may lead others now, or have led some that have to be taken in themselves.
        let record: Option<Recorded<StoreRecord>> = recorded::read(&self.store, &key::store(store.0)).await?;
        match record {
            Some(record) => self.call_quietly(store, &record.value, beside).await,
            None => Ok(()),
        }
    }

    /// The record and the entry of a file in a vector store, as clients see it, and how far it is.
    async fn member(
        &self,
        store: VectorStoreId,
        record: &StoreRecord,
        plan: &Plan,
        file: FileId,
    ) -> Result<(Member, MemberEntry, Status), Problem> {
        let member: Option<Recorded<Member>> =
            recorded::read(&self.store, &key::member(store.0, file.0)).await?;
        let member = member.ok_or_else(|| member_not_found(file))?.value;
        let entry = plan.find(file.0, member.version).ok_or_else(|| member_not_found(file))?;
        Ok((member, entry.clone(), plan.status(entry, record.generation())))
    }

    async fn show_member(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        file: FileId,
    ) -> Result<Reply, Problem> {
        let record = self.open_store(viewer, store).await?;
        let plan = self.plan(store).await?;
        let (member, entry, status) = self.member(store, &record, &plan, file).await?;
        let mut out = Vec::with_capacity(512);
        json::push(&mut out, &MemberObject::new(store, &entry, &member, status));
        Ok(Reply::json(out))
    }

    pub(crate) async fn add_member(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        body: &[u8],
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let addition = MemberBody::read_addition(body)?;
        let record = self.open_store(viewer, store).await?;
        let file = addition.file;
        let additions = vec![addition];
        let files = self.files_of(viewer, &additions).await?;
        self.touch_store(store, &record).await?;
        self.add_files(store, additions, files, beside).await?;
        self.show_member(viewer, store, file).await
    }

    pub(crate) async fn get_member(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        file: FileId,
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let record = self.open_store(viewer, store).await?;
        let plan = self.plan(store).await?;
        let (member, entry, status) = self.member(store, &record, &plan, file).await?;
        if status == Status::InProgress {
            self.look_after(store, &record, &plan, beside).await;
        }
        let mut out = Vec::with_capacity(512);
        json::push(&mut out, &MemberObject::new(store, &entry, &member, status));
        Ok(Reply::json(out))
    }

    pub(crate) async fn update_member(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        (file, body): (FileId, &[u8]),
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        let attributes = MemberBody::read_change(body)?;
        let record = self.open_store(viewer, store).await?;
        self.member(store, &record, &self.plan(store).await?, file).await?;
        self.change_attributes(store, file, attributes, beside).await?;
        self.show_member(viewer, store, file).await
    }

    pub(crate) async fn remove_member(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        file: FileId,
        beside: &mut Beside,
    ) -> Result<Reply, Problem> {
        self.open_store(viewer, store).await?;
        if !self.detach(store, file.0, beside).await? {
            return Err(member_not_found(file).into());
        }
        Ok(deleted_json(file, "vector_store.file.deleted"))
    }

    pub(crate) async fn list_members(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        query: &str,
    ) -> Result<Reply, Problem> {
        let query = PageQuery::read(query)?;
        let record = self.open_store(viewer, store).await?;
        self.members_json(store, &record, &query, |_| true).await
    }

    /// A page of the files of a vector store, of those that are `wanted`.
    ///
    /// # Errors
    /// 400: a cursor is none of them.
    pub(crate) async fn members_json(
        &self,
        store: VectorStoreId,
        record: &StoreRecord,
        query: &PageQuery,
        wanted: impl Fn(Nonce) -> bool,
    ) -> Result<Reply, Problem> {
        let plan = self.plan(store).await?;
        let listed = plan.seen().filter(|entry| wanted(entry.id)).filter_map(|entry| {
            let status = plan.status(entry, record.generation());
            query.filter.is_none_or(|filter| filter == status).then_some((entry, status))
        });
        let (page, has_more) = query
            .select(listed.collect(), |(entry, _): &(&MemberEntry, Status)| FileId(entry.id).to_string())?;
        let keys = page.iter().map(|(entry, _)| key::member(store.0, entry.id)).collect();
        let members: Vec<Option<Member>> = read_many(&self.store, keys).await?;
        let found = page.iter().zip(&members).filter_map(|((entry, status), member)| {
            let member = member.as_ref().filter(|member| member.version == entry.version)?;
            Some(MemberObject::new(store, entry, member, *status))
        });
        let objects: Vec<MemberObject<'_>> = found.collect();
        Ok(Reply::json(list_json(&objects, |object| object.id.to_string(), has_more)))
    }

    pub(crate) async fn get_member_content(
        &self,
        viewer: &Viewer,
        store: VectorStoreId,
        file: FileId,
        query: &str,
    ) -> Result<Reply, Problem> {
        #[derive(Serialize)]
        struct Content {
            r#type: &'static str,
            text: String,
        }
        #[derive(Serialize)]
        struct Page {
            object: &'static str,
            data: Vec<Content>,
            has_more: bool,
            next_page: Option<String>,
        }
        let mut start = content_place(query)?;
        let record = self.open_store(viewer, store).await?;
        let plan = self.plan(store).await?;
        let (_, entry, _) = self.member(store, &record, &plan, file).await?;
        // One that is like another is found as that.
        let found = plan.found_as(&entry).map_or(file, |found| FileId(found.id));
        let index = index_name(store, record.generation());
        let (mut data, mut bytes, mut is_whole) = (Vec::new(), 0, false);
        while !is_whole && bytes < CONTENT_BYTES_MAX {
            let chunks = match self.index.read(&index, &found.to_string(), start, CHUNKS_READ).await {
                Err(IndexError::NoSuchGroup | IndexError::NoSuchIndex) => Vec::new(),
                read => read?,
            };
            is_whole = chunks.len() < CHUNKS_READ as usize;
            start += CHUNKS_READ;
            bytes += chunks.iter().map(|chunk| chunk.text.len()).sum::<usize>();
            data.extend(chunks.into_iter().map(|chunk| Content { r#type: "text", text: chunk.text }));
        }
        let next_page = (!is_whole).then(|| start.to_string());
        let mut out = Vec::with_capacity(bytes + 256);
        let object = "vector_store.file_content.page";
        json::push(&mut out, &Page { object, data, has_more: next_page.is_some(), next_page });
        Ok(Reply::json(out))
    }
}

/// Where a page of a file's content begins: the number of its first chunk.
fn content_place(query: &str) -> Result<u32, ApiError> {
    let page = query.split('&').find_map(|pair| pair.strip_prefix("page=")).filter(|page| !page.is_empty());
    let place = page.map_or(Ok(0), |page| read_raw::<u32>(page, "page"))?;
    if place >= 100_000 {
        Err(crate::problem::wrong("page", "the 'next_page' of another page"))
    } else {
        Ok(place)
    }
}

fn check_room(plan: &Plan, count: usize, bounds: &Bounds) -> Result<(), ApiError> {
    // Those that are in progress in any generation.
    let waiting: usize = plan.waiting();
    let total = plan.seen().count();
    if total + count > bounds.vector_store_files_max {
        let message = format!(
            "The vector store would have {} files, and at most {} are accepted (vector_store_files_max).",
            total + count,
            bounds.vector_store_files_max
        );
        return Err(limit("vector_store_file_limit_exceeded", message));
    }
    if waiting + count > bounds.ingestion_files_max {
        let message = format!(
            "{waiting} files of this vector store are still being taken in, and at most {} may be \
             (ingestion_files_max). Try again when some are done.",
            bounds.ingestion_files_max
        );
        let limited = ApiError::rate_limited(Some(30), message);
        return Err(ApiError { code: Some("ingestion_limit_exceeded"), ..limited });
    }
    Ok(())
}
