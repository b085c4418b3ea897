// Background responses with the official `openai` package: created, polled, followed, resumed, cancelled, deleted.
//
// Usage: background.mjs, with OPENAI_BASE_URL set to a server whose model is the demo model.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";

// The demo model needs some seconds for this.
const SLOW = "[sim: first_token_ms=300 tokens=200 tps=50]";
const PATIENCE_MS = 60_000;
const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });

async function over(response) {
  const deadline = Date.now() + PATIENCE_MS;
  while (["queued", "in_progress"].includes(response.status)) {
    assert.ok(Date.now() < deadline, `${response.id} is ${response.status} for too long`);
    await sleep(50);
    response = await client.responses.retrieve(response.id);
  }
  return response;
}

async function polled() {
  const created = await client.responses.create({ model: "demo", input: "My name is Ada.", background: true });
  assert.deepEqual([created.status, created.background], ["queued", true]);
  const response = await over(created);
  assert.equal(response.status, "completed");
  assert.ok(response.output_text);
  const body = { model: "demo", input: "What is my name?", previous_response_id: response.id };
  assert.equal((await client.responses.create(body)).output_text, "Your name is Ada.");
}

// Left in the middle, and taken up on another connection.
async function resumed() {
  const seen = [];
  const stream = await client.responses.create({ model: "demo", input: SLOW, background: true, stream: true });
  for await (const event of stream) {
    seen.push(event);
    if (seen.length === 8) break;
  }
  assert.equal(seen[0].type, "response.created");
  const { id } = seen[0].response;
  const after = { stream: true, starting_after: seen.at(-1).sequence_number };
  for await (const event of await client.responses.retrieve(id, after)) seen.push(event);
  assert.deepEqual(seen.map((event) => event.sequence_number), seen.map((_, index) => index));
  assert.equal(seen.at(-1).type, "response.completed");
  const deltas = seen.filter((event) => event.type === "response.output_text.delta");
  const { output_text: text } = await client.responses.retrieve(id);
  assert.equal(deltas.map((event) => event.delta).join(""), text);
  const beyond = () => client.responses.retrieve(id, { stream: true, starting_after: seen.length });
  await assert.rejects(beyond, (error) => error instanceof OpenAI.BadRequestError && error.param === "starting_after");
}

// The package's own helper takes a running response up by its id.
async function helped() {
  const created = await client.responses.create({ model: "demo", input: "hello", background: true, stream: true });
  const [first] = (await all(created)).slice(0, 1);
  const final = await client.responses.stream({ response_id: first.response.id }).finalResponse();
  assert.equal(final.output_text, "You said: hello");
}

async function cancelled() {
  const created = await client.responses.create({ model: "demo", input: SLOW, background: true });
  const response = await over(await client.responses.cancel(created.id));
  assert.equal(response.status, "cancelled");
  assert.equal((await client.responses.cancel(created.id)).status, "cancelled");
  await client.responses.delete(created.id);
  await assert.rejects(() => client.responses.retrieve(created.id), OpenAI.NotFoundError);
  const { id } = await client.responses.create({ model: "demo", input: "hi" });
  await assert.rejects(() => client.responses.cancel(id), OpenAI.BadRequestError);
}

async function all(pages) {
  const found = [];
  for await (const element of pages) found.push(element);
  return found;
}

for (const part of [polled, resumed, helped, cancelled]) {
  await part();
  console.log(`background: ${part.name}`);
}
