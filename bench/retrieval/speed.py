"""How fast retrieval is from end to end: taking documents in, searches, what a turn of chat takes longer, cached answers.

    cargo build --release -p waggle -p model-sim && target/release/waggle build
    python3 bench/retrieval/documents.py fetch FOLDER
    python3 bench/retrieval/speed.py FOLDER --json speed.json

Python 3.11 or newer, nothing else. It starts model-sim, whose vectors cost next to nothing, and Waggle on free ports, makes
files of pieces of the documents (each with a number of its own, so that no two chunks are the same) until there are
`--chunks`, and measures one after the other:

- ingestion: from adding the uploaded files to a vector store until all are found; the upload is timed by itself;
- `POST /v1/vector_stores/{id}/search`, with questions whose vectors the server remembers, so without the embedding call;
- turns with the tool `file_search` and turns without, in turns: the difference of their percentiles is what is added;
- turns that the semantic answer cache answers, once stored as usual, once with `"store": false`.

The client sends at a fixed rate over one connection, and times a request from when it was due, so one that is late makes
those behind it late, too. Every answer is checked. It is a Python program on the same machine, which adds some tens of
microseconds; the median of `hello`, which is measured first, shows how many.
"""

import argparse
import gc
import json
import os
import pathlib
import random
import re
import socket
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))

from api import Api, say
from documents import text_of
from programs import ROOT, Awake, Programs

QUESTIONS = 64
SECTIONS_PER_FILE = 1_000
DIMENSIONS = 384
RESULTS = 5
INGESTION_SECONDS_MAX = 4 * 3600
QUIET_SECONDS_MAX = 1800
ANSWER_SECONDS_MAX = 150
CACHE_TRIES_MAX = 200
HEAD_BYTES_MAX = 1 << 16
GOALS = {
    "search p99 ms": ("search", 5.0),
    "retrieval adds p99 ms": ("added", 5.0),
    "cached answer p99 ms": ("cached", 2.0),
}


class Line:
    """One connection; HTTP/1.1 and no more of it than is needed."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def more(self):
        part = self.socket.recv(1 << 18)
        if not part:
            raise SystemExit("the server has closed the connection")
        self.rest += part

    def line(self):
        while b"\r\n" not in self.rest:
            if len(self.rest) > HEAD_BYTES_MAX:
                raise SystemExit("an endless head")
            self.more()
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line

    def exactly(self, length):
        while len(self.rest) < length:
            self.more()
        body, self.rest = self.rest[:length], self.rest[length:]
        return body

    def ask(self, request):
        """The status, the head's fields and the body of the answer."""
        self.socket.sendall(request)
        status, fields = int(self.line().split()[1]), {}
        while line := self.line():
            name, value = line.split(b":", 1)
            fields[name.lower()] = value.strip()
        if fields.get(b"transfer-encoding") != b"chunked":
            return status, fields, self.exactly(int(fields.get(b"content-length", 0)))
        body = b""
        while size := int(self.line(), 16):
            body += self.exactly(size)
            self.line()
        self.line()
        return status, fields, body


