//! The wrappers that are there to compare with, and what is typed before the job.

use std::path::{Path, PathBuf};

/// A wrapper.
pub struct Peer {
    pub name: &'static str,
    /// What is typed, program and options; `FILE` is a lock file of its own.
    words: &'static str,
}

/// First those that lock, then those that only supervise.
const PEERS: [Peer; 12] = [
    Peer { name: "flock", words: "flock FILE" },
    Peer { name: "flock -F", words: "flock -F FILE" },
    Peer { name: "s6-setlock", words: "s6-setlock FILE" },
    Peer { name: "chpst -L", words: "chpst -L FILE" },
    Peer { name: "setlock", words: "setlock FILE" },
    Peer { name: "lckdo", words: "lckdo FILE" },
    Peer { name: "with-lock-ex", words: "with-lock-ex -w FILE" },
    Peer { name: "runlock", words: "runlock -f FILE" },
    Peer { name: "timeout", words: "timeout 1000" },
    Peer { name: "tini", words: "tini -s --" },
    Peer { name: "dumb-init", words: "dumb-init --" },
    Peer { name: "catatonit", words: "catatonit --" },
];

impl Peer {
    /// What is typed, with its program's path and a lock file in this directory.
    pub fn words(&self, dir: &Path) -> Vec<String> {
        let file = dir.join(format!("{}.lock", self.name.replace(' ', ""))).display().to_string();
        let word = |word: &str| if word == "FILE" { file.clone() } else { word.to_owned() };
        let mut words: Vec<String> = self.words.split(' ').map(word).collect();
        if let Some(path) = find(&words[0]) {
            words[0] = path.display().to_string();
        }
        words
    }

    fn program(&self) -> &'static str {
        self.words.split(' ').next().unwrap_or(self.words)
    }
}

/// Those that are there, and the names of those that are not.
pub fn present() -> (Vec<&'static Peer>, Vec<String>) {
    let (there, missing): (Vec<_>, Vec<_>) =
        PEERS.iter().partition(|peer| find(peer.program()).is_some());
    (there, missing.into_iter().map(|peer| peer.name.to_owned()).collect())
}

/// A peer that has to be there.
pub fn named(name: &str) -> &'static Peer {
    let peer = PEERS.iter().find(|peer| peer.name == name);
    peer.unwrap_or_else(|| panic!("{name} is no peer"))
}

pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}
