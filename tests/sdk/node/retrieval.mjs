// Files, vector stores and the `file_search` tool with the official `openai` package.
//
// Usage: retrieval.mjs, with OPENAI_BASE_URL set to a server without a model of its own: its sources answer.

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import OpenAI, { toFile } from "openai";

const POLL = { pollIntervalMs: 50 };
const HOURS = "# Opening hours\n\nThe shop in Rome opens at nine.\n";
const REFUNDS = "A refund goes back to the card within five days.\n";
const QUESTION = "When does the shop in Rome open?";
const ABSENT = "vs_000000000000000000000000";
const client = new OpenAI({ maxRetries: 0, timeout: 60_000 });

async function all(pages) {
  const found = [];
  for await (const element of pages) found.push(element);
  return found;
}

async function files() {
  const folder = await mkdtemp(path.join(tmpdir(), "waggle-"));
  await writeFile(path.join(folder, "hours.md"), HOURS);
  const stream = createReadStream(path.join(folder, "hours.md"));
  const byPath = await client.files.create({ file: stream, purpose: "assistants" });
  await rm(folder, { recursive: true });
  const asBytes = await client.files.create({
    file: await toFile(Buffer.from(REFUNDS), "rückgabe.txt", { type: "text/plain" }),
    purpose: "user_data",
  });
  assert.deepEqual([byPath.filename, byPath.bytes, asBytes.filename], ["hours.md", HOURS.length, "rückgabe.txt"]);
  assert.deepEqual(await client.files.retrieve(byPath.id), byPath);
  assert.equal(await (await client.files.content(asBytes.id)).text(), REFUNDS);
  const listed = await all(client.files.list({ order: "asc", limit: 1 }));
  assert.deepEqual(listed.map((file) => file.id), [byPath.id, asBytes.id]);
  for (const { id } of listed) {
    assert.equal((await client.files.delete(id)).deleted, true);
    await assert.rejects(() => client.files.retrieve(id), OpenAI.NotFoundError);
  }
}

async function stores() {
  const expires_after = { anchor: "last_active_at", days: 7 };
  const store = await client.vectorStores.create({ name: "shop", metadata: { team: "service" }, expires_after });
  assert.deepEqual([store.name, store.status, store.file_counts.total], ["shop", "completed", 0]);
  assert.equal(store.expires_at, store.last_active_at + 7 * 86_400);
  assert.equal((await client.vectorStores.update(store.id, { name: "shops" })).name, "shops");
  assert.equal((await client.vectorStores.retrieve(store.id)).name, "shops");
  assert.deepEqual((await all(client.vectorStores.list())).map((one) => one.id), [store.id]);
  assert.equal((await client.vectorStores.delete(store.id)).deleted, true);
  await assert.rejects(() => client.vectorStores.retrieve(store.id), OpenAI.NotFoundError);
}

async function filled() {
  const store = await client.vectorStores.create({ name: "shop" });
  const hours = await client.vectorStores.files.uploadAndPoll(store.id, await toFile(Buffer.from(HOURS), "hours.md"), POLL);
  const uploaded = await client.files.create({
    file: await toFile(Buffer.from(REFUNDS), "refunds.txt"),
    purpose: "assistants",
  });
  const body = { file_id: uploaded.id, attributes: { lang: "en", year: 2020 } };
  const refunds = await client.vectorStores.files.createAndPoll(store.id, body, POLL);
  return { store: store.id, hours, refunds };
}

async function members() {
  const { store, hours, refunds } = await filled();
  assert.deepEqual([hours.status, hours.last_error, refunds.status], ["completed", null, "completed"]);
  const where = { vector_store_id: store };
  const { files } = client.vectorStores;
  assert.deepEqual((await all(files.list(store, { order: "asc" }))).map((file) => file.id), [hours.id, refunds.id]);
  const content = await all(files.content(hours.id, where));
  assert.match(content.map((part) => part.text).join(""), /opens at nine/);
  const changed = await files.update(refunds.id, { ...where, attributes: { lang: "de" } });
  assert.deepEqual(changed.attributes, { lang: "de" });
  const broken = await files.uploadAndPoll(store, await toFile(Buffer.from("%PDF-1.4\nbroken"), "broken.pdf"), POLL);
  assert.deepEqual([broken.status, broken.last_error.code], ["failed", "invalid_file"]);
  assert.equal((await files.delete(hours.id, where)).deleted, true);
  await assert.rejects(() => files.retrieve(hours.id, where), OpenAI.NotFoundError);
  await clear();
}

