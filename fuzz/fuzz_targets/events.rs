#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| jobguard_fuzz::events::check(input));
