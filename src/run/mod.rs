//! Drives a play.
