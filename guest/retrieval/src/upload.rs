//! `POST /v1/files`: a form that is stored as it arrives.
//!
//! What is to be stored is listed first, so that what an upload leaves behind which dies is found and cleared away by a
//! later one.

use crate::blob::{self, PART_BYTES};
use crate::files::FileObject;
use crate::key;
use crate::multipart::{Event, Form};
use crate::problem::{Problem, limit, wrong};
use crate::record::{File, FileEntry};
use crate::recorded::encode;
use crate::roster::Roster;
use crate::service::Service;
use crate::settings::Bounds;
use sha2::{Digest as _, Sha256};
use waggle_conversation::{Store, Viewer, hex};
use waggle_index::Index;
use waggle_model::transport::{ChunkSource, Upstream};
use waggle_openai::{ApiError, FileId, Nonce, Whole, json};
use waggle_platform::{Platform, Reply, Request};

/// How much longer than its file a form may be, in bytes.
const FORM_BYTES_MAX: u64 = 64 << 10;
/// The longest name of a file, in bytes.
const FILENAME_BYTES_MAX: usize = 512;
/// The longest media type that is kept, in bytes.
const MEDIA_TYPE_BYTES_MAX: usize = 255;
/// What a file can be for.
const PURPOSES: [&str; 6] = ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"];
/// The bounds of `expires_after[seconds]`.
const EXPIRES_S_MIN: u64 = 3_600;
const EXPIRES_S_MAX: u64 = 2_592_000;
/// How long an upload may take before it is taken for dead, in seconds: longer than a host lets any request last.
const UPLOAD_S_MAX: u64 = 3_600;
/// How many files that are to go one upload clears away.
const CLEARED_MAX: usize = 4;

/// What the fields of a form say that are no file.
#[derive(Debug, Default)]
struct Fields {
    purpose: Option<String>,
    anchor: Option<String>,
    seconds: Option<u64>,
}

impl Fields {
    fn take(&mut self, name: &str, value: String) -> Result<(), ApiError> {
        match name {
            "purpose" if PURPOSES.contains(&value.as_str()) => self.purpose = Some(value),
            "purpose" => return Err(wrong("purpose", &format!("one of '{}'", PURPOSES.join("', '")))),
            "expires_after[anchor]" if value == "created_at" => self.anchor = Some(value),
            "expires_after[anchor]" => return Err(wrong("expires_after.anchor", "'created_at'")),
            "expires_after[seconds]" => {
                let whole = || serde_json::from_str::<Whole<u64>>(&value).ok().map(|Whole(seconds)| seconds);
                let seconds: Option<u64> = value.parse().ok().or_else(whole);
                let seconds = seconds.filter(|seconds| (EXPIRES_S_MIN..=EXPIRES_S_MAX).contains(seconds));
                let expected = format!("an integer from {EXPIRES_S_MIN} to {EXPIRES_S_MAX}");
                self.seconds = Some(seconds.ok_or_else(|| wrong("expires_after.seconds", &expected))?);
            }
            _ => {
                let name = waggle_openai::error::echo(name);
                let message = format!("Unknown parameter: '{name}'.");
                return Err(ApiError::invalid_param(name, "unknown_parameter", message));
            }
        }
        Ok(())
    }

    /// The purpose, and in how many seconds the file expires.
    fn checked(self) -> Result<(String, Option<u64>), ApiError> {
        let purpose = self.purpose.ok_or_else(|| ApiError::missing("purpose"))?;
        let expires_s = match (self.anchor, self.seconds) {
            (Some(_), Some(seconds)) => Some(seconds),
            (None, None) => (purpose == "batch").then_some(EXPIRES_S_MAX),
            (None, _) => return Err(ApiError::missing("expires_after.anchor")),
            (_, None) => return Err(ApiError::missing("expires_after.seconds")),
        };
        Ok((purpose, expires_s))
    }
}

/// A file that is arriving.
struct Arriving {
    id: Nonce,
    bytes_max: u64,
    fields: Fields,
    /// Its name and its media type, once it has begun.
    named: Option<(String, Option<String>)>,
    hash: Sha256,
    bytes: u64,
    parts: u64,
    part: Vec<u8>,
}

impl Arriving {
    fn begin(&mut self, name: &str, filename: String, media_type: Option<String>) -> Result<(), ApiError> {
        if name != "file" {
            return self.fields.take(name, filename);
        }
        if self.named.is_some() {
            return Err(wrong("file", "one file"));
        }
        if filename.is_empty() || filename.len() > FILENAME_BYTES_MAX {
            return Err(wrong("file", &format!("a file whose name has 1 to {FILENAME_BYTES_MAX} bytes")));
        }
        let media_type = media_type.filter(|media_type| media_type.len() <= MEDIA_TYPE_BYTES_MAX);
        self.named = Some((filename, media_type));
        Ok(())
    }

