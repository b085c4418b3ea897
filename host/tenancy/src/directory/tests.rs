//! The directory against a model.
