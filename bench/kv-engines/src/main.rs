//! Compares embedded engines on the load of a chat turn: read 12 keys, then append a batch of 3 and wait until it is
//! durable. Prints one Markdown table row per engine, number of writers and size of the store.
//!
//! `cargo run --release -- [SECONDS] [KEYS] [DIRECTORY]`

mod engines;
mod load;

use engines::{Engine, Fjall, Redb, Sync, Waggle};
use load::{Cell, run};
use std::{path::Path, time::Instant};

const WRITERS: [usize; 3] = [1, 8, 64];
const SMALL_STORE_KEYS: u64 = 3_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(5, |a| a.parse().expect("SECONDS is a number"));
    let keys: u64 = arguments.next().map_or(1_000_000, |a| a.parse().expect("KEYS is a number"));
    let root = arguments.next().unwrap_or_else(|| ".".into());

    println!(
        "| engine | keys | writers | turns/s | apply p50/p99 µs | durable p50/p99 ms | read 12 p50/p99 µs | CPU µs/turn | written/user bytes |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for preload in [SMALL_STORE_KEYS, keys] {
        for name in ["redb", "fjall, its own sync", "fjall, sync beside it", "waggle-kv"] {
            let directory = tempfile::tempdir_in(&root).expect("a directory for the store");
            measure(name, directory.path(), preload, seconds);
        }
    }
}

/// Fills a store, measures each number of writers in turn, then how long the store takes to open again.
fn measure(name: &str, directory: &Path, preload: u64, seconds: u64) {
    let open = || -> Box<dyn Engine> {
        match name {
            "redb" => Box::new(Redb::open(directory)),
            "fjall, its own sync" => Box::new(Fjall::open(directory, Sync::UnderItsLock)),
            "fjall, sync beside it" => Box::new(Fjall::open(directory, Sync::OwnHandle)),
            _ => Box::new(Waggle::open(directory)),
        }
    };
    let mut engine = open();
    load::fill(engine.as_ref(), preload);
    for writers in WRITERS {
        let (back, cell) = run(engine, writers, preload, seconds);
        engine = back;
        print_row(name, preload, writers, &cell);
    }
    drop(engine);
    let started = Instant::now();
    drop(open());
    println!(
        "| {name} | {preload} | opened and closed again in {:.0} ms |",
        started.elapsed().as_secs_f64() * 1e3
    );
}

fn print_row(name: &str, preload: u64, writers: usize, cell: &Cell) {
    println!(
        "| {name} | {preload} | {writers} | {:.0} | {:.0} / {:.0} | {:.1} / {:.1} | {:.0} / {:.0} | {:.0} | {:.1} |",
        cell.turns_per_second,
        cell.apply_us.0,
        cell.apply_us.1,
        cell.durable_us.0 / 1e3,
        cell.durable_us.1 / 1e3,
        cell.read_us.0,
        cell.read_us.1,
        cell.cpu_us_per_turn,
        cell.write_amplification,
    );
}
