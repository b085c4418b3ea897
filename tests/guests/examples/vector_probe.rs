//! Does the operation on indexes that its path names, `/OPERATION?index=…`, and tells what came of it. Lists in the query
//! are separated by `|`, and a space is written `+`; what is percent-encoded is decoded.

use guests::imports::waggle::vector::index::{
    self, Attribute, Chunk, Compare, Comparison, Error, FilterNode, Fusion, Hit, Query, Settings, Value,
};
use guests::spin_sdk::key_value::Store;

guests::serve!(handle);

/// What the query says.
struct Asked {
    operation: String,
    query: Vec<(String, String)>,
}

async fn handle(request: guests::Request) -> guests::Answer {
    let query = guests::query(&request);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(name, value)| (name.to_owned(), decoded(&value.replace('+', " ")))).collect();
    let asked = Asked { operation: guests::trick(&request), query };
    match told(&asked).await {
        Ok(text) => guests::answer(200, text),
        Err(error) => guests::answer(409, shown(error)),
    }
}

/// A value without its percent-encoding.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, others @ ..] = rest {
        let digits =
            others.get(..2).filter(|_digits| *first == b'%').and_then(|two| str::from_utf8(two).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The error's name, and its text where it has one.
fn shown(error: Error) -> String {
    match error {
        Error::NoSuchIndex => "no-such-index".to_owned(),
        Error::NoSuchGroup => "no-such-group".to_owned(),
        Error::Invalid(why) => format!("invalid: {why}"),
        Error::Full(why) => format!("full: {why}"),
        Error::Unavailable(why) => format!("unavailable: {why}"),
        Error::Damaged(why) => format!("damaged: {why}"),
        Error::Other(why) => format!("other: {why}"),
    }
}

impl Asked {
    fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _value)| key == name).map(|(_key, value)| value.as_str())
    }

    fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    fn number<N: std::str::FromStr + Default>(&self, name: &str) -> N {
        self.get(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.get(name).map(|text| text.split('|').map(str::to_owned).collect()).unwrap_or_default()
    }

    fn index(&self) -> String {
        self.text("index")
    }

    fn group(&self) -> String {
        self.text("group")
    }

    /// The attributes of a group: its `language` and `size`, where they are given.
    fn attributes(&self) -> Vec<Attribute> {
        let language = self.get("language").map(|text| Value::Text(text.to_owned()));
        let size = self.get("size").and_then(|text| text.parse().ok()).map(Value::Number);
        let named = [("language", language), ("size", size)].into_iter();
        named.filter_map(|(name, value)| Some(Attribute { name: name.to_owned(), value: value? })).collect()
    }

    /// The chunks of `texts`, numbered from `start`, with those of `vectors` that there are.
    fn chunks(&self) -> Vec<Chunk> {
        let (start, vectors) = (self.number::<u32>("start"), self.list("vectors"));
        let texts = self.list("texts").into_iter();
        let numbered = texts.zip(start..).enumerate();
        let chunk = |(place, (text, ordinal)): (usize, (String, u32))| Chunk {
            ordinal,
            heading: self.text("heading"),
            text,
            note: format!("note {ordinal}"),
            vector: vectors.get(place).map(|numbers| vector(numbers)),
        };
        numbered.map(chunk).collect()
    }

    /// The groups whose attribute `language` is the query's, and whose `size` is at least its, where they are given.
    fn filter(&self) -> Vec<FilterNode> {
        let compare = |attribute: &str, comparison: Comparison, value: Value| {
            FilterNode::Compare(Compare { attribute: attribute.to_owned(), comparison, values: vec![value] })
        };
        let mut nodes = Vec::new();
        if let Some(language) = self.get("language") {
            nodes.push(compare("language", Comparison::Equal, Value::Text(language.to_owned())));
        }
        if let Some(size) = self.get("size").and_then(|size| size.parse().ok()) {
            nodes.push(compare("size", Comparison::GreaterOrEqual, Value::Number(size)));
        }
        if nodes.len() > 1 {
            nodes.push(FilterNode::All(vec![0, 1]));
        }
        nodes
    }

    fn search(&self) -> Query {
        Query {
            text: self.get("text").map(str::to_owned),
            vector: self.get("vector").map(vector),
            filter: self.filter(),
            limit: self.get("limit").and_then(|text| text.parse().ok()).unwrap_or(10),
            candidates: 0,
            fusion: Fusion::Scores,
            text_weight: 1.0,
            vector_weight: 1.0,
            rank_constant: 60.0,
            vector_score_min: self.get("min").and_then(|text| text.parse().ok()),
        }
    }
}

