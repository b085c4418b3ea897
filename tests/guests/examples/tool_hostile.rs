//! A tool that tries, each by a function of its own: to loop, to trap, to eat memory, to answer at length, with what is no
//! JSON or nests deep, to sleep for ever, to exit, to see the environment, files, the network and stores, and to flood the log.

use guests::tool::{Definition, Error, Invocation, definition, fetch, store};
use std::time::Duration;

guests::serve_tool!(describe, call);

const TRICKS: &[&str] = &[
    "loop", "loop_in_host_calls", "trap", "panic", "recurse", "allocate", "long_answer", "long_error", "not_json",
    "deep_json", "sleep", "exit", "environment", "file", "connect", "fetch", "fetch_often", "key_value", "log", "stateful",
];

/// What stays from one call to the next would be seen here.
static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

fn describe() -> Vec<Definition> {
    TRICKS.iter().map(|name| definition(name, "Tries something that it should not.")).collect()
}

fn call(invocation: Invocation) -> Result<String, Error> {
    match invocation.name.as_str() {
        "loop" => loop {
            std::hint::black_box(0);
        },
        "loop_in_host_calls" => loop {
            std::hint::black_box(std::time::Instant::now());
        },
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("on purpose"),
        "recurse" => Ok(recurse(0).to_string()),
        "allocate" => Ok(allocate().to_string()),
        "long_answer" => Ok("x".repeat(40 << 20)),
        "long_error" => Err(Error::Failed("x".repeat(1 << 20))),
        "not_json" => Ok("{\"a\":".to_owned()),
        "deep_json" => Ok(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        "sleep" => loop {
            std::thread::sleep(Duration::from_secs(24 * 60 * 60));
        },
        "exit" => std::process::exit(3),
        "environment" => Ok(format!("{:?} {:?}", std::env::vars().collect::<Vec<_>>(), std::env::args().count())),
        "file" => told(std::fs::read_dir("/").map(|entries| entries.count().to_string())),
        "connect" => told(std::net::TcpStream::connect("127.0.0.1:80").map(|_stream| "connected".to_owned())),
        "fetch" => fetched(),
        "fetch_often" => Ok((0..20).map(|_| fetched().unwrap_or_else(|error| format!("{error:?}")) + "\n").collect()),
        "key_value" => store::open("default").map(|_bucket| "opened".to_owned()).map_err(|error| {
            Error::Failed(format!("{error:?}"))
        }),
        "log" => Ok(flood().to_string()),
        "stateful" => Ok(CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string()),
        _ => Err(Error::NoSuchTool),
    }
}

fn told(tried: std::io::Result<String>) -> Result<String, Error> {
    tried.map_err(|error| Error::Failed(error.to_string()))
}

fn fetched() -> Result<String, Error> {
    fetch("127.0.0.1", "/").map(|status| status.to_string()).map_err(|error| Error::Failed(format!("{error:?}")))
}

fn recurse(depth: u64) -> u64 {
    match std::hint::black_box(depth + 1) {
        u64::MAX => 0,
        deeper => recurse(deeper) + std::hint::black_box(1),
    }
}

fn allocate() -> usize {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&kept);
    }
}

fn flood() -> usize {
    let line = "x".repeat(1_000);
    for _ in 0..1_000 {
        println!("{line}");
        eprintln!("{line}");
    }
    2_000
}
