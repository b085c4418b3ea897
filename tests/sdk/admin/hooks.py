"""What schemathesis does not know by itself: how a component is sent."""

import schemathesis


@schemathesis.serializer("application/wasm")
def wasm(_context, value):
    return value if isinstance(value, bytes) else str(value).encode()
