//! `postgresql_db`: databases of PostgreSQL. Also how its two sisters speak with the server.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Change, Effect, Failure, Plan, Probe, Program};
use crate::value::secret::Secret;

/// Makes and removes databases of PostgreSQL, with the host's own `psql`; no Python is needed.
///
/// A password for the login goes into the task's environment: `environment: {PGPASSWORD: ...}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresqlDb {
    /// The database.
    #[serde(alias = "db")]
    name: String,
    /// Whether it shall be there.
    #[serde(default)]
    state: super::group::Presence,
    /// Its owner.
    #[serde(default)]
    owner: String,
    /// The database that a new one is copied from.
    #[serde(default)]
    template: String,
    /// The character set of a new one.
    #[serde(default)]
    encoding: String,
    /// The order of texts in a new one.
    #[serde(default)]
    lc_collate: String,
    /// The kinds of characters in a new one.
    #[serde(default)]
    lc_ctype: String,
    /// How many connections it allows; -1: any number.
    conn_limit: Option<i64>,
    /// The tablespace of a new one.
    #[serde(default)]
    tablespace: String,
    /// The database to log in to.
    #[serde(default = "maintenance", alias = "maintenance_db")]
    login_db: String,
    /// The server.
    #[serde(default, alias = "host")]
    login_host: String,
    /// The user to log in as.
    #[serde(default, alias = "login")]
    login_user: String,
    /// Not supported: give it as `PGPASSWORD` in the task's environment.
    login_password: Option<Secret<String>>,
    /// The folder of the server's socket.
    #[serde(default, alias = "unix_socket")]
    login_unix_socket: String,
    /// The server's port.
    #[serde(alias = "login_port")]
    port: Option<u16>,
}

pub(super) fn maintenance() -> String {
    "postgres".to_owned()
}

impl Module for PostgresqlDb {
    const NAME: &'static str = "postgresql_db";
    const COLLECTION: &'static str = "community.postgresql";
    const CHANGES: &'static [Names] = &[Names::Program("psql")];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Make a database",
        task: "{name: app, owner: app, encoding: UTF-8, template: template0}",
        given: &[],
        changes: true,
    }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let server = Server {
            host: &self.login_host,
            user: &self.login_user,
            socket: &self.login_unix_socket,
            port: self.port,
            database: &self.login_db,
            has_password: self.login_password.is_some(),
        };
        let columns = "pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit";
        let rows = server.rows(host, &format!("SELECT {columns} FROM pg_database WHERE datname = {}", text(&self.name)))?;
        let absent = self.state == super::group::Presence::Absent;
        let plan = match (rows.first(), absent) {
            (None, true) => Plan::nothing("there is no such database"),
            (Some(_), true) => server.plan("the database is there", &[format!("DROP DATABASE {}", name(&self.name))]),
            (None, false) => server.plan("there is no such database", &[self.create()]),
            (Some(row), false) => self.alter(&server, row)?,
        };
        Ok(plan.value("db", self.name.as_str()))
    }
}

impl PostgresqlDb {
    fn create(&self) -> String {
        let mut sql = format!("CREATE DATABASE {}", name(&self.name));
        for (word, value) in [("OWNER", &self.owner), ("TEMPLATE", &self.template), ("TABLESPACE", &self.tablespace)] {
            if !value.is_empty() {
                sql.push_str(&format!(" {word} {}", name(value)));
            }
        }
        for (word, value) in [("ENCODING", &self.encoding), ("LC_COLLATE", &self.lc_collate), ("LC_CTYPE", &self.lc_ctype)] {
            if !value.is_empty() {
                sql.push_str(&format!(" {word} {}", text(value)));
            }
        }
        if let Some(limit) = self.conn_limit {
            sql.push_str(&format!(" CONNECTION LIMIT {limit}"));
        }
        sql
    }

    fn alter(&self, server: &Server<'_>, row: &[String]) -> Result<Plan, Failure> {
        let column = |at: usize| row.get(at).map(String::as_str).unwrap_or_default();
        let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        for (argument, wanted, found) in
            [("encoding", &self.encoding, column(1)), ("lc_collate", &self.lc_collate, column(2)), ("lc_ctype", &self.lc_ctype, column(3))]
        {
            if !wanted.is_empty() && plain(wanted) != plain(found) {
                let message = format!("the database `{}` has `{found}`, and that cannot be changed", self.name);
                return Err(Failure::argument(argument, message));
            }
        }
        let mut sql = Vec::new();
        if !self.owner.is_empty() && self.owner != column(0) {
            sql.push(format!("ALTER DATABASE {} OWNER TO {}", name(&self.name), name(&self.owner)));
        }
        if let Some(limit) = self.conn_limit.filter(|limit| limit.to_string() != column(4)) {
            sql.push(format!("ALTER DATABASE {} CONNECTION LIMIT {limit}", name(&self.name)));
        }
        Ok(if sql.is_empty() { Plan::nothing("the database is as asked") } else { server.plan("owner or limit differ", &sql) })
    }
}