/// Numbers with commas between.
fn vector(numbers: &str) -> Vec<f32> {
    numbers.split(',').filter_map(|number| number.parse().ok()).collect()
}

async fn told(asked: &Asked) -> Result<String, Error> {
    let (index, group, version) = (asked.index(), asked.group(), asked.number("version"));
    let done = |()| "done".to_owned();
    let after = asked.get("after").map(str::to_owned);
    let limit = asked.get("limit").and_then(|text| text.parse().ok()).unwrap_or(1_000);
    match &*asked.operation {
        "create" => index::create(index, Settings { dimensions: asked.number("dimensions") }).await.map(done),
        "describe" => {
            let one = index::describe(index).await?;
            Ok(format!("{} groups, {} chunks, {} bytes", one.groups, one.chunks, one.bytes))
        }
        "list-indexes" => index::list_indexes(after, limit).await.map(|names| names.join(",")),
        "drop-index" => index::drop_index(index).await.map(done),
        "stage" => index::stage(index, group, version, asked.chunks()).await.map(done),
        "staged" => index::staged(index, group, version).await.map(|count| count.to_string()),
        "publish" => {
            index::publish(index, group, version, asked.number("chunks"), asked.attributes()).await.map(done)
        }
        "discard" => index::discard(index, group, version).await.map(done),
        "remove" => index::remove(index, asked.list("groups")).await.map(done),
        "set-attributes" => index::set_attributes(index, group, asked.attributes()).await.map(done),
        "list-groups" => {
            let groups = index::list_groups(index, after, limit).await?.into_iter();
            let lines = groups.map(|one| format!("{}@{}:{}", one.name, one.version, one.chunks));
            Ok(lines.collect::<Vec<_>>().join(","))
        }
        "read" => {
            let chunks = index::read(index, group, asked.number("start"), asked.number("count")).await?;
            let lines = chunks.into_iter().map(|one| format!("{}={}/{}", one.ordinal, one.text, one.note));
            Ok(lines.collect::<Vec<_>>().join("|"))
        }
        "search" => index::search(asked.list("indexes"), asked.search()).await.map(hits),
        "ingest" => ingest(asked).await,
        other => Err(Error::Other(format!("no operation `{other}`"))),
    }
}

/// Each hit on a line: where it is from, its text, and whether it has a cosine.
fn hits(found: Vec<Hit>) -> String {
    let line = |hit: Hit| {
        let cosine = hit.vector_score.map_or_else(String::new, |score| format!(" cosine {score:.2}"));
        let bm25 = if hit.text_score.is_some() { " words" } else { "" };
        format!("{}/{}@{}#{} {}{cosine}{bm25}\n", hit.index, hit.group, hit.version, hit.ordinal, hit.text)
    };
    found.into_iter().map(line).collect()
}

/// A version of a group of two chunks, with a record in the store before and after it is published.
async fn ingest(asked: &Asked) -> Result<String, Error> {
    let (index, group, version) = (asked.index(), asked.group(), asked.number::<u64>("version"));
    let failed = |error| Error::Other(format!("{error:?}"));
    let store = Store::open("default").await.map_err(failed)?;
    store.set(format!("before-{group}"), version.to_string().as_bytes()).await.map_err(failed)?;
    for ordinal in 0..2 {
        let text = format!("{group} version {version} part {ordinal}");
        let chunk = Chunk {
            ordinal,
            heading: String::new(),
            text,
            note: String::new(),
            vector: Some(vec![1.0, 0.5]),
        };
        index::stage(index.clone(), group.clone(), version, vec![chunk]).await?;
    }
    index::publish(index, group.clone(), version, 2, Vec::new()).await?;
    store.set(format!("after-{group}"), version.to_string().as_bytes()).await.map_err(failed)?;
    Ok("done".to_owned())
}
