//! The load: conversations of 12 items and a head; a turn reads 12 keys, appends two items and rewrites the head.

use crate::engines::{Batch, Engine};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const KEYS_PER_CONVERSATION: u64 = 13;
const ITEM_BYTES: usize = 600;
const HEAD_BYTES: usize = 300;
const BATCH_BYTES: u64 = 2 * ITEM_BYTES as u64 + HEAD_BYTES as u64;
const FILL_BATCH_KEYS: usize = 13_000;
/// Clock ticks per second of /proc/self/stat; fixed on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run measured; pairs are (p50, p99).
pub struct Cell {
    pub turns_per_second: f64,
    pub apply_us: (f64, f64),
    pub durable_us: (f64, f64),
    pub read_us: (f64, f64),
    pub cpu_us_per_turn: f64,
    pub write_amplification: f64,
}

#[derive(Default)]
struct Samples {
    apply: Vec<f64>,
    durable: Vec<f64>,
    read: Vec<f64>,
}

fn item_key(conversation: u64, item: u64) -> Vec<u8> {
    format!("tenant/store/conversation/{conversation:012}/item/{item:08}").into_bytes()
}

fn head_key(conversation: u64) -> Vec<u8> {
    format!("tenant/store/conversation/{conversation:012}/head").into_bytes()
}

/// Bytes that do not compress, as text in many languages hardly does in blocks this small.
fn value(random: &mut u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&next(random).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

pub fn fill(engine: &dyn Engine, keys: u64) {
    let mut random = 0x9E37_79B9_7F4A_7C15;
    let mut batch = Batch::new();
    for conversation in 0..keys / KEYS_PER_CONVERSATION {
        batch.push((head_key(conversation), value(&mut random, HEAD_BYTES)));
        batch.extend((0..12).map(|item| (item_key(conversation, item), value(&mut random, ITEM_BYTES))));
        if batch.len() >= FILL_BATCH_KEYS {
            engine.fill(std::mem::take(&mut batch));
        }
    }
    engine.fill(batch);
}

pub fn run(engine: Box<dyn Engine>, writers: usize, keys: u64, seconds: u64) -> (Box<dyn Engine>, Cell) {
    let conversations = keys / KEYS_PER_CONVERSATION;
    let engine = Arc::new(engine);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (cpu, written, started) = (cpu_seconds(), written_bytes(), Instant::now());
    let until = started + Duration::from_secs(seconds);
    let samples = runtime.block_on(async {
        let tasks: Vec<_> = (0..writers)
            .map(|writer| tokio::spawn(turns(engine.clone(), writer, conversations, until)))
            .collect();
        let mut all = Samples::default();
        for task in tasks {
            let one = task.await.expect("the writer ended");
            all.apply.extend(one.apply);
            all.durable.extend(one.durable);
            all.read.extend(one.read);
        }
        all
    });
    let (elapsed, turns) = (started.elapsed().as_secs_f64(), samples.durable.len() as f64);
    let cell = Cell {
        turns_per_second: turns / elapsed,
        apply_us: percentiles(samples.apply),
        durable_us: percentiles(samples.durable),
        read_us: percentiles(samples.read),
        cpu_us_per_turn: (cpu_seconds() - cpu) * 1e6 / turns,
        write_amplification: (written_bytes() - written) as f64 / (turns * BATCH_BYTES as f64),
    };
    drop(runtime);
    let Some(engine) = Arc::into_inner(engine) else { unreachable!("every task has ended") };
    (engine, cell)
}

async fn turns(engine: Arc<Box<dyn Engine>>, writer: usize, conversations: u64, until: Instant) -> Samples {
    let mut random = 0xD1B5_4A32_D192_ED03_u64.wrapping_mul(writer as u64 * 2 + 1);
    let mut samples = Samples::default();
    let mut item = 12;
    while Instant::now() < until {
        let conversation = next(&mut random) % conversations;
        let window: Vec<_> = (0..12).map(|item| item_key(conversation, item)).collect();
        let batch = vec![
            (item_key(conversation, item + writer as u64 * 1_000_000), value(&mut random, ITEM_BYTES)),
            (item_key(conversation, item + 1 + writer as u64 * 1_000_000), value(&mut random, ITEM_BYTES)),
            (head_key(conversation), value(&mut random, HEAD_BYTES)),
        ];
        item += 2;
        let started = Instant::now();
        assert!(engine.get_many(&window) >= 12 * ITEM_BYTES, "a key is missing");
        samples.read.push(started.elapsed().as_secs_f64() * 1e6);
        let started = Instant::now();
        let ticket = engine.write(batch);
        samples.apply.push(started.elapsed().as_secs_f64() * 1e6);
        ticket.durable().await;
        samples.durable.push(started.elapsed().as_secs_f64() * 1e6);
    }
    samples
}

fn percentiles(mut samples: Vec<f64>) -> (f64, f64) {
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.99))
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(')').next().expect("a name in parentheses");
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("Linux");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("write_bytes");
    line.parse().expect("a number")
}
