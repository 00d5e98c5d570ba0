//! A diagnostic as text for a terminal.