def request(method, path, body=None):
    """The bytes of a request."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def timed(line, kinds, rate, seconds):
    """Asks in turns of all kinds, {name: (requests, check)}; the times of each kind from when a request was due, in ms."""
    say(f"{', '.join(kinds)}: {seconds:.0f} s of {rate:g} requests a second each")
    times = {name: [] for name in kinds}
    gc.collect()
    gc.disable()
    due = time.perf_counter()
    for number in range(int(rate * seconds)):
        for name, (requests, check) in kinds.items():
            time.sleep(max(0, due - time.perf_counter()))
            answer = line.ask(requests[number % len(requests)])
            times[name].append((time.perf_counter() - due) * 1e3)
            due += 1 / rate / len(kinds)
            if not check(*answer):
                raise SystemExit(f"a wrong answer to {name}: {answer[0]} {answer[1]} {answer[2][:500]}")
    gc.enable()
    return {name: percentiles(values) for name, values in times.items()}


def percentiles(values):
    values = sorted(values)
    at = lambda share: round(values[min(len(values) - 1, int(len(values) * share))], 3)
    return {"requests": len(values), "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "longest_ms": at(1)}


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quiet(process):
    """Waits until the server does nothing by itself any more, such as building a graph of neighbours."""
    say("waiting until the server has nothing left to do")
    until = time.monotonic() + QUIET_SECONDS_MAX
    while time.monotonic() < until:
        before = cpu_seconds(process)
        time.sleep(5)
        if cpu_seconds(process) - before < 0.25:
            return
    print("the server did not come to rest; what follows was measured beside its work", file=sys.stderr)


class Pieces:
    """Text made of the documents' words."""

    def __init__(self, folder, seed):
        pages = sorted((folder / "en").glob("*.html"))
        if not pages:
            raise SystemExit(f"no documents: documents.py fetch {folder}")
        self.words = [word for page in pages for word in text_of(page.read_text(encoding="utf-8")).split()]
        self.random, self.number = random.Random(seed), 0

    def run(self, least, most):
        length = self.random.randint(least, most)
        begin = self.random.randrange(len(self.words) - length)
        return " ".join(self.words[begin : begin + length])

    def file(self):
        """Markdown of sections that are about a chunk each."""
        sections = []
        for _ in range(SECTIONS_PER_FILE):
            self.number += 1
            title = re.sub(r"[^A-Za-z ]", "", self.run(3, 6)) or "Section"
            sections.append(f"## {title} {self.number}\n\n{self.run(90, 120)}\n\nEntry {self.number}.\n")
        return "\n".join(sections).encode()

    def question(self):
        """One that a simulated model answers with a citation, since it says it again."""
        return re.sub(r"[^A-Za-z ]", "", self.run(6, 10)) + "? [1]"


