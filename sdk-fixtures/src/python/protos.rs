//! The wire contract's files, carried along so that stubs can be made anywhere.

macro_rules! protos {
    ($($path:literal),* $(,)?) => {
        /// Path and text of each `.proto` file.
        pub(super) const PROTOS: &[(&str, &str)] =
            &[$(($path, include_str!(concat!("../../../proto/", $path)))),*];
    };
}

protos![
    "outrigger/admin/v1/admin.proto",
    "outrigger/plugin/v1/host.proto",
    "outrigger/plugin/v1/plugin.proto",
    "outrigger/runtime/v1/directive.proto",
    "outrigger/runtime/v1/runtime.proto",
    "outrigger/types/v1/common.proto",
    "outrigger/types/v1/error.proto",
    "outrigger/types/v1/event.proto",
    "outrigger/types/v1/hook.proto",
    "outrigger/types/v1/plugin.proto",
    "outrigger/types/v1/schedule.proto",
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("list the directory") {
            let path = entry.expect("read the entry").path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "proto") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_file_is_carried() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
        let mut found = Vec::new();
        collect(&root.join("outrigger"), &mut found);
        found.sort();
        let found: Vec<_> = found.iter().map(|path| path.strip_prefix(&root).expect("it is below")).collect();
        let carried: Vec<_> = PROTOS.iter().map(|(path, _)| Path::new(path)).collect();
        assert_eq!(carried, found);
    }
}
