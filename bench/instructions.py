#!/usr/bin/env python3
"""Counts the instructions of the hot path: what `hello`, a plain turn and a streamed turn take in the program and its
functions, by valgrind's callgrind. Unlike times, the figures repeat to about 1% on a busy machine.

    cargo build --release -p waggle -p model-sim && target/release/waggle build
    python3 bench/instructions.py --json now.json
    python3 bench/instructions.py --json after.json --baseline now.json

Python 3.11 or newer and valgrind (Debian: apt install valgrind), nothing else. It starts a simulated model, and Waggle
under callgrind, on free ports, and stops them by process id. Instructions are those of user space, so system calls count
only on this side. Requests go out one after the other over one connection, so each pays for its own wake-ups."""

import argparse
import ctypes
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from programs import ROOT, free_port

# Valgrind gives a program 64 GiB of addresses; a memory of an instance takes 4 of them. Under it a request takes some
# fifty times its CPU time, and the first of its kind much more; no instance shall end for that, or for being idle.
RUNTIME_CONFIG = """
[engine]
instances_max = 4
request_cpu_ms_max = 600000
idle_instance_timeout_ms = 86400000

[tools]
concurrent_calls_max = 1
"""
HISTORY_TURNS = 10
# The first requests make instances and connections, and fill caches.
WARM_UP = {"hello": 200, "turn": 40, "turn-stream": 40}
IDLE_SECONDS = 3
START_SECONDS_MAX = 180
ANSWER_SECONDS_MAX = 60


def without_auxv():
    """Lets prctl(PR_GET_AUXV) fail in this process and its children, as before Linux 6.4.

    By that call programs learn where the kernel's vDSO is, which valgrind does not map; the older way, /proc/self/auxv,
    is the one valgrind knows to answer."""
    load, equal, leave = 0x20, 0x15, 0x06
    x86_64, prctl, get_auxv = 0xC000003E, 157, 0x41555856
    refuse, allow = 0x00050000 | 22, 0x7FFF0000
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in [
            (load, 0, 0, 4), (equal, 0, 5, x86_64),
            (load, 0, 0, 0), (equal, 0, 3, prctl),
            (load, 0, 0, 16), (equal, 0, 1, get_auxv),
            (leave, 0, 0, refuse), (leave, 0, 0, allow),
        ]
    )
    kept = ctypes.create_string_buffer(program)
    described = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, filter_mode, described, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


def before_valgrind():
    # With one core there is one worker, and nobody from whom it could take work: which of several does is chance.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    without_auxv()


class Broken(Exception):
    """An answer that is none."""