def take_in(api, pieces, options):
    """A vector store of at least so many chunks; its id and what that took."""
    store = api.store("speed")
    names, sent, chunks, upload_seconds, seconds = 0, 0, 0, 0.0, 0.0
    count = 1
    while chunks < options.chunks:
        say(f"ingestion: {count} files after {chunks} of {options.chunks} chunks")
        contents = [pieces.file() for _ in range(count)]
        began = time.perf_counter()
        files = [api.upload(f"part-{names + at}.md", content) for at, content in enumerate(contents)]
        uploaded = time.perf_counter()
        api.add(store, files, options.chunk_tokens, 0)
        api.settled(store, INGESTION_SECONDS_MAX)
        seconds += time.perf_counter() - uploaded
        upload_seconds += uploaded - began
        chunks += sum(len(api.chunks(store, file)) for file in files)
        names, sent = names + count, sent + sum(map(len, contents))
        # The first file tells how many chunks a file has.
        count = max(1, min(100, -(-(options.chunks - chunks) * names // chunks)))
    megabytes = sent / 1e6
    return store, {
        "files": names,
        "chunks": chunks,
        "megabytes": round(megabytes, 1),
        "seconds": round(seconds, 1),
        "chunks_per_second": round(chunks / seconds),
        "megabytes_per_second": round(megabytes / seconds, 2),
        "upload_megabytes_per_second": round(megabytes / upload_seconds, 1),
    }


def found(status, _fields, body):
    return status == 200 and b'"vector_store_id"' in body


def turn(question, searched=None, **more):
    """A turn, answered from the vector store `searched` if there is one; `more` are other members of the request."""
    tool = {"type": "file_search", "vector_store_ids": [searched], "max_num_results": RESULTS}
    return request("POST", "/v1/responses", {"input": question, **({"tools": [tool]} if searched else {}), **more})


def plain(status, _fields, body):
    return status == 200 and b"file_search_call" not in body and b'"status":"completed"' in body


def looked_up(status, fields, body):
    return status == 200 and b"file_search_call" in body and fields.get(b"x-waggle-answer", b"") == b""


def cached(status, fields, _body):
    return status == 200 and fields.get(b"x-waggle-answer") == b"cached"


class Stage(Programs):
    """model-sim, and Waggle over one state folder."""

    def __init__(self, options, work):
        super().__init__(options.binaries)
        self.work, self.port_of_model = work, self.model()

    def serve(self, **variables):
        """Starts Waggle; the process and its port."""
        variables = {"embedding_model": "demo", "embedding_dimensions": DIMENSIONS, "search_threshold": 0, **variables}
        flags = [part for name, value in variables.items() for part in ("--variable", f"{name}={value}")]
        endpoint = f"http://127.0.0.1:{self.port_of_model}/v1"
        return self.waggle(self.work / "state", "--model-endpoint", endpoint, *flags)


def searches(line, store, questions, options):
    """Searches and turns, once the server remembers the questions' vectors."""
    path = f"/v1/vector_stores/{store}/search"
    body = lambda question: {"query": question, "max_num_results": RESULTS}
    search = {"search": ([request("POST", path, body(question)) for question in questions], found)}
    turns = {
        "plain": ([turn(question) for question in questions], plain),
        "file_search": ([turn(question, store) for question in questions], looked_up),
    }
    measured = {}
    for kinds in (search, turns):
        timed(line, kinds, options.rate, 3 * QUESTIONS / options.rate)
        measured |= timed(line, kinds, options.rate, options.seconds)
    names = ("p50_ms", "p90_ms", "p99_ms")
    added = {name: round(measured["file_search"][name] - measured["plain"][name], 3) for name in names}
    return {**measured, "added": added}


def fill_cache(line, store, questions):
    """Has each question answered until its answer is given again."""
    say(f"filling the answer cache with {len(questions)} answers")
    for question in questions:
        for _ in range(CACHE_TRIES_MAX):
            status, fields, body = line.ask(turn(question, store))
            if cached(status, fields, body):
                break
            # The answer is kept beside the turn, so it may take a moment.
            time.sleep(0.02)
        else:
            raise SystemExit(f"no cached answer to: {question}: {status} {fields} {body[:500]}")


def cached_answers(line, store, questions, options):
    fill_cache(line, store, questions)
    kinds = {
        "cached": ([turn(question, store) for question in questions], cached),
        "cached_not_stored": ([turn(question, store, store=False) for question in questions], cached),
    }
    timed(line, kinds, options.rate, 3 * QUESTIONS / options.rate)
    return timed(line, kinds, options.rate, options.seconds)


def measure(options, work):
    pieces = Pieces(options.folder, options.seed)
    with Stage(options, work) as stage:
        process, port = stage.serve()
        line = Line(port)
        hello = {"hello": ([request("GET", "/hello")], lambda status, *_: status == 200)}
        measured = timed(line, hello, options.rate, 5)
        store, measured["ingestion"] = take_in(Api(port), pieces, options)
        questions = [pieces.question() for _ in range(QUESTIONS)]
        quiet(process)
        measured |= searches(Line(port), store, questions, options)
        stage.stop(process)
        say("starting again, with the answer cache")
        process, port = stage.serve(answer_cache="on")
        # The index is read into memory by its first search.
        Line(port).ask(turn(questions[0], store))
        quiet(process)
        measured |= cached_answers(Line(port), store, questions, options)
    return measured


def tell(measured):
    for name, one in measured.items():
        print(f"{name:<20} " + "  ".join(f"{part} {value}" for part, value in one.items()))
    for goal, (name, most) in GOALS.items():
        value = measured[name]["p99_ms"]
        print(f"{goal}: {value} of {most:g}: {'met' if value <= most else 'NOT met'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="of the documents, as documents.py has fetched them")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--chunks", type=int, default=100_000, help="at least")
    parser.add_argument("--chunk-tokens", type=int, default=180)
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60, help="of each measurement")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--awake", action="store_true", help="keep the cores from sleeping")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        with Awake(options.awake):
            measured = measure(options, pathlib.Path(work))
    tell(measured)
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
