//! Brings a vector store to what files hold: sends what is new, waits until it is found, then lets earlier versions go.

use crate::client::patiently;
use crate::form::Form;
use crate::plan::{There, plan};
use crate::scan::{LocalFile, digest};
use crate::shape::Named;
use crate::{HASH_ATTRIBUTE, Knowledge, KnowledgeError, Member, PATH_ATTRIBUTE, Store};
use futures::stream::{self, StreamExt as _};
use serde_json::json;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How many files are on their way at once.
const AT_ONCE: usize = 4;
/// The longest path that a file's attributes can hold, in bytes.
const PATH_BYTES_MAX: usize = 512;
/// How often it is asked how far the files are: at first, and at last.
const POLL_FIRST: Duration = Duration::from_millis(100);
const POLL_LAST: Duration = Duration::from_secs(2);
/// How long no file may get any further until nobody waits any more.
const STALLED_MAX: Duration = Duration::from_secs(900);

/// How far an addition is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many files have to be taken in.
    pub files: usize,
    /// How many of these are with the server.
    pub uploaded: usize,
    /// How many of these are found, or have failed.
    pub done: usize,
}

/// A file that was not taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it is called.
    pub label: String,
    /// Why.
    pub reason: String,
}

/// What has become of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// New ones.
    pub added: usize,
    /// Those of which there was an earlier version.
    pub replaced: usize,
    /// Those that were there as they are.
    pub unchanged: usize,
    /// The rest, in the order in which they were named. An earlier version of them is there as before.
    pub failed: Vec<Failure>,
}

/// A file that has to be taken in.
struct Task<'a> {
    file: &'a LocalFile,
    hash: String,
    bytes: u64,
    /// Its id at the server, once it has one.
    id: Option<String>,
    stale: Vec<String>,
}

/// What came of sorting the files.
#[derive(Default)]
struct Sorted<'a> {
    tasks: Vec<Task<'a>>,
    unchanged: usize,
    /// Versions of unchanged files that should have gone before.
    stale: Vec<String>,
    failed: Vec<Failure>,
}

fn failure(file: &LocalFile, reason: impl ToString) -> Failure {
    Failure { label: file.label.clone(), reason: reason.to_string() }
}

/// Reads all files once, and sorts out those that are there as they are.
fn sort<'a>(files: &'a [LocalFile], members: &[Member]) -> Sorted<'a> {
    let mut by_path: HashMap<&str, Vec<Member>> = HashMap::new();
    for member in members {
        if let Some(path) = member.path() {
            by_path.entry(path).or_default().push(member.clone());
        }
    }
    let mut sorted = Sorted::default();
    for file in files {
        if file.label.len() > PATH_BYTES_MAX {
            sorted.failed.push(failure(file, format!("its path is longer than {PATH_BYTES_MAX} bytes")));
            continue;
        }
        let (bytes, hash) = match digest(&file.path) {
            Ok(digest) => digest,
            Err(error) => {
                sorted.failed.push(failure(file, error));
                continue;
            }
        };
        let versions = by_path.get(file.label.as_str()).map(Vec::as_slice).unwrap_or_default();
        let plan = plan(&file.label, &hash, versions);
        let id = match plan.there {
            There::Whole => {
                sorted.unchanged += 1;
                sorted.stale.extend(plan.stale);
                continue;
            }
            There::Coming(id) => Some(id),
            There::Not => None,
        };
        sorted.tasks.push(Task { file, hash, bytes, id, stale: plan.stale });
    }
    sorted
}

/// The file's name without its folders, under which it is uploaded.
fn filename(file: &LocalFile) -> &str {
    file.label.rsplit('/').next().unwrap_or_default()
}

impl Knowledge {
    /// Brings a vector store to what `files` hold. What else it holds stays. `watch` is told whenever something gets
    /// further.
    ///
    /// # Errors
    /// What concerns all files alike: the server is not there, or refuses the caller. What concerns one file is in
    /// [`Added::failed`].
    pub async fn add(
        &self,
        store: &Store,
        files: &[LocalFile],
        watch: &dyn Fn(Progress),
    ) -> Result<Added, KnowledgeError> {
        let members = self.members(&store.id).await?;
        let Sorted { tasks, unchanged, stale, failed } = sort(files, &members);
        let mut added = Added { unchanged, failed, ..Added::default() };
        let progress = Progress { files: tasks.len(), ..Progress::default() };
        watch(progress);
        let sent = self.send_all(&store.id, tasks, progress, watch, &mut added.failed).await?;
        let states = self.wait_for_all(&store.id, &sent, progress, watch).await?;
        for task in &sent {
            match state_of(task, &states) {
                Ok(()) => {
                    for id in &task.stale {
                        self.delete_file(id).await?;
                    }
                    if task.stale.is_empty() { added.added += 1 } else { added.replaced += 1 }
                }
                Err(reason) => {
                    added.failed.push(failure(task.file, reason));
                    // It is sent again the next time, and until then does not stand in the way.
                    if let Some(id) = &task.id {
                        self.delete_file(id).await?;
                    }
                }
            }
        }
        for id in &stale {
            self.delete_file(id).await?;
        }
        added.failed.sort_by(|one, other| one.label.cmp(&other.label));
        Ok(added)
    }

