//! Links `windlass-agent` static from the same plain `cargo build` that links `windlass` against the system's libraries.
//!
//! `-C target-feature=+crt-static` would hold for every binary and every procedural macro, which does not work. So only
//! the agent's link line is changed: `-static-pie`, and a folder in front of the search path in which `libc.so`,
//! `libgcc_s.so` and the like are linker scripts that lead to the static archives.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a build script talks to cargo on its output, and writes to its own folder"
)]

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The binary whose link line is changed.
const AGENT: &str = "windlass-agent";

/// Parts of the C library that old systems keep in files of their own. Empty archives on newer ones.
const PARTS: &[&str] = &["m", "util", "rt", "pthread", "dl"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CC");
    if !is_glibc() || is_static_already() {
        return Ok(());
    }
    let Some(archives) = Archives::find() else {
        println!(
            "cargo::warning=no static C library (libc.a, package libc6-dev) was found: {AGENT} only runs on hosts with the same C library"
        );
        return Ok(());
    };
    let folder = PathBuf::from(env::var("OUT_DIR")?).join("static");
    fs::create_dir_all(&folder)?;
    archives.write_scripts(&folder)?;
    println!("cargo::rustc-link-arg-bin={AGENT}=-static-pie");
    println!("cargo::rustc-link-arg-bin={AGENT}=-L{}", folder.display());
    // It travels: even the one for development should not carry tens of megabytes for a debugger. In a release all
    // symbols go, and this would bring them back.
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        println!("cargo::rustc-link-arg-bin={AGENT}=-Wl,--strip-debug");
    }
    Ok(())
}

fn is_glibc() -> bool {
    let is = |name: &str, wanted: &str| env::var(name).is_ok_and(|value| value == wanted);
    is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu")
}

fn is_static_already() -> bool {
    env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|features| features.split(',').any(|feature| feature == "crt-static"))
}

/// The static archives that take the place of shared libraries.
struct Archives {
    libc: PathBuf,
    gcc: PathBuf,
    unwinding: PathBuf,
    parts: Vec<(&'static str, PathBuf)>,
}

impl Archives {
    fn find() -> Option<Self> {
        let parts = PARTS.iter().filter_map(|part| Some((*part, locate(&format!("lib{part}.a"))?)));
        Some(Self { libc: locate("libc.a")?, gcc: locate("libgcc.a")?, unwinding: locate("libgcc_eh.a")?, parts: parts.collect() })
    }

    fn write_scripts(&self, folder: &Path) -> std::io::Result<()> {
        // The three need each other, so each script names all of them.
        write_script(folder, "libc.so", &[&self.libc, &self.unwinding, &self.gcc])?;
        write_script(folder, "libgcc_s.so", &[&self.unwinding, &self.gcc, &self.libc])?;
        for (part, archive) in &self.parts {
            write_script(folder, &format!("lib{part}.so"), &[archive])?;
        }
        Ok(())
    }
}

fn write_script(folder: &Path, name: &str, archives: &[&PathBuf]) -> std::io::Result<()> {
    let quoted: Vec<_> = archives.iter().map(|path| format!("\"{}\"", path.display())).collect();
    fs::write(folder.join(name), format!("GROUP ( {} )\n", quoted.join(" ")))
}

/// Asks the C compiler, which knows where the linker looks, for the place of a file.
fn locate(name: &str) -> Option<PathBuf> {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let answer = Command::new(compiler).arg(format!("-print-file-name={name}")).output().ok()?;
    let path = PathBuf::from(String::from_utf8(answer.stdout).ok()?.trim());
    // An unknown file is answered with its bare name.
    path.is_absolute().then_some(path)
}
