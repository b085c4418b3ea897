//! Measures an embedded index of many vectors: how fast it takes and finds them, how many of the true neighbours are found,
//! and how much memory that takes. `bench/vector/peers.py` measures hnswlib and FAISS on the files this writes.
//!
//! ```text
//! cargo run --release -p waggle-vector --example bench_vector -- FOLDER COUNT [DIMENSIONS] [none|int8]
//! ```
//! `FOLDER/vectors.f32`, `queries.f32` and `neighbours.u32` (ten for each query) are written once and used again; the index
//! is in `FOLDER/index` and is made again at each run, unless `KEEP` is set. What is measured goes to standard output, one
//! JSON object.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program to measure with, not a part of the host"
)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use waggle_vector::{
    Chunk, Embedded, EmbeddedConfig, Fusion, IndexName, Quantization, Query, Settings, VectorConfig,
    VectorIndexes as _,
};

const TENANT: &str = "bench";
const QUERIES: usize = 1_000;
const NEIGHBOURS: usize = 10;
const CHUNKS_PER_GROUP: usize = 1_000;
const CHUNKS_PER_CALL: usize = 250;
const VECTORS_PER_CLUSTER: usize = 500;
/// How far vectors lie from the centre of their cluster, as a share of the centre's length.
const SPREAD: f32 = 0.6;
const TIME: Duration = Duration::from_secs(8);

type Rows = Arc<Vec<Vec<f32>>>;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let folder = PathBuf::from(arguments.first().expect("FOLDER COUNT [DIMENSIONS] [none|int8]"));
    let count: usize = arguments.get(1).expect("COUNT").parse().expect("COUNT is a number");
    let dimensions: usize =
        arguments.get(2).map_or(384, |text| text.parse().expect("DIMENSIONS is a number"));
    let quantization = match arguments.get(3).map(String::as_str) {
        Some("none") => Quantization::None,
        _ => Quantization::Int8,
    };
    fs::create_dir_all(&folder).expect("the folder is made");
    let (vectors, queries) = data(&folder, count, dimensions);
    let truth = neighbours(&folder, &vectors, &queries);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let config = VectorConfig { memory_bytes_max: 1 << 40, quantization, ..VectorConfig::default() };
    runtime.block_on(measure(&folder, config.embedded(), vectors, queries, truth));
}

async fn measure(folder: &Path, config: EmbeddedConfig, vectors: Rows, queries: Rows, truth: Vec<Vec<u32>>) {
    let path = folder.join("index");
    let is_kept = env::var_os("KEEP").is_some() && path.exists();
    if !is_kept {
        fs::remove_dir_all(&path).unwrap_or_default();
    }
    let docs = IndexName::parse("docs").expect("a name");
    let memory_before = resident_bytes();
    let began = Instant::now();
    let indexes = Arc::new(Embedded::open(&path, config.clone()).expect("the index opens"));
    if !is_kept {
        fill(&indexes, &docs, &vectors).await;
    }
    let taken = began.elapsed();
    indexes.settle(TENANT, &docs).await.expect("it is settled");
    let built = began.elapsed();
    let count = vectors.len();
    drop(vectors);
    drop(indexes);
    let began = Instant::now();
    let indexes = Arc::new(Embedded::open(&path, config).expect("the index opens"));
    indexes.describe(TENANT, &docs).await.expect("it is read");
    let loaded = began.elapsed();
    let mut recall = 0;
    for (query, truth) in queries.iter().zip(&truth) {
        let hits = indexes
            .search(TENANT, std::slice::from_ref(&docs), by_vector(query))
            .await
            .expect("it is searched");
        recall += hits.iter().filter(|hit| truth.contains(&number_of(&hit.text))).count();
    }
    let one = queries_per_second(&indexes, &docs, &queries, 1).await;
    let two = queries_per_second(&indexes, &docs, &queries, 2).await;
    println!(
        "{{\"vectors\": {count}, \"taken_per_second\": {:.0}, \"built_per_second\": {:.0}, \"build_seconds\": {:.1}, \
         \"load_seconds\": {:.3}, \"recall_at_10\": {:.4}, \"queries_per_second\": {:.0}, \
         \"queries_per_second_2_threads\": {:.0}, \"p50_us\": {}, \"p99_us\": {}, \"memory_bytes\": {}, \
         \"resident_bytes_before\": {memory_before}, \"resident_bytes\": {}}}",
        count as f64 / taken.as_secs_f64(),
        count as f64 / built.as_secs_f64(),
        built.as_secs_f64(),
        loaded.as_secs_f64(),
        recall as f64 / (truth.len() * NEIGHBOURS) as f64,
        one.per_second,
        two.per_second,
        one.p50.as_micros(),
        one.p99.as_micros(),
        indexes.metrics().memory_bytes,
        resident_bytes(),
    );
}

