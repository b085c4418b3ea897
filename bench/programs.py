"""Starting what is measured on free ports, and stopping it by process id."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "tests/compose/target/release/compose"
STOP_SECONDS_MAX = 30


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_for(port, process, seconds=30):
    """Returns when `process` listens on `port`; ends the program when it does not come to that."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    process.kill()
    process.said.seek(0)
    sys.exit(f"nothing listens on port {port}\n{process.said.read().decode(errors='replace')}")


def composed_manifest(folder, compose=COMPOSE, manifest=ROOT / "spin.toml"):
    """A manifest of the same application in `folder`: each function that has dependencies is composed with them, as plain Spin
    does it, and imports nothing of the host's own any more. The functions have to be built."""
    folder.mkdir(parents=True, exist_ok=True)
    compose = pathlib.Path(compose).resolve()
    text = manifest.read_text(encoding="utf-8")
    components = tomllib.loads(text)["component"]
    for component in components.values():
        named = [one["component"] for one in component.get("dependencies", {}).values()]
        parts = [manifest.parent / components[name]["source"] for name in named]
        source = manifest.parent / component["source"]
        if parts:
            whole = folder / source.name
            try:
                subprocess.run([compose, whole, source, *parts], check=True)
            except FileNotFoundError:
                sys.exit(f"there is no {compose}: cargo build --release --manifest-path tests/compose/Cargo.toml")
            source = whole
        # The dependencies stay named, so that the components they name are taken for no functions; the host loads none.
        text = text.replace(f'"{component["source"]}"', json.dumps(str(source), ensure_ascii=False))
    composed = folder / "spin.toml"
    composed.write_text(text, encoding="utf-8")
    return composed


class Awake:
    """Keeps all cores from sleeping while it lasts; a context manager. A virtual core that has nothing to do is taken away, and
    is back a good part of a millisecond after it is needed, which would be measured in place of the server. What keeps
    it awake has the policy SCHED_IDLE: whoever else wants to run comes first."""

    SPIN = "import os\nos.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"

    def __init__(self, wanted=True):
        self.wanted, self.spinning = wanted, []

    def __enter__(self):
        cores = len(os.sched_getaffinity(0)) if self.wanted else 0
        self.spinning = [subprocess.Popen([sys.executable, "-c", self.SPIN]) for _ in range(cores)]
        return self

    def __exit__(self, *_):
        for process in self.spinning:
            process.kill()
            process.wait()


class Programs:
    """Processes that end with the measurement; a context manager."""

    def __init__(self, binaries):
        self.binaries, self.started = pathlib.Path(binaries), []
        os.environ.pop("OPENAI_BASE_URL", None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop_all()

    def stop_all(self):
        for process in reversed(self.started):
            self.stop(process)

    def start(self, *command):
        command = [str(part) for part in command]
        said = tempfile.TemporaryFile()
        self.started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said))
        self.started[-1].said = said
        return self.started[-1]

    def model(self, *flags, port=None):
        """A simulated model; its port."""
        port = port or free_port()
        self.start(self.binaries / "model-sim", "--listen", f"127.0.0.1:{port}", "--recorded-requests-max", 0, *flags)
        wait_for(port, self.started[-1])
        return port

    def waggle(self, state, *flags, manifest=ROOT / "spin.toml"):
        """The program with this folder of state; the process and its port."""
        port = free_port()
        process = self.start(self.binaries / "waggle", "up", "--from", manifest, "--quiet",
                             "--listen", f"127.0.0.1:{port}", "--state-dir", state, *flags)
        wait_for(port, process, 180)
        return process, port

    def stop(self, process):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
