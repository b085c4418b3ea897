// The README's conversation with the official `openai` package, before and after a kill -9 of the server.
//
// Usage: conversation.mjs before|after NOTES, with OPENAI_BASE_URL set.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import OpenAI from "openai";

const NAME_ASKED = "What is my name?";
const NAME_ANSWER = "Your name is Ada.";
const RESPONSE_KEYS = [
  "id", "object", "created_at", "status", "error", "incomplete_details", "instructions", "metadata", "model", "output",
  "output_text", "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p", "usage",
];
const LOOKUP = {
  type: "function",
  name: "lookup",
  parameters: { type: "object", properties: { id: { type: "integer" } }, required: ["id"], additionalProperties: false },
  strict: true,
};

const client = new OpenAI({ maxRetries: 0, timeout: 30_000 });

async function all(pages) {
  const found = [];
  for await (const element of pages) found.push(element);
  return found;
}

// The fields that the package's type of a response requires.
function checkResponse(response) {
  for (const key of RESPONSE_KEYS) assert.notEqual(response[key], undefined, key);
  assert.equal(response.object, "response");
  return response;
}

async function respond(body) {
  const response = checkResponse(await client.responses.create(body));
  assert.equal(response.status, "completed");
  return response;
}

// A call that must fail with this class of error.
async function refused(kind, call, expected) {
  await assert.rejects(call, (error) => {
    assert.equal(error.constructor, kind, error.message);
    for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value, `${name}: ${error.message}`);
    return true;
  });
}

// Events are numbered without a gap, and begin and end as they should.
function checkOrder(events) {
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, index) => index));
  const kinds = events.map((event) => event.type);
  assert.deepEqual(kinds.slice(0, 2), ["response.created", "response.in_progress"]);
  assert.equal(kinds.at(-1), "response.completed");
}

async function before(notes) {
  const conversation = await client.conversations.create({ metadata: { topic: "demo" } });
  assert.deepEqual(conversation.metadata, { topic: "demo" });
  const told = await respond({ input: "Hello! My name is Ada.", conversation: conversation.id });
  assert.equal(told.conversation.id, conversation.id);
  assert.equal(told.usage.total_tokens, told.usage.input_tokens + told.usage.output_tokens);
  const first = await respond({ input: "My name is Ada.", instructions: "Be kind.", metadata: { a: "b" } });
  writeFileSync(notes, JSON.stringify({ conversation: conversation.id, first: first.id, text: first.output_text }));
}

async function after(notes) {
  const saved = JSON.parse(readFileSync(notes, "utf8"));
  await checkMemory(saved);
  await checkHelper(saved);
  await checkChain(saved);
  await checkTool();
  await checkResponses(saved);
  await checkItems();
  await checkConversations(saved);
  await checkChat();
  await checkErrors();
}

// The name told before the crash is known after it, plain and streamed.
async function checkMemory({ conversation }) {
  const answer = await respond({ input: NAME_ASKED, conversation });
  assert.equal(answer.output_text, NAME_ANSWER);
  const events = await all(await client.responses.create({ input: NAME_ASKED, conversation, stream: true }));
  checkOrder(events);
  const deltas = events.filter((event) => event.type === "response.output_text.delta");
  assert.ok(deltas.length > 1, "the answer came in one piece");
  assert.equal(deltas.map((event) => event.delta).join(""), NAME_ANSWER);
  const items = await all(client.conversations.items.list(conversation, { order: "asc" }));
  const roles = ["user", "assistant"];
  assert.deepEqual(items.map((item) => item.role), [...roles, ...roles, ...roles]);
}

// The package's own stream helper, which puts the response together from its events.
async function checkHelper({ conversation }) {
  const text = [];
  const stream = client.responses.stream({ input: NAME_ASKED, conversation, model: "demo" });
  stream.on("response.output_text.delta", (event) => text.push(event.delta));
  const final = await stream.finalResponse();
  assert.equal(text.join(""), NAME_ANSWER);
  assert.equal(final.output_text, NAME_ANSWER);
  assert.equal(final.status, "completed");
}

async function checkChain({ first }) {
  const second = await respond({ input: NAME_ASKED, previous_response_id: first });
  assert.deepEqual([second.output_text, second.previous_response_id], [NAME_ANSWER, first]);
  const third = await respond({ input: NAME_ASKED, previous_response_id: second.id });
  assert.equal(third.output_text, NAME_ANSWER);
  const alone = await respond({ input: NAME_ASKED });
  assert.notEqual(alone.output_text, NAME_ANSWER);
}

