//! `postgresql_user`: users of PostgreSQL.

use base64::Engine as _;
use hmac::{Hmac, Mac};
use md5::{Digest as _, Md5};
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::Sha256;

use super::postgresql_db::{Server, name, text};
use super::{Controller, Example, Module, keep_secret};
use crate::change::doubt::Names;
use crate::change::{Failure, Plan, Probe};
use crate::value::Map;
use crate::value::secret::Secret;

/// Makes, changes and removes users of PostgreSQL, with the host's own `psql`; no Python is needed.
///
/// A password that is right already is not set again: it is compared with what the server keeps of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresqlUser {
    /// The user.
    #[serde(alias = "user")]
    name: String,
    /// The password, or what the server would keep of it.
    password: Option<Secret<String>>,
    /// Whether the user shall be there.
    #[serde(default)]
    state: super::group::Presence,
    /// What the user may do: `CREATEDB,NOSUPERUSER`.
    #[serde(default)]
    role_attr_flags: String,
    /// When the password ends.
    expires: Option<String>,
    /// How many connections the user may have; -1: any number.
    conn_limit: Option<i64>,
    /// Whether the password of a user who is there stays.
    #[serde(default)]
    no_password_changes: bool,
    /// Accepted for old playbooks: the server never keeps a password as it is.
    #[serde(rename = "encrypted")]
    _encrypted: Option<bool>,
    /// Accepted for old playbooks: a user who cannot be removed is always a failure.
    #[serde(rename = "fail_on_user")]
    _fail_on_user: Option<bool>,
    /// The database to log in to.
    #[serde(default, alias = "login_db")]
    db: String,
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

/// What a user may be, and the column that tells it.
const FLAGS: &[(&str, &str)] = &[
    ("SUPERUSER", "rolsuper"),
    ("CREATEROLE", "rolcreaterole"),
    ("CREATEDB", "rolcreatedb"),
    ("INHERIT", "rolinherit"),
    ("LOGIN", "rolcanlogin"),
    ("REPLICATION", "rolreplication"),
    ("BYPASSRLS", "rolbypassrls"),
];

impl Module for PostgresqlUser {
    const NAME: &'static str = "postgresql_user";
    const COLLECTION: &'static str = "community.postgresql";
    const CHANGES: &'static [Names] = &[Names::Program("psql")];
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Make a user", task: "{name: app, role_attr_flags: 'CREATEDB,NOSUPERUSER'}", given: &[], changes: true }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        keep_secret(arguments, controller, &["password", "login_password"]);
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let flags = self.flags()?;
        let server = Server {
            host: &self.login_host,
            user: &self.login_user,
            socket: &self.login_unix_socket,
            port: self.port,
            database: if self.db.is_empty() { "postgres" } else { &self.db },
            has_password: self.login_password.is_some(),
        };
        let columns: Vec<_> = FLAGS.iter().map(|(_, column)| *column).collect();
        let who = text(&self.name);
        // Only a superuser sees what the server keeps of a password.
        let kept = "CASE WHEN has_table_privilege('pg_authid', 'SELECT') THEN 'yes' ELSE 'no' END";
        let sql = format!("SELECT {}, rolconnlimit, {kept} FROM pg_roles WHERE rolname = {who}", columns.join(", "));
        let rows = server.rows(host, &sql)?;
        let absent = self.state == super::group::Presence::Absent;
        let user = name(&self.name);
        let plan = match (rows.first(), absent) {
            (None, true) => Plan::nothing("there is no such user"),
            (Some(_), true) => server.plan("the user is there", &[format!("DROP USER {user}")]),
            (None, false) => server.plan("there is no such user", &[format!("CREATE USER {user}{}", self.options(&flags, true))]),
            (Some(row), false) => {
                let is_visible = row.get(FLAGS.len() + 1).is_some_and(|visible| visible == "yes");
                let password_differs = match &self.password {
                    Some(password) if !self.no_password_changes => {
                        let kept = if is_visible {
                            server.rows(host, &format!("SELECT coalesce(rolpassword, '') FROM pg_authid WHERE rolname = {who}"))?
                        } else {
                            Vec::new()
                        };
                        !fits(
                            kept.first().and_then(|row| row.first()).map(String::as_str).unwrap_or_default(),
                            password.reveal(),
                            &self.name,
                        )
                    }
                    _ => false,
                };
                let differs = |(flag, on): &(usize, bool)| row.get(*flag).is_some_and(|found| (found == "t") != *on);
                let wanted: Vec<_> = flags.iter().copied().filter(differs).collect();
                let limit_differs =
                    self.conn_limit.is_some_and(|limit| row.get(FLAGS.len()).is_some_and(|found| *found != limit.to_string()));
                if wanted.is_empty() && !password_differs && !limit_differs {
                    Plan::nothing("the user is as asked")
                } else {
                    server.plan("the user differs", &[format!("ALTER USER {user}{}", self.options(&wanted, password_differs))])
                }
            }
        };
        Ok(plan.value("user", self.name.as_str()))
    }
}

