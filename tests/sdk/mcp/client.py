"""`/mcp` with the official `mcp` package as its client, once as of 2026-07-28 and once after a handshake.

Usage: client.py URL, the address of a server that has no tools but the built-in ones, and the prompts and the file that run.sh
gives it. The package validates every result by the types of the revision that it speaks.
"""

import asyncio
import sys

import anyio
import httpx2
from mcp import Client, MCPError

PATIENCE_S = 30
STATELESS = "2026-07-28"


def equal(actual, expected, what=""):
    assert actual == expected, f"{what}: {actual!r} is not {expected!r}"


async def refused(code, call):
    try:
        await call
    except MCPError as error:
        equal(error.code, code, error.message)
    else:
        raise AssertionError(f"was not refused with {code}")


async def tools(client, stateless):
    listed = await client.list_tools()
    names = [tool.name for tool in listed.tools]
    equal(names, sorted(names), "the order of tools")
    assert {"calculator", "current_time", "search_knowledge"} <= set(names), names
    for tool in listed.tools:
        equal(tool.input_schema["type"], "object", tool.name)
    if stateless:
        assert listed.ttl_ms >= 0 and listed.cache_scope == "private", listed
    result = await client.call_tool("calculator", {"expression": "6 * 7"})
    assert not result.is_error and "42" in result.content[0].text, result
    # What a model can mend is a result, what only a program can is an error.
    wrong = await client.call_tool("calculator", {"expression": "6 *"})
    assert wrong.is_error and wrong.content[0].text, wrong
    wrong = await client.call_tool("calculator", {"expressions": "6 * 7"})
    assert wrong.is_error and "expression" in wrong.content[0].text, wrong
    await refused(-32602, client.call_tool("no_such_tool", {}))
    await refused(-32602, client.list_tools(cursor="§"))


async def structured(client):
    """A tool that declares what it gives gives that; the package holds the result against the schema itself."""
    for tool in (await client.list_tools()).tools:
        if tool.output_schema is not None and tool.name == "calculator":
            result = await client.call_tool("calculator", {"expression": "1 + 1"})
            assert result.structured_content is not None, result


async def progress(client):
    heard = []

    async def hear(done, total, message):
        heard.append(done)

    result = await client.call_tool("calculator", {"expression": "1 + 1"}, progress_callback=hear)
    assert not result.is_error and heard, (result, heard)
    equal(heard, sorted(set(heard)), "progress")


async def cancellation(client):
    """A call that is given up does no harm to the next."""
    with anyio.move_on_after(0):
        await client.call_tool("search_knowledge", {"query": "opening hours"})
    result = await client.call_tool("calculator", {"expression": "2 + 2"})
    assert "4" in result.content[0].text, result


async def resources(client):
    found, cursor = {}, None
    for _ in range(10):
        page = await client.list_resources(cursor=cursor)
        found |= {resource.name: resource for resource in page.resources}
        cursor = page.next_cursor
        if cursor is None:
            break
    equal(cursor, None, "the end of the list")
    read = await client.read_resource(str(found["hours.md"].uri))
    assert "opens at nine" in read.contents[0].text, read
    await client.list_resource_templates()


async def prompts(client):
    listed = await client.list_prompts()
    (prompt,) = [prompt for prompt in listed.prompts if prompt.name == "reply"]
    equal([argument.name for argument in prompt.arguments], ["question", "tone"])
    filled = await client.get_prompt("reply", {"question": "Where is my order?", "tone": "kind"})
    equal(filled.messages[0].content.text, "Answer in a kind tone: Where is my order?")
    await refused(-32602, client.get_prompt("reply", {}))
    await refused(-32602, client.get_prompt("none", {}))


async def check(url, mode):
    async with Client(url, mode=mode, read_timeout_seconds=PATIENCE_S) as client:
        stateless = client.protocol_version == STATELESS
        equal(stateless, mode != "legacy", client.protocol_version)
        assert client.server_capabilities.tools is not None, client.server_capabilities
        await tools(client, stateless)
        await structured(client)
        await progress(client)
        await cancellation(client)
        await resources(client)
        await prompts(client)
        missing = "waggle://none"
        if stateless:
            await refused(-32602, client.read_resource(missing))
        else:
            await refused(-32002, client.read_resource(missing))
        print(f"mcp (python), {client.protocol_version}: ok")


async def by_hand(url):
    """What the package never sends."""
    async with httpx2.AsyncClient() as client:
        for method in ("GET", "DELETE"):
            equal((await client.request(method, url)).status_code, 405, method)
        head = {"accept": "application/json, text/event-stream", "mcp-protocol-version": STATELESS, "mcp-method": "tools/call"}
        meta = {
            "io.modelcontextprotocol/protocolVersion": STATELESS,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        call["params"] = {"name": "calculator", "arguments": {"expression": "1"}, "_meta": meta}
        answer = await client.post(url, json=call, headers=head | {"mcp-name": "current_time"})
        equal((answer.status_code, answer.json()["error"]["code"]), (400, -32020), "a head that lies")
        answer = await client.post(url, json=call, headers=head | {"mcp-name": "calculator"})
        equal(answer.status_code, 200, answer.text)
        answer = await client.post(url, json=[call], headers=head)
        equal((answer.status_code, answer.json()["error"]["code"]), (400, -32600), "several at once")
        answer = await client.post(url, json=call, headers=head | {"mcp-protocol-version": "1900-01-01"})
        equal(answer.status_code, 400, "a revision of its own")
        answer = await client.post(url, json=call, headers=head | {"origin": "https://evil.example"})
        equal(answer.status_code, 403, "a page of another's")


async def main():
    url = sys.argv[1]
    for mode in (STATELESS, "auto", "legacy"):
        await check(url, mode)
    await by_hand(url)


asyncio.run(main())
