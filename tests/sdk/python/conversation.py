"""The README's conversation with the official `openai` package, before and after a kill -9 of the server.

Usage: conversation.py before|after NOTES, with OPENAI_BASE_URL set. Every answer is validated by the package's own
types (`_strict_response_validation`), and compared with the JSON it was made of: nothing the package requires may be
missing, nothing it does not know may be sent.
"""

import asyncio
import json
import sys
from pathlib import Path

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

NAME_ASKED = "What is my name?"
NAME_ANSWER = "Your name is Ada."
# What OpenAI's own server sends, too, and the package's types leave out, by the type. The name of a finished function
# call is what earlier releases of the package require.
LIST_KEYS = {"object", "first_id", "last_id"}
# Open Responses has them, and so have OpenAI's requests; OpenAI's responses do not.
OPEN_RESPONSES_KEYS = {"presence_penalty", "frequency_penalty"}
KEYS_BEYOND_THE_TYPES = {
    "SyncPage": LIST_KEYS,
    "SyncCursorPage": LIST_KEYS,
    "SyncConversationCursorPage": LIST_KEYS,
    "Response": OPEN_RESPONSES_KEYS | {"store"},
    "ParsedResponse": OPEN_RESPONSES_KEYS | {"store"},
    "ResponseFunctionCallArgumentsDoneEvent": {"name"},
    # Before a vocabulary is in memory.
    "InputTokenCountResponse": {"waggle_estimated"},
}
LOOKUP = {
    "type": "function",
    "name": "lookup",
    "description": "Looks an order up.",
    "parameters": {
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "required": ["id"],
        "additionalProperties": False,
    },
    "strict": True,
}

client = OpenAI(_strict_response_validation=True, max_retries=0, timeout=30)


def equal(actual, expected, what=""):
    assert actual == expected, f"{what}: {actual!r} is not {expected!r}"


def known(value, path=""):
    """Fails when the server sent a field that the package's types do not have."""
    if isinstance(value, BaseModel):
        kind = type(value).__name__.partition("[")[0]
        extra = set(value.model_extra or {}) - KEYS_BEYOND_THE_TYPES.get(kind, set())
        assert not extra, f"{kind} at {path or 'the top'} does not know {sorted(extra)}"
        for name in value.model_fields_set:
            known(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for index, element in enumerate(value):
            known(element, f"{path}[{index}]")
    return value


def checked(raw):
    """What the package made of an answer, after comparing it with the JSON that was sent."""
    parsed = known(raw.parse())
    text = raw.text() if callable(raw.text) else raw.text
    equal(json.loads(parsed.to_json(exclude_unset=True)), json.loads(text), type(parsed).__name__)
    return parsed


def respond(**arguments):
    return checked(client.responses.with_raw_response.create(**arguments))


def refused(kind, call, status, param=None, code=None):
    """Runs a call that must fail with this class of error."""
    try:
        call()
    except openai.APIStatusError as error:
        equal(type(error), kind, error.message)
        equal((error.status_code, error.param, error.code), (status, param, code), error.message)
        assert error.message and error.type, error.body
        return
    raise AssertionError(f"{kind.__name__} was expected")


def check_order(events):
    """Events are numbered without a gap, and begin and end as they should."""
    equal([event.sequence_number for event in events], list(range(len(events))), "sequence numbers")
    kinds = [event.type for event in events]
    equal(kinds[:2], ["response.created", "response.in_progress"])
    equal(kinds[-1], "response.completed")
    for event in events:
        known(event, event.type)


def before(notes):
    conversation = checked(client.conversations.with_raw_response.create(metadata={"topic": "demo"}))
    equal(conversation.metadata, {"topic": "demo"})
    told = respond(input="Hello! My name is Ada.", conversation=conversation.id)
    equal((told.status, told.conversation.id), ("completed", conversation.id))
    assert told.usage.total_tokens == told.usage.input_tokens + told.usage.output_tokens > 0
    first = respond(input="My name is Ada.", instructions="Be kind.", metadata={"a": "b"}, temperature=0.5)
    equal((first.instructions, first.metadata, first.temperature), ("Be kind.", {"a": "b"}, 0.5))
    saved = {"conversation": conversation.id, "told": told.id, "first": first.id, "text": first.output_text}
    notes.write_text(json.dumps(saved))


def after(notes):
    saved = json.loads(notes.read_text())
    check_memory(saved)
    check_chain(saved)
    check_helper(saved)
    check_tool()
    check_responses(saved)
    check_items()
    check_conversations(saved)
    check_long()
    check_chat()
    check_models()
    check_errors()
    asyncio.run(check_async(saved))


def check_memory(saved):
    """The name told before the crash is known after it, plain and streamed."""
    answer = respond(input=NAME_ASKED, conversation=saved["conversation"])
    equal(answer.output_text, NAME_ANSWER)
    events = list(client.responses.create(input=NAME_ASKED, conversation=saved["conversation"], stream=True))
    check_order(events)
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1, "the answer came in one piece"
    equal("".join(deltas), NAME_ANSWER)
    equal(events[-1].response.output_text, NAME_ANSWER)
    items = client.conversations.items.list(saved["conversation"], order="asc")
    equal([item.role for item in items], ["user", "assistant"] * 3)


def check_chain(saved):
    """A chain of responses remembers, and each link can be continued twice."""
    for _ in range(2):
        answer = respond(input=NAME_ASKED, previous_response_id=saved["first"])
        equal((answer.output_text, answer.previous_response_id), (NAME_ANSWER, saved["first"]))
    again = respond(input=NAME_ASKED, previous_response_id=answer.id)
    equal(again.output_text, NAME_ANSWER)
    alone = respond(input=NAME_ASKED)
    assert alone.output_text != NAME_ANSWER, "a response that continues nothing remembers something"


def check_helper(saved):
    """The package's own stream helper, which puts the response together from its events."""
    with client.responses.stream(input=NAME_ASKED, conversation=saved["conversation"], model="demo") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    equal((kinds[0], kinds[-1]), ("response.created", "response.completed"))
    equal((final.output_text, final.status), (NAME_ANSWER, "completed"))


def check_tool():
    """A function call and its output, the call streamed through the helper."""
    asked = 'call tool lookup {"id": 7}'
    with client.responses.stream(input=asked, model="demo", tools=[LOOKUP]) as stream:
        for event in stream:
            known(event, event.type)
        final = stream.get_final_response()
    call = final.output[0]
    equal((call.type, call.name, json.loads(call.arguments)), ("function_call", "lookup", {"id": 7}))
    plain = respond(input=asked, tools=[LOOKUP])
    equal(plain.output[0].arguments, call.arguments)
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "shipped"}
    answer = respond(input=[output], previous_response_id=final.id, tools=[LOOKUP])
    equal(answer.output_text, "The tool said: shipped")


