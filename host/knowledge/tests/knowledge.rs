//! The client against a server that behaves as Waggle does.

#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

mod server;

use serde_json::json;
use server::{STORE, Shared, start};
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use waggle_knowledge::{Added, Asking, FailedQuestion, Knowledge, KnowledgeError, Progress, scan};

/// Brings the vector store `docs` to what the folder holds.
async fn add(server: &Knowledge, folder: &Path) -> Added {
    let store = server.store_or_new("docs").await.unwrap();
    let files = scan(&[folder.to_owned()]).unwrap().files;
    server.add(&store, &files, &|_progress| {}).await.unwrap()
}

fn counts(added: &Added) -> (usize, usize, usize, usize) {
    (added.added, added.replaced, added.unchanged, added.failed.len())
}

/// What the server holds, by content.
fn contents(state: &Shared) -> Vec<String> {
    let mut contents: Vec<String> =
        state.lock().unwrap().files.iter().map(|(_, content)| content.clone()).collect();
    contents.sort();
    contents
}

#[tokio::test]
async fn files_are_sent_once_and_changed_ones_are_replaced() {
    let (server, state) = start().await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.md", "b.md", "c.md"] {
        fs::write(folder.path().join(name), format!("about {name}")).unwrap();
    }
    assert_eq!(counts(&add(&server, folder.path()).await), (3, 0, 0, 0));
    assert_eq!(counts(&add(&server, folder.path()).await), (0, 0, 3, 0));
    fs::write(folder.path().join("b.md"), "about something else").unwrap();
    assert_eq!(counts(&add(&server, folder.path()).await), (0, 1, 2, 0));
    assert_eq!(contents(&state), ["about a.md", "about c.md", "about something else"]);
    let uploads = state.lock().unwrap().asked.iter().filter(|asked| *asked == "POST /v1/files").count();
    assert_eq!(uploads, 4);
}

#[tokio::test]
async fn a_file_that_fails_is_named_and_keeps_no_other_from_being_taken_in() {
    let (server, state) = start().await;
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("a.md", "good"), ("b.md", "broken"), ("c.md", "good too")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let added = add(&server, folder.path()).await;
    assert_eq!(counts(&added), (2, 0, 0, 1));
    assert!(
        added.failed[0].label.ends_with("b.md") && added.failed[0].reason == "It is broken.",
        "{added:?}"
    );
    assert_eq!(contents(&state), ["good", "good too"]);
    // An earlier version stays where the later one fails.
    fs::write(folder.path().join("a.md"), "now broken").unwrap();
    assert_eq!(counts(&add(&server, folder.path()).await), (0, 0, 1, 2));
    assert_eq!(contents(&state), ["good", "good too"]);
}

#[tokio::test]
async fn files_that_are_on_their_way_are_waited_for_and_not_sent_again() {
    let (server, state) = start().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.md"), "abc").unwrap();
    let label = format!("{}/a.md", folder.path().file_name().unwrap().to_str().unwrap());
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let member =
        json!({"id": "file-9", "status": "in_progress", "attributes": {"path": label, "content_hash": hash}});
    state.lock().unwrap().members.push(member);
    assert_eq!(counts(&add(&server, folder.path()).await), (1, 0, 0, 0));
    assert_eq!(contents(&state), [""; 0]);
}

#[tokio::test]
async fn progress_is_told_up_to_its_end() {
    let (server, _state) = start().await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.md", "b.md"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let store = server.store_or_new("docs").await.unwrap();
    let files = scan(&[folder.path().to_owned()]).unwrap().files;
    let told = RefCell::new(Vec::new());
    server.add(&store, &files, &|progress| told.borrow_mut().push(progress)).await.unwrap();
    let told = told.into_inner();
    assert_eq!(told[0], Progress { files: 2, uploaded: 0, done: 0 });
    assert_eq!(told.last(), Some(&Progress { files: 2, uploaded: 2, done: 2 }));
    assert!(told.is_sorted_by_key(|progress| (progress.uploaded, progress.done)), "{told:?}");
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let (server, state) = start().await;
    let store = server.store_or_new("docs").await.unwrap();
    state.lock().unwrap().busy = 1;
    assert_eq!(server.members(&store.id).await.unwrap(), []);
    assert_eq!(state.lock().unwrap().busy, 0);
}