class Client:
    """One connection; a request is one write, so that the server sees it whole each time."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def ask(self, method, path, body=None):
        text = "" if body is None else json.dumps(body)
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        if body is not None:
            head += f"content-type: application/json\r\ncontent-length: {len(text.encode())}\r\n"
        self.socket.sendall(f"{head}\r\n{text}".encode())
        status = int(self.file.readline().split()[1])
        headers = {}
        while (line := self.file.readline().strip()):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        answer = self.body(headers)
        if status != 200:
            raise Broken(f"{method} {path}: status {status}: {answer[:300]}")
        return answer

    def body(self, headers):
        if "content-length" in headers:
            return self.file.read(int(headers["content-length"]))
        whole = b""
        while (line := self.file.readline()) and (size := int(line, 16)):
            whole += self.file.read(size)
            self.file.readline()
        if not line:
            raise Broken(f"an answer was cut off after {whole[-300:]}")
        self.file.readline()
        return whole


class Subject:
    """A kind of request: what one of them needs beforehand, and the request itself."""

    def __init__(self, name, client):
        self.name, self.client, self.ready = name, client, []

    def prepare(self, count):
        if self.name == "hello":
            self.ready = [None] * count
            return
        items = []
        for turn in range(HISTORY_TURNS):
            items.append({"type": "message", "role": "user", "content": f"Question {turn}: where is my order?"})
            said = f"Answer {turn}: it was shipped and will arrive within two days."
            content = [{"type": "output_text", "text": said}]
            items.append({"type": "message", "role": "assistant", "content": content})
        for _ in range(count):
            conversation = json.loads(self.client.ask("POST", "/v1/conversations", {}))["id"]
            self.client.ask("POST", f"/v1/conversations/{conversation}/items", {"items": items})
            self.ready.append(conversation)

    def run(self):
        for conversation in self.ready:
            if conversation is None:
                self.client.ask("GET", "/hello")
                continue
            body = {"model": "sim", "input": "And where is it now?", "conversation": conversation}
            if self.name == "turn-stream":
                body["stream"] = True
            if b'completed"' not in self.client.ask("POST", "/v1/responses", body):
                raise Broken(f"{self.name}: the response was not completed")
        self.ready = []


class Callgrind:
    """Waggle under callgrind, counting only when told to."""

    def __init__(self, arguments, folder, port, model_port):
        self.folder, self.dumps = folder, 0
        config = folder / "runtime-config.toml"
        config.write_text(RUNTIME_CONFIG)
        program = [
            arguments.waggle, "up", "--from", arguments.application, "--listen", f"127.0.0.1:{port}", "--quiet",
            "--state-dir", str(folder / "state"), "--runtime-config-file", str(config),
        ]
        if model_port:
            program += ["--model-endpoint", f"http://127.0.0.1:{model_port}/v1"]
        # What Cranelift writes is read again at each jump into it, as it may have changed; what comes from files not.
        valgrind = [
            "valgrind", "--tool=callgrind", "--smc-check=all-non-file", "--instr-atstart=no",
            f"--callgrind-out-file={folder}/callgrind.out",
        ]
        self.log = folder / "waggle.log"
        with self.log.open("wb") as log:
            command = [str(word) for word in valgrind + program]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=before_valgrind)

    def control(self, *words):
        command = ["callgrind_control", *words, str(self.process.pid)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0 or "Error" in done.stdout + done.stderr:
            sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def count(self, work):
        """Instructions while `work` runs, the seconds it took, and the file with all of it."""
        self.control("--instr=on")
        self.control("--zero")
        began = time.monotonic()
        work()
        seconds = time.monotonic() - began
        self.control("--dump")
        self.control("--instr=off")
        self.dumps += 1
        file = self.folder / f"callgrind.out.{self.dumps}"
        totals = re.search(r"^totals: (\d+)", file.read_text(errors="replace"), re.MULTILINE)
        if totals is None:
            sys.exit(f"{file} holds no totals")
        return int(totals[1]), seconds, file

    def wait_until_it_listens(self, port):
        until = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.2)
        told = self.log.read_text(errors="replace")
        if "memory pool mapping" in told:
            told += "\nValgrind has 64 GiB of addresses, and this program reserves more even for four instances.\n"
        sys.exit(f"instructions: Waggle did not start under valgrind\n{told}")


def crate_of(place):
    """Whose function a line of callgrind_annotate is: FILE:FUNCTION [OBJECT]. What was inlined counts as its caller's."""
    if place.startswith("???"):
        return "functions, as Cranelift compiled them"
    function = re.sub(r" \[[^]]*\]$", "", place).split(":", 1)[-1]
    if found := re.search(r"([A-Za-z_]\w*)::", function):
        return "the standard library" if found[1] in ("core", "std", "alloc", "__rustc") else found[1]
    if "mimalloc" in place:
        return "mimalloc"
    return "libc" if "libc" in place or "sysdeps" in place else "other"


def by_crate(file, requests, shown_max):
    """Instructions per request of the crates that take most, their own without those of what they call."""
    told = subprocess.run(
        ["callgrind_annotate", "--threshold=100", "--auto=no", str(file)], capture_output=True, text=True, check=True
    ).stdout
    sums = {}
    for count, place in re.findall(r"^\s*([\d,]+) \([\s\d.]+%\)\s+(\S.*)$", told, re.MULTILINE):
        if not place.startswith("PROGRAM"):
            crate = crate_of(place)
            sums[crate] = sums.get(crate, 0) + int(count.replace(",", "")) / requests
    largest = sorted(sums.items(), key=lambda crate: -crate[1])[:shown_max]
    return {crate: round(count) for crate, count in largest}


