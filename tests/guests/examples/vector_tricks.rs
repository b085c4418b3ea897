//! Tries: to reach other tenants' indexes and files by names, and to overload the host with what is too long, too many,
//! nested, no number or not there. Tells what came of each.

use guests::imports::waggle::vector::index::{
    self, Attribute, Chunk, Compare, Comparison, Error, FilterNode, Fusion, Query, Settings, Value,
};

guests::serve!(handle);

const DIMENSIONS: u32 = 4;
/// The index it fills.
const OWN: &str = "own";

async fn handle(request: guests::Request) -> guests::Answer {
    if !guests::is_asked_to_hurt(&request) {
        return guests::fine();
    }
    let victim = guests::header(&request, "x-victim").unwrap_or_default();
    let told = match &*guests::trick(&request) {
        "names" => names(&victim).await,
        "chunks" => chunks().await,
        "groups" => groups().await,
        "queries" => queries().await,
        "flood" => flood().await,
        other => vec![format!("no trick `{other}`")],
    };
    guests::answer(200, told.join("\n"))
}

/// What came of a call, in a word.
fn word<T>(what: &str, outcome: Result<T, Error>) -> String {
    let came = match outcome {
        Ok(_done) => "done",
        Err(Error::NoSuchIndex) => "no-such-index",
        Err(Error::NoSuchGroup) => "no-such-group",
        Err(Error::Invalid(_)) => "invalid",
        Err(Error::Full(_)) => "full",
        Err(Error::Unavailable(_)) => "unavailable",
        Err(Error::Damaged(_)) => "damaged",
        Err(Error::Other(_)) => "other",
    };
    format!("{what}: {came}")
}

async fn own() {
    index::create(OWN.to_owned(), Settings { dimensions: DIMENSIONS }).await.expect("it may have an index");
}

fn chunk(ordinal: u32) -> Chunk {
    Chunk {
        ordinal,
        heading: "heading".to_owned(),
        text: "text".to_owned(),
        note: String::new(),
        vector: Some(vec![1.0, 0.0, 0.0, 0.0]),
    }
}

fn query() -> Query {
    Query {
        text: Some("text".to_owned()),
        vector: None,
        filter: Vec::new(),
        limit: 10,
        candidates: 0,
        fusion: Fusion::Scores,
        text_weight: 1.0,
        vector_weight: 1.0,
        rank_constant: 60.0,
        vector_score_min: None,
    }
}

/// Names that would lead elsewhere if they became paths or keys carelessly. Those that are names lead to nothing.
async fn names(victim: &str) -> Vec<String> {
    let names = [
        "",
        ".",
        "..",
        "../{}",
        "../{}/secret",
        "/etc/passwd",
        "{}/secret",
        "{}\\secret",
        "{}\u{0}secret",
        ".secret",
        "secret\n",
        " secret",
        "sécret",
        "ｓecret",
        "secret%2f",
        "{}:secret",
        "SECRET",
        "{}",
        "{}.secret",
        "secret",
    ];
    let mut told = Vec::new();
    for name in names.map(|name| name.replace("{}", victim)) {
        told.push(word(&format!("describe {name:?}"), index::describe(name.clone()).await));
        told.push(word(&format!("search {name:?}"), index::search(vec![name], query()).await));
    }
    told.push(word("long", index::create("x".repeat(129), Settings { dimensions: 0 }).await));
    told.push(word("huge", index::describe("x".repeat(10 << 20)).await));
    let after = Some(format!("{victim}\u{0}../"));
    let listed = index::list_indexes(after, 1_000).await.map(|names| names.len());
    told.push(format!("listed {listed:?}"));
    told
}

async fn chunks() -> Vec<String> {
    own().await;
    let with = |change: fn(&mut Chunk)| {
        let mut changed = chunk(0);
        change(&mut changed);
        vec![changed]
    };
    let tries: Vec<(&str, Vec<Chunk>)> = vec![
        ("no text", with(|chunk| chunk.text.clear())),
        ("long text", with(|chunk| chunk.text = "t".repeat((32 << 10) + 1))),
        ("long heading", with(|chunk| chunk.heading = "h".repeat(1_025))),
        ("long note", with(|chunk| chunk.note = "n".repeat(1_025))),
        ("high number", with(|chunk| chunk.ordinal = 100_000)),
        ("highest number", with(|chunk| chunk.ordinal = u32::MAX)),
        ("short vector", with(|chunk| chunk.vector = Some(vec![1.0]))),
        ("long vector", with(|chunk| chunk.vector = Some(vec![1.0; 1 << 20]))),
        ("empty vector", with(|chunk| chunk.vector = Some(Vec::new()))),
        ("vector of nothing", with(|chunk| chunk.vector = Some(vec![0.0; 4]))),
        ("vector of no numbers", with(|chunk| chunk.vector = Some(vec![f32::NAN; 4]))),
        ("endless vector", with(|chunk| chunk.vector = Some(vec![f32::INFINITY; 4]))),
        ("many chunks", (0..257).map(chunk).collect()),
        (
            "many bytes",
            (0..200).map(|number| Chunk { text: "t".repeat(32 << 10), ..chunk(number) }).collect(),
        ),
    ];
    let mut told = Vec::new();
    for (what, chunks) in tries {
        told.push(word(what, index::stage(OWN.to_owned(), "group".to_owned(), 1, chunks).await));
    }
    let settings = Settings { dimensions: 4_097 };
    told.push(word("wide index", index::create("wide".to_owned(), settings).await));
    let settings = Settings { dimensions: DIMENSIONS + 1 };
    told.push(word("other settings", index::create(OWN.to_owned(), settings).await));
    told.push(word("most that may be", index::stage(OWN.to_owned(), "group".to_owned(), 1, most()).await));
    told
}

