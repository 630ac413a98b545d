//! Proving that somebody only looked.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses another part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One file as it is: device, inode, mode, size, modification and change time, and its bytes where
/// there are few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Still {
    meta: [i128; 8],
    bytes: Option<Vec<u8>>,
}

/// Files that are larger go by their times alone.
const FEW: u64 = 1 << 20;

/// Takes down a file, not following links.
#[track_caller]
pub fn still(path: &Path) -> Still {
    let meta = std::fs::symlink_metadata(path).unwrap();
    let few = meta.is_file() && meta.len() <= FEW;
    Still {
        meta: [
            meta.dev().into(),
            meta.ino().into(),
            meta.mode().into(),
            meta.len().into(),
            meta.mtime().into(),
            meta.mtime_nsec().into(),
            meta.ctime().into(),
            meta.ctime_nsec().into(),
        ],
        bytes: few.then(|| std::fs::read(path).unwrap()),
    }
}

/// Takes down a whole tree.
#[track_caller]
pub fn still_tree(root: &Path) -> BTreeMap<PathBuf, Still> {
    let mut all = BTreeMap::from([(root.to_owned(), still(root))]);
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            all.insert(path.clone(), still(&path));
            if path.is_dir() && !path.is_symlink() {
                todo.push(path);
            }
        }
    }
    all
}