#[tokio::test]
async fn a_vector_store_is_found_by_its_name_searched_and_removed() {
    let (server, state) = start().await;
    assert!(matches!(server.store("docs").await, Err(KnowledgeError::NoStore { .. })));
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.md", "b.md"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    add(&server, folder.path()).await;
    // Somebody else's, which stays.
    state.lock().unwrap().members.push(json!({"id": "file-8", "status": "completed", "attributes": {}}));
    let store = server.store("docs").await.unwrap();
    assert_eq!((store.id.as_str(), server.stores().await.unwrap().len()), (STORE, 1));
    let hit = server.search(&store.id, "how?", Some(1)).await.unwrap().remove(0);
    assert_eq!((&*hit.file, &*hit.heading, &*hit.text), ("docs/a.md", "Bees > Dance", "how?"));
    let absent = server.remove_files(&store, &["x.md".to_owned()]).await;
    assert!(matches!(absent, Err(KnowledgeError::NoFile { .. })));
    let folder = folder.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(server.remove_files(&store, &[format!("{folder}/a.md")]).await.unwrap(), 1);
    assert_eq!(server.remove_store(&store).await.unwrap(), 1);
    let asked = state.lock().unwrap().asked.clone();
    assert!(!asked.contains(&"DELETE /v1/files/file-8".to_owned()), "{asked:?}");
    assert!(state.lock().unwrap().name.is_none());
}

#[tokio::test]
async fn questions_are_answered_ahead_and_those_that_fail_are_named() {
    let (server, state) = start().await;
    let frequent = server.frequent_questions(7).await.unwrap();
    assert_eq!((frequent[0].question.as_str(), frequent[0].count), ("limit=7", 3));
    let questions = ["Where?", "Nothing?", "Broken?", "How?"].map(str::to_owned);
    let asking = Asking { stores: vec![STORE.to_owned()], ..Asking::default() };
    let told = RefCell::new(Vec::new());
    let warmed = server.warm(&questions, &asking, &|done: usize| told.borrow_mut().push(done)).await.unwrap();
    assert_eq!((warmed.answered, warmed.there, warmed.unanswered, warmed.unkept), (2, 0, 1, 0));
    let broken = FailedQuestion { question: "Broken?".to_owned(), reason: "It broke.".to_owned() };
    assert_eq!(warmed.failed, [broken]);
    assert_eq!(told.into_inner(), [0, 1, 2, 3, 4]);
    let turns = state.lock().unwrap().turns.clone();
    assert_eq!(turns.len(), 4);
    for turn in turns {
        assert_eq!((&turn["store"], &turn["metadata"]), (&json!(false), &json!({"waggle_ahead": "true"})));
        assert_eq!(turn["tools"][0]["vector_store_ids"], json!([STORE]));
    }
    let again = server.warm(&questions, &asking, &|_done| {}).await.unwrap();
    assert_eq!((again.answered, again.there, again.unanswered, again.failed.len()), (0, 2, 1, 1));
}

#[tokio::test]
async fn what_concerns_all_questions_ends_the_warming() {
    let (server, _state) = start().await;
    for (question, expected) in [("Forbidden?", 403), ("Dear?", 429)] {
        let refused = server.warm(&[question.to_owned()], &Asking::default(), &|_done| {}).await;
        let is_told = matches!(&refused, Err(KnowledgeError::Refused { status, .. }) if *status == expected);
        assert!(is_told, "{question}: {refused:?}");
    }
}
