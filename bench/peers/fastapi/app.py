"""The FastAPI peer: the same turn as Waggle's, written the usual way with FastAPI, redis.asyncio and httpx.

It is what Waggle is measured against, so it does what the turn needs and nothing more. Environment: PORT,
REDIS_URL, MODEL_URL, WINDOW_ITEMS, WORKERS, HTTP_CLIENT; see README.md.
"""

import importlib
import itertools
import json
import os
import time
from contextlib import asynccontextmanager

import redis.asyncio as redis
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
MODEL_URL = os.environ.get("MODEL_URL", "http://127.0.0.1:4010").rstrip("/")
WINDOW_ITEMS = int(os.environ.get("WINDOW_ITEMS", "20"))
# The two have the same interface; what they cost differs.
httpx = importlib.import_module(os.environ.get("HTTP_CLIENT", "httpx"))
CONNECTIONS_MAX = 1024
MODEL_TIMEOUT_S = 60.0

STARTED_NS = time.time_ns()
COUNTER = itertools.count()


def new_id(prefix: str) -> str:
    """Ids that no other worker process and no other run makes."""
    return f"{prefix}_{STARTED_NS:016x}{os.getpid():08x}{next(COUNTER):012x}"


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.redis = redis.from_url(REDIS_URL, max_connections=CONNECTIONS_MAX)
    limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX)
    app.state.model = httpx.AsyncClient(base_url=MODEL_URL, limits=limits, timeout=MODEL_TIMEOUT_S, trust_env=False)
    yield
    await app.state.model.aclose()
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan, openapi_url=None)


class Part(BaseModel):
    text: str


class Item(BaseModel):
    role: str
    content: str | list[Part]

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class Items(BaseModel):
    items: list[Item]


class Turn(BaseModel):
    model: str
    input: str
    conversation: str | None = None
    stream: bool = False


@app.exception_handler(HTTPException)
async def on_error(_: Request, error: HTTPException) -> JSONResponse:
    kind = "server_error" if error.status_code >= 500 else "invalid_request_error"
    body = {"message": error.detail, "type": kind, "param": None, "code": None}
    return JSONResponse({"error": body}, status_code=error.status_code)


@app.get("/hello")
async def hello() -> PlainTextResponse:
    return PlainTextResponse("Hello, Waggle!")


@app.post("/v1/conversations")
async def create_conversation(request: Request) -> JSONResponse:
    conversation = {"id": new_id("conv"), "object": "conversation", "created_at": int(time.time()), "metadata": {}}
    await request.app.state.redis.set(f"conv:{conversation['id']}", json.dumps(conversation))
    return JSONResponse(conversation)


@app.post("/v1/conversations/{conversation}/items")
async def add_items(conversation: str, new: Items, request: Request) -> JSONResponse:
    store = request.app.state.redis
    if not await store.exists(f"conv:{conversation}"):
        raise unknown(conversation)
    stored = [{"id": new_id("msg"), "role": item.role, "text": item.text()} for item in new.items]
    await store.rpush(f"conv:{conversation}:items", *(json.dumps(item) for item in stored))
    data = [
        {
            "id": item["id"],
            "type": "message",
            "status": "completed",
            "role": item["role"],
            "content": [{"type": "input_text", "text": item["text"]}],
        }
        for item in stored
    ]
    ends = {"first_id": stored[0]["id"], "last_id": stored[-1]["id"]} if stored else {}
    return JSONResponse({"object": "list", "has_more": False, "data": data, **ends})


