// What of the API has no place in conversation.mjs, with the official `openai` package: answers and calls parsed by zod,
// conversations and their items, embeddings, models.
//
// Usage: api.mjs, with OPENAI_BASE_URL set to a server whose model is the demo model.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat, zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const Place = z.object({ city: z.string(), inhabitants: z.number().int() });
const ROME = { city: "Rome", inhabitants: 2800000 };
const ASKED = `answer ${JSON.stringify(ROME)}`;
const CALLED = `call tool find ${JSON.stringify(ROME)}`;

const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });

async function all(pages) {
  const found = [];
  for await (const element of pages) found.push(element);
  return found;
}

async function parsed() {
  const text = { format: zodTextFormat(Place, "place") };
  const answer = await client.responses.parse({ model: "demo", input: ASKED, text });
  assert.deepEqual(answer.output_parsed, ROME);
  const streamed = await client.responses.stream({ model: "demo", input: ASKED, text }).finalResponse();
  assert.deepEqual(streamed.output_parsed, ROME);
  const tools = [zodResponsesFunction({ name: "find", parameters: Place })];
  const called = await client.responses.parse({ model: "demo", input: CALLED, tools });
  assert.deepEqual([called.output[0].name, called.output[0].parsed_arguments], ["find", ROME]);
}

async function parsedCompletions() {
  const ask = (content) => ({ model: "demo", messages: [{ role: "user", content }] });
  const response_format = zodResponseFormat(Place, "place");
  const answer = await client.chat.completions.parse({ ...ask(ASKED), response_format });
  assert.deepEqual(answer.choices[0].message.parsed, ROME);
  const tools = [zodFunction({ name: "find", parameters: Place })];
  const called = await client.chat.completions.parse({ ...ask(CALLED), tools });
  assert.deepEqual(called.choices[0].message.tool_calls[0].function.parsed_arguments, ROME);
}

async function conversations() {
  const message = (content) => ({ type: "message", role: "user", content });
  const { id } = await client.conversations.create({ metadata: { a: "1" }, items: [message("one")] });
  assert.deepEqual((await client.conversations.retrieve(id)).metadata, { a: "1" });
  assert.deepEqual((await client.conversations.update(id, { metadata: { b: "2" } })).metadata, { b: "2" });
  const added = await client.conversations.items.create(id, { items: [message("two"), message("three")] });
  assert.equal(added.data.length, 2);
  const said = (item) => item.content[0].text;
  const listed = await all(client.conversations.items.list(id, { order: "asc", limit: 2 }));
  assert.deepEqual(listed.map(said), ["one", "two", "three"]);
  const [, two] = listed;
  assert.deepEqual(await client.conversations.items.retrieve(two.id, { conversation_id: id }), two);
  await client.conversations.items.delete(two.id, { conversation_id: id });
  assert.deepEqual((await all(client.conversations.items.list(id))).map(said), ["three", "one"]);
  await assert.rejects(() => client.conversations.items.retrieve(two.id, { conversation_id: id }), OpenAI.NotFoundError);
  assert.equal((await client.conversations.delete(id)).deleted, true);
  await assert.rejects(() => client.conversations.items.list(id), OpenAI.NotFoundError);
}

async function embeddings() {
  const input = ["one", "two"];
  const { data } = await client.embeddings.create({ model: "demo", input, dimensions: 8 });
  assert.deepEqual(data.map((one) => [one.index, one.embedding.length]), [[0, 8], [1, 8]]);
  // The package asks for base64 by itself and decodes it; the same as plain numbers, as far as they are single.
  const plain = await client.embeddings.create({ model: "demo", input, dimensions: 8, encoding_format: "float" });
  for (const [index, one] of plain.data.entries()) {
    one.embedding.forEach((number, at) => assert.ok(Math.abs(number - data[index].embedding[at]) < 1e-6));
  }
  const empty = () => client.embeddings.create({ model: "demo", input: "" });
  await assert.rejects(empty, (error) => error instanceof OpenAI.BadRequestError && error.param === "input");
}

async function models() {
  const names = (await all(client.models.list())).map((model) => model.id);
  assert.ok(names.includes("demo"), names.join());
  assert.equal((await client.models.retrieve("demo")).id, "demo");
  await assert.rejects(() => client.models.retrieve("there-is-none"), OpenAI.NotFoundError);
}

for (const part of [parsed, parsedCompletions, conversations, embeddings, models]) {
  await part();
  console.log(`api: ${part.name}`);
}
