#!/usr/bin/env python3
"""A release build whose code lies in the order in which it runs, by BOLT, LLVM's post-link optimiser.

    apt install binutils bolt-19
    python3 bench/bolt.py --output target/bolt/waggle

Python 3.11 or newer; Debian 12 has BOLT. A request runs a thin line through some 40 MB of code, and waits for memory to bring it
more than for anything else. What is done here: the program is built with its relocations, given counters, and put under the load
of `waggle-bench` beside a simulated model; then its functions are laid side by side, and their blocks one after the other, as the
counters say they run. What no load has reached stays where it was. It behaves as before, has names in its backtraces and no line
numbers, and is smaller."""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from programs import ROOT, Programs

BOLT_PATHS = ("/usr/lib/llvm-19/bin/llvm-bolt", "llvm-bolt-19", "llvm-bolt")
# BOLT takes these for the cold halves of functions that a compiler has split, which names of Rust's are not.
LOOKS_SPLIT = re.compile(r"\.(?=warm|cold)")
OF_RUST = ("_ZN", "_R")
LAYOUT = ("-reorder-blocks=ext-tsp", "-reorder-functions=hfsort+", "-split-functions", "-split-all-cold", "-split-eh", "-icf=1")


def run(*command):
    """Runs a command; its output is shown when it fails."""
    command = [str(part) for part in command]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if ended.returncode:
        sys.exit(f"{' '.join(command)} ended with {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def bolt_path(given):
    found = next(filter(None, map(shutil.which, [given] if given else BOLT_PATHS)), None)
    if found is None:
        sys.exit("there is no llvm-bolt: Debian has it in its package bolt-19; --bolt says where another is")
    # It looks for its runtime beside where it really is.
    return pathlib.Path(found).resolve()


def build():
    """The folder of a release build whose program has its relocations."""
    run("cargo", "build", "--release", "--locked", "-p", "model-sim", "-p", "waggle-bench")
    run("cargo", "rustc", "--release", "--locked", "-p", "waggle", "--bin", "waggle", "--", "-C", "link-arg=-Wl,--emit-relocs")
    release = ROOT / "target/release"
    run(release / "waggle", "build")
    return release


def without_lookalikes(program, made, folder):
    """Copies the program with other names for the functions that BOLT would take for halves."""
    names = {line.split()[-1] for line in run("nm", program).splitlines() if line.strip()}
    renamed = sorted((name, LOOKS_SPLIT.sub("_", name)) for name in names
                     if name.startswith(OF_RUST) and LOOKS_SPLIT.search(name))
    redefined = folder / "redefined"
    redefined.write_text("".join(f"{old} {new}\n" for old, new in renamed))
    run("objcopy", f"--redefine-syms={redefined}", program, made)


def load(binaries, folder, options):
    """What the program serves while it is counted what runs."""
    bench = binaries / "waggle-bench"
    with Programs(folder) as programs:
        model = programs.model()
        _, port = programs.waggle(folder / "state", "--model-endpoint", f"http://127.0.0.1:{model}/v1")
        for scenario in options.scenarios.split(","):
            said = run(bench, "run", "--scenario", scenario, "--seconds", options.seconds, "--warm-up-seconds", 0,
                       "--url", f"http://127.0.0.1:{port}")
            print(f"{scenario}: {said.splitlines()[1]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "target/bolt/waggle")
    parser.add_argument("--bolt", help="llvm-bolt, where it is not found by itself")
    parser.add_argument("--binaries", type=pathlib.Path,
                        help="folder of a release build that has its relocations; built if not told")
    parser.add_argument("--scenarios", default="hello,chat,turn,turn-stream", help="of waggle-bench, by commas")
    parser.add_argument("--seconds", type=int, default=10, help="of each scenario")
    options = parser.parse_args()
    bolt = bolt_path(options.bolt)
    binaries = (options.binaries or build()).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        program, counted, profile = folder / "program", folder / "waggle", folder / "profile"
        without_lookalikes(binaries / "waggle", program, folder)
        run(bolt, program, "-o", counted, "-instrument", f"--instrumentation-file={profile}")
        shutil.copy(binaries / "model-sim", folder)
        load(binaries, folder, options)
        if not profile.exists():
            sys.exit("the program has ended without telling what ran")
        options.output.parent.mkdir(parents=True, exist_ok=True)
        said = run(bolt, program, "-o", options.output.resolve(), f"-data={profile}", "-dyno-stats", *LAYOUT)
    print(*(line.strip() for line in said.splitlines() if re.search(r": taken branches .*%", line)), sep="\n")
    print(options.output)


if __name__ == "__main__":
    main()
