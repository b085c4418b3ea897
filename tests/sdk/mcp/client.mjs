// `/mcp` with the official npm packages as its clients: `@modelcontextprotocol/client`, once as of 2026-07-28 and once after a
// handshake, and `@modelcontextprotocol/sdk`, which knows the handshake only.
//
// Usage: client.mjs URL, the address of a server that has no tools but the built-in ones, and the prompts and the file that
// run.sh gives it. The packages validate every result by their own schemas.
import assert from "node:assert/strict";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as OldClient } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport as OldTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const url = new URL(process.argv[2]);
const info = { name: "waggle-mcp-check", version: "1" };

async function refused(code, call) {
    await assert.rejects(call, (error) => {
        assert.equal(error.code, code, `${error.message}`);
        return true;
    });
}

async function tools(client) {
    const { tools } = await client.listTools();
    const names = tools.map((tool) => tool.name);
    assert.deepEqual(names, names.toSorted(), "the order of tools");
    for (const name of ["calculator", "current_time", "search_knowledge"]) assert.ok(names.includes(name), name);
    const result = await client.callTool({ name: "calculator", arguments: { expression: "6 * 7" } });
    assert.ok(!result.isError && result.content[0].text.includes("42"), JSON.stringify(result));
    const wrong = await client.callTool({ name: "calculator", arguments: { expression: "6 *" } });
    assert.ok(wrong.isError && wrong.content[0].text, JSON.stringify(wrong));
    await refused(-32602, client.callTool({ name: "no_such_tool", arguments: {} }));
    await refused(-32602, client.listTools({ cursor: "§" }));
}

async function progress(client, call) {
    const heard = [];
    const result = await call({ name: "calculator", arguments: { expression: "1 + 1" } }, {
        onprogress: ({ progress }) => heard.push(progress),
    });
    assert.ok(!result.isError && heard.length > 0, `${heard}`);
    assert.deepEqual(heard, [...new Set(heard)].toSorted((one, other) => one - other));
}

// A call that is given up does no harm to the next.
async function cancellation(client, call) {
    const controller = new AbortController();
    const given_up = call({ name: "search_knowledge", arguments: { query: "opening hours" } }, { signal: controller.signal });
    controller.abort();
    await assert.rejects(given_up);
    const result = await client.callTool({ name: "calculator", arguments: { expression: "2 + 2" } });
    assert.ok(result.content[0].text.includes("4"));
}

async function resources(client, missing_code) {
    const { resources } = await client.listResources();
    const file = resources.find((resource) => resource.name === "hours.md");
    assert.ok(file, JSON.stringify(resources));
    const { contents } = await client.readResource({ uri: file.uri });
    assert.ok(contents[0].text.includes("opens at nine"), JSON.stringify(contents));
    await client.listResourceTemplates();
    await refused(missing_code, client.readResource({ uri: "waggle://none" }));
}

async function prompts(client) {
    const { prompts } = await client.listPrompts();
    assert.ok(prompts.some((prompt) => prompt.name === "reply"), JSON.stringify(prompts));
    const filled = await client.getPrompt({ name: "reply", arguments: { question: "Where is my order?", tone: "kind" } });
    assert.equal(filled.messages[0].content.text, "Answer in a kind tone: Where is my order?");
    await refused(-32602, client.getPrompt({ name: "reply", arguments: {} }));
}

async function check(name, client, transport, missing_code, call) {
    await client.connect(transport);
    assert.equal(client.getServerVersion()?.name, "waggle");
    await tools(client);
    await progress(client, call);
    await cancellation(client, call);
    await resources(client, missing_code);
    await prompts(client);
    await client.close();
    console.log(`${name}: ok`);
}

for (const [mode, missing_code] of [[{ pin: "2026-07-28" }, -32602], ["auto", -32602], ["legacy", -32002]]) {
    const client = new Client(info, { versionNegotiation: { mode } });
    const call = (params, options) => client.callTool(params, options);
    const name = `@modelcontextprotocol/client, ${JSON.stringify(mode)}`;
    await check(name, client, new StreamableHTTPClientTransport(url), missing_code, call);
}
const client = new OldClient(info);
const call = (params, options) => client.callTool(params, undefined, options);
await check("@modelcontextprotocol/sdk", client, new OldTransport(url), -32002, call);