@app.post("/v1/responses")
async def respond(turn: Turn, request: Request):
    store, model = request.app.state.redis, request.app.state.model
    said = {"id": new_id("msg"), "role": "user", "text": turn.input}
    window = [*await read_window(store, turn.conversation), said]
    body = {"model": turn.model, "messages": [{"role": i["role"], "content": i["text"]} for i in window]}
    response = begun(turn)
    if turn.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        return StreamingResponse(
            stream_turn(store, model, turn, body, said, response),
            media_type="text/event-stream",
            headers={"cache-control": "no-cache"},
        )
    try:
        answer = await model.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise HTTPException(502, f"the model failed: {error}") from error
    answer = answer.json()
    text, usage = answer["choices"][0]["message"]["content"], answer["usage"]
    message = output_item(new_id("msg"), text, "completed")
    complete(response, message, usage)
    await finish_turn(store, turn, said, message["id"], text, response)
    return JSONResponse(response)


def unknown(conversation: str) -> HTTPException:
    return HTTPException(404, f"Conversation with id '{conversation}' not found.")


async def read_window(store: redis.Redis, conversation: str | None) -> list[dict]:
    """The newest items of a conversation, oldest first."""
    if conversation is None:
        return []
    pipeline = store.pipeline(transaction=False)
    pipeline.exists(f"conv:{conversation}").lrange(f"conv:{conversation}:items", -WINDOW_ITEMS, -1)
    exists, items = await pipeline.execute()
    if not exists:
        raise unknown(conversation)
    return [json.loads(item) for item in items]


async def finish_turn(store, turn: Turn, said: dict, message_id: str, text: str, response: dict) -> None:
    """Appends the items of the turn and writes its response, in one transaction."""
    pipeline = store.pipeline(transaction=True)
    if turn.conversation is not None:
        answered = {"id": message_id, "role": "assistant", "text": text}
        pipeline.rpush(f"conv:{turn.conversation}:items", json.dumps(said), json.dumps(answered))
    pipeline.set(f"resp:{response['id']}", json.dumps(response))
    await pipeline.execute()


def begun(turn: Turn) -> dict:
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "model": turn.model,
        "conversation": {"id": turn.conversation} if turn.conversation else None,
        "output": [],
        "usage": None,
    }


def complete(response: dict, message: dict, usage: dict) -> None:
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    response["status"] = "completed"
    response["output"] = [message]
    response["usage"] = {"input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion}


def part(text: str) -> dict:
    return {"type": "output_text", "text": text, "annotations": []}


def output_item(message_id: str, text: str, status: str) -> dict:
    content = [part(text)] if status == "completed" else []
    return {"id": message_id, "type": "message", "status": status, "role": "assistant", "content": content}


async def stream_turn(store, model, turn: Turn, body: dict, said: dict, response: dict):
    """The model's chunks in, response events out; the turn is stored before `response.completed` is sent."""
    sequence = itertools.count()

    def event(kind: str, **fields) -> bytes:
        data = json.dumps({"type": kind, "sequence_number": next(sequence), **fields}, separators=(",", ":"))
        return f"event: {kind}\ndata: {data}\n\n".encode()

    message_id, pieces, usage = new_id("msg"), [], {"prompt_tokens": 0, "completion_tokens": 0}
    place = {"item_id": message_id, "output_index": 0, "content_index": 0}
    yield event("response.created", response=response)
    yield event("response.in_progress", response=response)
    yield event("response.output_item.added", output_index=0, item=output_item(message_id, "", "in_progress"))
    yield event("response.content_part.added", **place, part=part(""))
    async with model.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            chunk = json.loads(line[len("data: ") :])
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                if delta := choice["delta"].get("content"):
                    pieces.append(delta)
                    yield event("response.output_text.delta", **place, delta=delta)
    text = "".join(pieces)
    message = output_item(message_id, text, "completed")
    complete(response, message, usage)
    await finish_turn(store, turn, said, message_id, text, response)
    yield event("response.output_text.done", **place, text=text)
    yield event("response.content_part.done", **place, part=part(text))
    yield event("response.output_item.done", output_index=0, item=message)
    yield event("response.completed", response=response)


if __name__ == "__main__":
    uvicorn.run(
        "app:app",
        host="127.0.0.1",
        port=int(os.environ.get("PORT", "4030")),
        workers=int(os.environ.get("WORKERS", "1")),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
