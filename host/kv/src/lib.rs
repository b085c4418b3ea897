//! Key-value stores behind one trait: embedded, Redis or Valkey.
