//! The detector with injected times.

mod alarms;
mod memory;
mod simulation;
mod thresholds;
mod worker;
