//! Brings the agent to a host and starts it, in one round trip where it is there already.
//!
//! A shell line looks for the agent by its hash in a folder that belongs to the user it runs as, checks that the file is
//! that user's own and has the right content, and becomes it. Only where it is missing is it asked for, and sent through
//! the same channel. Under `become` the line runs as that user, with a folder of its own: nobody ever runs a file that
//! another user could have changed, and nobody needs to read another's home.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;

use super::serve::MARK;
use crate::connect::escalate::{self, Begun, quoted};
use crate::connect::trouble::last_words;
use crate::connect::{Become, Kind, Link, Trouble};

/// The agent as a file of the controller.
#[derive(Debug)]
struct Program {
    bytes: Vec<u8>,
    sha256: String,
    checksum: u32,
}

/// The agent as a file of the controller, read once a run.
#[derive(Debug, Default)]
pub struct Programs {
    native: OnceCell<Result<Arc<Program>, String>>,
    packed: OnceCell<Arc<Vec<u8>>>,
}

/// How hard the agent is compressed. An unoptimised build has neither a small agent nor a fast compressor.
const LEVEL: u32 = if cfg!(debug_assertions) { 1 } else { 6 };

/// The line that is run on the host. It has no single quotes and no backslashes, so that whatever login shell there is
/// passes it on unharmed. `@NAME@` is replaced.
const SCRIPT: &str = r##"
n=@NONCE@; h=@HASH@; z=@SIZE@; k=@CHECKSUM@; m=$(umask); umask 077;
say() { echo "windlass:$n:$*"; };
same() {
    if command -v sha256sum >/dev/null 2>&1;
    then set -- $(sha256sum <"$1"); [ "$1" = "$h" ];
    else set -- $(cksum <"$1"); [ "$1 $2" = "$k $z" ]; fi;
};
own() { [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ]; };
go() { umask "$m"; exec "$1" @WORDS@; };
u=$(id -u);
set -- @FOLDERS@;
for d in "$@"; do
    f="$d/agent-$h";
    if own "$d" && [ -f "$f" ] && [ ! -L "$f" ] && [ -O "$f" ] && same "$f" && "$f" agent-try >/dev/null 2>&1; then go "$f"; fi;
done;
p="";
why="";
for d in "$@"; do
    w=$(mkdir -p "$d" 2>&1);
    if own "$d" && chmod 700 "$d"; then
        t="$d/.try-$$";
        w=$( (echo "#!/bin/sh" >"$t") 2>&1);
        if [ -s "$t" ] && chmod 700 "$t"; then
            if "$t" 2>/dev/null; then p="$d"; else w="programs must not run there (noexec)"; fi;
        fi;
        rm -f "$t" 2>/dev/null;
    else w="${w:-it belongs to somebody else}"; fi;
    if [ -n "$p" ]; then break; fi;
    why="$why $d: $w,";
done;
if [ -z "$p" ]; then say fail place $why; exit 0; fi;
f="$p/.new-$$-$n";
clean() { rm -f "$f"; };
trap clean 0; trap "exit 1" 1 2 13 15;
g=raw; if command -v gzip >/dev/null 2>&1; then g=gzip; fi;
say need "$(uname -s)" "$(uname -m)" "$g" "$p";
read -r way size;
case "$way" in
    gzip) w=$(head -c "$size" | gzip -dc 2>&1 >"$f");;
    raw) w=$(head -c "$size" 2>&1 >"$f");;
    *) exit 0;;
esac;
if [ -f "$f" ] && chmod 700 "$f" && same "$f"; then :; else say fail upload $p: $w; exit 0; fi;
if w=$("$f" agent-try 2>&1); then :; else say fail run $w; exit 0; fi;
if w=$(mv -f "$f" "$p/agent-$h" 2>&1); then :; else say fail upload $p: $w; exit 0; fi;
trap - 0;
for o in "$p"/agent-*; do if [ "$o" != "$p/agent-$h" ]; then rm -f "$o"; fi; done;
go "$p/agent-$h"
"##;

