//! Where a configuration stands and how it changes: a mounted ConfigMap.

use super::{await_log, await_names, write_manifest};
use crate::support::exporter::Setup;
use std::os::unix::fs::symlink;
use std::path::Path;

/// What the kubelet does (its `AtomicWriter`): a new folder, and `..data` leads there by a rename.
fn mount(folder: &Path, version: &str, config: &str) {
    std::fs::create_dir_all(folder.join(version)).unwrap();
    std::fs::write(folder.join(version).join("config.yaml"), config).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    if !folder.join("config.yaml").exists() {
        symlink("..data/config.yaml", folder.join("config.yaml")).unwrap();
    }
}

#[test]
fn the_kubelet_swaps_a_mounted_configmap() {
    let setup = Setup::new("kubernetes: false\n");
    write_manifest(setup.folder(), "one.json", "one");
    write_manifest(setup.folder(), "two.json", "two");
    let exporter = setup.start();
    let address = exporter.address();
    let config = |file: &str| format!("address: \"{address}\"\nkubernetes: false\nmanifests: [{file}]\n");
    let folder = exporter.folder();
    std::fs::remove_file(folder.join("config.yaml")).unwrap();
    mount(folder, "..2026_01_01", &config("one.json"));
    await_names(&exporter, &["one"]);
    mount(folder, "..2026_01_02", &config("two.json"));
    std::fs::remove_dir_all(folder.join("..2026_01_01")).unwrap();
    await_names(&exporter, &["two"]);
    await_log(&exporter, "manifests begins anew", 1);
}
