"""What a thousand tools cost a tenant's turns: CPU per turn with one tool registered and with a thousand, in turns.

    cargo build --release -p waggle -p model-sim && target/release/waggle build
    python3 bench/tools/many.py --binaries target/release --json many.json

Python 3.11 or newer, nothing else. It starts model-sim and two servers of the same program: one whose tenant has one tool, and
one with `--tools` of them; turns of both are offered the same one. Rounds of turns go to one server and then to the other, and
the CPU time of its process is read before and after from /proc. A turn is plain, or has the model call the tool once, which is a
request to the simulated model's list of models. Each ratio is that of the medians of all rounds.
"""

import argparse
import http.client
import json
import os
import pathlib
import statistics
import sys
import tempfile
import urllib.parse

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))

from programs import Programs

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
TURNS = {
    "plain turn": "Good morning.",
    "turn with a call": "[sim: call tool-0__list {}]",
}
RATIO_MAX = 1.05


def post(port, path, body, key=None):
    """The answer's JSON; ends the program when the answer is no success."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status >= 300:
        sys.exit(f"POST {path}: {answer.status} {said.decode(errors='replace')[:500]}")
    return json.loads(said)


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


class Server:
    """One server whose tenant has so many tools."""

    def __init__(self, programs, folder, model, tools):
        url = f"http://127.0.0.1:{model}"
        flags = ["--model-endpoint", f"{url}/v1", "--variable", "model=sim", "--variable", "tools=tool-0"]
        self.process, self.port = programs.waggle(folder, *flags)
        admin = urllib.parse.urlparse(json.loads((folder / "admin.json").read_text())["url"]).port
        key = (folder / "admin-key").read_text().strip()
        function = {
            "name": "list", "description": "Lists the models.", "side_effects": False, "needs_approval": False,
            "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
            "request": {"method": "GET", "path": "/v1/models"},
        }
        for number in range(tools):
            tool = {"name": f"tool-{number}", "kind": "http", "base_url": url, "accept": True, "functions": [function]}
            post(admin, "/admin/v1/tenants/default/tools", tool, key)

    def cpu_us(self, text, turns):
        """CPU time of one of so many turns, in microseconds."""
        before = cpu_seconds(self.process)
        for _ in range(turns):
            response = post(self.port, "/v1/responses", {"input": text, "store": False})
            called = sum(item["type"] == "mcp_call" and not item.get("error") for item in response["output"])
            if response["status"] != "completed" or called != ("call" in text):
                sys.exit(f"a turn is not as it should be: {response}")
        return (cpu_seconds(self.process) - before) / turns * 1e6


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--binaries", default="target/release")
    arguments.add_argument("--tools", type=int, default=1_000)
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--turns", type=int, default=500)
    arguments.add_argument("--json", type=pathlib.Path)
    given = arguments.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder, Programs(given.binaries) as programs:
        model = programs.model()
        servers = []
        for tools in (1, given.tools):
            state = pathlib.Path(folder, str(tools))
            state.mkdir()
            servers.append(Server(programs, state, model, tools))
        for name, text in TURNS.items():
            for server in servers:
                server.cpu_us(text, given.turns)
            rounds = [[server.cpu_us(text, given.turns) for server in servers] for _ in range(given.rounds)]
            few, many = (statistics.median(column) for column in zip(*rounds))
            results[name] = {"one_us": round(few, 1), "many_us": round(many, 1), "ratio": round(many / few, 3)}
            print(f"{name}: {few:.0f} us with 1 tool, {many:.0f} us with {given.tools}: {many / few:.3f}")
    if given.json:
        given.json.write_text(json.dumps({"tools": given.tools} | results, indent=1) + "\n")
    if any(result["ratio"] > RATIO_MAX for result in results.values()):
        sys.exit(f"more than {RATIO_MAX}")


main()
