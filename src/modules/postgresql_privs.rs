//! `postgresql_privs`: what users of PostgreSQL may do with what is in a database.

use schemars::JsonSchema;
use serde::Deserialize;

use super::postgresql_db::{Server, name, text};
use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Failure, Plan, Probe};
use crate::value::secret::Secret;

/// Grants and revokes privileges in PostgreSQL, with the host's own `psql`; no Python is needed. What is granted already is left.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresqlPrivs {
    /// Who gets them: one or more users, or `PUBLIC`.
    #[serde(alias = "role")]
    roles: String,
    /// The database.
    #[serde(alias = "db", alias = "login_db")]
    database: String,
    /// The privileges, such as `SELECT,INSERT` or `ALL`.
    #[serde(alias = "priv")]
    privs: Option<String>,
    /// What `objs` are.
    #[serde(default, rename = "type")]
    kind: Kind,
    /// On what: one or more names, or `ALL_IN_SCHEMA`. For a database it is the database itself where nothing is said.
    #[serde(alias = "obj")]
    objs: Option<String>,
    /// The schema of tables and sequences.
    #[serde(default = "public")]
    schema: String,
    /// Whether they are granted or revoked.
    #[serde(default)]
    state: super::group::Presence,
    /// Whether those who get them may hand them on.
    #[serde(alias = "admin_option")]
    grant_option: Option<bool>,
    /// The user as whom they are granted.
    session_role: Option<String>,
    /// Whose new objects `default_privs` are for.
    target_roles: Option<String>,
    /// Whether a user that is not there is a failure.
    #[serde(default = "super::command::yes")]
    fail_on_role: bool,
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

fn public() -> String {
    "public".to_owned()
}

/// What privileges are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Tables and views.
    #[default]
    Table,
    /// Sequences.
    Sequence,
    /// Databases.
    Database,
    /// Schemas.
    Schema,
    /// Languages.
    Language,
    /// Tablespaces.
    Tablespace,
    /// Membership in roles.
    Group,
    /// What new objects will have.
    DefaultPrivs,
}

/// How the server keeps the privileges of a kind.
struct Catalogue {
    /// The word in `GRANT ... ON`.
    word: &'static str,
    /// Its table, and the columns of name, privileges and owner.
    table: &'static str,
    name: &'static str,
    acl: &'static str,
    owner: &'static str,
    /// The letter for `acldefault`.
    letter: char,
    /// What `ALL` stands for.
    all: &'static [&'static str],
}

const TABLES: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];

impl Kind {
    fn catalogue(self) -> Catalogue {
        let of = |word, table, name, acl, owner, letter, all| Catalogue { word, table, name, acl, owner, letter, all };
        match self {
            Self::Sequence => of("SEQUENCE", "pg_class", "relname", "relacl", "relowner", 's', &["USAGE", "SELECT", "UPDATE"]),
            Self::Database => of("DATABASE", "pg_database", "datname", "datacl", "datdba", 'd', &["CREATE", "CONNECT", "TEMPORARY"]),
            Self::Schema => of("SCHEMA", "pg_namespace", "nspname", "nspacl", "nspowner", 'n', &["CREATE", "USAGE"]),
            Self::Language => of("LANGUAGE", "pg_language", "lanname", "lanacl", "lanowner", 'l', &["USAGE"]),
            Self::Tablespace => of("TABLESPACE", "pg_tablespace", "spcname", "spcacl", "spcowner", 't', &["CREATE"]),
            Self::Table | Self::Group | Self::DefaultPrivs => of("TABLE", "pg_class", "relname", "relacl", "relowner", 'r', TABLES),
        }
    }
}

impl Module for PostgresqlPrivs {
    const NAME: &'static str = "postgresql_privs";
    const COLLECTION: &'static str = "community.postgresql";
    const CHANGES: &'static [Names] = &[Names::Program("psql")];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Let a user do everything with a database",
        task: "{db: app, roles: app, type: database, privs: ALL}",
        given: &[],
        changes: true,
    }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let server = Server {
            host: &self.login_host,
            user: &self.login_user,
            socket: &self.login_unix_socket,
            port: self.port,
            database: &self.database,
            has_password: self.login_password.is_some(),
        };
        let roles = self.known_roles(host, &server)?;
        let mut statements = match self.kind {
            Kind::Group => self.memberships(host, &server, &roles)?,
            Kind::DefaultPrivs => self.defaults(host, &server, &roles)?,
            _ => self.grants(host, &server, &roles)?,
        };
        if statements.is_empty() {
            return Ok(Plan::nothing("the privileges are as asked"));
        }
        if let Some(role) = &self.session_role {
            statements.insert(0, format!("SET ROLE {}", name(role)));
        }
        Ok(server.plan("the privileges differ", &statements))
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

