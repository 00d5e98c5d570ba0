//! Roles: dependencies first, each use once unless it may be repeated, arguments checked before anything runs.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::load::playbook::{Item, Role, RoleUse};
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::host::Standing;
use crate::run::stage::Stage;
use crate::source::Diagnostic;
use crate::value::{Value, arguments};

/// How a role comes to be run.
#[derive(Clone, Copy)]
pub(super) struct Use {
    /// By `import_role` or `include_role`, not by `roles:` or as a dependency.
    is_of_task: bool,
    /// Also by a host that has run it already.
    may_repeat: bool,
}

impl Use {
    /// A task brings it in.
    pub(super) fn of_task(r#use: &RoleUse) -> Self {
        Self { is_of_task: true, may_repeat: may_repeat(r#use, true) }
    }
}

impl Run {
    /// Runs a role of `roles:`, or a dependency.
    pub(super) async fn role_use(self: &Arc<Self>, stage: &Arc<Stage>, r#use: &Arc<RoleUse>, hosts: &[Arc<str>], frame: &Arc<Frame>) {
        let Some(role) = &r#use.role else {
            self.report(&Diagnostic::error(format!("the role `{}` was not read", r#use.name)).at(r#use.span));
            stage.break_off();
            return;
        };
        let way = Use { is_of_task: false, may_repeat: may_repeat(r#use, role.allow_duplicates) };
        self.role(stage, r#use, role, &role.tasks, hosts, frame, way).await;
    }

    /// Runs the role that an `import_role` became a block of.
    pub(super) async fn imported_role(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        r#use: &Arc<RoleUse>,
        items: &[Item],
        hosts: &[Arc<str>],
        frame: &Arc<Frame>,
    ) {
        match &r#use.role {
            Some(role) => self.role(stage, r#use, role, items, hosts, frame, Use::of_task(r#use)).await,
            None => self.items(stage, items, hosts, frame).await,
        }
    }

    /// Runs a role on those of `hosts` that take part and have not run it yet, unless it may be repeated.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn role<'a>(
        self: &'a Arc<Self>,
        stage: &'a Arc<Stage>,
        r#use: &'a Arc<RoleUse>,
        role: &'a Arc<Role>,
        items: &'a [Item],
        hosts: &'a [Arc<str>],
        frame: &'a Arc<Frame>,
        way: Use,
    ) -> BoxFuture<'a, ()> {
        async move {
            let same = same(r#use, role, way.is_of_task);
            let mut hosts = self.hosts.running(hosts);
            if !way.may_repeat {
                hosts.retain(|host| !self.hosts.with(host, |host| host.roles_done.contains(&same)));
            }
            if hosts.is_empty() || stage.is_stopped() {
                return;
            }
            let number = stage.number_role();
            let inner = frame.role_use(r#use, role, Some(number));
            for dependency in &role.dependencies {
                self.role_use(stage, dependency, &hosts, &inner).await;
            }
            self.check_arguments(stage, r#use, role, &hosts, &inner).await;
            self.items(stage, items, &hosts, &inner).await;
            for host in &hosts {
                self.hosts.with(host, |host| {
                    if host.standing == Standing::LeftRole(number) {
                        host.standing = Standing::Running;
                    }
                    if host.standing == Standing::Running && host.roles_begun.remove(&number) {
                        host.roles_done.insert(same.clone());
                    }
                });
            }
        }
        .boxed()
    }
}

/// Whether a use of a role runs where the same use ran before.
fn may_repeat(r#use: &RoleUse, otherwise: bool) -> bool {
    r#use.allow_duplicates.as_ref().map_or(otherwise, |located| arguments::to_bool(&located.value).unwrap_or(false))
}

/// What makes two uses of a role the same. One that a task brings in is never that of `roles:` or of a dependency.
fn same(r#use: &RoleUse, role: &Role, is_of_task: bool) -> String {
    let keywords = &r#use.keywords;
    let when = Value::list(keywords.when.iter().map(|located| located.value.clone()));
    let given = [&r#use.parameters, &keywords.vars].map(|map| Value::Map(map.clone()).to_string());
    let files =
        [&r#use.tasks_from, &r#use.vars_from, &r#use.defaults_from, &r#use.handlers_from].map(|name| name.clone().unwrap_or_default());
    let files = Value::list(files);
    format!("{}|{is_of_task}|{files}|{given:?}|{when}|{:?}", role.head.path.display(), keywords.tags)
}
