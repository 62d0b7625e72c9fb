//! Where tokens are written: a data key of a Secret, or a file.

pub(super) mod file;
pub(super) mod secret;