fn grantee(role: &str) -> String {
    if role.eq_ignore_ascii_case("public") { "PUBLIC".to_owned() } else { name(role) }
}

/// The number of a role as the server counts it.
fn oid(role: &str) -> String {
    if role.eq_ignore_ascii_case("public") { "0".to_owned() } else { format!("(SELECT oid FROM pg_roles WHERE rolname = {})", text(role)) }
}

impl PostgresqlPrivs {
    fn known_roles(&self, host: &dyn Probe, server: &Server<'_>) -> Result<Vec<String>, Failure> {
        let mut known = Vec::new();
        for role in split(&self.roles) {
            let is_public = role.eq_ignore_ascii_case("public");
            if is_public || !server.rows(host, &format!("SELECT 1 FROM pg_roles WHERE rolname = {}", text(&role)))?.is_empty() {
                known.push(role);
            } else if self.fail_on_role {
                return Err(
                    Failure::argument("roles", format!("the server has no role `{role}`")).hint("`fail_on_role: false` leaves it out")
                );
            }
        }
        Ok(known)
    }

    fn privileges(&self, all: &[&str]) -> Result<Vec<String>, Failure> {
        let Some(privs) = &self.privs else { return Err(Failure::argument("privs", "`privs` is needed: what is granted")) };
        let words = split(&privs.to_uppercase());
        if words.iter().any(|word| matches!(word.as_str(), "ALL" | "ALL PRIVILEGES")) {
            return Ok(all.iter().map(|word| (*word).to_owned()).collect());
        }
        if let Some(wrong) = words.iter().find(|word| !word.chars().all(|c| c.is_ascii_alphabetic() || c == ' ')) {
            return Err(Failure::argument("privs", format!("`{wrong}` is not a privilege")));
        }
        Ok(words.into_iter().map(|word| if word == "TEMP" { "TEMPORARY".to_owned() } else { word }).collect())
    }

    fn grants(&self, host: &dyn Probe, server: &Server<'_>, roles: &[String]) -> Result<Vec<String>, Failure> {
        let catalogue = self.kind.catalogue();
        let privileges = self.privileges(catalogue.all)?;
        let in_schema = matches!(self.kind, Kind::Table | Kind::Sequence);
        let objects = self.objects(host, server, &catalogue, in_schema)?;
        let mut statements = Vec::new();
        for object in &objects {
            for role in roles {
                let Catalogue { table, name: column, acl, owner, letter, .. } = catalogue;
                let schema = if in_schema {
                    format!(" AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = {})", text(&self.schema))
                } else {
                    String::new()
                };
                let sql = format!(
                    "SELECT a.privilege_type, a.is_grantable FROM {table} t, aclexplode(coalesce(t.{acl}, acldefault('{letter}', t.{owner}))) a \
                     WHERE t.{column} = {} AND a.grantee = {}{schema}",
                    text(object),
                    oid(role)
                );
                let granted = server.rows(host, &sql)?;
                let on = if in_schema { format!("{}.{}", name(&self.schema), name(object)) } else { name(object) };
                statements.extend(self.statement(&privileges, &granted, &format!("{} {on}", catalogue.word), role));
            }
        }
        Ok(statements)
    }

    /// Returns what grants or revokes the privileges that are not as asked yet.
    fn statement(&self, privileges: &[String], granted: &[Vec<String>], on: &str, role: &str) -> Option<String> {
        let with_option = self.grant_option == Some(true);
        let has = |privilege: &String| {
            granted.iter().any(|row| row.first() == Some(privilege) && (!with_option || row.get(1).is_some_and(|option| option == "t")))
        };
        let grants = self.state == super::group::Presence::Present;
        let wrong: Vec<_> = privileges.iter().filter(|privilege| has(privilege) != grants).cloned().collect();
        if wrong.is_empty() {
            return None;
        }
        let (wrong, who) = (wrong.join(", "), grantee(role));
        Some(if grants {
            format!("GRANT {wrong} ON {on} TO {who}{}", if with_option { " WITH GRANT OPTION" } else { "" })
        } else {
            format!("REVOKE {wrong} ON {on} FROM {who}")
        })
    }