    /// Takes bytes of the file, and stores each part of it that is whole.
    async fn take<S: Store>(&mut self, store: &S, bytes: &[u8]) -> Result<(), Problem> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(too_large(self.bytes_max).into());
        }
        self.hash.update(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = PART_BYTES.saturating_sub(self.part.len()).min(rest.len());
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            self.part.extend_from_slice(now);
            rest = later;
            if self.part.len() == PART_BYTES {
                self.store_part(store).await?;
            }
        }
        Ok(())
    }

    async fn store_part<S: Store>(&mut self, store: &S) -> Result<(), Problem> {
        if !self.part.is_empty() {
            blob::write_part(store, self.id, self.parts, std::mem::take(&mut self.part)).await?;
            self.parts += 1;
        }
        Ok(())
    }
}

/// 413: the file is longer than may be.
fn too_large(bytes_max: u64) -> ApiError {
    let message = format!("The file is too large: at most {bytes_max} bytes are accepted.");
    ApiError {
        status: 413,
        param: Some("file".to_owned()),
        code: Some("file_too_large"),
        ..ApiError::invalid(message)
    }
}

impl<S, I, U, P> Service<S, I, U, P>
where
    S: Store + 'static,
    I: Index + 'static,
    U: Upstream + 'static,
    P: Platform,
{
    pub(crate) async fn create_file<C: ChunkSource>(
        &self,
        viewer: &Viewer,
        request: Request<'_>,
        body: C,
    ) -> Result<Reply, Problem> {
        let form = Form::new(request.content_type)?;
        let bounds = Bounds::read(&self.platform).await?;
        if request.content_length.is_some_and(|length| length > bounds.file_bytes_max + FORM_BYTES_MAX) {
            return Err(too_large(bounds.file_bytes_max).into());
        }
        let owner = viewer.owner();
        let roster = Roster::new(&self.store, key::files(&key::owner(&owner)));
        let entries: Vec<(u32, FileEntry)> = roster.all().await?;
        let bytes_left = room(&entries, &bounds)?;
        let (id, now_s) = (self.nonce(), self.now_s());
        let listed = FileEntry {
            id,
            created_at: now_s,
            bytes: 0,
            purpose: String::new(),
            expires_at: None,
            ready: false,
        };
        let page = roster.append(&[listed]).await?.first().copied().unwrap_or_default();
        let arriving = Arriving {
            id,
            bytes_max: bounds.file_bytes_max.min(bytes_left),
            fields: Fields::default(),
            named: None,
            hash: Sha256::new(),
            bytes: 0,
            parts: 0,
            part: Vec::new(),
        };
        let stored = match self.receive(arriving, form, body).await {
            Ok(arrived) => self.keep(viewer, page, arrived).await,
            Err(problem) => Err(problem),
        };
        match stored {
            Ok(file) => {
                self.clear_away(viewer, &entries).await;
                let mut out = Vec::with_capacity(256);
                json::push(&mut out, &FileObject::new(FileId(id), &file));
                Ok(Reply::json(out))
            }
            Err(problem) => {
                if let Err(failed) = self.undo_upload(viewer, (page, id)).await {
                    let reason = failed.log.unwrap_or_default();
                    self.platform
                        .log(&format!("file={} an upload was not cleared away: {reason}", FileId(id)));
                }
                Err(problem)
            }
        }
    }

    /// Reads the form to its end and stores the file's bytes.
    async fn receive<C: ChunkSource>(
        &self,
        mut arriving: Arriving,
        mut form: Form,
        mut body: C,
    ) -> Result<Arriving, Problem> {
        let mut received = 0;
        let ended_early = |_| ApiError::invalid("The request body ended early.");
        while let Some(chunk) = body.next_chunk().await.map_err(ended_early)? {
            received += chunk.len() as u64;
            if received > arriving.bytes_max.saturating_add(FORM_BYTES_MAX) {
                return Err(too_large(arriving.bytes_max).into());
            }
            for event in form.feed(&chunk)? {
                match event {
                    Event::Field { name, value } => arriving.fields.take(&name, value)?,
                    Event::File { name, filename, media_type } => {
                        arriving.begin(&name, filename, media_type)?
                    }
                    Event::Bytes(bytes) => arriving.take(&self.store, &bytes).await?,
                }
            }
        }
        form.finish()?;
        arriving.store_part(&self.store).await?;
        Ok(arriving)
    }

    /// Makes a file of what has arrived.
    async fn keep(&self, viewer: &Viewer, page: u32, arrived: Arriving) -> Result<File, Problem> {
        let Arriving { id, fields, named, hash, bytes, parts, .. } = arrived;
        let (filename, media_type) = named.ok_or_else(|| ApiError::missing("file"))?;
        let (purpose, expires_s) = fields.checked()?;
        if bytes == 0 {
            return Err(wrong("file", "a file that is not empty").into());
        }
        let (owner, created_at) = (viewer.owner(), self.now_s());
        let mut file = File {
            user: owner.clone(),
            created_at,
            filename,
            bytes,
            purpose,
            media_type,
            expires_at: expires_s.map(|seconds| created_at + seconds),
            hash: hex(&hash.finalize()),
            blob: id,
            parts,
            page,
            ready: false,
            stores: Vec::new(),
            deleting: false,
        };
        let key = key::file(id);
        // Before its content is counted: whoever clears away finds by it what to count no more.
        self.store.set_many(vec![(key.clone(), encode(&file))]).await?;
        let (blob, parts) = blob::claim(&self.store, &key::owner(&owner), &file.hash, (id, parts)).await?;
        (file.blob, file.parts, file.ready) = (blob, parts, true);
        self.store.set_many(vec![(key, encode(&file))]).await?;
        if blob != id {
            blob::erase(&self.store, id).await?;
        }
        let roster = Roster::new(&self.store, key::files(&key::owner(&owner)));
        roster
            .update(page, |entries: &mut Vec<FileEntry>| {
                let Some(entry) = entries.iter_mut().find(|entry| entry.id == id) else { return false };
                entry.bytes = file.bytes;
                entry.purpose = file.purpose.clone();
                entry.expires_at = file.expires_at;
                entry.ready = true;
                true
            })
            .await?;
        Ok(file)
    }

    async fn undo_upload(&self, viewer: &Viewer, (page, id): (u32, Nonce)) -> Result<(), Problem> {
        let owner = key::owner(&viewer.owner());
        self.erase_file(&owner, page, id, &mut Vec::new()).await
    }

    /// Clears a few files away that have expired, or whose upload has died. What fails is tried again by the next upload.
    async fn clear_away(&self, viewer: &Viewer, entries: &[(u32, FileEntry)]) {
        let now_s = self.now_s();
        let is_due = |entry: &FileEntry| match entry.ready {
            true => entry.expires_at.is_some_and(|at| at <= now_s),
            false => entry.created_at + UPLOAD_S_MAX <= now_s,
        };
        let owner = key::owner(&viewer.owner());
        for (page, entry) in entries.iter().filter(|(_, entry)| is_due(entry)).take(CLEARED_MAX) {
            let mut beside = Vec::new();
            if let Err(problem) = self.erase_file(&owner, *page, entry.id, &mut beside).await {
                let reason = problem.log.unwrap_or_default();
                self.platform.log(&format!("file={} was not cleared away: {reason}", FileId(entry.id)));
                return;
            }
        }
    }
}

