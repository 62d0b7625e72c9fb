//! Secret manifests in files.