/// Where the agent is kept: the first of these that can be written to and from which programs may run.
const FOLDERS: &[&str] = &[r#""${HOME:-/nonexistent}/.cache/windlass""#, r#""/var/tmp/windlass-$u""#, r#""/tmp/windlass-$u""#];

impl Programs {
    /// Starts the agent on a host, as the user of `become` if there is one. What comes then is frames. With `old`, what is
    /// started passes on what is said to the agent that was started with that nonce, or says that it is `gone`.
    ///
    /// # Errors
    /// Says why it cannot run there, and what to do.
    pub async fn start(
        &self,
        link: &Link,
        r#become: Option<&Become>,
        folder: Option<&str>,
        nonce: &str,
        old: Option<&str>,
    ) -> Result<Begun, Trouble> {
        let program = self.native().await?;
        let mark = format!("{MARK}{nonce}:");
        let script = script(&program, nonce, old, folder);
        let mut begun = escalate::begin(link, &script, r#become, &mark).await?;
        if let Some(place) = begun.line.strip_prefix("need ").map(str::to_owned) {
            let upload = self.upload(link, &program, &place).await?;
            let next = sent(&upload, &mut begun, &mark).await.map_err(|error| lost(link, &error.to_string()))?;
            let Some(next) = next else { return Err(silent(link, &begun)) };
            begun.line = next;
        }
        match begun.line.split_once(' ').map_or((begun.line.as_str(), ""), |(word, rest)| (word, rest)) {
            ("hello" | "gone", _) => Ok(begun),
            ("fail", rest) => Err(explained(link, rest, &begun)),
            _ => Err(silent(link, &begun)),
        }
    }

    /// Returns what the host is to be sent: a line that says how much of what, then that.
    async fn upload(&self, link: &Link, program: &Program, place: &str) -> Result<Vec<u8>, Trouble> {
        let mut words = place.splitn(4, ' ');
        let (system, machine, way) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if system != "Linux" || !is_ours(machine) {
            return Err(wrong_machine(link, system, machine));
        }
        let packed = if way == "gzip" { Some(self.packed(program).await) } else { None };
        let (way, bytes) = packed.as_ref().map_or(("raw", &program.bytes), |packed| ("gzip", packed));
        let mut upload = format!("{way} {}\n", bytes.len()).into_bytes();
        upload.extend_from_slice(bytes);
        Ok(upload)
    }

    async fn native(&self) -> Result<Arc<Program>, Trouble> {
        let read = self.native.get_or_init(|| async {
            let read = tokio::task::spawn_blocking(|| Program::read().map(Arc::new)).await;
            read.unwrap_or_else(|_| Err("it cannot be read".to_owned()))
        });
        read.await.clone().map_err(|why| {
            Trouble::new(Kind::Agent, format!("the agent (windlass-agent) is not here to be sent to hosts: {why}"))
                .hint("`cargo build --release` makes it beside windlass; WINDLASS_AGENT may name it elsewhere")
        })
    }

    async fn packed(&self, program: &Program) -> Arc<Vec<u8>> {
        let pack = || async {
            let bytes = program.bytes.clone();
            let packed = tokio::task::spawn_blocking(move || {
                let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(LEVEL));
                let _ = packer.write_all(&bytes);
                packer.finish().unwrap_or_default()
            });
            Arc::new(packed.await.unwrap_or_default())
        };
        Arc::clone(self.packed.get_or_init(pack).await)
    }
}

/// Sends, and listens at the same time: a host without room says so in the middle and reads no more.
async fn sent(upload: &[u8], begun: &mut Begun, mark: &str) -> std::io::Result<Option<String>> {
    let mut stdin = std::mem::replace(&mut begun.process.stdin, Box::new(tokio::io::sink()));
    let sending = async {
        if stdin.write_all(upload).await.is_ok() {
            let _ = stdin.flush().await;
        }
        // What came of it, the host tells.
        std::future::pending::<()>().await;
    };
    let told = tokio::select! {
        told = escalate::next_mark(begun, mark) => told,
        () = sending => Ok(None),
    };
    begun.process.stdin = stdin;
    told
}

impl Program {
    fn read() -> Result<Self, String> {
        let path = path()?;
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let sha256 = crate::change::digest::hex(&Sha256::digest(&bytes));
        Ok(Self { sha256, checksum: posix_checksum(&bytes), bytes })
    }
}

/// Returns where the agent is: `WINDLASS_AGENT`, or beside this program (or above it, for tests). Where only windlass
/// itself was built, as `cargo run` does, it is its own agent: larger, and for hosts with a C library as new as here.
fn path() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("WINDLASS_AGENT") {
        let named = PathBuf::from(named);
        return if named.is_file() { Ok(named) } else { Err(format!("WINDLASS_AGENT names {}, which is no file", named.display())) };
    }
    let own = std::env::current_exe().map_err(|error| format!("the folder of this program is not known: {error}"))?;
    let folders = own.ancestors().skip(1).take(2);
    let places: Vec<_> = folders.map(|folder: &Path| folder.join("windlass-agent")).collect();
    let itself = Some(&own).filter(|own| own.file_name().is_some_and(|name| name == env!("CARGO_PKG_NAME")));
    let found = places.iter().find(|place| place.is_file()).or(itself);
    found.cloned().ok_or_else(|| format!("there is no {}", places.first().map_or_else(String::new, |place| place.display().to_string())))
}

