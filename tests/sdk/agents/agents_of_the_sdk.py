"""Agents made with the official `openai-agents` package, unmodified: functions of the client's, tools of the server's, approvals,
streams, and agents that hand over to each other.

Usage: agents_of_the_sdk.py ORDERS, with OPENAI_BASE_URL set to a server whose model is the demo model and whose tool `orders` is
the order service at ORDERS, of which cancelOrder has to be approved.
"""

import asyncio
import json
import sys

import httpx2
from agents import Agent, HostedMCPTool, Runner, function_tool, set_tracing_disabled

MODEL = "demo"


def equal(actual, expected, what=""):
    assert actual == expected, f"{what}: {actual!r} is not {expected!r}"


def script(*steps):
    """What the demo model does, step by step."""
    return "[sim: " + "; ".join(f"call {name} {json.dumps(arguments)}" for name, arguments in steps) + "]"


@function_tool
def weather(city: str) -> str:
    """Tells the weather."""
    return f"sunny in {city}"


def orders(**more):
    config = {"type": "mcp", "server_label": "orders", "require_approval": "never"}
    return HostedMCPTool(tool_config=config, **more)


def calls(result, kind):
    return [item.raw_item for item in result.new_items if getattr(item.raw_item, "type", None) == kind]


async def functions():
    agent = Agent(name="Weather", model=MODEL, tools=[weather])
    result = await Runner.run(agent, script(("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"})))
    assert "sunny in Oslo" in result.final_output, result.final_output
    equal(len(calls(result, "function_call")), 2, "calls of the client's")


async def hosted():
    agent = Agent(name="Orders", model=MODEL, tools=[orders()])
    result = await Runner.run(agent, script(("orders__getOrder", {"order_id": "1002"})))
    (call,) = calls(result, "mcp_call")
    equal((call.server_label, call.name, call.error), ("orders", "getOrder", None))
    assert "shipped" in call.output and "shipped" in result.final_output, result.final_output


async def both():
    """The server's tools run first; then the client is asked for its own."""
    agent = Agent(name="Both", model=MODEL, tools=[orders(), weather])
    steps = script(("orders__getOrder", {"order_id": "1003"}), ("weather", {"city": "Rome"}))
    result = await Runner.run(agent, steps, auto_previous_response_id=True)
    equal((len(calls(result, "mcp_call")), len(calls(result, "function_call"))), (1, 1), "calls of both kinds")


async def streamed():
    agent = Agent(name="Orders", model=MODEL, tools=[orders()])
    result = Runner.run_streamed(agent, script(("orders__getOrder", {"order_id": "1002"})))
    seen = [event.data.type async for event in result.stream_events() if event.type == "raw_response_event"]
    for kind in ("response.mcp_call.in_progress", "response.mcp_call.completed", "response.completed"):
        assert kind in seen, (kind, seen)
    assert "shipped" in result.final_output, result.final_output


async def handed_over():
    refunds = Agent(name="refunds", model=MODEL, tools=[weather])
    desk = Agent(name="desk", model=MODEL, handoffs=[refunds])
    result = await Runner.run(desk, script(("transfer_to_refunds", {}), ("weather", {"city": "Rome"})))
    equal(result.last_agent.name, "refunds")
    assert "sunny in Rome" in result.final_output, result.final_output


async def approved(url):
    asked = []

    def decides(approve):
        def decide(request):
            asked.append((request.data.server_label, request.data.name, json.loads(request.data.arguments)))
            return {"approve": approve, "reason": "The customer has changed their mind."}

        return decide

    order = {"order_id": "1001"}
    for approve, expected in ((False, "processing"), (True, "cancelled")):
        agent = Agent(name="Orders", model=MODEL, tools=[orders(on_approval_request=decides(approve))])
        await Runner.run(agent, script(("orders__cancelOrder", order)), auto_previous_response_id=True)
        equal(asked.pop(), ("orders", "cancelOrder", order), "what a person is asked")
        equal(httpx2.get(f"{url}/orders/1001").json()["status"], expected, "the order")
    equal(asked, [])
    equal(len(httpx2.get(f"{url}/stats").json()["effects"]), 1, "what was done")


async def main():
    set_tracing_disabled(True)
    for part in (functions, hosted, both, streamed, handed_over):
        await part()
    await approved(sys.argv[1])


asyncio.run(main())
