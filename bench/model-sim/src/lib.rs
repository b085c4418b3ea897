//! A simulated model endpoint that speaks the OpenAI API.