fn script(program: &Program, nonce: &str, old: Option<&str>, folder: Option<&str>) -> String {
    let words = old.map_or_else(|| r#"agent-serve "$n""#.to_owned(), |old| format!(r#"agent-attach "$n" {}"#, quoted(old)));
    let mut folders: Vec<String> = FOLDERS.iter().map(|folder| (*folder).to_owned()).collect();
    if let Some(folder) = folder {
        let named = match folder.strip_prefix("~/") {
            Some(rest) => format!("\"${{HOME:-/nonexistent}}\"/{}", quoted(rest)),
            None => quoted(folder),
        };
        folders.insert(0, named);
    }
    let lines: Vec<_> = SCRIPT.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines
        .join(" ")
        .replace("@WORDS@", &words)
        .replace("@NONCE@", nonce)
        .replace("@HASH@", &program.sha256)
        .replace("@SIZE@", &program.bytes.len().to_string())
        .replace("@CHECKSUM@", &program.checksum.to_string())
        .replace("@FOLDERS@", &folders.join(" "))
}

fn is_ours(machine: &str) -> bool {
    match std::env::consts::ARCH {
        "x86_64" => matches!(machine, "x86_64" | "amd64"),
        "aarch64" => matches!(machine, "aarch64" | "arm64"),
        other => machine == other,
    }
}

fn wrong_machine(link: &Link, system: &str, machine: &str) -> Trouble {
    let (ours, name) = (std::env::consts::ARCH, link.name());
    Trouble::new(
        Kind::Agent,
        format!("{name} is {system} on {}, and the agent here is for Linux on {ours}", last_words(machine.as_bytes())),
    )
    .hint("only `raw` tasks work there; a windlass-agent built for that machine can be named with WINDLASS_AGENT")
}

fn explained(link: &Link, rest: &str, begun: &Begun) -> Trouble {
    let (what, words) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut words = last_words(words.as_bytes());
    if words.is_empty() {
        words = last_words(&begun.process.complaints.text());
    }
    let name = link.name();
    let full = words.contains("No space left");
    let trouble = match what {
        "place" => {
            let words = words.trim_end_matches(',');
            Trouble::new(Kind::Agent, format!("there is no folder on {name} where the agent can be kept and run: {words}"))
        }
        "run" => Trouble::new(Kind::Agent, format!("the agent does not run on {name}: {words}")),
        _ if words.ends_with(':') => {
            Trouble::new(Kind::Agent, format!("the agent did not arrive whole on {name}, in {}", words.trim_end_matches(':')))
        }
        _ => Trouble::new(Kind::Agent, format!("the agent cannot be written on {name}: {words}")),
    };
    let hint = if full {
        "make room there, or name another folder with windlass_agent_folder"
    } else {
        "name a folder with windlass_agent_folder; `raw` tasks work without the agent"
    };
    trouble.hint(hint)
}

fn silent(link: &Link, begun: &Begun) -> Trouble {
    let words = last_words(&begun.process.complaints.text());
    let why = if words.is_empty() { "it ended without a word".to_owned() } else { words };
    Trouble::new(Kind::Agent, format!("the agent did not start on {}: {why}", link.name()))
}

fn lost(link: &Link, why: &str) -> Trouble {
    Trouble::new(Kind::Lost, format!("the connection to {} was lost while the agent was sent: {why}", link.name()))
}

/// Returns what POSIX `cksum` says, for hosts without `sha256sum`.
fn posix_checksum(bytes: &[u8]) -> u32 {
    let mut table = [0_u32; 256];
    for (start, slot) in (0_u32..).zip(table.iter_mut()) {
        *slot = (0..8).fold(start << 24, |crc, _| if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 });
    }
    let mut crc = 0_u32;
    let mut take = |byte: u8| crc = (crc << 8) ^ table[usize::from((crc >> 24) as u8 ^ byte)];
    bytes.iter().for_each(|byte| take(*byte));
    let mut length = bytes.len();
    while length > 0 {
        take((length & 0xff) as u8);
        length >>= 8;
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_posix() {
        // As `printf 'windlass' | cksum` has it.
        assert_eq!(posix_checksum(b""), 4_294_967_295);
        assert_eq!(posix_checksum(b"123456789"), 930_766_865);
    }

    #[test]
    fn the_script_survives_any_login_shell() {
        let program = Program { bytes: vec![1], sha256: "ab".into(), checksum: 7 };
        let script = script(&program, "n1", None, None);
        assert!(!script.contains(['\'', '\\', '\n']), "{script}");
        assert!(!script.contains('@') || !script.contains("@HASH@"), "{script}");
    }
}
