"""Embeddings by the official `openai` package; sessions and a user's data by plain HTTP.

Usage: sessions.py, with OPENAI_BASE_URL set. The package asks for base64 when it is not told otherwise, and decodes it.
"""

import hashlib
import json
import math
import os
import urllib.error
import urllib.request

from openai import OpenAI

BASE = os.environ["OPENAI_BASE_URL"]
client = OpenAI(_strict_response_validation=True, max_retries=0, timeout=30)
# When it validates strictly, the package refuses the base64 that it has asked for itself and would decode.
decoding = OpenAI(max_retries=0, timeout=30)


def equal(actual, expected, what=""):
    assert actual == expected, f"{what}: {actual!r} is not {expected!r}"


def call(method, path, body=None):
    """Status and text of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ok(method, path, body=None):
    status, text = call(method, path, body)
    equal(status, 200, text)
    return json.loads(text)


def check_embeddings():
    texts = ["a", "b", "a"]
    as_base64 = decoding.embeddings.create(model="demo", input=texts, dimensions=16)
    as_floats = client.embeddings.create(model="demo", input=texts, dimensions=16, encoding_format="float")
    vectors = [data.embedding for data in as_base64.data]
    equal([data.index for data in as_base64.data], [0, 1, 2])
    equal(vectors[0], vectors[2])
    assert vectors[0] != vectors[1]
    for vector, floats in zip(vectors, (data.embedding for data in as_floats.data)):
        equal(len(vector), 16)
        assert math.isclose(sum(number * number for number in vector), 1, rel_tol=1e-4), vector
        assert all(math.isclose(one, two, abs_tol=1e-6) for one, two in zip(vector, floats))
    assert as_base64.usage.total_tokens > 0
    tokens = decoding.embeddings.create(model="demo", input=[[1, 2], [3]])
    equal(len(tokens.data), 2)


def check_sessions():
    first = ok("POST", "/chat", {"user": "sdk-user", "query": "My name is Ada."})
    equal((first["seq"], first["fallback"]), (1, False))
    more = {"user": "sdk-user", "query": "What is my name?", "session": first["session"]}
    second = ok("POST", "/chat", more)
    equal((second["answer"], second["seq"]), ("Your name is Ada.", 2))
    # The package sees the same conversation.
    items = client.conversations.items.list(first["session"], order="asc")
    equal([item.role for item in items], ["user", "assistant"] * 2)
    equal(client.responses.retrieve(second["response_id"]).output_text, "Your name is Ada.")
    _, text = call("POST", "/chat", {**more, "stream": True})
    names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    equal((names[0], names[-1], set(names[1:-1])), ("session", "done", {"delta"}))
    read = ok("GET", f"/sessions/{first['session']}")
    equal([message["seq"] for message in read["messages"]], [1, 2, 3])
    listed = ok("GET", "/sessions?user=sdk-user")
    equal([session["session"] for session in listed["data"]], [first["session"]])


def check_rights():
    status, text = call("POST", "/users/sdk-user/export")
    equal(status, 200, text)
    lines = text.splitlines(keepends=True)
    receipt = json.loads(lines[-1])
    equal(receipt["sha256"], hashlib.sha256("".join(lines[:-1]).encode()).hexdigest())
    equal((receipt["conversations"], receipt["items"], receipt["responses"]), (1, 6, 3))
    erased = ok("DELETE", "/users/sdk-user/data")
    equal((erased["object"], erased["responses"]), ("user.data.deleted", 3))
    equal((erased["files"], erased["vector_stores"], erased["tool_calls"]), (0, 0, 0))
    equal(erased.get("incomplete"), None)
    equal(ok("GET", "/sessions?user=sdk-user")["data"], [])
    equal(call("DELETE", "/users/nobody-here/data")[0], 404)


check_embeddings()
check_sessions()
check_rights()