/// How many bytes more an owner may store.
fn room(entries: &[(u32, FileEntry)], bounds: &Bounds) -> Result<u64, ApiError> {
    if entries.len() >= bounds.files_max {
        let message = format!(
            "There are {} files already (files_max). Delete some that are no longer needed.",
            entries.len()
        );
        return Err(limit("file_limit_exceeded", message));
    }
    let bytes: u64 = entries.iter().map(|(_, entry)| entry.bytes).sum();
    let left = bounds.files_bytes_max.saturating_sub(bytes);
    if left == 0 {
        let message = format!(
            "The files have {bytes} bytes already (files_bytes_max). Delete some that are no longer needed."
        );
        return Err(limit("file_bytes_limit_exceeded", message));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&str, &str)], expected: Result<(&str, Option<u64>), &str>) {
        let mut read = Fields::default();
        let taken = fields.iter().try_for_each(|(name, value)| read.take(name, (*value).to_owned()));
        let checked = taken.and_then(|()| read.checked());
        let checked = checked.as_ref().map(|(purpose, expires_s)| (purpose.as_str(), *expires_s));
        assert_eq!(
            checked.map_err(|error| error.param.as_deref().unwrap_or_default()),
            expected,
            "{fields:?}"
        );
    }

    #[test]
    fn the_fields_of_a_form_are_held_to_their_bounds() {
        check(&[("purpose", "assistants")], Ok(("assistants", None)));
        check(&[("purpose", "batch")], Ok(("batch", Some(2_592_000))));
        let anchor = ("expires_after[anchor]", "created_at");
        let seconds = |seconds| ("expires_after[seconds]", seconds);
        check(&[("purpose", "user_data"), anchor, seconds("3600")], Ok(("user_data", Some(3600))));
        check(&[("purpose", "user_data"), anchor, seconds("3600.0")], Ok(("user_data", Some(3600))));
        check(&[], Err("purpose"));
        check(&[("purpose", "fun")], Err("purpose"));
        check(&[("purpose", "batch"), anchor], Err("expires_after.seconds"));
        check(&[("purpose", "batch"), seconds("3600")], Err("expires_after.anchor"));
        check(&[("purpose", "batch"), anchor, seconds("3599")], Err("expires_after.seconds"));
        check(&[("purpose", "batch"), anchor, seconds("3600.5")], Err("expires_after.seconds"));
        check(&[("purpose", "batch"), anchor, seconds("2592001")], Err("expires_after.seconds"));
        check(&[("purpose", "batch"), ("expires_after[anchor]", "now")], Err("expires_after.anchor"));
        check(&[("other", "x")], Err("other"));
    }
}
