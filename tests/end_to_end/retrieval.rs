//! Documents through the whole program: uploaded, taken in, searched, and what turns are answered from.

use crate::retrieval_support::{Shelf, embedding, id, said, text, turn_body};
use crate::samples::{Pdf, docx, helvetica, page, paragraph, pdf_of_pages, zip};
use crate::streaming::Events;
use crate::support::{PATIENCE, Server, Setup};
use crate::tenants_support::Caller;
use serde_json::{Value, json};
use std::time::Instant;

fn shelf(server: &Server) -> Shelf {
    Shelf::of(Caller::nobody(server))
}

/// A PDF that says this.
fn pdf(text: &str, trailer: &str) -> Vec<u8> {
    let mut pdf = Pdf::default();
    let resources = helvetica(&mut pdf);
    let root = pdf.pages(&[page(&[("F1", 12, 72, 700, text)])], &resources);
    pdf.with_table(root, trailer)
}

/// A file of each kind, with a question that it alone answers.
fn documents() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let word =
        [paragraph("berschrift1", "Vouchers"), paragraph("", "A voucher stays valid for three years.")];
    let html = "<html><head><title>Repairs</title><script>var secret = 1;</script></head><body><h1>Repairs</h1>\
                <p>A broken bicycle is repaired within a week.</p></body></html>";
    vec![
        (
            "refunds.txt",
            b"A refund goes back to the card within five days.".to_vec(),
            "When comes my refund to the card?",
        ),
        (
            "hours.md",
            b"# Opening hours\n\nThe shop in Rome opens at nine.\n\n## Sundays\n\nIt stays closed.".to_vec(),
            "When opens the shop in Rome?",
        ),
        ("repairs.html", html.as_bytes().to_vec(), "How long is a broken bicycle repaired?"),
        (
            "parcels.pdf",
            pdf("Parcels leave the warehouse on Monday morning.", ""),
            "When leave parcels the warehouse?",
        ),
        ("vouchers.docx", docx(&word.concat()), "How many years is a voucher valid?"),
        (
            "questions.csv",
            "question,answer\n退款需要多久？,退款需要五个工作日。\nDo you deliver abroad?,Yes to Iceland.\n"
                .into(),
            "退款需要多久？",
        ),
        (
            "more.jsonl",
            b"{\"question\":\"Is there a discount for students?\",\"answer\":\"Ten percent with a pass.\"}\n"
                .to_vec(),
            "discount for students?",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_every_kind_are_taken_in_and_found() {
    for (setup, kind) in [(embedding(), "hybrid"), (Setup::application(), "lexical")] {
        let server = setup.start();
        let shelf = shelf(&server);
        let (mut files, documents) = (Vec::new(), documents());
        for (name, content, _) in &documents {
            files.push(shelf.file(name, content).await);
        }
        let store = shelf.store(&files).await;
        let object = shelf.settled(&store).await;
        assert_eq!(object["file_counts"]["completed"], documents.len(), "{object}");
        assert_eq!(object["waggle_search"], kind);
        for (file, (name, content, question)) in files.iter().zip(&documents) {
            let found = shelf.search(&store, &json!({ "query": question })).await;
            assert_eq!(found[0]["filename"], *name, "{kind}: {question}: {found:?}");
            let whole = Caller::nobody(&server).request("GET", &format!("/v1/files/{file}/content"));
            assert_eq!(whole.send().await.unwrap().bytes().await.unwrap(), *content, "{name}");
        }
        let hours = shelf.search(&store, &json!({ "query": "When opens the shop in Rome?" })).await;
        assert!(hours[0]["waggle_heading"].as_str().unwrap().contains("Opening hours"), "{hours:?}");
        let all = shelf.search(&store, &json!({ "query": "secret", "max_num_results": 50 })).await;
        assert!(all.iter().all(|result| !text(result).contains("secret")), "scripts are no text");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_fails_alone_with_the_reason() {
    let bounds = ["--variable", "file_text_bytes_max=100000", "--variable", "file_bytes_max=8000000"];
    let server = Setup::application().args(&bounds).start();
    let shelf = shelf(&server);
    let bomb = " ".repeat(6 << 20);
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("blank.txt", b"\n \t\n".to_vec(), "invalid_file", "empty"),
        ("broken.pdf", b"%PDF-1.4\nbroken".to_vec(), "invalid_file", ""),
        ("encrypted.pdf", pdf("x", "/Encrypt<</Filter/Standard/V 4>>"), "invalid_file", "encrypted"),
        ("lying.pdf", b"<html><body>Not found</body></html>".to_vec(), "invalid_file", "HTML"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "unsupported_file", "not supported"),
        ("sheet.docx", zip(&[("xl/workbook.xml", b"<x/>", true)]), "unsupported_file", "Excel"),
        ("bomb.docx", zip(&[("word/document.xml", bomb.as_bytes(), true)]), "invalid_file", ""),
        ("many.pdf", pdf_of_pages(10_001), "invalid_file", "too large"),
        ("long.txt", "many words ".repeat(20_000).into_bytes(), "invalid_file", "too large"),
    ];
    let mut files = Vec::new();
    for (name, content, ..) in &cases {
        files.push(shelf.file(name, content).await);
    }
    let good = shelf.file("good.txt", b"A good bee dances.").await;
    let store = shelf.store(&[files.as_slice(), std::slice::from_ref(&good)].concat()).await;
    for (file, (name, _, code, reason)) in files.iter().zip(&cases) {
        let member = shelf.member(&store, file).await;
        let error = &member["last_error"];
        assert_eq!(
            (&member["status"], error["code"].as_str()),
            (&json!("failed"), Some(*code)),
            "{name}: {member}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.len() > 10 && message.contains(reason), "{name}: {message}");
    }
    assert_eq!(shelf.member(&store, &good).await["status"], "completed");
    assert_eq!(shelf.search(&store, &json!({ "query": "bee" })).await.len(), 1);
    // What is refused at once is no file at all.
    for (name, content, status) in
        [("nothing.txt", Vec::new(), 400), ("huge.txt", vec![b'x'; 8_030_000], 413)]
    {
        let (answered, error) = shelf.try_upload(name, &content).await.expect("the server answers");
        assert_eq!(answered, status, "{name}: {error}");
        assert!(error["error"]["message"].as_str().unwrap().len() > 10, "{error}");
    }
    let listed = shelf.done("GET", "/v1/files", &Value::Null).await;
    assert_eq!(listed["data"].as_array().unwrap().len(), cases.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_file_is_taken_by_the_bounds_that_nobody_has_set() {
    const FILE_BYTES_MAX: usize = 32 << 20;
    // Of CPU time alone a host that was built for tests takes more, beside other tests.
    let server = Setup::application().runtime_config("[engine]\nrequest_cpu_ms_max = 30_000\n").start();
    let shelf = shelf(&server);
    let mut content = vec![b'x'; FILE_BYTES_MAX + 1];
    let (status, error) = shelf.try_upload("longer.bin", &content).await.expect("the server answers");
    assert_eq!((status, error["error"]["code"].as_str()), (413, Some("file_too_large")), "{error}");
    content.truncate(FILE_BYTES_MAX);
    let file = shelf.file("longest.bin", &content).await;
    let whole = Caller::nobody(&server).request("GET", &format!("/v1/files/{file}/content"));
    let whole = whole.send().await.unwrap().bytes().await.unwrap();
    assert!(whole == content, "{} bytes come back", whole.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_are_filtered_and_removed_documents_are_gone() {
    let server = embedding().start();
    let shelf = shelf(&server);
    let store = shelf.store(&[]).await;
    for (language, words) in [("en", "refunds take five days"), ("de", "refunds dauern fünf Tage")] {
        let file = shelf.file(&format!("{language}.txt"), words.as_bytes()).await;
        shelf.add(&store, &file, json!({ "language": language, "size": 2 })).await;
    }
    let found = async |filter: Value| {
        let results = shelf.search(&store, &json!({ "query": "refunds", "filters": filter })).await;
        results.iter().map(|result| result["filename"].clone()).collect::<Vec<_>>()
    };
    let is = |value: &str| json!({ "type": "eq", "key": "language", "value": value });
    assert_eq!(found(is("de")).await, ["de.txt"]);
    assert_eq!(found(json!({ "type": "or", "filters": [is("de"), is("en")] })).await.len(), 2);
    assert_eq!(found(json!({ "type": "gt", "key": "size", "value": 2 })).await.len(), 0);
    assert_eq!(found(json!({ "type": "and", "filters": [is("de"), is("en")] })).await.len(), 0);
    let files = shelf.done("GET", "/v1/files?purpose=assistants", &Value::Null).await;
    let german = files["data"].as_array().unwrap().iter().find(|file| file["filename"] == "de.txt").unwrap();
    shelf.done("DELETE", &format!("/v1/files/{}", id(german)), &Value::Null).await;
    assert_eq!(found(is("de")).await.len(), 0);
    assert_eq!(found(is("en")).await, ["en.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_have_the_order_of_the_model_that_reranks_them() {
    let server = Setup::application().args(&["--variable", "rerank_model=demo"]).start();
    let shelf = shelf(&server);
    let mut files = Vec::new();
    for (name, words) in
        [("short.txt", "Refunds."), ("long.txt", "Refunds take five days."), ("other.txt", "Bees.")]
    {
        files.push(shelf.file(name, words.as_bytes()).await);
    }
    let store = shelf.store(&files).await;
    let found = shelf.search(&store, &json!({ "query": "How many days do refunds take?" })).await;
    let scores: Vec<(&str, f64)> = found
        .iter()
        .map(|result| (result["filename"].as_str().unwrap(), result["score"].as_f64().unwrap()))
        .collect();
    // The model finds the one alike by three quarters, and the other by half.
    let [("long.txt", first), ("short.txt", second)] = scores.as_slice() else { panic!("{scores:?}") };
    assert!(*first > 0.65 && (0.4..0.65).contains(second), "{scores:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dify_retrieves_by_its_own_api() {
    let server = embedding().start();
    let shelf = shelf(&server);
    let store = shelf.store(&[]).await;
    for (name, year) in [("old.txt", 2020), ("new.txt", 2026)] {
        let file = shelf.file(name, format!("refunds took so long in {year}").as_bytes()).await;
        shelf.add(&store, &file, json!({ "year": year })).await;
    }
    let mut body = json!({ "knowledge_id": store, "query": "how long took refunds?",
        "retrieval_setting": { "top_k": 5, "score_threshold": 0.1 } });
    let records = shelf.done("POST", "/retrieval", &body).await["records"].take();
    assert_eq!(records.as_array().unwrap().len(), 2, "{records}");
    for record in records.as_array().unwrap() {
        assert!(record["content"].as_str().unwrap().contains("refunds took"), "{record}");
        assert!(record["score"].as_f64().unwrap() > 0.1 && record["title"].is_string(), "{record}");
    }
    body["metadata_condition"] = json!({ "logical_operator": "and",
        "conditions": [{ "name": ["year"], "comparison_operator": ">", "value": "2021" }] });
    let records = shelf.done("POST", "/retrieval", &body).await["records"].take();
    assert_eq!(records.as_array().unwrap().len(), 1, "{records}");
    assert_eq!((&records[0]["title"], &records[0]["metadata"]["year"]), (&json!("new.txt"), &json!(2026.0)));
    body["knowledge_id"] = json!("vs_000000000000000000000000");
    let refused = shelf.caller.post("/retrieval", &body).await;
    assert_eq!((refused.status, &refused.json()["error_code"]), (404, &json!(2001)), "{refused:?}");
}

/// A question whose echo cites the first source.
const CITING: &str = "When opens the shop in Rome? [1]";

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_answered_from_what_was_found_and_cites_it() {
    let server = embedding().args(&["--variable", "answers=model"]).start();
    let shelf = shelf(&server);
    let (store, file) = shelf.store_of("hours.md", "# Hours\n\nThe shop in Rome opens at nine.").await;
    let response = shelf.turn(&store, CITING).await.json();
    let search = &response["output"][0];
    assert_eq!(search["results"][0]["file_id"], file.as_str(), "{search}");
    let (answer, citations) = said(&response);
    assert_eq!(answer.trim_end(), "You said: When opens the shop in Rome?");
    assert_eq!(citations.len(), 1, "{response}");
    let expected = ("file_citation", file.as_str(), "hours.md");
    let told = |name: &str| citations[0][name].as_str().unwrap();
    assert_eq!((told("type"), told("file_id"), told("filename")), expected);
    let stored = shelf.done("GET", &format!("/v1/responses/{}", id(&response)), &Value::Null).await;
    assert_eq!(stored["output"], response["output"]);

    // The same as a stream.
    let mut body = turn_body(&store, CITING);
    body["stream"] = json!(true);
    let mut events =
        Events::new(shelf.caller.request("POST", "/v1/responses").json(&body).send().await.unwrap());
    let (mut names, mut streamed) = (Vec::new(), Value::Null);
    while let Some(event) = events.next().await.unwrap() {
        if event.name == "response.completed" {
            streamed = event.json()["response"].take();
        }
        names.push(event.name);
    }
    assert_eq!(said(&streamed).0, answer);
    let place = |name: &str| {
        names.iter().position(|other| other == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
    };
    let order = [
        "response.file_search_call.in_progress",
        "response.file_search_call.searching",
        "response.file_search_call.completed",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.completed",
    ];
    assert!(order.map(place).is_sorted(), "{names:?}");

    // What is not known is not made up, and no model is asked.
    let nothing = shelf.turn(&store, "Xylophones?").await;
    assert_eq!(nothing.header("x-waggle-answer"), "none", "{nothing:?}");
    assert_eq!(said(&nothing.json()).1.len(), 0);
    let absent = turn_body("vs_000000000000000000000000", "x");
    let refused = shelf.caller.post("/v1/responses", &absent).await;
    assert_eq!(refused.status, 404, "{refused:?}");
    assert!(
        refused.text.contains("vs_000000000000000000000000") && refused.text.contains("tools[0]"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_model_the_sources_answer_in_their_own_words() {
    let server = Setup::application().start();
    let shelf = shelf(&server);
    let (store, file) =
        shelf.store_of("hours.md", "# Hours\n\nThe shop in Rome opens at nine. Dogs are welcome.").await;
    let answer = shelf.turn(&store, "When does the shop in Rome open?").await;
    assert_eq!(answer.header("x-waggle-answer"), "extracted", "{answer:?}");
    let response = answer.json();
    let (text, citations) = said(&response);
    assert!(text.contains("The shop in Rome opens at nine."), "{text}");
    assert_eq!(citations[0]["file_id"], file.as_str());
    assert_eq!(shelf.turn(&store, "Xylophones?").await.header("x-waggle-answer"), "none");
    // Without knowledge the demo model answers as ever.
    let echo = shelf.caller.turn("hello").await.json();
    assert_eq!(echo["output"][0]["content"][0]["text"], "You said: hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_given_again_until_the_documents_change() {
    let variables = ["--variable", "answers=model", "--variable", "answer_cache=on"];
    let server = embedding().args(&variables).start();
    let shelf = shelf(&server);
    let (store, _) = shelf.store_of("hours.md", "The shop in Rome opens at nine.").await;
    let first = shelf.turn(&store, CITING).await;
    assert_eq!(first.header("x-waggle-answer"), "", "{first:?}");
    // It is kept beside the turn, so it may take a moment.
    let until = Instant::now() + PATIENCE;
    let again = loop {
        let again = shelf.turn(&store, "in rome: WHEN opens the shop? [1]").await;
        if again.header("x-waggle-answer") == "cached" {
            break again.json();
        }
        assert!(Instant::now() < until, "an answer is never given again: {again:?}");
    };
    assert_eq!(said(&again).1.len(), 1);
    assert_eq!(
        (&again["metadata"]["waggle_answer"], &again["usage"]["total_tokens"]),
        (&json!("cached"), &json!(0))
    );
    let other = shelf.turn(&store, "Which shop opens its doors in winter? [1]").await;
    assert_ne!(other.header("x-waggle-answer"), "cached", "{other:?}");
    let file = shelf.file("winter.md", b"In winter the shop in Rome opens at ten.").await;
    shelf.add(&store, &file, json!({})).await;
    let changed = shelf.turn(&store, CITING).await;
    assert_eq!(changed.header("x-waggle-answer"), "", "{changed:?}");
}
