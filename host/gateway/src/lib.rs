//! The HTTP server: listen, admit, route, hand to the engine, drain.
