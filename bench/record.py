#!/usr/bin/env python3
"""The figures of record that `waggle-bench` has scenarios for, one subject after the other, each against its goal.

    cargo build --release -p waggle -p model-sim -p waggle-bench && target/release/waggle build
    python3 bench/record.py --results DIR                    # all but the soak: about 25 minutes
    python3 bench/record.py --results DIR added histories    # some of them
    python3 bench/record.py --results DIR soak --rate 1400   # an hour

Python 3.11 or newer, nothing else. Programs are started on free ports with a state folder of their own and stopped by process
id. What is compared is measured in turns, and the middle of the rounds is told. DIR gets each report of `waggle-bench` as
JSON. The comparison with the peers is run-peers.sh, that of tenants run-tenants.sh."""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from programs import ROOT, Programs

SCENARIOS = ROOT / "bench/scenarios"


def processor_times():
    """Of all processors since the start: ticks with work, and ticks that the machine below gave to others meanwhile."""
    user, nice, system, _idle, _wait, hard, soft, stolen = map(
        int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return user + nice + system + hard + soft, stolen


class Record:
    """Where reports go, and how they are made."""

    def __init__(self, options):
        self.options, self.results = options, options.results
        self.results.mkdir(parents=True, exist_ok=True)
        self.work = pathlib.Path(tempfile.mkdtemp(dir=options.work))
        self.made = 0

    def state(self):
        self.made += 1
        return self.work / f"state-{self.made}"

    def bench(self, name, *arguments, command="run"):
        """Runs `waggle-bench`; its report."""
        file = self.results / f"{name}.json"
        words = [self.options.binaries / "waggle-bench", command, *arguments, "--json", file]
        worked, stolen = processor_times()
        ended = subprocess.run([str(word) for word in words], capture_output=True, text=True)
        (self.results / f"{name}.txt").write_text(ended.stdout + ended.stderr)
        if ended.returncode:
            sys.exit(f"{name}: {ended.stderr}")
        report = json.loads(file.read_text())
        worked, stolen = (now - then for now, then in zip(processor_times(), (worked, stolen)))
        report["stolen"] = stolen / max(worked + stolen, 1)
        file.write_text(json.dumps(report))
        return report

    def load(self, name, port, process, *arguments):
        """A report of `run`, made again where others had too much of the machine meanwhile."""
        flags = (*arguments, "--url", f"http://127.0.0.1:{port}", "--server-pid", process.pid)
        for _ in range(self.options.attempts):
            report = self.bench(name, *flags)
            if report["stolen"] * 100 <= self.options.stolen_max:
                break
            print(f"  ({name}: {report['stolen']:.1%} of the processor was taken by other machines)", flush=True)
            time.sleep(5)
        return report

    def rounds(self, parts):
        """Measures `parts`, name to a function of a round, in turns; name to its reports."""
        reports = {name: [] for name in parts}
        for at in range(self.options.rounds):
            for name, measure in parts.items():
                reports[name].append(measure(at))
        return reports


def middle(reports, *path):
    def value(report):
        for part in path:
            report = report[part]
        return report

    return statistics.median(value(report) for report in reports)


def cpu(reports):
    return middle(reports, "servers", 0, "cpu_us_per_request")


def say(name, reports, of=None):
    line = f"  {name:<24} {middle(reports, 'requests_per_second'):8.0f}/s"
    line += f"  p50 {middle(reports, 'latency', 'p50_us') / 1e3:8.3f} ms  p99 {middle(reports, 'latency', 'p99_us') / 1e3:8.3f} ms"
    if reports[0]["servers"]:
        line += f"  CPU {cpu(reports):7.1f} us  {middle(reports, 'servers', 0, 'rss_bytes') / 2**20:7.1f} MiB"
        if of:
            line += f"  {cpu(reports) / cpu(of):5.2f} x CPU"
    if of:
        line += f"  {middle(reports, 'latency', 'p50_us') / middle(of, 'latency', 'p50_us'):5.2f} x p50"
    failed = sum(sum(report["errors"].values()) for report in reports)
    print(line + (f"  failed: {failed}" if failed else ""), flush=True)


def compare(record, title, parts):
    """Measures parts in turns and tells each against the first."""
    print(title, flush=True)
    reports = record.rounds(parts)
    first = next(iter(reports.values()))
    for name, of_it in reports.items():
        say(name, of_it, None if of_it is first else first)
    return reports


def added(record):
    """Time added to the model's own, at half load."""
    options = record.options
    with Programs(options.binaries) as programs:
        model = programs.model()
        waggle, port = programs.waggle(record.state(), "--model-endpoint", f"http://127.0.0.1:{model}/v1")
        full = record.load("added-full", port, waggle, "--scenario", "turn", "--seconds", options.seconds)
        rate = full["requests_per_second"] / 2
        file = ("--scenario-file", SCENARIOS / "turn-open.toml", "--rate", f"{rate:.0f}", "--seconds", options.seconds)
        sim = programs.started[0]
        direct = ("--scenario", "chat", "--rate", f"{rate:.0f}", "--seconds", options.seconds)
        reports = compare(record, f"added to the model's own, at {rate:.0f} turns a second (full load {2 * rate:.0f})", {
            "the model itself": lambda at: record.load(f"added-model-{at}", model, sim, *direct),
            "a turn": lambda at: record.load(f"added-turn-{at}", port, waggle, *file),
        })
        for part in ("p50_us", "p99_us"):
            more = middle(reports["a turn"], "latency", part) - middle(reports["the model itself"], "latency", part)
            print(f"  {part[:-3]} added: {more:.0f} us (goal: {200 if part == 'p50_us' else 1000})", flush=True)


def streams(record):
    """What a stream adds to the first token, and each token after it."""
    options = record.options
    with Programs(options.binaries) as programs:
        sides = {}
        for tokens in (20, 220):
            model = programs.model("--tokens", tokens)
            sim = programs.started[-1]
            waggle, port = programs.waggle(record.state(), "--model-endpoint", f"http://127.0.0.1:{model}/v1")
            sides[tokens] = (model, sim, port, waggle)
        flags = ("--scenario", "turn-stream", "--seconds", options.seconds)
        load = lambda tokens, name: record.load(name, sides[tokens][2], sides[tokens][3], *flags)
        reports = compare(record, "streamed turns of 20 and of 220 tokens", {
            "20 tokens": lambda at: load(20, f"streams-20-{at}"),
            "220 tokens": lambda at: load(220, f"streams-220-{at}"),
        })
        each = (cpu(reports["220 tokens"]) - cpu(reports["20 tokens"])) / 200
        print(f"  each further token: {each:.2f} us of CPU (goal: 20)", flush=True)
        slow = ("--scenario", "turn-stream", "--rate", 200, "--seconds", options.seconds)
        first = record.load("streams-first", sides[20][2], sides[20][3], *slow)["first_delta"]
        print(f"  first delta at 200/s: p50 {first['p50_us']:.0f}, p99 {first['p99_us']:.0f} us (goal: p99 1000 more than the model's)")


def histories(record):
    """Turns in conversations of 10, 100 and 1,000 items."""
    with Programs(record.options.binaries) as programs:
        model = programs.model()
        waggle, port = programs.waggle(record.state(), "--model-endpoint", f"http://127.0.0.1:{model}/v1",
                                       "--variable", "window_items_max=10")
        load = lambda items, at: record.load(
            f"history-{items}-{at}", port, waggle, "--seconds", record.options.seconds,
            "--scenario-file", SCENARIOS / f"turn-history-{items}.toml")
        compare(record, "turns by items of history, windows of 10 items (goal: 1.2 times the first)", {
            f"{items} items": lambda at, items=items: load(items, at) for items in (10, 100, 1000)})


def tenants(record):
    """Turns of 1, 100 and 10,000 tenants."""
    binaries = record.options.binaries
    with Programs(binaries) as programs:
        file, keys = record.work / "tenants.toml", record.work / "keys"
        subprocess.run([binaries / "waggle-bench", "keys", "--count", "10000", "--tenants", file, "--keys", keys],
                       check=True, stdout=subprocess.DEVNULL)
        model = programs.model()
        waggle, port = programs.waggle(record.state(), "--model-endpoint", f"http://127.0.0.1:{model}/v1",
                                       "--tenants", file)
        load = lambda count, at: record.load(
            f"tenants-{count}-{at}", port, waggle, "--keys", keys, "--seconds", max(record.options.seconds, 10),
            "--warm-up-seconds", 8 if count > 100 else 2, "--scenario-file", SCENARIOS / f"tenants-{count}.toml")
        compare(record, "turns by tenants (goal: 1.2 times the first)", {
            f"{count} tenants": lambda at, count=count: load(count, at) for count in (1, 100, 10000)})


def stored(record):
    """Turns beside 1,000 and beside 1,000,000 stored conversations."""
    with Programs(record.options.binaries) as programs:
        model = programs.model()
        parts, reports, states = {}, {}, {}
        for count in (1000, 1_000_000):
            states[count] = record.state()
            parts[count] = programs.waggle(states[count], "--model-endpoint", f"http://127.0.0.1:{model}/v1",
                                           "--variable", "window_items_max=20")
        print("turns by stored conversations, windows of 20 items, all full (goal: 1.2 times the first)", flush=True)
        for name, count in (("1,000", 1000), ("1,000,000", 1_000_000), ("1,000 again", 1000)):
            waggle, port = parts[count]
            reports[name] = [record.load(
                f"stored-{name.replace(',', '').replace(' ', '-')}", port, waggle,
                "--seconds", max(record.options.seconds, 20), "--scenario-file", SCENARIOS / f"stored-{count}.toml")]
            say(name, reports[name], reports["1,000"] if count > 1000 else None)
        size = sum(file.stat().st_size for file in states[1_000_000].rglob("*") if file.is_file())
        print(f"  {size / 1_000_000:.0f} bytes on disk for each of the million, of 20 items and more", flush=True)


def connections(record):
    """What connections cost that wait: kept alive, and in the middle of a stream."""
    options = record.options
    config = record.work / "connections.toml"
    with Programs(options.binaries) as programs:
        model = programs.model()
        config.write_text(f"""
[gateway]
connections_max = 110000
concurrent_requests_max = 110000
head_read_timeout_ms = 600000
[engine]
instances_max = 2000
instances_per_tenant_max = 2000
[upstream.sim]
url = "http://127.0.0.1:{model}/v1"
concurrency = {{ min = 100000, max = 100000 }}
[model."*"]
upstream = "sim"
""")
        print("connections that wait", flush=True)
        for name, count in (("idle-kept-alive", options.connections), ("idle-streams", options.connections // 2)):
            waggle, port = programs.waggle(record.state(), "--runtime-config-file", config)
            report = record.load(name, port, waggle, "--scenario-file", SCENARIOS / f"{name}.toml", "--connections", count)
            cost = report["servers"][0]
            print(f"  {name:<16} {report['established']} held, {report['alive']} alive at the end: "
                  f"{cost['bytes_per_connection'] / 1024:.1f} KiB each, {cost['cpu_seconds_held']:.2f} s of CPU in "
                  f"{report['hold_seconds']:.0f} s; beside them p99 {report['beside_held']['p99_us']:.0f} us, "
                  f"before {report['beside_before']['p99_us']:.0f}", flush=True)
            programs.stop(waggle)


def saturation(record):
    """Latency by rate, until it is too long."""
    with Programs(record.options.binaries) as programs:
        model = programs.model()
        waggle, port = programs.waggle(record.state(), "--model-endpoint", f"http://127.0.0.1:{model}/v1")
        for scenario, start in (("hello", 2000), ("turn", 200)):
            record.bench(f"saturation-{scenario}", "--scenario", scenario, "--seconds", record.options.seconds,
                         "--rate-from", start, "--factor", 1.4, "--p99-ms-max", 50,
                         "--url", f"http://127.0.0.1:{port}", "--server-pid", waggle.pid, command="saturate")
            print((record.results / f"saturation-{scenario}.txt").read_text(), flush=True)
            subprocess.run([record.options.binaries / "waggle-bench", "plot", record.results / f"saturation-{scenario}.json"],
                           check=True, stdout=subprocess.DEVNULL)


def files(record):
    """The scenarios that are compared with nothing."""
    with Programs(record.options.binaries) as programs:
        model = programs.model()
        waggle, port = programs.waggle(record.state(), "--model-endpoint", f"http://127.0.0.1:{model}/v1")
        print("a burst of fifteen times the load, bodies of 256 KiB", flush=True)
        for name in ("burst-15x", "big-bodies"):
            say(name, [record.load(name, port, waggle, "--scenario-file", SCENARIOS / f"{name}.toml")])


def start(record):
    """A second start with five components: until it listens, which it does when all are loaded and the stores are open."""
    state = record.state()
    manifest = five_components(record.work)
    times = []
    with Programs(record.options.binaries) as programs:
        model = programs.model()
        for _ in range(1 + 2 * record.options.rounds):
            begin = time.monotonic()
            waggle, _ = programs.waggle(state, "--model-endpoint", f"http://127.0.0.1:{model}/v1", manifest=manifest)
            times.append(time.monotonic() - begin)
            programs.stop(waggle)
    later = statistics.median(times[1:])
    print(f"start with five components: the first {times[0] * 1e3:.0f} ms, later ones {later * 1e3:.0f} ms (goal: 300)", flush=True)


def five_components(folder):
    """An application of five components of different content: the three there are, two of them again with a byte more."""
    import tomllib

    manifest = tomllib.loads((ROOT / "spin.toml").read_text())
    text = (ROOT / "spin.toml").read_text()
    for name, component in manifest["component"].items():
        source = ROOT / component["source"]
        shutil.copy(source, folder / f"{name}.wasm")
        text = text.replace(f'source = "{component["source"]}"', f'source = "{name}.wasm"')
    for name in ("chat", "hello"):
        copied = bytearray((folder / f"{name}.wasm").read_bytes())
        # A custom section, which changes the content and nothing else.
        (folder / f"{name}-too.wasm").write_bytes(bytes(copied) + b"\x00\x05\x04copy")
        text += f'\n[component.{name}-too]\nsource = "{name}-too.wasm"\n'
        if "key_value_stores" in manifest["component"][name]:
            text += 'key_value_stores = ["default"]\n'
        text += f'[[trigger.http]]\nroute = "/too/{name}/..."\ncomponent = "{name}-too"\n'
    file = folder / "five.toml"
    file.write_text(text)
    return file


def soak(record):
    """Turns for an hour: whether memory is flat."""
    options = record.options
    with Programs(options.binaries) as programs:
        model = programs.model()
        waggle, port = programs.waggle(record.state(), "--model-endpoint", f"http://127.0.0.1:{model}/v1")
        report = record.load("soak", port, waggle, "--scenario-file", SCENARIOS / "soak.toml", "--rate", options.rate,
                             "--seconds", options.soak_seconds)
        say("soak", [report])
        subprocess.run([options.binaries / "waggle-bench", "plot", record.results / "soak.json"], check=True,
                       stdout=subprocess.DEVNULL)


SUBJECTS = {
    subject.__name__: subject
    for subject in (added, streams, histories, tenants, stored, connections, saturation, files, start, soak)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)} (default: all but soak)")
    parser.add_argument("--results", type=pathlib.Path, required=True, help="the folder for reports")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--work", type=pathlib.Path, help="where state folders are made (default: the system's for temporary files)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of one measurement")
    parser.add_argument("--stolen-max", type=float, default=2,
                        help="percent of the processor that other virtual machines may take in a measurement; else it is repeated")
    parser.add_argument("--attempts", type=int, default=6, help="at one measurement, at most")
    parser.add_argument("--connections", type=int, default=10_000, help="kept alive; half as many streams")
    parser.add_argument("--rate", type=float, default=1000, help="turns a second of the soak: 70%% of the most")
    parser.add_argument("--soak-seconds", type=int, default=3600)
    options = parser.parse_args()
    unknown = [name for name in options.subjects if name not in SUBJECTS]
    if unknown:
        parser.error(f"'{unknown[0]}' is none of {', '.join(SUBJECTS)}")
    record = Record(options)
    try:
        for name in options.subjects or [name for name in SUBJECTS if name != "soak"]:
            SUBJECTS[name](record)
    finally:
        shutil.rmtree(record.work, ignore_errors=True)


if __name__ == "__main__":
    main()
