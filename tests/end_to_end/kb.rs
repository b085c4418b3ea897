//! `waggle kb` as people use it: folders become knowledge, and turns are answered from it.

use crate::neighbours::tenants::{key_of, with_tenants};
use crate::retrieval_support::{Shelf, embedding, said};
use crate::support::{Server, Setup, wait_until};
use crate::tenants_support::{Caller, Model, run};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// `waggle kb ARGS` for a server, whatever comes of it.
fn kb(server: &Server, args: &[&str], key: &str) -> (bool, String, String) {
    let url = server.url("");
    run(&[&["kb", "--url", &url], args].concat(), &[("WAGGLE_API_KEY", key)])
}

/// As [`kb`]; it must succeed. What it printed.
fn done(server: &Server, args: &[&str]) -> String {
    let (done, out, err) = kb(server, args, "");
    assert!(done, "waggle kb {args:?}: {out}{err}");
    out
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_becomes_knowledge_and_follows_its_files() {
    let server = Setup::application().start();
    let folder = server.setup.folder().join("guide");
    write(&folder, "hours.md", "# Hours\n\nThe shop in Rome opens at nine.");
    write(&folder, "more/refunds.txt", "A refund takes five days.");
    write(&folder, "logo.png", "no text");
    let path = folder.to_str().unwrap().to_owned();
    let add = ["add", "--store", "guide", &path];
    let out = done(&server, &add);
    assert!(out.starts_with("2 added, 0 replaced, 0 unchanged, 0 failed in `guide` (vs_"), "{out}");
    assert!(out.contains("1 files of other kinds were left out."), "{out}");
    let out = done(&server, &add);
    assert!(out.starts_with("0 added, 0 replaced, 2 unchanged, 0 failed"), "{out}");

    let found = done(&server, &["search", "--store", "guide", "When opens the shop in Rome?"]);
    assert!(found.starts_with("[1] guide/hours.md | ") && found.contains("Hours (score "), "{found}");
    write(&folder, "hours.md", "# Hours\n\nThe shop in Rome opens at ten.");
    write(&folder, "broken.pdf", "%PDF-1.4\nbroken");
    let (all, out, err) = kb(&server, &add, "");
    assert!(!all && out.starts_with("0 added, 1 replaced, 1 unchanged, 1 failed"), "{out}");
    assert!(err.contains("guide/broken.pdf: "), "{err}");
    let found = done(&server, &["search", "--store", "guide", "When opens the shop in Rome?"]);
    assert!(found.contains("at ten.") && !found.contains("at nine."), "{found}");

    let stores = done(&server, &["list"]);
    assert!(stores.contains("guide") && stores.contains("2 files"), "{stores}");
    let store = stores.split_whitespace().next().unwrap();
    let answer =
        Shelf::of(Caller::nobody(&server)).turn(store, "When does the shop in Rome open?").await.json();
    assert!(said(&answer).0.contains("opens at ten"), "{answer}");

    assert_eq!(done(&server, &["remove", "--store", "guide", "guide/more"]), "1 files are removed.\n");
    let files = done(&server, &["list", "--store", store]);
    assert!(files.contains("guide/hours.md") && !files.contains("refunds"), "{files}");
    done(&server, &["remove", "--store", "guide", "--yes"]);
    assert!(done(&server, &["list"]).starts_with("There are no vector stores"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_with_what_to_do() {
    let server = with_tenants(Setup::application(), [("shop", "")]).start();
    let folder = server.setup.folder().join("guide");
    write(&folder, "a.md", "Bees dance.");
    let path = folder.to_str().unwrap();
    let key = key_of("shop");
    let check = |args: &[&str], key: &str, expected: &str| {
        let (done, out, err) = kb(&server, args, key);
        assert!(!done && err.contains(expected), "{args:?}: {out}{err}");
        assert!(key.is_empty() || !err.contains(key), "{err}");
    };
    check(&["add", "--store", "guide", path], "", "credential");
    check(&["add", path], &key, "--store NAME");
    check(&["add", "--store", "guide", "absent"], &key, "absent");
    check(&["search", "--store", "guide", "bees"], &key, "no vector store `guide`");
    check(&["search", "--store", "guide", "--store", "other", "bees"], &key, "say --store once");
    check(&["warm", "--store", "guide", "--questions", path], &key, "cannot be read");
    check(&["warm", "--top", "101"], &key, "101");
    check(&["warm"], "", "credential");
    let (added, out, err) = kb(&server, &["add", "--store", "guide", path], &key);
    assert!(added, "{out}{err}");
    check(&["remove", "--store", "guide"], &key, "--yes");
    check(&["remove", "--store", "guide", "b.md"], &key, "`b.md` is no file");
    let (done, _, err) = run(&["kb", "--url", "http://127.0.0.1:1", "list"], &[]);
    assert!(!done && err.contains("nobody answers"), "{err}");
}

/// How often the model was asked for an answer.
fn answers_of(model: &Model) -> usize {
    let requests = model.0.handle().requests();
    requests.iter().filter(|request| request.path.ends_with("/chat/completions")).count()
}

/// What comes of `waggle kb warm`, where nothing fails.
fn warmed(answered: usize, there: usize, unanswered: usize) -> String {
    format!("warmed: {answered} answered now, {there} were there, {unanswered} without an answer, 0 failed\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_most_is_answered_before_it_is_asked_again() {
    /// A question whose echo cites the first source.
    const QUESTION: &str = "When opens the shop in Rome? [1]";
    let model = Model::start().await;
    let setup = embedding().args(&["--variable", "model=sim", "--variable", "answer_cache=on"]);
    let server = model.serve(setup).start();
    let folder = server.setup.folder().join("guide");
    write(&folder, "hours.md", "The shop in Rome opens at nine.");
    let path = folder.to_str().unwrap().to_owned();
    let add = ["add", "--store", "guide", &path];
    done(&server, &add);
    let top = ["warm", "--store", "guide", "--top", "5"];
    assert!(done(&server, &top).starts_with("There is nothing to ask"));

    let stores = done(&server, &["list"]);
    let store = stores.split_whitespace().next().unwrap();
    let shelf = Shelf::of(Caller::nobody(&server));
    for _ in 0..3 {
        shelf.turn(store, QUESTION).await;
    }
    // No answer counts any more.
    write(&folder, "winter.md", "In winter the shop in Rome opens at ten.");
    assert!(done(&server, &add).starts_with("1 added, 0 replaced, 1 unchanged"));
    assert_eq!(done(&server, &top), warmed(1, 0, 0));
    // It is kept beside the turn, so it may take a moment.
    wait_until("the answer is kept", || done(&server, &top) == warmed(0, 1, 0));

    let listed = shelf.done("GET", "/v1/retrieval/questions", &Value::Null).await;
    assert_eq!(
        (listed["data"].as_array().map(Vec::len), &listed["has_more"]),
        (Some(1), &Value::Bool(false))
    );
    let frequent = &listed["data"][0];
    assert_eq!(frequent["object"], "frequent_question");
    assert_eq!(frequent["question"], QUESTION);
    let count = frequent["count"].as_u64().unwrap();
    assert!((1..=3).contains(&count), "what is asked ahead is not counted: {listed}");

    let asked = answers_of(&model);
    let again = shelf.turn(store, QUESTION).await;
    assert_eq!((again.header("x-waggle-answer"), answers_of(&model)), ("cached", asked), "{again:?}");
    assert_eq!(said(&again.json()).1.len(), 1);

    // Other instructions make other answers.
    let brief = [&top[..], &["--instructions", "Be brief."]].concat();
    assert_eq!(done(&server, &brief), warmed(1, 0, 0));
    write(server.setup.folder(), "questions.txt", &format!("Xylophones?\n\n{QUESTION}\n"));
    let questions = server.setup.folder().join("questions.txt");
    let named = ["warm", "--store", "guide", "--questions", questions.to_str().unwrap()];
    assert_eq!(done(&server, &named), warmed(0, 1, 1));
    // Looked up nowhere, an answer cites nothing and is not kept.
    let nowhere = done(&server, &["warm"]);
    assert!(
        nowhere.starts_with(&format!("{}1 were answered by what is never kept", warmed(0, 0, 0))),
        "{nowhere}"
    );
}
