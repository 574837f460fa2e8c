//! The detector with injected times.

mod alarms;
mod baseline;
mod memory;
mod simulation;
mod thresholds;
mod worker;
