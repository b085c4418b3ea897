"""The host's index against hnswlib and FAISS on the same vectors, in one run.

    cargo build --release -p waggle-vector --example bench_vector
    python3 -m venv VENV && VENV/bin/pip install numpy hnswlib faiss-cpu
    VENV/bin/python bench/vector/compare.py FOLDER --counts 100000,1000000 --rounds 3 --json vector.json

For each number of vectors the host's index and then the libraries are measured, one after the other, `--rounds` times; what
counts is the median. Of each library's settings the fastest is taken that finds `--recall` of the ten nearest. The vectors
are made once, and remain in FOLDER: 1.5 GB for a million of 384 numbers, and several times that of memory while it runs.

The host's index does more for a query than the libraries: it compares candidates again by their exact vectors, and reads
the text of each hit. The libraries are asked by Python, one query at a time, which costs them some microseconds each.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FIGURES = ("recall_at_10", "queries_per_second", "queries_per_second_2_threads", "built_per_second", "memory_bytes")


def lines(*command):
    """The JSON objects that a program prints, one on each line."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def measure(options, count):
    """What was measured in one round: (library, setting) to figures."""
    folder = options.folder / str(count)
    host = lines(options.example, folder, count, options.dimensions, options.quantization)
    peers = lines(sys.executable, pathlib.Path(__file__).with_name("peers.py"), folder, options.dimensions)
    measured = {("waggle", options.quantization): host[0]}
    return measured | {(one["library"], one["setting"]): one for one in peers}


def medians(rounds):
    """The median of each figure over the rounds."""
    middle = lambda who, figure: statistics.median(one[who][figure] for one in rounds)
    return {who: {figure: middle(who, figure) for figure in FIGURES} for who in rounds[0]}


def fastest(figures, recall):
    """Of each library the fastest setting that finds enough; none of one that never does."""
    best = {}
    for (library, setting), one in figures.items():
        if one["recall_at_10"] >= recall:
            known = best.get(library)
            if known is None or one["queries_per_second"] > known["queries_per_second"]:
                best[library] = {"setting": setting, **one}
    return best


def tell(count, best, recall):
    if "waggle" not in best:
        print(f"\n{count} vectors: the host's index finds less than {recall:g} of the ten nearest")
    print("\n| vectors | index | setting | recall@10 | queries/s | with 2 threads | to the host's | built/s | MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    own = best.get("waggle", {}).get("queries_per_second")
    for library, one in best.items():
        ratio = f"{one['queries_per_second'] / own:.2f}" if own else "-"
        print(f"| {count} | {library} | {one['setting']} | {one['recall_at_10']:.4f} | {one['queries_per_second']:.0f} | "
              f"{one['queries_per_second_2_threads']:.0f} | {ratio} | {one['built_per_second']:.0f} | "
              f"{one['memory_bytes'] / (1 << 20):.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="for the vectors and the index")
    parser.add_argument("--example", type=pathlib.Path, default=ROOT / "target/release/examples/bench_vector")
    parser.add_argument("--counts", default="100000", help="numbers of vectors, by commas")
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--quantization", choices=("int8", "none"), default="int8")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    measured = {}
    for count in map(int, options.counts.split(",")):
        rounds = [measure(options, count) for _ in range(options.rounds)]
        figures = medians(rounds)
        tell(count, fastest(figures, options.recall), options.recall)
        measured[count] = [{"index": who[0], "setting": who[1], **one} for who, one in figures.items()]
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