    /// Sends what is not with the server yet. Those that arrived.
    async fn send_all<'a>(
        &self,
        store: &str,
        tasks: Vec<Task<'a>>,
        progress: Progress,
        watch: &dyn Fn(Progress),
        failed: &mut Vec<Failure>,
    ) -> Result<Vec<Task<'a>>, KnowledgeError> {
        let uploaded = Cell::new(0);
        let sending = tasks.into_iter().map(|mut task| {
            let uploaded = &uploaded;
            async move {
                let arrived = match &task.id {
                    Some(_coming) => Ok(None),
                    None => self.send_one(store, &task).await.map(Some),
                };
                uploaded.set(uploaded.get() + 1);
                watch(Progress { uploaded: uploaded.get(), ..progress });
                match arrived {
                    Ok(id) => {
                        task.id = task.id.take().or(id);
                        Ok(task)
                    }
                    Err(error) => Err((task, error)),
                }
            }
        });
        let mut sending = stream::iter(sending).buffer_unordered(AT_ONCE);
        let mut sent = Vec::new();
        while let Some(arrived) = sending.next().await {
            match arrived {
                Ok(task) => sent.push(task),
                Err((_, error)) if error.is_of_all() => return Err(error),
                Err((task, error)) => failed.push(failure(task.file, error)),
            }
        }
        Ok(sent)
    }

    /// Uploads a file and has it taken in; its id.
    async fn send_one(&self, store: &str, task: &Task<'_>) -> Result<String, KnowledgeError> {
        let unreadable = |error: std::io::Error| KnowledgeError::File {
            path: task.file.path.clone(),
            reason: error.to_string(),
        };
        let uploaded: Named = patiently(async || {
            let form = Form::of_file(&task.file.path, filename(task.file), task.bytes, &task.hash).await;
            self.upload("/v1/files", form.map_err(unreadable)?).await
        })
        .await?;
        let attributes = json!({ PATH_ATTRIBUTE: task.file.label, HASH_ATTRIBUTE: task.hash });
        match self.add_member(store, &uploaded.id, &attributes).await {
            Ok(_member) => Ok(uploaded.id),
            Err(error) => {
                // Nobody would find it again. What failed first is what is told.
                let _also_failed = self.delete_file(&uploaded.id).await;
                Err(error)
            }
        }
    }

    /// Waits until none of the files is being taken in any more, and tells what has become of all files of the vector
    /// store, by their ids.
    async fn wait_for_all(
        &self,
        store: &str,
        sent: &[Task<'_>],
        progress: Progress,
        watch: &dyn Fn(Progress),
    ) -> Result<HashMap<String, Member>, KnowledgeError> {
        if sent.is_empty() {
            return Ok(HashMap::new());
        }
        let own: HashSet<&str> = sent.iter().filter_map(|task| task.id.as_deref()).collect();
        let (mut left, mut since, mut pause) = (usize::MAX, Instant::now(), POLL_FIRST);
        loop {
            let coming = self.coming(store).await?;
            let now = coming.iter().filter(|id| own.contains(id.as_str())).count();
            if now < left {
                (left, since) = (now, Instant::now());
                // Those that never arrived are done as well.
                watch(Progress {
                    uploaded: progress.files,
                    done: progress.files.saturating_sub(now),
                    ..progress
                });
            }
            if now == 0 || since.elapsed() > STALLED_MAX {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_LAST);
        }
        let members = self.members(store).await?;
        Ok(members.into_iter().map(|member| (member.id.clone(), member)).collect())
    }
}

/// Whether a file is found, and if not, why.
fn state_of(task: &Task<'_>, states: &HashMap<String, Member>) -> Result<(), String> {
    let Some(member) = task.id.as_ref().and_then(|id| states.get(id)) else {
        return Err("somebody removed it before it was taken in".to_owned());
    };
    match (member.status.as_str(), &member.last_error) {
        ("completed", _) => Ok(()),
        ("failed", Some(error)) => Err(error.message.clone()),
        ("in_progress", _) => {
            let minutes = STALLED_MAX.as_secs() / 60;
            Err(format!("the server has not taken it in within {minutes} minutes"))
        }
        (status, _) => Err(format!("the server says it is {status}")),
    }
}
