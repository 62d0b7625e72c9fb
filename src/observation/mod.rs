//! observation
