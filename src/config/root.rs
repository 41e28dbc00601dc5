//! What relative paths are relative to.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The folder that holds the file; `.` for a bare file name.
pub(super) fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The folder above the file's own if that is called `config`, else the file's own.
pub(super) fn root(file: &Path) -> PathBuf {
    let folder = folder(file);
    if !is_called_config(file) {
        return folder.to_owned();
    }
    match (folder.file_name(), folder.parent()) {
        (Some(_), Some(parent)) if parent == Path::new("") => PathBuf::from("."),
        (Some(_), Some(parent)) => parent.to_owned(),
        _ => folder.join(".."),
    }
}

/// A path as the program opens it. One below `.` stays short.
pub(super) fn resolve(root: &Path, path: &Path) -> PathBuf {
    if root == Path::new(".") { path.to_owned() } else { root.join(path) }
}

fn is_called_config(file: &Path) -> bool {
    let absolute = std::path::absolute(file);
    let folder = absolute.as_deref().unwrap_or(file).parent();
    folder.and_then(Path::file_name) == Some(OsStr::new("config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_above_the_config_folder_or_beside_the_file() {
        fn case(file: &str, expected_root: &str, scripts: &str) {
            let root = root(Path::new(file));
            assert_eq!(root, Path::new(expected_root), "{file}");
            assert_eq!(resolve(&root, Path::new("scripts")), Path::new(scripts), "{file}");
        }
        case("config/tajo.yaml", ".", "scripts");
        case("./config/tajo.yaml", ".", "scripts");
        case("other/config/tajo.yaml", "other", "other/scripts");
        case("/srv/shop/config/tajo.yaml", "/srv/shop", "/srv/shop/scripts");
        case("/etc/tajo.yaml", "/etc", "/etc/scripts");
        case("tajo.yaml", ".", "scripts");
        assert_eq!(
            resolve(Path::new("/srv"), Path::new("/var/tajo.db")),
            Path::new("/var/tajo.db")
        );
    }
}