    fn objects(&self, host: &dyn Probe, server: &Server<'_>, catalogue: &Catalogue, in_schema: bool) -> Result<Vec<String>, Failure> {
        match self.objs.as_deref() {
            None if self.kind == Kind::Database => Ok(vec![self.database.clone()]),
            None => Err(Failure::argument("objs", "`objs` is needed: what the privileges are on")),
            Some("ALL_IN_SCHEMA") if in_schema => {
                let kinds = if self.kind == Kind::Sequence { "'S'" } else { "'r', 'v', 'm', 'p', 'f'" };
                let sql = format!(
                    "SELECT c.{} FROM {} c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relkind IN ({kinds}) ORDER BY 1",
                    catalogue.name,
                    catalogue.table,
                    text(&self.schema)
                );
                Ok(server.rows(host, &sql)?.into_iter().filter_map(|row| row.into_iter().next()).collect())
            }
            Some(objects) => Ok(split(objects)),
        }
    }

    fn memberships(&self, host: &dyn Probe, server: &Server<'_>, roles: &[String]) -> Result<Vec<String>, Failure> {
        let grants = self.state == super::group::Presence::Present;
        let mut statements = Vec::new();
        for group in split(self.objs.as_deref().unwrap_or_default()) {
            for role in roles {
                let sql = format!("SELECT 1 FROM pg_auth_members WHERE roleid = {} AND member = {}", oid(&group), oid(role));
                if server.rows(host, &sql)?.is_empty() == grants {
                    let (verb, word) = if grants { ("GRANT", "TO") } else { ("REVOKE", "FROM") };
                    statements.push(format!("{verb} {} {word} {}", name(&group), grantee(role)));
                }
            }
        }
        Ok(statements)
    }

    fn defaults(&self, host: &dyn Probe, server: &Server<'_>, roles: &[String]) -> Result<Vec<String>, Failure> {
        let owners = split(self.target_roles.as_deref().unwrap_or_default());
        let mut statements = Vec::new();
        for object in split(self.objs.as_deref().unwrap_or_default()) {
            let (word, letter, all): (_, _, &[&str]) = match object.to_uppercase().as_str() {
                "ALL_DEFAULT" | "TABLES" => ("TABLES", 'r', TABLES),
                "SEQUENCES" => ("SEQUENCES", 'S', &["USAGE", "SELECT", "UPDATE"]),
                "FUNCTIONS" => ("FUNCTIONS", 'f', &["EXECUTE"]),
                "TYPES" => ("TYPES", 'T', &["USAGE"]),
                other => {
                    return Err(Failure::argument(
                        "objs",
                        format!("`{other}` has no default privileges; TABLES, SEQUENCES, FUNCTIONS and TYPES have"),
                    ));
                }
            };
            let privileges = self.privileges(all)?;
            for role in roles {
                let whose = if owners.is_empty() { vec![String::new()] } else { owners.clone() };
                for owner in whose {
                    let owner_is =
                        if owner.is_empty() { "(SELECT oid FROM pg_roles WHERE rolname = current_user)".to_owned() } else { oid(&owner) };
                    let sql = format!(
                        "SELECT a.privilege_type, a.is_grantable FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace, \
                         aclexplode(d.defaclacl) a WHERE d.defaclobjtype = '{letter}' AND n.nspname = {} AND d.defaclrole = {owner_is} AND a.grantee = {}",
                        text(&self.schema),
                        oid(role)
                    );
                    let granted = server.rows(host, &sql)?;
                    let of = if owner.is_empty() { String::new() } else { format!(" FOR ROLE {}", name(&owner)) };
                    let statement = self.statement(&privileges, &granted, word, role);
                    statements.extend(statement.map(|sql| format!("ALTER DEFAULT PRIVILEGES{of} IN SCHEMA {} {sql}", name(&self.schema))));
                }
            }
        }
        Ok(statements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Change;
    use crate::change::fake::FakeHost;

    fn sql(granted: &str, arguments: &[(&str, &str)]) -> String {
        let host = FakeHost::with(&[]).prints(&["psql"], 0, granted);
        let base = [("db", "app"), ("roles", "me"), ("type", "database")];
        let map = base.iter().chain(arguments).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let plan = crate::value::arguments::from_map::<PostgresqlPrivs>(&map).expect("fits").plan(&host).expect("plan");
        let Some(Change::Run { program, .. }) = plan.changes.first() else { return String::new() };
        String::from_utf8(program.stdin.clone().expect("statements")).expect("text")
    }

    #[test]
    fn only_what_is_missing_is_granted() {
        assert_eq!(sql("CONNECT\tf\n", &[("privs", "ALL")]), "GRANT CREATE, TEMPORARY ON DATABASE \"app\" TO \"me\";\n");
        assert_eq!(sql("CREATE\tf\nCONNECT\tf\nTEMPORARY\tf\n", &[("privs", "ALL")]), "");
        assert_eq!(sql("CONNECT\tf\n", &[("privs", "CONNECT"), ("state", "absent")]), "REVOKE CONNECT ON DATABASE \"app\" FROM \"me\";\n");
    }
}
