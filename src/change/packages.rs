//! Installed packages, as the package manager tells.

use super::{Failure, Program, programs};

/// Returns the installed version of a package, or `None` where it is not installed.
pub fn installed(name: &str) -> Result<Option<String>, Failure> {
    if name.is_empty() || name.starts_with('-') {
        return Err(Failure::argument("name", format!("`{name}` is not the name of a package")));
    }
    if programs::find("dpkg-query", &[]).is_some() {
        let text = ask(&["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}\\n", name])?;
        return Ok(dpkg_version(&text));
    }
    if programs::find("rpm", &[]).is_some() {
        let text = ask(&["rpm", "-q", "--qf", "%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\n", name])?;
        return Ok(text.lines().last().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Err(Failure::failed("the host has neither dpkg nor rpm, so its packages are not known"))
}

/// Returns the version from what `dpkg-query` printed: one line for each architecture.
fn dpkg_version(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("installed ")).map(|version| version.trim().to_owned())
}

/// Returns what a query printed, empty where it failed: both managers fail for a package that is not there.
fn ask(argv: &[&str]) -> Result<String, Failure> {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    let environment = vec![("LC_ALL".to_owned(), "C".to_owned())];
    let output = programs::run(&Program { argv, environment, timeout: Some(120), ..Program::default() }, &[])?;
    Ok(if output.rc == 0 { String::from_utf8_lossy(&output.stdout).into_owned() } else { String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_package_that_is_fully_there_has_a_version() {
        assert_eq!(dpkg_version("config-files 1.0\n"), None);
        assert_eq!(dpkg_version("not-installed \ninstalled 2:1.5-1\n").as_deref(), Some("2:1.5-1"));
    }
}
