"""Every response and every streaming event against the models of Open Responses (`openresponses-types`).

Usage: shapes.py, with OPENAI_BASE_URL set. The server is asked by plain HTTP: what an SDK would mend is seen.

Every compliance test of Open Responses (openresponses/openresponses, src/lib/compliance-tests.ts) is here under its own
name and asks what that asks; where it trusts a model to call a tool, ours is told to. Its two optional ones, `file-search` and
`offline-web-search`, need tools that are the provider's own: this server has none and refuses them by name.
"""

import json
import os
import urllib.error
import urllib.request

from openresponses_types import types
from pydantic import BaseModel, ValidationError

BASE = os.environ["OPENAI_BASE_URL"].rstrip("/")
MODEL = os.environ.get("OPENAI_MODEL", "demo")
SECONDS_MAX = 60
RED_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
SMALL_PDF = "data:application/pdf;base64,JVBERi0xLjEKJSVFT0Y="
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather at a place.",
    "parameters": {
        "type": "object",
        "properties": {"location": {"type": "string"}},
        "required": ["location"],
    },
}


def event_models():
    """The model of each event, by the event's type."""
    found = {}
    for name, model in vars(types).items():
        if name.endswith("StreamingEvent") and isinstance(model, type) and issubclass(model, BaseModel):
            kinds = list(model.model_fields["type"].annotation)
            assert len(kinds) == 1, name
            found[kinds[0].value] = model
    assert "response.output_text.delta" in found and "error" in found, sorted(found)
    return found


EVENTS = event_models()


def post(body, path="/responses"):
    headers = {"Content-Type": "application/json", "Authorization": "Bearer not-needed"}
    data = json.dumps({"model": MODEL, **body}).encode()
    request = urllib.request.Request(f"{BASE}{path}", data=data, headers=headers)
    return urllib.request.urlopen(request, timeout=SECONDS_MAX)


def valid(model, value):
    try:
        model.model_validate(value)
    except ValidationError as error:
        raise AssertionError(f"{error}\n{json.dumps(value, indent=2)}") from error


def respond(body, status="completed"):
    with post(body) as answer:
        response = json.load(answer)
    valid(types.ResponseResource, response)
    assert response["status"] == status, response
    return response


def stream(body):
    """All events of a streamed turn, each valid, in their order; the last thing is `[DONE]`."""
    with post({**body, "stream": True}) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream"), answer.headers
        blocks = answer.read().decode().split("\n\n")
    assert blocks[-2:] == ["data: [DONE]", ""], blocks[-3:]
    events = []
    for block in blocks[:-2]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if not lines:
            continue
        fields = dict(line.split(": ", 1) for line in lines)
        event = json.loads(fields["data"])
        assert event["type"] == fields["event"], block
        assert event["sequence_number"] == len(events), event
        assert event["type"] in EVENTS, f"Open Responses has no {event['type']}"
        valid(EVENTS[event["type"]], event)
        events.append(event)
    return events


def refused(body, param):
    try:
        post(body).close()
    except urllib.error.HTTPError as error:
        told = json.load(error)["error"]
        assert (error.code, told["param"]) == (400, param), (error.code, told)
        assert told["message"] and told["type"] == "invalid_request_error", told
        return
    raise AssertionError(f"{body} was accepted")


def text(response):
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts if part["type"] == "output_text")


def basic_response():
    response = respond({"input": [{"type": "message", "role": "user", "content": "Say hello in exactly 3 words."}]})
    assert text(response) and response["completed_at"] >= response["created_at"], response


def streaming_response():
    events = stream({"input": [{"type": "message", "role": "user", "content": "Count from 1 to 5."}]})
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"], kinds
    assert kinds[-1] == "response.completed", kinds
    said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert said == text(events[-1]["response"]) != "", events[-1]


def system_prompt():
    system = {"type": "message", "role": "system", "content": "You are a pirate. Always respond in pirate speak."}
    respond({"input": [system, {"type": "message", "role": "user", "content": "Say hello."}]})


def tool_calling():
    asked = 'call tool get_weather {"location": "San Francisco"}'
    body = {"input": [{"type": "message", "role": "user", "content": asked}], "tools": [WEATHER]}
    response = respond(body)
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    assert [call["name"] for call in calls] == ["get_weather"], response


def tool_calling_streaming():
    asked = 'call tool get_weather {"location": "San Francisco"}'
    events = stream({"input": [{"type": "message", "role": "user", "content": asked}], "tools": [WEATHER]})
    kinds = [event["type"] for event in events]
    for kind in ("response.function_call_arguments.delta", "response.function_call_arguments.done"):
        assert kind in kinds, kinds
    for kind in ("response.output_item.added", "response.output_item.done"):
        items = [event["item"]["type"] for event in events if event["type"] == kind]
        assert items == ["function_call"], (kind, items)


