"""Measures hnswlib and FAISS on the vectors that the example `bench_vector` has written.

    python3 bench/vector/peers.py FOLDER [DIMENSIONS]

Needs numpy, and hnswlib or faiss-cpu or both (from PyPI); what is not there is left out. Prints one JSON object for each
library and setting: vectors taken per second by one thread and by two, recall of the ten nearest, queries per second one at
a time (as a request comes), by one thread and by two, and the memory that came with the index.
"""

import json
import pathlib
import sys
import threading
import time

import numpy as np

NEIGHBOURS = 10
SECONDS = 8.0
CONNECTIVITY = 16
EXPANSION_BUILD = 128
EXPANSIONS_SEARCH = (32, 64, 128, 256)


def resident_bytes():
    """The memory of this process that is not shared with files."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def queries_per_second(search, queries, threads):
    """Each thread asks one query at a time for some seconds."""
    counts = [0] * threads
    began = time.perf_counter()

    def ask(thread):
        at = thread * 100
        while time.perf_counter() - began < SECONDS:
            search(queries[at % len(queries)][None, :])
            counts[thread] += 1
            at += 1

    workers = [threading.Thread(target=ask, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began)


def recall(search, queries, truth):
    found = [search(query[None, :]) for query in queries]
    hits = sum(len(set(map(int, one)) & set(map(int, true))) for one, true in zip(found, truth))
    return hits / (len(queries) * NEIGHBOURS)


def tell(library, setting, vectors, seconds, memory, search, queries, truth):
    print(
        json.dumps(
            {
                "library": library,
                "setting": setting,
                "vectors": len(vectors),
                "built_per_second": round(len(vectors) / seconds),
                "build_seconds": round(seconds, 1),
                "recall_at_10": round(recall(search, queries, truth), 4),
                "queries_per_second": round(queries_per_second(search, queries, 1)),
                "queries_per_second_2_threads": round(queries_per_second(search, queries, 2)),
                "memory_bytes": memory,
            }
        ),
        flush=True,
    )


def measure_hnswlib(vectors, queries, truth):
    import hnswlib

    before = resident_bytes()
    began = time.perf_counter()
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=CONNECTIVITY, ef_construction=EXPANSION_BUILD)
    index.add_items(vectors, num_threads=2)
    seconds = time.perf_counter() - began
    memory = resident_bytes() - before
    index.set_num_threads(1)
    for expansion in EXPANSIONS_SEARCH:
        index.set_ef(expansion)
        search = lambda query: index.knn_query(query, k=NEIGHBOURS)[0][0]
        setting = f"M={CONNECTIVITY} efConstruction={EXPANSION_BUILD} ef={expansion}"
        tell("hnswlib", setting, vectors, seconds, memory, search, queries, truth)


def measure_faiss(vectors, queries, truth):
    import faiss

    faiss.omp_set_num_threads(2)
    kinds = {
        "HNSW16,Flat": faiss.IndexHNSWFlat(vectors.shape[1], CONNECTIVITY, faiss.METRIC_INNER_PRODUCT),
        "HNSW16,SQ8": faiss.IndexHNSWSQ(
            vectors.shape[1], faiss.ScalarQuantizer.QT_8bit, CONNECTIVITY, faiss.METRIC_INNER_PRODUCT
        ),
    }
    for kind, index in kinds.items():
        faiss.omp_set_num_threads(2)
        before = resident_bytes()
        index.hnsw.efConstruction = EXPANSION_BUILD
        began = time.perf_counter()
        index.train(vectors)
        index.add(vectors)
        seconds = time.perf_counter() - began
        memory = resident_bytes() - before
        faiss.omp_set_num_threads(1)
        for expansion in EXPANSIONS_SEARCH:
            index.hnsw.efSearch = expansion
            search = lambda query: index.search(query, NEIGHBOURS)[1][0]
            setting = f"{kind} efConstruction={EXPANSION_BUILD} efSearch={expansion}"
            tell("faiss", setting, vectors, seconds, memory, search, queries, truth)


def main():
    folder = pathlib.Path(sys.argv[1])
    dimensions = int(sys.argv[2]) if len(sys.argv) > 2 else 384
    vectors = np.fromfile(folder / "vectors.f32", dtype="<f4").reshape(-1, dimensions)
    queries = np.fromfile(folder / "queries.f32", dtype="<f4").reshape(-1, dimensions)
    truth = np.fromfile(folder / "neighbours.u32", dtype="<u4").reshape(-1, NEIGHBOURS)
    for measure in (measure_hnswlib, measure_faiss):
        try:
            measure(vectors, queries, truth)
        except ImportError as missing:
            print(f"left out: {missing}", file=sys.stderr)


if __name__ == "__main__":
    main()
