#!/usr/bin/env python3
"""Where the CPU time of a turn goes, as a flame graph with the parts of the system at its bottom.

    cargo install inferno
    python3 bench/flame.py --binaries target/release --svg docs/turn.svg

Needs `perf`, and inferno's `inferno-collapse-perf` and `inferno-flamegraph` in the path. Stacks end where compiled WebAssembly
begins, so those of a function and those of what it calls on the host stand apart; they are put together again by what is in
them."""

import argparse
import pathlib
import re
import subprocess
import tempfile
import time

from programs import ROOT, Programs

# The first that fits names the part: what is looked for in the frames, or a thread's name.
PARTS = (
    ("flushing the store", ("fjall",), "kv-committer"),
    ("epochs, balancing", (), "epochs"),
    ("the function asks the host: stores", ("component-trampolines", "keyvalue"), None),
    ("the function asks the host: stores", ("component-trampolines", "waggle_kv"), None),
    ("the function asks the host: streams, futures, tasks, wasi:http", ("component-trampolines",), None),
    ("the function, as Cranelift compiled it", ("wasm[0]",), None),
    ("calling the model: answer cache, upstreams, egress", ("TenantModels",), None),
    ("calling the model: answer cache, upstreams, egress", ("egress",), None),
    ("calling the model: answer cache, upstreams, egress", ("outbound",), None),
    ("calling the model: answer cache, upstreams, egress", ("hyper_util::client",), None),
    ("calling the model: answer cache, upstreams, egress", ("dispatch::Client",), None),
    ("wasmtime: instances, tasks, streams", ("concurrent",), None),
    ("wasmtime: instances, tasks, streams", ("worker::work",), None),
    ("wasmtime: instances, tasks, streams", ("wasmtime",), None),
    ("clients: hyper, the gateway", ("hyper",), None),
    ("clients: hyper, the gateway", ("gateway",), None),
    ("stores: waiting until it is durable", ("waggle_kv",), None),
    ("tokio: scheduling, waiting for events", ("tokio",), None),
    ("tokio: scheduling, waiting for events", ("epoll",), None),
)
# Frames that every stack has and that say nothing.
PLUMBING = ("std::sys::backtrace", "core::ops::function", "std::panic", "start_thread", "clone3", "catch_unwind", "__rust",
            "runtime::task", "call_once", "LocalKey", "context::")


def part(thread, stack):
    for name, words, of_thread in PARTS:
        if thread == of_thread or (words and all(word in stack for word in words)):
            return name
    return "other"


def short(frame):
    """A function's name without its generics and the first parts of its path."""
    frame = re.sub(r"::\{\{closure\}\}", "", frame)
    implementation = re.match(r"^<(.+?) as (.+?)>::(\w+)", frame)
    if implementation:
        frame = f"{implementation[1].split('<')[0].split('::')[-1]}::{implementation[3]}"
    while (less := re.sub(r"<[^<>]*>", "", frame)) != frame:
        frame = less
    return "::".join(frame.split("::")[-3:])


def grouped(folded):
    """Stacks with their part in front, shortened, and the share of each part."""
    stacks, shares = {}, {}
    for line in folded.splitlines():
        stack, weight = line.rsplit(" ", 1)
        thread, *frames = stack.split(";")
        name = part(thread, ";".join(frames))
        shares[name] = shares.get(name, 0) + int(weight)
        kept = [name]
        for frame in frames:
            if frame == "[unknown]" or frame.startswith("wasm[") or any(word in frame for word in PLUMBING):
                continue
            if short(frame) != kept[-1]:
                kept.append(short(frame))
        key = ";".join(kept)
        stacks[key] = stacks.get(key, 0) + int(weight)
    return stacks, shares


def samples(options, folder):
    """The stacks of a server under load, folded."""
    with Programs(options.binaries) as programs:
        model = programs.model()
        waggle, port = programs.waggle(folder / "state", "--model-endpoint", f"http://127.0.0.1:{model}/v1")
        load = subprocess.Popen([options.binaries / "waggle-bench", "run", "--scenario", options.scenario, "--clients", "32",
                                 "--seconds", str(options.seconds + 4), "--url", f"http://127.0.0.1:{port}"],
                                stdout=subprocess.DEVNULL)
        time.sleep(4)
        subprocess.run(["perf", "record", "-q", "-F", "997", "--call-graph", "dwarf,8192", "-p", str(waggle.pid),
                        "-o", folder / "perf.data", "sleep", str(options.seconds)], check=True)
        load.wait()
        script = subprocess.run(["perf", "script", "--no-inline", "-i", folder / "perf.data"], check=True,
                                capture_output=True)
    return subprocess.run(["inferno-collapse-perf"], input=script.stdout, check=True, capture_output=True).stdout.decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=lambda text: pathlib.Path(text).resolve(), default=ROOT / "target/release")
    parser.add_argument("--svg", type=pathlib.Path, required=True, help="the picture")
    parser.add_argument("--scenario", default="turn", help="of waggle-bench")
    parser.add_argument("--seconds", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stacks, shares = grouped(samples(options, pathlib.Path(folder)))
    for name, weight in sorted(shares.items(), key=lambda one: -one[1]):
        print(f"{weight / sum(shares.values()):6.1%}  {name}")
    folded = "\n".join(f"{stack} {weight // 1_000_000}" for stack, weight in stacks.items() if weight >= 1_000_000)
    flags = ["--minwidth", "0.15", "--title", f"CPU time of the scenario {options.scenario}", "--countname", "ms", "--width", "1400"]
    picture = subprocess.run(["inferno-flamegraph", *flags], input=folded.encode(), check=True, capture_output=True)
    options.svg.write_bytes(picture.stdout)


if __name__ == "__main__":
    main()
