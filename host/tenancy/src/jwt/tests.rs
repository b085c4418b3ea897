//! Whole tokens: which count, which do not, and for whom.