/// Where the server is, and who asks.
pub(super) struct Server<'a> {
    pub host: &'a str,
    pub user: &'a str,
    pub socket: &'a str,
    pub port: Option<u16>,
    pub database: &'a str,
    pub has_password: bool,
}

impl Server<'_> {
    fn argv(&self) -> Vec<String> {
        let mut argv = ["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1"].map(str::to_owned).to_vec();
        let mut option = |flag: &str, value: &str| {
            if !value.is_empty() {
                argv.extend([flag.to_owned(), value.to_owned()]);
            }
        };
        option("-d", self.database);
        option("-U", self.user);
        option("-h", if matches!(self.host, "" | "localhost") && !self.socket.is_empty() { self.socket } else { self.host });
        option("-p", &self.port.map(|port| port.to_string()).unwrap_or_default());
        argv
    }

    /// Asks the server, in a session that may only read.
    pub(super) fn rows(&self, host: &dyn Probe, sql: &str) -> Result<Vec<Vec<String>>, Failure> {
        if self.has_password {
            return Err(Failure::argument(
                "login_password",
                "`login_password` is not supported, as a password does not belong on a command line",
            )
            .hint("say `environment: {PGPASSWORD: \"{{ ... }}\"}` in the task"));
        }
        let mut argv = self.argv();
        argv.extend(["-c", "SET default_transaction_read_only = on", "-c", sql].map(str::to_owned));
        let output = host.query(&argv.iter().map(String::as_str).collect::<Vec<_>>())?;
        if output.rc != 0 {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            let first = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or("psql gave no reason").to_owned();
            return Err(Failure::failed(format!("the server refuses: {first}")).with("stderr", stderr));
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        Ok(stdout.lines().filter(|line| !line.is_empty()).map(|line| line.split('\t').map(str::to_owned).collect()).collect())
    }

    /// Plans to send statements. They go through standard input, as they may hold a password.
    pub(super) fn plan(&self, because: &str, statements: &[String]) -> Plan {
        let told = statements.iter().map(|sql| without_secret(sql)).collect::<Vec<_>>().join("; ");
        let stdin = statements.iter().flat_map(|sql| [sql.as_str(), ";\n"]).collect::<String>().into_bytes();
        let program = Program { argv: self.argv(), stdin: Some(stdin), accept: vec![0], ..Program::default() };
        let effects = vec![Effect::QueryUnknown(vec!["psql".to_owned()])];
        let shown: Vec<_> = statements.iter().map(|sql| without_secret(sql)).collect();
        Plan::one(because, Change::Run { program, effects, summary: format!("send `{told}`") }).value("queries", shown)
    }
}

/// Returns a statement without the password in it.
fn without_secret(sql: &str) -> String {
    sql.split_once(" PASSWORD '").map_or_else(|| sql.to_owned(), |(before, _)| format!("{before} PASSWORD '********'"))
}

/// Returns a text as SQL has it.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns a name as SQL has it.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    fn module(owner: &str) -> PostgresqlDb {
        let map =
            [("name".into(), "a\"b".into()), ("owner".into(), owner.into()), ("encoding".into(), "UTF-8".into())].into_iter().collect();
        crate::value::arguments::from_map::<PostgresqlDb>(&map).expect("fits")
    }

    #[test]
    fn a_database_is_made_or_changed_where_it_differs() {
        let empty = FakeHost::with(&[]).prints(&["psql"], 0, "");
        let Some(Change::Run { program, .. }) = module("me").plan(&empty).expect("plan").changes.pop() else { panic!("nothing to do") };
        assert_eq!(program.stdin.as_deref(), Some(&b"CREATE DATABASE \"a\"\"b\" OWNER \"me\" ENCODING 'UTF-8';\n"[..]));
        let there = FakeHost::with(&[]).prints(&["psql"], 0, "me\tUTF8\tC\tC\t-1\n");
        assert!(module("me").plan(&there).expect("plan").changes.is_empty());
        assert_eq!(module("you").plan(&there).expect("plan").changes.len(), 1);
    }

    #[test]
    fn a_password_is_not_told() {
        assert_eq!(without_secret("CREATE USER \"a\" PASSWORD 'x'"), "CREATE USER \"a\" PASSWORD '********'");
    }
}
