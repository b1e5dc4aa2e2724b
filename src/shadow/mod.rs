//! Copies that may never hurt the original.

/// Where finished comparisons go.
#[derive(Debug, Default)]
pub struct ShadowHub;
