//! The chat function: Responses, Conversations and Chat Completions.