impl PostgresqlUser {
    /// Returns the flags asked for: which, and whether on.
    fn flags(&self) -> Result<Vec<(usize, bool)>, Failure> {
        let words = self.role_attr_flags.split(',').map(|word| word.trim().to_uppercase()).filter(|word| !word.is_empty());
        let known = |word: &str| FLAGS.iter().position(|(flag, _)| *flag == word);
        let flag = |word: String| match (known(&word), word.strip_prefix("NO").and_then(known)) {
            (Some(at), _) => Ok((at, true)),
            (_, Some(at)) => Ok((at, false)),
            _ => Err(Failure::argument("role_attr_flags", format!("PostgreSQL has no flag `{word}`"))),
        };
        words.map(flag).collect()
    }

    fn options(&self, flags: &[(usize, bool)], with_password: bool) -> String {
        let mut sql = String::new();
        for (at, on) in flags {
            let word = FLAGS.get(*at).map(|(word, _)| *word).unwrap_or_default();
            sql.push_str(if *on { " " } else { " NO" });
            sql.push_str(word);
        }
        if let Some(limit) = self.conn_limit {
            sql.push_str(&format!(" CONNECTION LIMIT {limit}"));
        }
        if let Some(expires) = self.expires.as_ref().filter(|_| with_password) {
            sql.push_str(&format!(" VALID UNTIL {}", text(expires)));
        }
        // The password stands last, so that what tells the statement can leave it out.
        if let Some(password) = self.password.as_ref().filter(|_| with_password) {
            sql.push_str(&format!(" PASSWORD {}", text(password.reveal())));
        }
        sql
    }
}

/// Whether what the server keeps is of this password.
fn fits(kept: &str, password: &str, user: &str) -> bool {
    if kept == password || (password.is_empty() && kept.is_empty()) {
        return true;
    }
    if let Some(hash) = kept.strip_prefix("md5") {
        let digest = Md5::digest(format!("{password}{user}"));
        return digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == hash;
    }
    scram_fits(kept, password).unwrap_or(false)
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
fn scram_fits(kept: &str, password: &str) -> Option<bool> {
    let (iterations, rest) = kept.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
    let (salt, keys) = rest.split_once('$')?;
    let stored = keys.split(':').next()?;
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    let mut salted = [0_u8; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &decode(salt)?, iterations.parse().ok()?, &mut salted);
    let mut mac = Hmac::<Sha256>::new_from_slice(&salted).ok()?;
    mac.update(b"Client Key");
    let client = mac.finalize().into_bytes();
    Some(Sha256::digest(client).as_slice() == decode(stored)?.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::change::fake::FakeHost;

    fn plan(password: &str, flags: &str) -> Plan {
        let host = FakeHost::with(&[]).prints(&["psql"], 0, "f\tf\tt\tt\tt\tf\tf\t-1\tyes\n");
        let map = [("name", "me"), ("password", password), ("role_attr_flags", flags)];
        let map = map.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        crate::value::arguments::from_map::<PostgresqlUser>(&map).expect("fits").plan(&host).expect("plan")
    }

    #[test]
    fn a_password_is_compared_with_what_the_server_keeps() {
        // md5("secretme")
        let digest: String = Md5::digest("secretme").iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(fits(&format!("md5{digest}"), "secret", "me") && !fits(&format!("md5{digest}"), "other", "me"));
        // The example of RFC 7677: password `pencil`, its salt and iterations.
        let mut salted = [0_u8; 32];
        let salt = base64::engine::general_purpose::STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        pbkdf2::pbkdf2_hmac::<Sha256>(b"pencil", &salt, 4096, &mut salted);
        let mut mac = Hmac::<Sha256>::new_from_slice(&salted).expect("a key");
        mac.update(b"Client Key");
        let stored = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(mac.finalize().into_bytes()));
        assert_eq!(stored, "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=");
        let kept = format!("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${stored}:x");
        assert!(fits(&kept, "pencil", "me") && !fits(&kept, "pen", "me"));
    }

    #[test]
    fn only_what_differs_is_altered_and_no_password_is_told() {
        assert!(plan("", "CREATEDB").changes.is_empty());
        let plan = plan("x'y", "CREATEDB,SUPERUSER");
        let Some(Change::Run { program, summary, .. }) = plan.changes.first() else { panic!("{plan:?}") };
        let sql = String::from_utf8(program.stdin.clone().expect("statements")).expect("text");
        assert_eq!(sql, "ALTER USER \"me\" SUPERUSER PASSWORD 'x''y';\n");
        assert!(!summary.contains("x'"), "{summary}");
    }
}
