//! Answers the questions of a module that plans on the controller.

use std::path::Path;
use std::time::Duration;

use super::protocol::{Answer, Question};
use crate::change::{Failure, Probe};

/// Returns the answer that `host` has to a question.
///
/// # Errors
/// As the probe says.
pub fn answer(host: &dyn Probe, question: &Question) -> Result<Answer, Failure> {
    Ok(match question {
        Question::Stat { path, follow } => Answer::Stat(host.stat(Path::new(path), *follow)?),
        Question::Read { path } => Answer::Bytes(host.read(Path::new(path))?),
        Question::Digest { path, algorithm } => Answer::Text(host.digest(Path::new(path), algorithm)?),
        Question::List { path } => Answer::Names(host.list(Path::new(path))?),
        Question::User { name } => Answer::User(host.user(name)?),
        Question::Group { name } => Answer::Group(host.group(name)?),
        Question::GroupsOf { user } => Answer::Names(Some(host.groups_of(user)?)),
        Question::Unit { name, scope } => Answer::Unit(host.unit(name, scope)?),
        Question::Package { name } => Answer::Text(host.package(name)?),
        Question::Query { argv } => Answer::Output(host.query(&argv.iter().map(String::as_str).collect::<Vec<_>>())?),
        Question::Vouched { program } => Answer::Output(host.vouched(program)?),
        Question::Http { request } => Answer::Response(host.http(request)?),
        Question::Connect { host: name, port, milliseconds } => {
            Answer::Connected(host.connect(name, *port, Duration::from_millis(*milliseconds))?)
        }
        Question::Environment => Answer::Environment(host.environment_all()),
        Question::Me => Answer::User(Some(host.me()?)),
        Question::FindProgram { name } => Answer::Text(host.find_program(name)?.map(|path| path.to_string_lossy().into_owned())),
        Question::FreeSpace { path } => Answer::Space(host.free_space(Path::new(path))),
    })
}
