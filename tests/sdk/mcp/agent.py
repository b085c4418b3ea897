"""Our agent as a client of somebody's MCP server: its tools are called in a turn, approved, and passed on at `/mcp`.

Usage: agent.py before|changed URL LABEL, the address of a running server and what it calls the MCP server (server.py or server.mjs).
`changed`: the server says something else of get_order than was accepted.
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client, MCPError

PATIENCE_S = 60


def equal(actual, expected, what=""):
    assert actual == expected, f"{what}: {actual!r} is not {expected!r}"


class Agent:
    def __init__(self, url, label):
        self.http = httpx2.Client(base_url=url, timeout=PATIENCE_S)
        self.tool = {"type": "mcp", "server_label": label, "require_approval": "never"}
        self.label = label

    def turn(self, **body):
        answer = self.http.post("/v1/responses", json={"model": "demo", "tools": [self.tool]} | body)
        equal(answer.status_code, 200, answer.text)
        return answer.json()

    def call(self, function, arguments):
        # The demo model does what it is told.
        return self.turn(input=f"call tool {self.label}__{function} {json.dumps(arguments)}")


def items(response, kind):
    return [item for item in response["output"] if item["type"] == kind]


def called(agent):
    response = agent.call("get_order", {"number": 7})
    (listed,) = items(response, "mcp_list_tools")
    names = {tool["name"] for tool in listed["tools"]}
    equal(names, {"get_order", "count", "cancel_order", "orders_find"}, "what is listed")
    (call,) = items(response, "mcp_call")
    equal((call["server_label"], call["name"], call.get("error")), (agent.label, "get_order", None), call)
    assert "on its way" in call["output"], call
    (message,) = items(response, "message")
    assert "on its way" in message["content"][0]["text"], message

    (call,) = items(agent.call("count", {"to": 3}), "mcp_call")
    assert "counted to 3" in call["output"], call
    (call,) = items(agent.call("orders_find", {"customer": "Ada"}), "mcp_call")
    assert "an order of Ada" in call["output"], call


def failed(agent):
    """What goes wrong is told to the model, which answers."""
    for arguments, said in (({"number": 0}, "there is no order 0"), ({"number": "seven"}, "number")):
        response = agent.call("get_order", arguments)
        (call,) = items(response, "mcp_call")
        assert call.get("error") and said in json.dumps(call.get("error")), call
        equal(response["status"], "completed")
        assert items(response, "message"), response


def approved(agent):
    """A tool that does not say that it changes nothing waits for a person."""
    response = agent.call("cancel_order", {"number": 7})
    (request,) = items(response, "mcp_approval_request")
    assert not items(response, "mcp_call"), response
    answer = {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": True}
    response = agent.turn(previous_response_id=response["id"], input=[answer])
    (call,) = items(response, "mcp_call")
    assert "order 7 is cancelled" in call["output"], call


async def passed_on(url, label):
    async with Client(f"{url}/mcp", read_timeout_seconds=PATIENCE_S) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        order = listed[f"{label}__get_order"]
        assert order.output_schema is not None and order.annotations.read_only_hint, order
        # The package holds the result against the schema itself.
        result = await client.call_tool(order.name, {"number": 7})
        equal(result.structured_content, {"number": "7", "state": "on its way"}, "the structured result")
        wrong = await client.call_tool(order.name, {"number": 0})
        assert wrong.is_error and "there is no order 0" in wrong.content[0].text, wrong
        # Nobody is asked here, so what would have to be approved is not there.
        assert f"{label}__cancel_order" not in listed, sorted(listed)
        try:
            await client.call_tool(f"{label}__cancel_order", {"number": 7})
        except MCPError as error:
            equal(error.code, -32602, error.message)
        else:
            raise AssertionError("a tool that needs approval was called")


def changed(agent):
    response = agent.call("get_order", {"number": 7})
    (call,) = items(response, "mcp_call")
    assert "changed" in json.dumps(call.get("error")), call
    (call,) = items(agent.call("count", {"to": 2}), "mcp_call")
    assert "counted to 2" in call["output"], call


def main():
    moment, url, label = sys.argv[1:]
    agent = Agent(url, label)
    if moment == "changed":
        changed(agent)
        return
    called(agent)
    failed(agent)
    approved(agent)
    asyncio.run(passed_on(url, label))


main()
