//! What the tests of this folder share; and how many files a process may have open.

use super::*;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own for each test, gone afterwards.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rmux-net-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_file_limit_is_the_soft_one() {
    let head = "Limit                     Soft Limit           Hard Limit           Units     \n";
    let row =
        |soft| format!("{head}Max open files            {soft}                 1048576              files     \n");
    assert_eq!(soft_file_limit(&row("4096")), Some(4096));
    assert_eq!(soft_file_limit(&row("unlimited")), Some(u64::MAX));
    assert_eq!(soft_file_limit(head), None);
    assert!(file_limit() > 0);
}
