//! Running programs: in a process group of their own, with a time limit, their output captured up to a limit.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::keeper::{self, Note};
use super::{Failure, Output, Program, dialogue};
use crate::value::Value;

/// Bytes that are kept of what a program prints; the rest is read and dropped.
pub const MOST_OUTPUT: usize = 64 * 1024 * 1024;

/// Where programs are looked for besides `PATH`.
const USUAL_PLACES: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How long output is waited for after a program ended, when something it left in the background holds its pipes.
const LINGER: Duration = Duration::from_millis(500);

/// The process groups that run now, so that the agent can end them when its controller is gone.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// As `RUNNING`, of programs that are only asked something: whoever wants to stop need not wait for them.
static ASKED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Whether no program is asked anything any more.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Held while the permission mask differs: it belongs to the whole process.
static MASK: Mutex<()> = Mutex::new(());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends every program that runs now, with its children.
pub fn end_all() {
    for group in lock(&RUNNING).iter() {
        let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
    }
}

/// Ends the programs that are only asked something, and lets no more of them begin.
pub fn end_asking() {
    SILENT.store(true, Ordering::SeqCst);
    for group in lock(&ASKED).iter() {
        let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
    }
}

/// Runs a program of which only the answer is wanted, such as that of a lookup.
///
/// # Errors
/// As [`run`]; or nothing is to be asked any more.
pub fn ask(program: &Program) -> Result<Output, Failure> {
    let interrupted = || Failure::failed(format!("`{}` was interrupted", shown(&program.argv)));
    if SILENT.load(Ordering::SeqCst) {
        return Err(interrupted());
    }
    let output = run_among(&ASKED, program, &[])?;
    if SILENT.load(Ordering::SeqCst) { Err(interrupted()) } else { Ok(output) }
}

/// Runs a program, with `environment` added to what it inherits, and returns what came of it, whatever its return code.
///
/// # Errors
/// When it cannot be started, or took longer than its time limit.
pub fn run(program: &Program, environment: &[(String, String)]) -> Result<Output, Failure> {
    if let Some(dialogue) = &program.dialogue {
        return dialogue::run(program, dialogue, environment);
    }
    run_among(&RUNNING, program, environment)
}

/// A process group that is noted for as long as it runs: here, and by the keeper.
pub(super) struct Noted {
    group: i32,
    running: &'static Mutex<BTreeSet<i32>>,
}

impl Noted {
    /// Starts a program with `start`, which returns it and its process.
    pub(super) fn start<T>(start: impl FnOnce() -> Result<(T, u32), Failure>) -> Result<(T, Self), Failure> {
        Self::among(&RUNNING, start)
    }

    fn among<T>(running: &'static Mutex<BTreeSet<i32>>, start: impl FnOnce() -> Result<(T, u32), Failure>) -> Result<(T, Self), Failure> {
        keeper::note(&Note::Starting);
        let (child, process) = start().inspect_err(|_| keeper::note(&Note::NotStarted))?;
        let group = i32::try_from(process).unwrap_or(0);
        keeper::note(&Note::Started(group));
        lock(running).insert(group);
        Ok((child, Self { group, running }))
    }

    /// Ends the group at once.
    pub(super) fn kill(&self) {
        let _ = killpg(Pid::from_raw(self.group), Signal::SIGKILL);
    }

    /// Notes that it ended.
    pub(super) fn over(self) {
        lock(self.running).remove(&self.group);
        keeper::note(&Note::Ended(self.group));
    }
}

fn run_among(running: &'static Mutex<BTreeSet<i32>>, program: &Program, environment: &[(String, String)]) -> Result<Output, Failure> {
    let started = SystemTime::now();
    let (mut child, group) = Noted::among(running, || {
        let child = spawn(program, environment)?;
        let process = child.id();
        Ok((child, process))
    })?;
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    if let (Some(mut stdin), Some(text)) = (child.stdin.take(), program.stdin.clone()) {
        // A program that does not read its input closes the pipe; that is its own business.
        std::thread::spawn(move || {
            let _ = stdin.write_all(&text);
        });
    }
    let waited = wait(&mut child, program.timeout.map(Duration::from_secs));
    if !matches!(waited, Ok(Some(_))) {
        group.kill();
        let _ = child.wait();
    }
    group.over();
    let (stdout, stderr) = (finish(stdout), finish(stderr));
    match waited {
        Ok(Some(status)) => Ok(Output { rc: code(status), stdout, stderr, start: seconds(started), end: seconds(SystemTime::now()) }),
        Ok(None) => Err(Failure::failed(format!(
            "`{}` did not end within {} s and was stopped",
            shown(&program.argv),
            program.timeout.unwrap_or_default()
        ))
        .with("stdout", String::from_utf8_lossy(&stdout).into_owned())
        .with("stderr", String::from_utf8_lossy(&stderr).into_owned())),
        Err(error) => Err(Failure::failed(format!("`{}` cannot be waited for: {error}", shown(&program.argv)))),
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that starts programs on a host")]
fn spawn(program: &Program, environment: &[(String, String)]) -> Result<Child, Failure> {
    let Some((name, arguments)) = program.argv.split_first() else {
        return Err(Failure::failed("there is no program to run: the command is empty"));
    };
    let path = program.environment.iter().chain(environment).rev().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
    let folders: Vec<PathBuf> = path.iter().flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>()).collect();
    let file = if name.contains('/') { PathBuf::from(name) } else { find(name, &folders).ok_or_else(|| no_program(program))? };
    let mut command = Command::new(file);
    command.args(arguments).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.arg0(name);
    command.envs(environment.iter().map(|(key, value)| (key, value)));
    command.envs(program.environment.iter().map(|(key, value)| (key, value)));
    command.stdin(if program.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    if let Some(folder) = &program.chdir {
        if !folder.is_dir() {
            return Err(Failure::Missing { path: folder.clone(), argument: "chdir".to_owned() });
        }
        command.current_dir(folder);
    }
    let child = match program.umask {
        None => command.spawn(),
        Some(mask) => with_mask(mask, || command.spawn()),
    };
    child.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => no_program(program),
        _ => {
            Failure::failed(format!("`{}` cannot be started: {error}", shown(&program.argv))).with("rc", error.raw_os_error().unwrap_or(1))
        }
    })
}

