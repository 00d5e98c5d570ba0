//! The embedded demonstration site.
