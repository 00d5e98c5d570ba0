//! The program that does the work on a host. It is uploaded, started over SSH, speaks [`windlass::agent::protocol`] on its
//! standard input and output, and ends when its input does.

fn main() {}
