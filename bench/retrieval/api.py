"""What the measurements ask of Waggle: files, vector stores, searches, over one kept connection and without a library."""

import http.client
import json
import sys
import time
import uuid

BATCH_FILES_MAX = 500
POLL_SECONDS = 0.2
PROGRESS_SECONDS = 10


def say(what):
    """A line for whoever waits: what is being done. Results go to standard output."""
    print(what, file=sys.stderr, flush=True)


class Refused(Exception):
    """An answer that is no success."""


class Api:
    """A client of one server. Not for several threads at once."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def call(self, method, path, body=None, content_type="application/json"):
        """The answer's JSON; `body` is bytes, or what JSON is made of."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"content-type": content_type} if body is not None else {}
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        said = response.read()
        if response.status != 200:
            raise Refused(f"{method} {path}: {response.status} {said.decode(errors='replace')[:500]}")
        return json.loads(said)

    def upload(self, name, content):
        """Uploads a file; its id."""
        boundary = uuid.uuid4().hex
        form = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
            f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        ).encode()
        form += content + f"\r\n--{boundary}--\r\n".encode()
        return self.call("POST", "/v1/files", form, f"multipart/form-data; boundary={boundary}")["id"]

    def store(self, name):
        """Makes a vector store; its id."""
        return self.call("POST", "/v1/vector_stores", {"name": name})["id"]

    def add(self, store, files, chunk_tokens, overlap_tokens):
        """Adds files to a vector store, in batches."""
        static = {"max_chunk_size_tokens": chunk_tokens, "chunk_overlap_tokens": overlap_tokens}
        strategy = {"type": "static", "static": static}
        for at in range(0, len(files), BATCH_FILES_MAX):
            body = {"file_ids": files[at : at + BATCH_FILES_MAX], "chunking_strategy": strategy}
            self.call("POST", f"/v1/vector_stores/{store}/file_batches", body)

    def settled(self, store, seconds):
        """Waits until no file is being taken in, and says now and then how far it is. Ends the program if one has failed, or
        it takes too long."""
        told = time.monotonic()
        until = told + seconds
        while True:
            counts = self.call("GET", f"/v1/vector_stores/{store}")["file_counts"]
            if counts["failed"] or counts["cancelled"]:
                failed = self.call("GET", f"/v1/vector_stores/{store}/files?filter=failed&limit=5")["data"]
                raise SystemExit(f"files were not taken in: {[one['last_error'] for one in failed]}")
            if not counts["in_progress"]:
                return counts["completed"]
            if time.monotonic() > until:
                raise SystemExit(f"after {seconds} s files are still being taken in: {counts}")
            if time.monotonic() > told + PROGRESS_SECONDS:
                told = time.monotonic()
                say(f"  {counts['completed']} files are taken in, {counts['in_progress']} are not yet")
            time.sleep(POLL_SECONDS)

    def chunks(self, store, file):
        """The texts of a file's chunks, as they are searched."""
        texts, page = [], ""
        while page is not None:
            answer = self.call("GET", f"/v1/vector_stores/{store}/files/{file}/content?page={page}")
            texts += [part["text"] for part in answer["data"]]
            page = answer["next_page"]
        return texts

    def retrieve(self, store, question, results, threshold=None):
        """The page of `POST /v1/retrieval/search`."""
        body = {"vector_store_ids": [store], "query": question, "max_num_results": results}
        if threshold is not None:
            body["ranking_options"] = {"score_threshold": threshold}
        return self.call("POST", "/v1/retrieval/search", body)

    def search(self, store, question, results):
        """The results of OpenAI's search, the best first."""
        body = {"query": question, "max_num_results": results}
        return self.call("POST", f"/v1/vector_stores/{store}/search", body)["data"]