fn with_mask<T>(mask: u32, work: impl FnOnce() -> T) -> T {
    let _held = lock(&MASK);
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
    let result = work();
    nix::sys::stat::umask(before);
    result
}

fn no_program(program: &Program) -> Failure {
    let name = program.argv.first().map_or("", String::as_str);
    Failure::failed(format!("there is no program `{name}` on the host")).with("rc", 2).with("cmd", Value::from(program.argv.clone()))
}

pub(super) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// What a pipe gave so far, and the thread that reads it.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

fn collect(mut pipe: impl Read + Send + 'static) -> Collected {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&bytes);
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let mut kept = lock(&kept);
                    let room = MOST_OUTPUT.saturating_sub(kept.len()).min(count);
                    kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    Collected { bytes, reader }
}

fn finish(collected: Option<Collected>) -> Vec<u8> {
    let Some(collected) = collected else { return Vec::new() };
    let until = Instant::now() + LINGER;
    while !collected.reader.is_finished() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::mem::take(&mut *lock(&collected.bytes))
}

/// Waits for the program; `None` where the time limit came first.
fn wait(child: &mut Child, limit: Option<Duration>) -> std::io::Result<Option<ExitStatus>> {
    let Some(limit) = limit else { return child.wait().map(Some) };
    let until = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Returns the full path of a program: in `folders` where there are any, else in `PATH`; then in the usual places.
pub fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let usual = USUAL_PLACES.iter().map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listed: Vec<PathBuf> = if folders.is_empty() { std::env::split_paths(&path).collect() } else { folders.to_vec() };
    listed.into_iter().chain(usual).map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// Returns the folders that programs are looked for in.
pub fn search_path(path: Option<&str>) -> Vec<PathBuf> {
    let listed: Vec<PathBuf> = path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    listed.into_iter().chain(USUAL_PLACES.iter().map(PathBuf::from)).collect()
}

fn is_program(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|stat| stat.is_file() && stat.permissions().mode() & 0o111 != 0)
}

/// Returns a command line for people: arguments with spaces are quoted.
pub fn shown(argv: &[String]) -> String {
    let quoted = |word: &String| {
        let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,~^".contains(c);
        if !word.is_empty() && word.chars().all(plain) { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Splits a command line into words as a shell does, without expanding anything. `None` where a quote is not closed.
pub fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    let mut quote = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some('"') | None, '\\') => {
                let next = chars.next()?;
                if quote.is_some() && !"\"\\$`".contains(next) {
                    word.get_or_insert_default().push('\\');
                }
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if quote.is_some() { None } else { Some(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Program {
        Program { argv: vec!["sh".into(), "-c".into(), line.into()], ..Program::default() }
    }

    #[test]
    fn output_input_environment_and_code_are_passed() {
        let program =
            Program { stdin: Some(b"in".to_vec()), environment: vec![("A".into(), "b".into())], ..shell("cat; echo $A >&2; exit 3") };
        let output = run(&program, &[]).expect("runs");
        assert_eq!((output.rc, output.stdout.as_slice(), output.stderr.as_slice()), (3, &b"in"[..], &b"b\n"[..]));
    }

    #[test]
    fn a_time_limit_ends_the_program_with_its_children() {
        let begun = Instant::now();
        let failure = run(&Program { timeout: Some(1), ..shell("sleep 60 & sleep 60") }, &[]).expect_err("too long");
        assert!(failure.to_string().contains("did not end within 1 s"), "{failure}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_is_left_in_the_background_does_not_hold_the_task() {
        let begun = Instant::now();
        let output = run(&shell("sleep 20 & echo started"), &[]).expect("runs");
        assert_eq!(output.stdout, b"started\n");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_is_not_there_says_so() {
        let program = Program { argv: vec!["no-such-program".into()], ..Program::default() };
        assert_eq!(run(&program, &[]).expect_err("missing").to_string(), "there is no program `no-such-program` on the host");
    }

    #[test]
    fn a_mask_holds_for_what_the_program_creates() {
        let output = run(&Program { umask: Some(0o027), ..shell("umask") }, &[]).expect("runs");
        assert_eq!(output.stdout, b"0027\n");
    }

    #[test]
    fn lines_are_split_as_a_shell_does() {
        assert_eq!(words(r#"visudo -cf '%s' "a b"\ c"#).expect("closed"), ["visudo", "-cf", "%s", "a b c"]);
        assert_eq!(words("a 'b"), None);
        assert_eq!(shown(&["ls".into(), "a b".into()]), "ls 'a b'");
    }
}
