//! The release build for musl, as it is given to users: one static file.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Once;

/// Has `scripts/guest` make it, and the kernels, or do nothing when they are as new as the sources.
pub fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/guest");
        let status = Command::new(script).stdin(Stdio::null()).status();
        let status = status.expect("scripts/guest cannot be started");
        assert!(status.success(), "scripts/guest failed: {status}");
    });
}

/// The binary.
pub fn static_jobguard() -> PathBuf {
    prepare();
    let path = "target/x86_64-unknown-linux-musl/release/jobguard";
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
