"""Background responses with the official `openai` package: created, polled, followed, resumed, cancelled, deleted.

Usage: background.py, with OPENAI_BASE_URL set to a server whose model is the demo model.
"""

import time

import openai
from openai import OpenAI

# The demo model needs some seconds for this.
SLOW = "[sim: first_token_ms=300 tokens=200 tps=50]"
PATIENCE_S = 60


def wait(client, response):
    deadline = time.monotonic() + PATIENCE_S
    while response.status in ("queued", "in_progress"):
        assert time.monotonic() < deadline, f"{response.id} is {response.status} for too long"
        time.sleep(0.05)
        response = client.responses.retrieve(response.id)
    return response


def polled(client):
    created = client.responses.create(model="demo", input="My name is Ada.", background=True)
    assert created.status == "queued" and created.background is True, created
    response = wait(client, created)
    assert response.status == "completed" and response.output_text, response
    follow_up = client.responses.create(model="demo", input="What is my name?", previous_response_id=response.id)
    assert follow_up.output_text == "Your name is Ada.", follow_up


def resumed(client):
    seen = []
    with client.responses.create(model="demo", input=SLOW, background=True, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if len(seen) == 8:
                break
    first = seen[0]
    assert first.type == "response.created", first
    response_id = first.response.id
    with client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number) as stream:
        seen.extend(stream)
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert seen[-1].type == "response.completed", seen[-1]
    text = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
    assert text == client.responses.retrieve(response_id).output_text
    try:
        client.responses.retrieve(response_id, stream=True, starting_after=len(seen))
    except openai.BadRequestError as error:
        assert error.param == "starting_after", error
    else:
        raise AssertionError("a number beyond the end was accepted")


def cancelled(client):
    created = client.responses.create(model="demo", input=SLOW, background=True)
    response = wait(client, client.responses.cancel(created.id))
    assert response.status == "cancelled", response
    assert client.responses.cancel(created.id).status == "cancelled"
    client.responses.delete(created.id)
    try:
        client.responses.retrieve(created.id)
    except openai.NotFoundError:
        pass
    else:
        raise AssertionError("a deleted response is there")
    synchronous = client.responses.create(model="demo", input="hi")
    try:
        client.responses.cancel(synchronous.id)
    except openai.BadRequestError as error:
        assert "synchronous" in str(error), error
    else:
        raise AssertionError("a synchronous response was cancelled")


def main():
    client = OpenAI(api_key="unused", max_retries=0)
    for part in (polled, resumed, cancelled):
        part(client)
        print(f"background: {part.__name__}")


if __name__ == "__main__":
    main()
