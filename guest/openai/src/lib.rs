//! The OpenAI shapes the functions speak: requests, responses, items, events, errors.
