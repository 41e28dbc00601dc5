//! A folder on the disk that the build is on, and how fast that is.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use tempfile::TempDir;

/// A folder on a real disk: the system's folder for temporary files may be memory.
pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Times of appending 4 KiB and syncing them, in microseconds.
pub(crate) fn sync_times(folder: &TempDir, count: usize) -> Vec<f64> {
    let mut file = File::create(folder.path().join("sync")).unwrap();
    let timed = |_| {
        file.write_all(&[0x5a; 4096]).unwrap();
        let began = Instant::now();
        file.sync_data().unwrap();
        began.elapsed().as_secs_f64() * 1e6
    };
    (0..count).map(timed).collect()
}
