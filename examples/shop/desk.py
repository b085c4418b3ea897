#!/usr/bin/env python3
"""The shop's desk: prints the conversations that are handed over to it. Python's standard library is enough.

    ./desk.py [--port 4021] [--key KEY]

It takes POST /handovers with an event as CloudEvents 1.0 has them, once for each `webhook-id`; GET /handovers lists what it
has taken.
"""

import argparse
import hmac
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 1 << 20
EVENTS_MAX = 1000


class Desk(BaseHTTPRequestHandler):
    key = ""
    events = {}

    def do_POST(self):
        length = int(self.headers.get("content-length") or 0)
        if self.path != "/handovers" or length > BODY_BYTES_MAX:
            return self.answer(404 if length <= BODY_BYTES_MAX else 413, {})
        if not hmac.compare_digest(self.headers.get("x-desk-key", ""), self.key):
            return self.answer(401, {"error": {"message": "send the desk's key in x-desk-key"}})
        event = json.loads(self.rfile.read(length))
        name = self.headers.get("webhook-id") or event["id"]
        if name not in self.events and len(self.events) < EVENTS_MAX:
            self.events[name] = event
            self.tell(event["data"])
        # What the conversation is called here goes back to it.
        self.answer(200, {"reference": f"desk-{list(self.events).index(name) + 1}"})

    def do_GET(self):
        self.answer(200, {"handovers": list(self.events.values())})

    def tell(self, data):
        print(f"\n{data['conversation']} of {data['user'] or 'a service'}: {data['reason'] or 'no reason was given'}")
        for line in data["transcript"]["lines"]:
            print(f"  {line['role']:>9}: {line['text']}")
        print(end="", flush=True)

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=4021)
    parser.add_argument("--key", default="desk-key")
    arguments = parser.parse_args()
    Desk.key = arguments.key
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Desk)
    print(f"desk listens on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
