//! What must hold of every input, one module per target: the fuzzer (`fuzz_targets/`) and the test
//! of the seeds (`tests/fuzz_seeds.rs`) run the same functions.
//!
//! A property that does not hold panics. Each function is deterministic: what it needs besides its
//! input it draws from the input itself.

pub mod draw;
pub mod events;
pub mod machine_name;
pub mod record;
pub mod screen;
pub mod stat;

/// A property of an input.
pub type Check = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Check); 4] = [
    ("record", record::check),
    ("events", events::check),
    ("stat", stat::check),
    ("machine_name", machine_name::check),
];
