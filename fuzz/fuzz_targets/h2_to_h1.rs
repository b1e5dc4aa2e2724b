//! See [`tidegate_fuzz::h2_to_h1`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate_fuzz::h2_to_h1(data));
