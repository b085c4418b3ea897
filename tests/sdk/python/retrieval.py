"""Files, vector stores and the `file_search` tool with the official `openai` package.

Usage: retrieval.py, with OPENAI_BASE_URL set to a server without a model of its own: its sources answer. Every answer is
validated by the package's own types.
"""

import tempfile
from pathlib import Path

import openai
from openai import OpenAI

POLL_MS = 50
HOURS = "# Opening hours\n\nThe shop in Rome opens at nine.\n"
REFUNDS = "A refund goes back to the card within five days.\n"
QUESTION = "When does the shop in Rome open?"

client = OpenAI(_strict_response_validation=True, max_retries=0, timeout=60)


def equal(actual, expected, what=""):
    assert actual == expected, f"{what}: {actual!r} is not {expected!r}"


def refused(kind, call, param=None, code=None):
    try:
        call()
    except kind as error:
        assert param is None or error.param == param, error
        assert code is None or error.code == code, error
    else:
        raise AssertionError(f"what should be refused with {kind.__name__} was accepted")


def files():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hours.md"
        path.write_text(HOURS)
        by_path = client.files.create(file=path, purpose="assistants")
    as_bytes = client.files.create(
        file=("rückgabe.txt", REFUNDS.encode(), "text/plain"),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    equal((by_path.filename, by_path.bytes, by_path.status), ("hours.md", len(HOURS), "processed"))
    equal((as_bytes.filename, as_bytes.purpose), ("rückgabe.txt", "user_data"))
    equal(as_bytes.expires_at, as_bytes.created_at + 3600)
    equal(client.files.retrieve(by_path.id), by_path)
    equal(client.files.wait_for_processing(by_path.id).id, by_path.id)
    equal(client.files.content(as_bytes.id).read(), REFUNDS.encode())
    equal([file.id for file in client.files.list()], [as_bytes.id, by_path.id])
    equal([file.id for file in client.files.list(order="asc", limit=1)], [by_path.id, as_bytes.id], "page by page")
    equal([file.id for file in client.files.list(purpose="assistants")], [by_path.id])
    for file in (by_path, as_bytes):
        equal(client.files.delete(file.id).deleted, True)
        refused(openai.NotFoundError, lambda: client.files.retrieve(file.id))
    refused(openai.BadRequestError, lambda: client.files.create(file=("a.txt", b""), purpose="assistants"))
    refused(openai.BadRequestError, lambda: client.files.create(file=("a.txt", b"a"), purpose="nothing"), "purpose")


def stores():
    store = client.vector_stores.create(
        name="shop",
        description="What customers ask",
        metadata={"team": "service"},
        expires_after={"anchor": "last_active_at", "days": 7},
    )
    equal((store.name, store.status, store.file_counts.total), ("shop", "completed", 0))
    equal(store.expires_at, store.last_active_at + 7 * 86_400)
    changed = client.vector_stores.update(store.id, name="shops", metadata={"team": "sales"}, expires_after=None)
    equal((changed.name, changed.metadata, changed.expires_at), ("shops", {"team": "sales"}, None))
    equal(client.vector_stores.retrieve(store.id).name, "shops")
    equal([one.id for one in client.vector_stores.list()], [store.id])
    equal(client.vector_stores.delete(store.id).deleted, True)
    refused(openai.NotFoundError, lambda: client.vector_stores.retrieve(store.id))
    refused(openai.BadRequestError, lambda: client.vector_stores.create(name="x" * 257), "name")


def filled(client=client):
    """A vector store with two files, and these."""
    store = client.vector_stores.create(name="shop")
    hours = client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id,
        file=("hours.md", HOURS.encode()),
        attributes={"lang": "en", "year": 2026, "draft": False},
        chunking_strategy={
            "type": "static",
            "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 50},
        },
        poll_interval_ms=POLL_MS,
    )
    uploaded = client.files.create(file=("refunds.txt", REFUNDS.encode()), purpose="assistants")
    refunds = client.vector_stores.files.create_and_poll(
        uploaded.id, vector_store_id=store.id, attributes={"lang": "en", "year": 2020}, poll_interval_ms=POLL_MS
    )
    return store, hours, refunds


def members():
    store, hours, refunds = filled()
    equal((hours.status, hours.last_error, refunds.status), ("completed", None, "completed"))
    equal(hours.attributes, {"lang": "en", "year": 2026, "draft": False})
    equal(hours.chunking_strategy.static.max_chunk_size_tokens, 200)
    files = client.vector_stores.files
    equal([file.id for file in files.list(store.id, order="asc")], [hours.id, refunds.id])
    equal([file.id for file in files.list(store.id, filter="failed")], [])
    assert HOURS.split("\n")[2] in "".join(part.text for part in files.content(hours.id, vector_store_id=store.id))
    changed = files.update(refunds.id, vector_store_id=store.id, attributes={"lang": "de"})
    equal(changed.attributes, {"lang": "de"})
    equal(files.retrieve(refunds.id, vector_store_id=store.id).attributes, {"lang": "de"})
    broken = files.upload_and_poll(
        vector_store_id=store.id, file=("broken.pdf", b"%PDF-1.4\nbroken"), poll_interval_ms=POLL_MS
    )
    equal((broken.status, broken.last_error.code), ("failed", "invalid_file"))
    counts = client.vector_stores.retrieve(store.id).file_counts
    equal((counts.completed, counts.failed, counts.total), (2, 1, 3))
    equal(files.delete(hours.id, vector_store_id=store.id).deleted, True)
    refused(openai.NotFoundError, lambda: files.retrieve(hours.id, vector_store_id=store.id))
    client.files.retrieve(hours.id)
    clear()