/// As many chunks as one call may bring.
fn most() -> Vec<Chunk> {
    (0..256).map(|number| Chunk { text: "t".repeat(8 << 10), ..chunk(number) }).collect()
}

async fn groups() -> Vec<String> {
    own().await;
    let staged =
        |group: &str, version| index::stage(OWN.to_owned(), group.to_owned(), version, vec![chunk(0)]);
    let publish = |version, chunks, attributes| {
        index::publish(OWN.to_owned(), "group".to_owned(), version, chunks, attributes)
    };
    let text =
        |name: &str, text: &str| Attribute { name: name.to_owned(), value: Value::Text(text.to_owned()) };
    let mut told = vec![
        word("no name", staged("", 1).await),
        word("long name", staged(&"g".repeat(129), 1).await),
        word("staged", staged("group", 7).await),
        word("too few", publish(7, 2, Vec::new()).await),
        word("none", publish(7, 0, Vec::new()).await),
        word("too many", publish(7, u32::MAX, Vec::new()).await),
        word("many attributes", publish(7, 1, vec![text("name", "text"); 33]).await),
        word("long attribute", publish(7, 1, vec![text("name", &"t".repeat(513))]).await),
        word("long name of an attribute", publish(7, 1, vec![text(&"n".repeat(65), "text")]).await),
        word("attribute without a name", publish(7, 1, vec![text("", "text")]).await),
        word("another version", publish(8, 1, Vec::new()).await),
        word("published", publish(7, 1, vec![text("name", "text")]).await),
        word("published again", publish(7, 1, Vec::new()).await),
        word("an earlier version", staged("group", 6).await),
    ];
    let many = vec!["group".to_owned(); 1_001];
    told.push(word("many removed", index::remove(OWN.to_owned(), many).await));
    told.push(word("much read", index::read(OWN.to_owned(), "group".to_owned(), 0, 257).await));
    told.push(word("read beyond", index::read(OWN.to_owned(), "group".to_owned(), u32::MAX, 1).await));
    told.push(word("read nothing", index::read(OWN.to_owned(), "absent".to_owned(), 0, 1).await));
    told
}

async fn queries() -> Vec<String> {
    own().await;
    let with = |change: fn(&mut Query)| {
        let mut changed = query();
        change(&mut changed);
        changed
    };
    let tries: Vec<(&str, Query)> = vec![
        ("fine", query()),
        ("no limit", with(|query| query.limit = 0)),
        ("high limit", with(|query| query.limit = 101)),
        ("many candidates", with(|query| query.candidates = 1_001)),
        ("long text", with(|query| query.text = Some("word ".repeat(1 << 20)))),
        ("long vector", with(|query| query.vector = Some(vec![1.0; 1 << 20]))),
        ("vector of no numbers", with(|query| query.vector = Some(vec![f32::NAN; 4]))),
        ("weight of no number", with(|query| query.text_weight = f32::NAN)),
        ("endless weight", with(|query| query.vector_weight = f32::INFINITY)),
        ("weight below nothing", with(|query| query.text_weight = -1.0)),
        ("constant below nothing", with(|query| query.rank_constant = -61.0)),
        ("bound of no number", with(|query| query.vector_score_min = Some(f32::NAN))),
        ("many nodes", with(|query| query.filter = vec![FilterNode::All(Vec::new()); 101])),
        ("own child", with(|query| query.filter = vec![FilterNode::All(vec![0])])),
        ("later child", with(|query| query.filter = vec![FilterNode::Any(vec![7])])),
        ("many values", with(|query| query.filter = vec![one_of(101)])),
        ("no values", with(|query| query.filter = vec![compare(Vec::new())])),
        ("syntax", with(|query| query.text = Some("\"text AND (a:b^9 *~ [x TO y] \\".to_owned()))),
        ("doubling nodes", with(|query| query.filter = doubling())),
    ];
    let mut told = Vec::new();
    for (what, query) in tries {
        told.push(word(what, index::search(vec![OWN.to_owned()], query).await));
    }
    told.push(word("many indexes", index::search(vec![OWN.to_owned(); 17], query()).await));
    told.push(word("no indexes", index::search(Vec::new(), query()).await));
    told
}

fn compare(values: Vec<Value>) -> FilterNode {
    FilterNode::Compare(Compare { attribute: "name".to_owned(), comparison: Comparison::Equal, values })
}

fn one_of(count: usize) -> FilterNode {
    let values = vec![Value::Boolean(true); count];
    FilterNode::Compare(Compare { attribute: "name".to_owned(), comparison: Comparison::OneOf, values })
}

/// A hundred nodes, each of which asks the one before it as often as there is room: evaluated without care, that never
/// ends.
fn doubling() -> Vec<FilterNode> {
    let first = compare(vec![Value::Boolean(true)]);
    let others = (1..100).map(|node| FilterNode::Any(vec![node - 1; 2]));
    std::iter::once(first).chain(others).collect()
}

/// Versions without end that are never published, until it is stopped; then what it has is removed.
async fn flood() -> Vec<String> {
    own().await;
    let mut taken = 0_u32;
    let end = loop {
        match index::stage(OWN.to_owned(), format!("flood-{taken}"), 1, most()).await {
            Ok(()) if taken < 1_000 => taken += 1,
            outcome => break word("stopped", outcome),
        }
    };
    let groups = (0..=taken).map(|number| format!("flood-{number}")).collect();
    let removed = word("removed", index::remove(OWN.to_owned(), groups).await);
    let again = word("again", index::stage(OWN.to_owned(), "flood".to_owned(), 1, vec![chunk(0)]).await);
    vec![end, removed, again]
}
