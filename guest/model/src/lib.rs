//! Speaking to an upstream model: build the request, read the stream.