def measure(callgrind, subject, requests, rounds):
    subject.prepare(WARM_UP[subject.name])
    subject.run()
    idle, idle_seconds, _ = callgrind.count(lambda: time.sleep(IDLE_SECONDS))
    found = []
    for _ in range(rounds):
        subject.prepare(requests)
        total, seconds, file = callgrind.count(subject.run)
        # What the program does by the clock, whether or not it is asked: the slower it runs, the more of it.
        found.append((total - idle / idle_seconds * seconds) / requests)
    middle = statistics.median(found)
    return {
        "requests": requests,
        "rounds": [round(count) for count in found],
        "instructions_per_request": round(middle),
        "spread_percent": round((max(found) - min(found)) / middle * 100, 2),
        "idle_instructions_per_second": round(idle / idle_seconds),
        "by_crate": by_crate(file, requests, 15),
    }


def table(report, baseline):
    print(f"{'':<14}{'instructions':>14}{'spread':>9}{'before':>14}{'change':>9}")
    for name, subject in report["subjects"].items():
        now = subject["instructions_per_request"]
        before = baseline.get("subjects", {}).get(name, {}).get("instructions_per_request")
        change = f"{before:>14,}{(now / before - 1) * 100:>+8.1f}%" if before else ""
        print(f"{name:<14}{now:>14,}{subject['spread_percent']:>8.2f}%{change}")
    for name, subject in report["subjects"].items():
        print(f"\n{name}: instructions per request by crate, without what it calls")
        for crate, count in subject["by_crate"].items():
            print(f"  {count:>9,}  {crate}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waggle", default=ROOT / "target/release/waggle", help="the program")
    parser.add_argument("--model-sim", default=ROOT / "target/release/model-sim", help="the simulated model")
    parser.add_argument("--application", default=ROOT / "spin.toml", help="spin.toml, whose functions are built")
    parser.add_argument("--subjects", default="hello,turn,turn-stream", help="what is measured")
    parser.add_argument("--requests", type=int, default=500, help="requests of hello in a round; of turns a fifth")
    parser.add_argument("--rounds", type=int, default=5, help="the median of these is reported")
    parser.add_argument("--json", metavar="FILE", help="write the report to this file, too")
    parser.add_argument("--baseline", metavar="FILE", help="an earlier report, to compare with")
    return parser.parse_args()


def main():
    given = arguments()
    unknown = set(given.subjects.split(",")) - set(WARM_UP)
    if unknown:
        sys.exit(f"instructions: {', '.join(sorted(unknown))} cannot be measured, only {', '.join(WARM_UP)}")
    for needed in ["valgrind", "callgrind_control", "callgrind_annotate", given.waggle, given.model_sim]:
        if shutil.which(str(needed)) is None:
            sys.exit(f"instructions: there is no {needed}; see the top of this file for what to install and build")
    baseline = json.loads(pathlib.Path(given.baseline).read_text()) if given.baseline else {}
    # Flushing to memory instead of a disk changes no instruction of the program, and saves the wait.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    model = callgrind = None
    with tempfile.TemporaryDirectory(prefix="waggle-instructions-", dir=memory) as folder:
        folder = pathlib.Path(folder)
        try:
            port, model_port = free_port(), free_port()
            model = subprocess.Popen(
                [given.model_sim, "--listen", f"127.0.0.1:{model_port}", "--recorded-requests-max", "0"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            callgrind = Callgrind(given, folder, port, model_port)
            callgrind.wait_until_it_listens(port)
            report = {"subjects": {}}
            for name in given.subjects.split(","):
                subject = Subject(name, Client(port))
                requests = given.requests if name == "hello" else max(given.requests // 5, 1)
                report["subjects"][name] = measure(callgrind, subject, requests, given.rounds)
        except Broken as broken:
            sys.exit(f"instructions: {broken}\n{callgrind.log.read_text(errors='replace')[-3000:]}")
        finally:
            for process in [callgrind and callgrind.process, model]:
                if process and process.poll() is None:
                    process.kill()
                    process.wait()
    table(report, baseline)
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