def check_responses(saved):
    got = checked(client.responses.with_raw_response.retrieve(saved["first"]))
    equal((got.id, got.status, got.output_text), (saved["first"], "completed", saved["text"]))
    inputs = [{"role": "user", "content": f"line {number}"} for number in range(5)]
    created = respond(input=inputs)
    page = checked(client.responses.input_items.with_raw_response.list(created.id, limit=2, order="asc"))
    equal((len(page.data), page.has_more), (2, True))
    texts = [item.content[0].text for item in client.responses.input_items.list(created.id, limit=2, order="asc")]
    equal(texts, [f"line {number}" for number in range(5)])
    client.responses.delete(created.id)
    refused(openai.NotFoundError, lambda: client.responses.retrieve(created.id), 404)
    unsaved = respond(input="hi", store=False)
    refused(openai.NotFoundError, lambda: client.responses.retrieve(unsaved.id), 404)


def check_items():
    conversation = client.conversations.create(
        items=[{"type": "message", "role": "user", "content": "My name is Ada."}]
    )
    items = client.conversations.items.with_raw_response
    many = [{"type": "message", "role": "user", "content": f"item {number}"} for number in range(20)]
    added = checked(items.create(conversation.id, items=many))
    equal(len(added.data), 20)
    page = checked(items.list(conversation.id, limit=3, order="asc"))
    equal((len(page.data), page.has_more, page.last_id), (3, True, page.data[-1].id))
    ids = [item.id for item in client.conversations.items.list(conversation.id, limit=3, order="asc")]
    equal(len(ids), 21)
    newest = [item.id for item in client.conversations.items.list(conversation.id, limit=4)]
    equal(newest, list(reversed(ids)), "newest first")
    one = checked(items.retrieve(ids[1], conversation_id=conversation.id))
    equal((one.id, one.content[0].text), (ids[1], "item 0"))
    left = checked(items.delete(ids[1], conversation_id=conversation.id))
    equal(left.id, conversation.id)
    gone = lambda: client.conversations.items.retrieve(ids[1], conversation_id=conversation.id)  # noqa: E731
    refused(openai.NotFoundError, gone, 404)
    equal(len(list(client.conversations.items.list(conversation.id, limit=100))), 20)
    equal(respond(input=NAME_ASKED, conversation=conversation.id).output_text, NAME_ANSWER)