def batches():
    store = client.vector_stores.create(name="shop")
    earlier = client.files.create(file=("refunds.txt", REFUNDS.encode()), purpose="assistants")
    texts = [(f"{number}.txt", f"The number of this file is {number}.".encode()) for number in range(7)]
    batch = client.vector_stores.file_batches.upload_and_poll(
        store.id, files=texts, file_ids=[earlier.id], poll_interval_ms=POLL_MS
    )
    equal((batch.status, batch.file_counts.completed, batch.file_counts.total), ("completed", 8, 8))
    listed = list(client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, limit=3))
    equal(len({file.id for file in listed}), 8, "page by page")
    own = client.files.create(file=("own.txt", b"It has attributes of its own."), purpose="assistants")
    batch = client.vector_stores.file_batches.create_and_poll(
        store.id, files=[{"file_id": own.id, "attributes": {"own": True}}], poll_interval_ms=POLL_MS
    )
    equal(client.vector_stores.files.retrieve(own.id, vector_store_id=store.id).attributes, {"own": True})
    cancelled = client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)
    equal(cancelled.file_counts.completed, 1, "what is taken in stays")
    clear()


def search():
    store, hours, refunds = filled()
    search = client.vector_stores.search
    found = list(search(store.id, query=QUESTION, max_num_results=1))
    equal([(one.file_id, one.filename) for one in found], [(hours.id, "hours.md")])
    assert "opens at nine" in found[0].content[0].text and 0 <= found[0].score <= 1, found
    equal(found[0].attributes, {"lang": "en", "year": 2026, "draft": False})

    def with_filter(filters):
        return {one.file_id for one in search(store.id, query=["refund", "shop"], filters=filters, rewrite_query=False)}

    newer = {"type": "gte", "key": "year", "value": 2026}
    english = {"type": "eq", "key": "lang", "value": "en"}
    equal(with_filter(newer), {hours.id})
    equal(with_filter({"type": "and", "filters": [english, newer]}), {hours.id})
    equal(with_filter({"type": "or", "filters": [english, newer]}), {hours.id, refunds.id})
    equal(with_filter({"type": "in", "key": "year", "value": [2020, 2021]}), {refunds.id})
    refused(openai.BadRequestError, lambda: search(store.id, query="x", max_num_results=51), "max_num_results")
    refused(openai.BadRequestError, lambda: search(store.id, query="x", filters={"type": "like"}))
    refused(openai.NotFoundError, lambda: search("vs_000000000000000000000000", query="x"))
    clear()


def check_answer(response, file):
    call, message = response.output
    equal((call.type, call.status), ("file_search_call", "completed"))
    assert "opens at nine" in response.output_text, response
    citation = message.content[0].annotations[0]
    equal((citation.type, citation.file_id, citation.filename), ("file_citation", file.id, "hours.md"))
    assert 0 <= citation.index <= len(response.output_text), citation
    return call


def answers():
    store, hours, _ = filled()
    tool = {"type": "file_search", "vector_store_ids": [store.id], "max_num_results": 3}
    asked = {"model": "demo", "input": QUESTION, "tools": [tool]}
    equal(check_answer(client.responses.create(**asked), hours).results, None)
    included = client.responses.create(**asked, include=["file_search_call.results"])
    result = check_answer(included, hours).results[0]
    equal((result.file_id, result.filename), (hours.id, "hours.md"))
    assert "opens at nine" in result.text, result
    equal(client.responses.retrieve(included.id).output, included.output)

    with client.responses.stream(**asked) as stream:
        events = list(stream)
        final = stream.get_final_response()
    check_answer(final, hours)
    kinds = [event.type for event in events]
    order = [
        "response.file_search_call.in_progress",
        "response.file_search_call.searching",
        "response.file_search_call.completed",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.completed",
    ]
    places = [kinds.index(kind) for kind in order]
    equal(places, sorted(places), kinds)
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    equal(text, final.output_text)

    none = client.responses.create(**{**asked, "input": "Xylophones?"})
    equal((none.metadata["waggle_answer"], none.output[1].content[0].annotations), ("none", []))
    follow_up = client.responses.create(**asked, previous_response_id=included.id)
    check_answer(follow_up, hours)
    absent = {**tool, "vector_store_ids": ["vs_000000000000000000000000"]}
    refused(
        openai.NotFoundError,
        lambda: client.responses.create(**{**asked, "tools": [absent]}),
        "tools[0]",
    )
    clear()


def clear():
    for store in client.vector_stores.list():
        client.vector_stores.delete(store.id)
    for file in client.files.list():
        client.files.delete(file.id)


for part in (files, stores, members, batches, search, answers):
    part()
    print(f"retrieval: {part.__name__}")