def function_call_roundtrip():
    asked = 'call tool get_weather {"location": "San Francisco"}'
    choice = {"type": "function", "name": "get_weather"}
    response = respond({"input": asked, "tools": [WEATHER], "tool_choice": choice})
    call = next(item for item in response["output"] if item["type"] == "function_call")
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": '{"temperature": 18}'}
    # With the call repeated, and continued by its id.
    told = {"role": "user", "content": asked, "type": "message"}
    for body in ({"input": [told, call, output]}, {"input": [output], "previous_response_id": response["id"]}):
        answer = respond({**body, "tools": [WEATHER]})
        assert "18" in text(answer), answer


def file_input():
    content = [
        {"type": "input_text", "text": "Read the attached file and answer with its title only."},
        {"type": "input_file", "filename": "fixture.pdf", "file_data": SMALL_PDF},
    ]
    response = respond({"input": [{"type": "message", "role": "user", "content": content}]})
    assert response["output"], response


def previous_response_id():
    first = respond({"input": "My name is Papaya. Reply with only OK."})
    second = respond({"input": "What is my name?", "previous_response_id": first["id"]})
    assert "Papaya" in text(second), second


def hosted_tools():
    for tool in ({"type": "web_search", "external_web_access": False}, {"type": "file_search", "vector_store_ids": "vs_1"}):
        refused({"input": "x", "tools": [tool]}, "tools[0]")
    refused({"input": "x", "tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools[0].vector_store_ids")


def image_input():
    content = [
        {"type": "input_text", "text": "What do you see in this image?"},
        {"type": "input_image", "image_url": RED_PIXEL},
    ]
    response = respond({"input": [{"type": "message", "role": "user", "content": content}]})
    with urllib.request.urlopen(f"{BASE}/responses/{response['id']}/input_items", timeout=SECONDS_MAX) as answer:
        items = json.load(answer)["data"]
    for item in items:
        valid(types.Message, item)
    assert items[0]["content"][1]["image_url"] == RED_PIXEL, items


def multi_turn():
    turns = [("user", "My name is Alice."), ("assistant", "Hello Alice!"), ("user", "What is my name?")]
    items = [{"type": "message", "role": role, "content": content} for role, content in turns]
    assert "Alice" in text(respond({"input": items}))


def all_fields():
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_weather"}]}
    response = respond(
        {
            "input": "Hi",
            "instructions": "Be kind.",
            "include": ["reasoning.encrypted_content"],
            "presence_penalty": 0.5,
            "frequency_penalty": -0.5,
            "max_output_tokens": 64,
            "max_tool_calls": 3,
            "metadata": {"k": "v"},
            "parallel_tool_calls": False,
            "prompt_cache_key": "k",
            "reasoning": {"effort": "low", "summary": "auto"},
            "safety_identifier": "s",
            "service_tier": "auto",
            "stream_options": {"include_obfuscation": False},
            "temperature": 0.5,
            "text": {"format": {"type": "text"}, "verbosity": "low"},
            "tool_choice": choice,
            "tools": [WEATHER],
            "top_p": 0.9,
            "truncation": "auto",
        }
    )
    assert response["tool_choice"] == choice and response["max_tool_calls"] == 3, response


def compacting():
    turns = [("user", "My name is Alice."), ("assistant", "Hello Alice!")]
    items = [{"type": "message", "role": role, "content": content} for role, content in turns]
    with post({"input": items}, "/responses/compact") as answer:
        compacted = json.load(answer)
    valid(types.CompactResource, compacted)
    kinds = [item["type"] for item in compacted["output"]]
    assert kinds == ["message", "compaction"], kinds
    asked = {"type": "message", "role": "user", "content": "What is my name?"}
    assert "Alice" in text(respond({"input": [compacted["output"][1], asked]}))


def wrong_requests():
    refused({"input": "x", "include": ["x"]}, "include[0]")
    refused({"input": "x", "top_logprobs": 21}, "top_logprobs")
    refused({"input": "x", "tool_choice": {"type": "function", "name": "f"}}, "tool_choice")
    refused({"input": [{"type": "item_reference", "id": "msg_x"}]}, "input[0]")
    form = {"type": "json_schema", "name": "n", "schema": {"type": "nonsense"}}
    refused({"input": "x", "text": {"format": form}}, "text.format.schema")


TESTS = {
    "basic-response": basic_response,
    "streaming-response": streaming_response,
    "system-prompt": system_prompt,
    "tool-calling": tool_calling,
    "tool-calling-streaming": tool_calling_streaming,
    "function-call-roundtrip": function_call_roundtrip,
    "image-input": image_input,
    "file-input": file_input,
    "multi-turn": multi_turn,
    "previous-response-id": previous_response_id,
    "file-search, offline-web-search": hosted_tools,
    "all fields": all_fields,
    "compacting": compacting,
    "wrong requests": wrong_requests,
}

if __name__ == "__main__":
    for name, test in TESTS.items():
        test()
        print(f"open responses: {name}: ok")