// A function call, streamed through the helper, and its output.
async function checkTool() {
  const body = { input: 'call tool lookup {"id": 7}', model: "demo", tools: [LOOKUP] };
  const final = await client.responses.stream(body).finalResponse();
  const [call] = final.output;
  assert.deepEqual([call.type, call.name, JSON.parse(call.arguments)], ["function_call", "lookup", { id: 7 }]);
  const output = { type: "function_call_output", call_id: call.call_id, output: "shipped" };
  const answer = await respond({ input: [output], previous_response_id: final.id, tools: [LOOKUP] });
  assert.equal(answer.output_text, "The tool said: shipped");
}

async function checkResponses({ first, text }) {
  const got = checkResponse(await client.responses.retrieve(first));
  assert.deepEqual([got.id, got.output_text, got.instructions], [first, text, "Be kind."]);
  const lines = [0, 1, 2, 3, 4].map((number) => `line ${number}`);
  const created = await respond({ input: lines.map((content) => ({ role: "user", content })) });
  const items = await all(client.responses.inputItems.list(created.id, { limit: 2, order: "asc" }));
  assert.deepEqual(items.map((item) => item.content[0].text), lines);
  await client.responses.delete(created.id);
  await refused(OpenAI.NotFoundError, () => client.responses.retrieve(created.id), { status: 404 });
}

async function checkItems() {
  const { id } = await client.conversations.create({ items: [{ role: "user", content: "My name is Ada." }] });
  const many = Array.from({ length: 20 }, (_, number) => ({ role: "user", content: `item ${number}` }));
  const added = await client.conversations.items.create(id, { items: many });
  assert.equal(added.data.length, 20);
  const listed = await all(client.conversations.items.list(id, { limit: 3, order: "asc" }));
  assert.equal(listed.length, 21);
  const newest = await all(client.conversations.items.list(id, { limit: 4 }));
  assert.deepEqual(newest, listed.toReversed());
  const one = await client.conversations.items.retrieve(listed[1].id, { conversation_id: id });
  assert.deepEqual(one, listed[1]);
  const left = await client.conversations.items.delete(one.id, { conversation_id: id });
  assert.equal(left.id, id);
  const gone = () => client.conversations.items.retrieve(one.id, { conversation_id: id });
  await refused(OpenAI.NotFoundError, gone, { status: 404 });
  assert.equal((await respond({ input: NAME_ASKED, conversation: id })).output_text, NAME_ANSWER);
}

async function checkConversations({ conversation }) {
  const got = await client.conversations.retrieve(conversation);
  assert.deepEqual([got.id, got.object, got.metadata], [conversation, "conversation", { topic: "demo" }]);
  const updated = await client.conversations.update(conversation, { metadata: { topic: "other" } });
  assert.deepEqual(updated, { ...got, metadata: { topic: "other" } });
  const { id } = await client.conversations.create();
  assert.equal((await client.conversations.delete(id)).deleted, true);
  await refused(OpenAI.NotFoundError, () => client.conversations.retrieve(id), { status: 404 });
}

async function checkChat() {
  const messages = [{ role: "user", content: "My name is Ada." }, { role: "user", content: NAME_ASKED }];
  const whole = await client.chat.completions.create({ model: "demo", messages });
  assert.equal(whole.choices[0].message.content, NAME_ANSWER);
  const chunks = await all(await client.chat.completions.create({ model: "demo", messages, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), NAME_ANSWER);
  const final = await client.chat.completions.stream({ model: "demo", messages }).finalChatCompletion();
  assert.equal(final.choices[0].message.content, NAME_ANSWER);
  const models = (await all(client.models.list())).map((model) => model.id);
  assert.ok(models.includes("demo"), models.join());
}

async function checkErrors() {
  const unknown = `resp_${"0".repeat(24)}`;
  await refused(OpenAI.NotFoundError, () => client.responses.retrieve(unknown), { status: 404 });
  const missing = { status: 400, param: "input", code: "missing_required_parameter" };
  await refused(OpenAI.BadRequestError, () => client.responses.create({}), missing);
  const hot = () => client.responses.create({ input: "hi", temperature: "hot" });
  await refused(OpenAI.BadRequestError, hot, { status: 400, param: "temperature" });
  const lost = () => client.responses.create({ input: "hi", previous_response_id: unknown });
  await refused(OpenAI.BadRequestError, lost, { param: "previous_response_id", code: "previous_response_not_found" });
  // A model that does not answer is no error unless the tenant wants one.
  const busy = await client.responses.create({ input: "[sim: status=429]" });
  assert.equal(busy.output_text, "We are busy, please try again later");
  assert.equal(busy.metadata.waggle_fallback_reason, "rate_limit_exceeded");
}

const [, , phase, notes] = process.argv;
await { before, after }[phase](notes);