async fn fill(indexes: &Arc<Embedded>, docs: &IndexName, vectors: &Rows) {
    let dimensions = u32::try_from(vectors[0].len()).expect("few dimensions");
    indexes.create(TENANT, docs, Settings { dimensions }).await.expect("the index is made");
    let next = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..4)
        .map(|_writer| {
            let (indexes, docs, vectors, next) =
                (Arc::clone(indexes), docs.clone(), Arc::clone(vectors), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let group = next.fetch_add(1, Ordering::Relaxed);
                    let numbers: Vec<usize> = (group * CHUNKS_PER_GROUP
                        ..vectors.len().min((group + 1) * CHUNKS_PER_GROUP))
                        .collect();
                    if numbers.is_empty() {
                        return;
                    }
                    put(&indexes, &docs, group, &numbers, &vectors).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("the writer ends");
    }
}

async fn put(indexes: &Embedded, docs: &IndexName, group: usize, numbers: &[usize], vectors: &Rows) {
    let name = format!("group-{group}");
    for (call, numbers) in numbers.chunks(CHUNKS_PER_CALL).enumerate() {
        let chunks = numbers.iter().enumerate().map(|(at, number)| Chunk {
            ordinal: u32::try_from(call * CHUNKS_PER_CALL + at).expect("few chunks"),
            heading: String::new(),
            text: number.to_string(),
            note: String::new(),
            vector: Some(vectors[*number].clone()),
        });
        indexes.stage(TENANT, docs, &name, 1, chunks.collect()).await.expect("chunks are staged");
    }
    let count = u32::try_from(numbers.len()).expect("few chunks");
    indexes.publish(TENANT, docs, &name, 1, count, Vec::new()).await.expect("the group is published");
}

fn by_vector(vector: &[f32]) -> Query {
    Query {
        text: None,
        vector: Some(vector.to_vec()),
        filter: Vec::new(),
        limit: 10,
        candidates: 10,
        fusion: Fusion::Scores,
        text_weight: 0.0,
        vector_weight: 1.0,
        rank_constant: 60.0,
        vector_score_min: None,
    }
}

fn number_of(text: &str) -> u32 {
    text.parse().expect("the text is the vector's number")
}

struct Rate {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

async fn queries_per_second(
    indexes: &Arc<Embedded>,
    docs: &IndexName,
    queries: &Rows,
    clients: usize,
) -> Rate {
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (indexes, docs, queries) = (Arc::clone(indexes), docs.clone(), Arc::clone(queries));
            tokio::spawn(async move {
                let mut durations = Vec::new();
                for query in queries.iter().cycle().skip(client * 100) {
                    let asked = Instant::now();
                    let found = indexes.search(TENANT, std::slice::from_ref(&docs), by_vector(query)).await;
                    found.expect("it is searched");
                    durations.push(asked.elapsed());
                    if began.elapsed() > TIME {
                        break;
                    }
                }
                durations
            })
        })
        .collect();
    let mut durations = Vec::new();
    for task in tasks {
        durations.extend(task.await.expect("the client ends"));
    }
    let per_second = durations.len() as f64 / began.elapsed().as_secs_f64();
    durations.sort_unstable();
    let at = |share: usize| durations[durations.len() * share / 100];
    Rate { per_second, p50: at(50), p99: at(99) }
}

