//! The program that does the work on a host, linked static. What it does is [`windlass::agent::serve::main`].

fn main() -> std::process::ExitCode {
    windlass::agent::serve::main(std::env::args().skip(1))
}
