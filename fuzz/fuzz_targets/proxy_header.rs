//! See [`tidegate_fuzz::proxy_header`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidegate_fuzz::proxy_header(data));
