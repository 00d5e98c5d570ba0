//! Files to a checked structure; no host is touched.

pub mod playbook;
