//! Conversations and responses in a key-value store: keys, records, the window.