async function batches() {
  const store = await client.vectorStores.create({ name: "shop" });
  const numbers = [0, 1, 2, 3, 4, 5, 6];
  const named = (number) => toFile(Buffer.from(`The number of this file is ${number}.`), `${number}.txt`);
  const batch = await client.vectorStores.fileBatches.uploadAndPoll(
    store.id,
    { files: await Promise.all(numbers.map(named)) },
    POLL,
  );
  assert.deepEqual([batch.status, batch.file_counts.completed], ["completed", numbers.length]);
  const listed = client.vectorStores.fileBatches.listFiles(batch.id, { vector_store_id: store.id, limit: 3 });
  assert.equal(new Set((await all(listed)).map((file) => file.id)).size, numbers.length);
  await clear();
}

async function search() {
  const { store, hours, refunds } = await filled();
  const [found] = await all(client.vectorStores.search(store, { query: QUESTION, max_num_results: 1 }));
  assert.deepEqual([found.file_id, found.filename], [hours.id, "hours.md"]);
  assert.match(found.content[0].text, /opens at nine/);
  const filters = { type: "and", filters: [{ type: "lt", key: "year", value: 2021 }] };
  const older = await all(client.vectorStores.search(store, { query: ["shop", "refund"], filters }));
  assert.deepEqual(older.map((one) => one.file_id), [refunds.id]);
  const tooMany = () => client.vectorStores.search(store, { query: "x", max_num_results: 51 });
  await assert.rejects(tooMany, (error) => error instanceof OpenAI.BadRequestError && error.param === "max_num_results");
  await assert.rejects(() => client.vectorStores.search(ABSENT, { query: "x" }), OpenAI.NotFoundError);
  await clear();
}

function checkAnswer(response, file) {
  const [call, message] = response.output;
  assert.deepEqual([call.type, call.status], ["file_search_call", "completed"]);
  assert.match(response.output_text, /opens at nine/);
  const [citation] = message.content[0].annotations;
  assert.deepEqual([citation.type, citation.file_id, citation.filename], ["file_citation", file.id, "hours.md"]);
  return call;
}

async function answers() {
  const { store, hours } = await filled();
  const tools = [{ type: "file_search", vector_store_ids: [store] }];
  const asked = { model: "demo", input: QUESTION, tools };
  checkAnswer(await client.responses.create(asked), hours);
  const include = ["file_search_call.results"];
  const call = checkAnswer(await client.responses.create({ ...asked, include }), hours);
  assert.equal(call.results[0].file_id, hours.id);
  const kinds = [];
  const stream = client.responses.stream(asked);
  for await (const event of stream) kinds.push(event.type);
  checkAnswer(await stream.finalResponse(), hours);
  const places = [
    "response.file_search_call.in_progress",
    "response.file_search_call.searching",
    "response.file_search_call.completed",
    "response.output_text.delta",
    "response.output_text.annotation.added",
    "response.completed",
  ].map((kind) => kinds.indexOf(kind));
  assert.ok(!places.includes(-1), kinds.join());
  assert.deepEqual(places, [...places].sort((one, other) => one - other));
  const absent = () => client.responses.create({ ...asked, tools: [{ ...tools[0], vector_store_ids: [ABSENT] }] });
  await assert.rejects(absent, (error) => error instanceof OpenAI.NotFoundError && error.param === "tools[0]");
  await clear();
}

async function clear() {
  for (const { id } of await all(client.vectorStores.list())) await client.vectorStores.delete(id);
  for (const { id } of await all(client.files.list())) await client.files.delete(id);
}

for (const part of [files, stores, members, batches, search, answers]) {
  await part();
  console.log(`retrieval: ${part.name}`);
}
