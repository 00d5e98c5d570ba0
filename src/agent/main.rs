//! The program that does the work on a host. It is uploaded, started over SSH, speaks [`windlass::agent::protocol`] on its
//! standard input and output, and ends when its input does.

use std::process::ExitCode;

use windlass::agent::serve;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // Asked before the program is put to use: it shows that this machine can run it.
        ["try"] => ExitCode::SUCCESS,
        ["serve", nonce] => serve::serve(nonce),
        _ => ExitCode::from(2),
    }
}
