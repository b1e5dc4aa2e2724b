//! How a split changes over time: the plan of a rollout carried out step by step, on evidence.

pub mod evidence;
