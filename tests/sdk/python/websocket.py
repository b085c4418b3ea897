"""Turns over a WebSocket with the official `openai` package, which has OPENAI_BASE_URL from the environment.

A chain of turns whose responses are stored, one whose are not, a mistake that keeps the connection, and the same with
the package's asynchronous client.
"""

import asyncio
import json

from openai import AsyncOpenAI, OpenAI

NAME_ANSWER = "Your name is Ada."


def text_of(response):
    return "".join(part.text for item in response.output for part in item.content)


def turn(connection, **message):
    """Reads a whole turn; the response."""
    connection.response.create(**message)
    words = ""
    for number, event in enumerate(connection):
        assert event.sequence_number == number, (number, event)
        if event.type == "response.output_text.delta":
            words += event.delta
        if event.type == "response.completed":
            assert words == text_of(event.response), (words, event.response)
            return event.response
    raise AssertionError("the connection ended")


def chain(connection, store):
    first = turn(connection, input="My name is Ada.", store=store)
    second = turn(connection, input="What is my name?", store=store, previous_response_id=first.id)
    assert text_of(second) == NAME_ANSWER, second


with OpenAI(max_retries=0, timeout=30).responses.connect(max_retries=0) as connection:
    for store in (True, False):
        chain(connection, store)
    connection.response.create(input="Hi", previous_response_id="resp_nothing")
    error = json.loads(connection.recv_bytes())
    assert (error["type"], error["status"]) == ("error", 400), error
    assert error["error"]["code"] == "previous_response_not_found", error
    chain(connection, True)


async def asynchronous():
    async with AsyncOpenAI(max_retries=0, timeout=30).responses.connect(max_retries=0) as connection:
        await connection.response.create(input="My name is Ada.", store=False)
        async for event in connection:
            if event.type == "response.completed":
                return


asyncio.run(asynchronous())
