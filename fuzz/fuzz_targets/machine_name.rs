#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| jobguard_fuzz::machine_name::check(input));
