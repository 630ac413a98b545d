//! What every measurement needs: the program, the places, how much time there is.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::launch::Launch;

pub struct Rig {
    /// The static release build.
    pub jobguard: PathBuf,
    /// Where floor, true and stamp are.
    pub tools: PathBuf,
    /// A directory on tmpfs, and one on ext4.
    pub tmpfs: PathBuf,
    pub ext4: PathBuf,
    /// Two minutes, not fifteen.
    pub quick: bool,
}

impl Rig {
    /// So often, or a fifth of it.
    pub fn times(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(5) } else { full }
    }

    pub fn tool(&self, name: &str) -> String {
        self.tools.join(name).display().to_string()
    }

    /// A state directory, or a place for lock files, that goes when it is dropped.
    pub fn scratch(&self, place: &Path) -> TempDir {
        let scratch = tempfile::Builder::new().prefix("jobguard-bench-").tempdir_in(place);
        scratch.unwrap_or_else(|error| panic!("{}: {error}", place.display()))
    }

    /// jobguard with its state there.
    pub fn jobguard<S: AsRef<str>>(&self, state: &Path, words: &[S]) -> Launch {
        Launch::new(&self.words(words), &[("JOBGUARD_STATE_DIR", state)])
    }

    /// `jobguard -m MACHINE -- JOB`.
    pub fn guarded(&self, state: &Path, machine: &str, job: &[&str]) -> Launch {
        self.jobguard(state, &[&["-m", machine, "--"], job].concat())
    }

    fn words<S: AsRef<str>>(&self, words: &[S]) -> Vec<String> {
        let program = [self.jobguard.display().to_string()].into_iter();
        program.chain(words.iter().map(|word| word.as_ref().to_owned())).collect()
    }
}
