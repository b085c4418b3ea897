#!/usr/bin/env python3
"""What clients notice when a model dies for a while (`outage`), or when many more of them come for a while (`burst`).

    cargo build --release -p waggle -p model-sim && target/release/waggle build
    python3 bench/resilience.py outage
    python3 bench/resilience.py burst

Python 3.11 or newer, nothing else. It starts two simulated models and Waggle on free ports, and stops them by process id.
The clients are open-loop: a call that is late does not delay the next one. In the outage, a server that counts and resets
connections stands where the model was."""

import argparse
import asyncio
import json
import pathlib
import signal
import socket
import struct
import tempfile
import time

from programs import ROOT, Programs, free_port


class Client:
    """Calls over a few kept connections, each with its own time."""

    def __init__(self, port, model, text="hi"):
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]})
        self.request = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self.port, self.idle, self.seen = port, [], []

    async def call(self):
        began = time.monotonic()
        try:
            reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(self.request)
            status, length, chunked, retry_after = int((await reader.readline()).split()[1]), 0, False, False
            while (line := (await reader.readline()).lower().strip()) != b"":
                length = int(line.split(b":")[1]) if line.startswith(b"content-length:") else length
                chunked |= line == b"transfer-encoding: chunked"
                retry_after |= line.startswith(b"retry-after:")
            while chunked and (size := int(await reader.readline(), 16)) >= 0:
                await reader.readexactly(size + 2)
                if size == 0:
                    break
            await reader.readexactly(length)
            self.idle.append((reader, writer))
        except (OSError, asyncio.IncompleteReadError, IndexError):
            status, retry_after = 0, False
        self.seen.append((began, time.monotonic() - began, status, retry_after))

    async def flood(self, rate, until):
        due, calls = time.monotonic(), set()
        while due < until:
            await asyncio.sleep(max(0, due - time.monotonic()))
            task = asyncio.create_task(self.call())
            calls.add(task)
            task.add_done_callback(calls.discard)
            due += 1 / rate
        await asyncio.gather(*calls)


def describe(name, seen):
    if not seen:
        print(f"{name:<34} nothing")
        return
    for status in sorted({status for _, _, status, _ in seen}):
        times = sorted(took * 1e3 for _, took, said, _ in seen if said == status)
        told = sum(retry for _, _, said, retry in seen if said == status)
        at = lambda part: times[min(len(times) - 1, int(len(times) * part))]
        print(
            f"{name:<34} status {status}: {len(times):>6}  p50 {at(0.5):7.2f}  p99 {at(0.99):7.2f}  "
            f"longest {times[-1]:7.2f} ms  Retry-After on {told}"
        )


class Stage(Programs):
    """Two simulated models, each an upstream of Waggle."""

    def __init__(self, binaries, lines="", flags=()):
        super().__init__(binaries)
        self.ports = {name: free_port() for name in ("model", "other")}
        work = pathlib.Path(tempfile.mkdtemp())
        config = work / "runtime-config.toml"
        upstream = '[upstream.{0}]\nurl = "http://127.0.0.1:{1}/v1"\n[model.{0}]\nupstream = "{0}"\n'
        config.write_text("".join(upstream.format(name, port) for name, port in self.ports.items()) + lines)
        self.models = {}
        for name in self.ports:
            self.start_model(name)
        self.server, self.ports["waggle"] = self.waggle(work / "state", "--runtime-config-file", config, *flags)

    def start_model(self, name):
        self.model(port=self.ports[name])
        self.models[name] = self.started[-1]

    def memory_mib(self):
        status = pathlib.Path(f"/proc/{self.server.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def during(seen, since, until):
    return [one for one in seen if since <= one[0] < until]


async def outage(options):
    lines = f"[upstream.model.breaker]\nopen_ms = {options.open_ms}\n"
    stage = Stage(options.binaries, lines, ("--variable", "fallback=error"))

    async def reset(_reader, writer):
        reset.count += 1
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    reset.count = 0
    try:
        client, other = (Client(stage.ports["waggle"], name) for name in ("model", "other"))
        begin = time.monotonic()
        died = begin + options.steady
        back = died + options.outage
        end = back + options.open_ms / 1e3 + options.steady
        floods = [asyncio.create_task(client.flood(options.rate, end)),
                  asyncio.create_task(other.flood(options.other_rate, end))]
        await asyncio.sleep(max(0, died - time.monotonic()))
        stage.models["model"].send_signal(signal.SIGKILL)
        stage.models["model"].wait()
        dead = await asyncio.start_server(reset, "127.0.0.1", stage.ports["model"])
        await asyncio.sleep(max(0, back - time.monotonic()))
        dead.close()
        stage.start_model("model")
        returned = time.monotonic()
        await asyncio.gather(*floods)
    finally:
        stage.stop_all()
    print(f"{options.rate:g}/s to a model that is dead for {options.outage:g} s; breaker open for {options.open_ms} ms")
    describe("before", during(client.seen, begin + 1, died))
    describe("first second of the outage", during(client.seen, died, died + 1))
    describe("after that", during(client.seen, died + 1, back))
    print(f"connections that reached the dead model: {reset.count}")
    good = [began for began, _, status, _ in client.seen if status == 200 and began >= returned]
    print(f"answers again {good[0] - returned:.2f} s after the model's return" if good else "it never came back")
    describe("after the return", during(client.seen, returned, end))
    describe("another upstream, before", during(other.seen, begin + 1, died))
    describe("another upstream, during", during(other.seen, died, back))


async def burst(options):
    stage = Stage(options.binaries)
    memory = []
    try:
        client = Client(stage.ports["waggle"], "model", f"[sim: headers_ms={options.model_ms}] hi")
        begin = time.monotonic()
        comes = begin + options.steady
        goes = comes + options.burst

        async def watch():
            while True:
                memory.append(stage.memory_mib())
                await asyncio.sleep(1)

        watching = asyncio.create_task(watch())
        await client.flood(options.rate, comes)
        await client.flood(options.rate * options.times, goes)
        await client.flood(options.rate, goes + options.steady)
        watching.cancel()
        alive = stage.server.poll() is None
    finally:
        stage.stop_all()
    print(f"{options.rate:g}/s, for {options.burst:g} s {options.times:g} times that; a model of {options.model_ms} ms")
    describe("before", during(client.seen, begin + 1, comes))
    describe("in the burst", during(client.seen, comes, goes))
    describe("after", during(client.seen, goes, goes + options.steady))
    print(f"memory, MiB: {memory[0]:.0f} at first, {max(memory):.0f} at most, {memory[-1]:.0f} at the end; alive: {alive}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--steady", type=float, default=10, help="seconds before and after")
    subjects = parser.add_subparsers(required=True)
    dies = subjects.add_parser("outage")
    dies.set_defaults(measure=outage)
    dies.add_argument("--rate", type=float, default=500, help="calls a second to the model that dies")
    dies.add_argument("--other-rate", type=float, default=100, help="calls a second to another upstream")
    dies.add_argument("--outage", type=float, default=60, help="seconds")
    dies.add_argument("--open-ms", type=int, default=30_000, help="how long the breaker stays open")
    more = subjects.add_parser("burst")
    more.set_defaults(measure=burst)
    more.add_argument("--rate", type=float, default=100, help="calls a second before and after")
    more.add_argument("--times", type=float, default=15, help="how many times as many in the burst")
    more.add_argument("--burst", type=float, default=60, help="seconds")
    more.add_argument("--model-ms", type=int, default=200, help="how long the model takes")
    options = parser.parse_args()
    asyncio.run(options.measure(options))


if __name__ == "__main__":
    main()