/// The memory of this process that is not shared with files, bytes; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() * 1_024
}

/// Vectors around random centres, the same at every run, and queries of the same kind.
fn data(folder: &Path, count: usize, dimensions: usize) -> (Rows, Rows) {
    let (vectors, queries) = (folder.join("vectors.f32"), folder.join("queries.f32"));
    let rows = |path: &Path| -> Option<Rows> {
        let bytes = fs::read(path).ok()?;
        let (numbers, _rest) = bytes.as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Some(Arc::new(numbers.chunks(dimensions).map(<[f32]>::to_vec).collect()))
    };
    if let (Some(vectors), Some(queries)) = (rows(&vectors), rows(&queries))
        && vectors.len() == count
    {
        return (vectors, queries);
    }
    fs::remove_file(folder.join("neighbours.u32")).unwrap_or_default();
    let clusters = count.div_ceil(VECTORS_PER_CLUSTER) as u64;
    let make = |range: std::ops::Range<u64>| -> Vec<Vec<f32>> {
        range.map(|number| vector(number, scatter(number) % clusters, dimensions)).collect()
    };
    let made = [(vectors, make(0..count as u64)), (queries, make(1 << 40..(1 << 40) + QUERIES as u64))];
    let [vectors, queries] = made.map(|(path, rows)| {
        let bytes: Vec<u8> = rows.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
        fs::write(path, bytes).expect("the vectors are written");
        Arc::new(rows)
    });
    (vectors, queries)
}

fn vector(number: u64, cluster: u64, dimensions: usize) -> Vec<f32> {
    let normal = |seed: u64, at: usize| {
        // The sum of four draws is close enough to a normal one.
        (0..4)
            .map(|draw| (scatter(seed ^ (at as u64 * 4 + draw) << 42) >> 40) as f32 / (1 << 24) as f32 - 0.5)
            .sum::<f32>()
    };
    let seed = scatter(number ^ 0x00c0_ffee);
    let centre = scatter(cluster ^ 0x0bad_cafe);
    let numbers: Vec<f32> =
        (0..dimensions).map(|at| normal(centre, at) + SPREAD * normal(seed, at)).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
    numbers.into_iter().map(|number| number / length).collect()
}

fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The true neighbours of each query, by comparing all.
fn neighbours(folder: &Path, vectors: &Rows, queries: &Rows) -> Vec<Vec<u32>> {
    let path = folder.join("neighbours.u32");
    if let Ok(bytes) = fs::read(&path) {
        let (numbers, _rest) = bytes.as_chunks::<4>();
        let numbers: Vec<u32> = numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
        return numbers.chunks(NEIGHBOURS).map(<[u32]>::to_vec).collect();
    }
    let half = queries.len() / 2;
    let found: Vec<Vec<u32>> = std::thread::scope(|scope| {
        let parts = [&queries[..half], &queries[half..]];
        let running = parts.map(|queries| {
            scope.spawn(move || queries.iter().map(|query| nearest(vectors, query)).collect::<Vec<_>>())
        });
        running.into_iter().flat_map(|part| part.join().expect("it ends")).collect()
    });
    let bytes: Vec<u8> = found.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
    fs::write(path, bytes).expect("the neighbours are written");
    found
}

fn nearest(vectors: &Rows, query: &[f32]) -> Vec<u32> {
    let mut best: Vec<(f32, u32)> = Vec::with_capacity(NEIGHBOURS + 1);
    for (number, vector) in (0..).zip(vectors.iter()) {
        let mut lanes = [0.0_f32; 16];
        for (one, other) in vector.chunks_exact(16).zip(query.chunks_exact(16)) {
            for lane in 0..16 {
                lanes[lane] += one[lane] * other[lane];
            }
        }
        let similarity: f32 = lanes.iter().sum();
        if best.len() < NEIGHBOURS || similarity > best[NEIGHBOURS - 1].0 {
            let at = best.partition_point(|(better, _)| *better >= similarity);
            best.insert(at, (similarity, number));
            best.truncate(NEIGHBOURS);
        }
    }
    best.into_iter().map(|(_, number)| number).collect()
}
