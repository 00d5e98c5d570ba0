//! Users and groups of this machine: the files first, then `getent`, which also knows directories such as LDAP.
//!
//! The C library's own functions for this load plugins, which a static program must not do.

use super::{Failure, GroupEntry, Program, UserEntry, programs};

/// Returns the user of that name, or of that number as text.
pub fn user(name: &str) -> Result<Option<UserEntry>, Failure> {
    let found = lines("/etc/passwd").iter().filter_map(|line| passwd_line(line)).find(|user| is_user(user, name));
    match found {
        Some(user) => Ok(Some(user)),
        None => Ok(getent("passwd", name)?.as_deref().and_then(passwd_line)),
    }
}

/// Returns the group of that name, or of that number as text.
pub fn group(name: &str) -> Result<Option<GroupEntry>, Failure> {
    let found = lines("/etc/group").iter().filter_map(|line| group_line(line)).find(|group| is_group(group, name));
    match found {
        Some(group) => Ok(Some(group)),
        None => Ok(getent("group", name)?.as_deref().and_then(group_line)),
    }
}

/// Returns the groups that list `user` as a member, sorted.
pub fn groups_of(user: &str) -> Result<Vec<String>, Failure> {
    let mut names: Vec<_> = lines("/etc/group")
        .iter()
        .filter_map(|line| group_line(line))
        .filter(|group| group.members.iter().any(|member| member == user))
        .map(|group| group.name)
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Whether `name` means this user: by name, or by number.
pub fn is_user(user: &UserEntry, name: &str) -> bool {
    user.name == name || (user.uid.is_some() && user.uid == name.parse().ok())
}

/// Whether `name` means this group: by name, or by number.
pub fn is_group(group: &GroupEntry, name: &str) -> bool {
    group.name == name || (group.gid.is_some() && group.gid == name.parse().ok())
}

/// Returns the user of a line of `/etc/passwd`.
pub fn passwd_line(line: &str) -> Option<UserEntry> {
    let fields: Vec<_> = line.trim_end().split(':').collect();
    let [name, _, uid, gid, gecos, home, shell] = fields.as_slice() else { return None };
    Some(UserEntry {
        name: (*name).to_owned(),
        uid: Some(uid.parse().ok()?),
        gid: Some(gid.parse().ok()?),
        gecos: (*gecos).to_owned(),
        home: (*home).to_owned(),
        shell: (*shell).to_owned(),
    })
}

/// Returns the group of a line of `/etc/group`.
pub fn group_line(line: &str) -> Option<GroupEntry> {
    let fields: Vec<_> = line.trim_end().split(':').collect();
    let [name, _, gid, members] = fields.as_slice() else { return None };
    let members = members.split(',').map(str::trim).filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some(GroupEntry { name: (*name).to_owned(), gid: Some(gid.parse().ok()?), members })
}

fn lines(path: &str) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().filter(|line| !line.starts_with(['#', '+', '-'])).map(str::to_owned).collect()
}

fn getent(database: &str, name: &str) -> Result<Option<String>, Failure> {
    if name.is_empty() || name.starts_with('-') || programs::find("getent", &[]).is_none() {
        return Ok(None);
    }
    let argv = ["getent", database, name].map(str::to_owned).to_vec();
    let output = programs::run(&Program { argv, timeout: Some(30), ..Program::default() }, &[])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(if output.rc == 0 { text.lines().next().map(str::to_owned) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_account_files_are_read() {
        let user = passwd_line("elasticsearch:x:117:121:Elastic,,,:/nonexistent:/bin/false\n").expect("a user");
        assert_eq!((user.name.as_str(), user.uid, user.gid, user.shell.as_str()), ("elasticsearch", Some(117), Some(121), "/bin/false"));
        assert!(is_user(&user, "117") && is_user(&user, "elasticsearch") && !is_user(&user, "118"));
        assert_eq!(group_line("adm:x:4:syslog,ubuntu").expect("a group").members, ["syslog", "ubuntu"]);
        assert_eq!(passwd_line("broken:x:1"), None);
    }

    #[test]
    fn root_is_known_and_a_stranger_is_not() {
        assert_eq!(user("root").expect("readable").and_then(|user| user.uid), Some(0));
        assert_eq!(user("0").expect("readable").map(|user| user.name), Some("root".into()));
        assert_eq!(user("nobody-of-that-name").expect("readable"), None);
        assert_eq!(group("0").expect("readable").map(|group| group.name), Some("root".into()));
    }
}