def check_conversations(saved):
    conversations = client.conversations.with_raw_response
    got = checked(conversations.retrieve(saved["conversation"]))
    equal((got.id, got.metadata), (saved["conversation"], {"topic": "demo"}))
    updated = checked(conversations.update(got.id, metadata={"topic": "other"}))
    equal((updated.created_at, updated.metadata), (got.created_at, {"topic": "other"}))
    equal(checked(conversations.retrieve(got.id)).metadata, {"topic": "other"})
    short_lived = client.conversations.create()
    deleted = checked(conversations.delete(short_lived.id))
    equal((deleted.id, deleted.deleted), (short_lived.id, True))
    refused(openai.NotFoundError, lambda: client.conversations.retrieve(short_lived.id), 404)
    ask = lambda: client.responses.create(input="hi", conversation=short_lived.id)  # noqa: E731
    refused(openai.NotFoundError, ask, 404)


def check_long():
    """Tokens are counted as the turn would be; what was compacted is known from its one item."""
    counted = checked(client.responses.input_tokens.with_raw_response.count(model="gpt-4o", input="hello world"))
    equal(counted.object, "response.input_tokens")
    said = [{"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": "Hello Ada."}]
    # The package's type has no message of a user in its output, of which its documentation says that it holds them all.
    compacted = json.loads(client.responses.with_raw_response.compact(model="demo", input=said).text)
    equal((compacted["object"], [item["type"] for item in compacted["output"]]), ("response.compaction", ["message", "compaction"]))
    held = compacted["output"][-1]
    answer = client.responses.create(input=[held, {"role": "user", "content": NAME_ASKED}])
    equal(answer.output_text, "Your name is Ada.")
    refused(
        openai.BadRequestError,
        lambda: client.responses.create(input=[{**held, "encrypted_content": "e"}, {"role": "user", "content": "x"}]),
        400, "input[0]", "invalid_encrypted_content",
    )


def check_chat():
    messages = [{"role": "user", "content": "My name is Ada."}, {"role": "user", "content": NAME_ASKED}]
    whole = checked(client.chat.completions.with_raw_response.create(model="demo", messages=messages))
    equal(whole.choices[0].message.content, NAME_ANSWER)
    stream = client.chat.completions.create(
        model="demo", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = [known(chunk) for chunk in stream]
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), NAME_ANSWER)
    assert chunks[-1].usage.total_tokens > 0
    with client.chat.completions.stream(model="demo", messages=messages) as helper:
        for _ in helper:
            pass
        equal(helper.get_final_completion().choices[0].message.content, NAME_ANSWER)


def check_models():
    names = [model.id for model in checked(client.models.with_raw_response.list())]
    assert "demo" in names, names
    equal(checked(client.models.with_raw_response.retrieve("demo")).id, "demo")


def check_errors():
    unknown = "resp_" + "0" * 24
    create = client.responses.create
    refused(openai.NotFoundError, lambda: client.responses.retrieve(unknown), 404)
    refused(openai.NotFoundError, lambda: client.responses.retrieve("not an id"), 404)
    refused(openai.BadRequestError, create, 400, "input", "missing_required_parameter")
    refused(openai.BadRequestError, lambda: create(input="hi", temperature="hot"), 400, "temperature", "invalid_type")
    lost = lambda: create(input="hi", previous_response_id=unknown)  # noqa: E731
    refused(openai.BadRequestError, lost, 400, "previous_response_id", "previous_response_not_found")
    # A model that does not answer is no error unless the tenant wants one.
    busy = create(input="[sim: status=429]")
    assert busy.output_text == "We are busy, please try again later", busy
    assert busy.metadata["waggle_fallback_reason"] == "rate_limit_exceeded", busy


async def check_async(saved):
    async with AsyncOpenAI(_strict_response_validation=True, max_retries=0, timeout=30) as asynchronous:
        stream = await asynchronous.responses.create(
            input=NAME_ASKED, conversation=saved["conversation"], stream=True
        )
        check_order([event async for event in stream])
        items = asynchronous.conversations.items.list(saved["conversation"], limit=2)
        equal(len([item async for item in items]) % 2, 0)


if __name__ == "__main__":
    {"before": before, "after": after}[sys.argv[1]](Path(sys.argv[2]))
