//! A file with the number of this process in it, for start scripts and monitors that go by one.
//!
//! It appears whole, under its final name (written beside it, then renamed, where the folder can be written), and is
//! removed at the end if it is still ours. It locks nothing: what keeps a second rmux from starting is the address that
//! the first one listens on, so the file is written once that is taken, and a stale one is simply replaced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use log::warn;

use super::successor;

/// The file, removed when this is dropped, if it still holds our number.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// The file of this process: written now, or already by itself when it was root still.
    ///
    /// # Errors
    ///
    /// As [`PidFile::write`].
    pub fn of_process(path: &Path) -> io::Result<PidFile> {
        match successor::is_successor() {
            true => Ok(PidFile { path: path.to_owned() }),
            false => PidFile::write(path),
        }
    }

    /// Writes it: the number in decimal, and a line feed.
    ///
    /// # Errors
    ///
    /// When its folder is not there or cannot be written; the text names the file.
    pub fn write(path: &Path) -> io::Result<PidFile> {
        put(path).map(|()| PidFile { path: path.to_owned() })
    }

    /// Writes it again, if another process that was to take over has written its own number and is gone.
    pub fn restore(&self) {
        if !is_ours(&self.path) {
            put(&self.path).unwrap_or_else(|error| warn!("{error}"));
        }
    }
}

fn put(path: &Path) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", process::id()));
    let number = own_number();
    let written = fs::write(&beside, &number).and_then(|()| fs::rename(&beside, path));
    let written = written.or_else(|error| {
        // It may be there, if only the renaming failed.
        let _ = fs::remove_file(&beside);
        // In a folder of root's, the file that root has made is its user's still.
        fs::write(path, &number).map_err(|_| error)
    });
    written.map_err(|error| io::Error::new(error.kind(), format!("pidFile: {}: {error}", path.display())))
}

fn is_ours(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text == own_number())
}

fn own_number() -> String {
    format!("{}\n", process::id())
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if is_ours(&self.path) {
            // In a folder that belongs to somebody else it stays behind, and the next start replaces it.
            if let Err(error) = fs::remove_file(&self.path) {
                warn!("{} stays behind, for the next start to replace: {error}", self.path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Removed at the end with what is in it.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("rmux-pid-{}-{name}", process::id()));
        fs::create_dir_all(&path).expect("the folder can be written");
        Folder(path)
    }

    #[test]
    fn it_appears_replaces_a_stale_one_and_goes() {
        let folder = folder("whole");
        let path = folder.0.join("rmux.pid");
        fs::write(&path, "1\n").expect("writable");
        let file = PidFile::write(&path).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("readable"), format!("{}\n", process::id()));
        assert_eq!(fs::read_dir(&folder.0).expect("readable").count(), 1, "nothing is left beside it");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_a_successor_stays() {
        let folder = folder("successor");
        let path = folder.0.join("rmux.pid");
        let file = PidFile::write(&path).expect("written");
        fs::write(&path, "1\n").expect("writable");
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn one_that_cannot_be_written_is_named() {
        let error = PidFile::write(Path::new("/nonexistent/rmux.pid")).expect_err("no such folder").to_string();
        assert!(error.starts_with("pidFile: /nonexistent/rmux.pid: No such file"), "{error}");
        let folder = folder("folder");
        fs::create_dir(folder.0.join("rmux.pid")).expect("writable");
        PidFile::write(&folder.0.join("rmux.pid")).expect_err("a folder is there");
        assert_eq!(fs::read_dir(&folder.0).expect("readable").count(), 1, "nothing is left beside it");
    }
}
