//! What is around a task: the play, role uses, blocks and includes it stands in, each inheriting from the one outside it.

use std::sync::Arc;

use crate::load::playbook::{Apply, Block, Keywords, Located, Play, Role, RoleUse, Task};
use crate::value::Map;
use crate::vars::scope::Level;

/// One ring around a task.
pub(super) struct Frame {
    outer: Option<Arc<Frame>>,
    owner: Owner,
    /// Variables that this ring brings.
    pub(super) vars: Vec<(Level, Arc<Map>)>,
    /// The role whose tasks stand in here.
    pub(super) role: Option<Arc<Role>>,
    /// The number of the role that runs in here, for `end_role`.
    pub(super) role_number: Option<usize>,
    /// Whether a failure in here is caught by a `rescue`.
    pub(super) is_rescued: bool,
    /// Whether what runs in here looks at hosts after a change that a check only foresees.
    pub(super) is_after_change: bool,
    /// Whether what runs in here goes before or after a handler, and only with it.
    pub(super) is_around_handler: bool,
    /// The hosts for which a check does not know whether what is in here runs at all, and why.
    doubts: Vec<(Arc<str>, String)>,
    /// The place of the include of which that is not known.
    doubtful_include: Option<String>,
    /// How many includes it comes by.
    depth: usize,
    /// Tags of this ring and all outside it.
    pub(super) tags: Vec<String>,
}

/// Whose keywords a ring has.
enum Owner {
    Play(Arc<Play>),
    Block(Arc<Block>),
    Use(Arc<RoleUse>),
    Apply(Box<Apply>),
    Nothing,
}

impl Frame {
    /// The outermost ring.
    pub(super) fn play(play: &Arc<Play>) -> Arc<Self> {
        Arc::new(Self {
            outer: None,
            tags: play.keywords.tags.clone(),
            vars: vec![(Level::PlayVars, play.keywords.vars.clone())],
            owner: Owner::Play(play.clone()),
            role: None,
            role_number: None,
            is_rescued: false,
            is_after_change: false,
            is_around_handler: false,
            doubts: Vec::new(),
            doubtful_include: None,
            depth: 0,
        })
    }

    fn within(self: &Arc<Self>, owner: Owner, vars: Vec<(Level, Arc<Map>)>) -> Self {
        let mut frame = Self {
            outer: Some(self.clone()),
            owner,
            vars,
            role: None,
            role_number: None,
            is_rescued: self.is_rescued,
            is_after_change: self.is_after_change,
            is_around_handler: self.is_around_handler,
            doubts: Vec::new(),
            doubtful_include: None,
            depth: self.depth,
            tags: self.tags.clone(),
        };
        if let Some(keywords) = frame.keywords() {
            let more: Vec<_> = keywords.tags.iter().filter(|tag| !frame.tags.contains(tag)).cloned().collect();
            frame.tags.extend(more);
        }
        frame
    }

    /// A block; `is_rescued` where its own rescue watches over what runs in it.
    pub(super) fn block(self: &Arc<Self>, block: &Arc<Block>, is_body: bool) -> Arc<Self> {
        let mut frame = self.within(Owner::Block(block.clone()), vec![(Level::BlockVars, block.keywords.vars.clone())]);
        frame.is_rescued |= is_body && !block.rescue.is_empty();
        Arc::new(frame)
    }

    /// The use of a role.
    pub(super) fn role_use(self: &Arc<Self>, r#use: &Arc<RoleUse>, role: &Arc<Role>, number: Option<usize>) -> Arc<Self> {
        // To the role's own tasks, what its use says outweighs its `vars/` (see `Run::variables`); not so to those of its dependencies.
        let vars = vec![
            (Level::RoleDefaults, role.head.defaults.clone()),
            (Level::RoleVars, r#use.keywords.vars.clone()),
            (Level::RoleVars, role.head.vars.clone()),
            (Level::RoleParameters, r#use.parameters.clone()),
        ];
        let mut frame = self.within(Owner::Use(r#use.clone()), vars);
        frame.role = Some(role.clone());
        frame.role_number = number;
        Arc::new(frame)
    }

    /// What a dynamic include brings in. Of the include's own keywords only `vars` and `apply` hold for it.
    pub(super) fn include(self: &Arc<Self>, apply: Option<&Apply>, parameters: Arc<Map>) -> Arc<Self> {
        let mut vars = vec![(Level::IncludeParameters, parameters)];
        let owner = match apply {
            Some(apply) => {
                vars.push((Level::BlockVars, apply.keywords.vars.clone()));
                Owner::Apply(Box::new(apply.clone()))
            }
            None => Owner::Nothing,
        };
        let mut frame = self.within(owner, vars);
        frame.depth += 1;
        Arc::new(frame)
    }

    /// Returns by how many includes it comes here.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// The same place, in the body of a block that rescues what fails.
    pub(super) fn rescued(self: &Arc<Self>) -> Arc<Self> {
        let mut frame = self.within(Owner::Nothing, Vec::new());
        frame.is_rescued = true;
        Arc::new(frame)
    }

    /// The same place, after what a check foresees but does not do.
    pub(super) fn after_change(self: &Arc<Self>) -> Arc<Self> {
        let mut frame = self.within(Owner::Nothing, Vec::new());
        frame.is_after_change = true;
        Arc::new(frame)
    }

    /// The same place, before or after a handler.
    pub(super) fn around_handler(self: &Arc<Self>) -> Arc<Self> {
        let mut frame = self.within(Owner::Nothing, Vec::new());
        frame.is_around_handler = true;
        Arc::new(frame)
    }

    /// The same place, where a check does not know for these hosts whether it comes to it. `include` is the place of the include that it comes by.
    pub(super) fn in_doubt(self: &Arc<Self>, doubts: Vec<(Arc<str>, String)>, include: Option<String>) -> Arc<Self> {
        if doubts.is_empty() {
            return self.clone();
        }
        let mut frame = self.within(Owner::Nothing, Vec::new());
        (frame.doubts, frame.doubtful_include) = (doubts, include);
        Arc::new(frame)
    }

    /// Returns why a check does not know whether a host comes here.
    pub(super) fn doubt(&self, host: &str) -> Option<&str> {
        let all = self.outward().flat_map(|frame| &frame.doubts);
        all.filter(|(doubtful, _)| **doubtful == *host).map(|(_, why)| why.as_str()).next()
    }

    /// Whether it comes here by the include at this place, of which a check did not know whether it is done.
    pub(super) fn is_by(&self, include: &str) -> bool {
        self.outward().any(|frame| frame.doubtful_include.as_deref() == Some(include))
    }

    fn keywords(&self) -> Option<&Keywords> {
        match &self.owner {
            Owner::Play(play) => Some(&play.keywords),
            Owner::Block(block) => Some(&block.keywords),
            Owner::Use(r#use) => Some(&r#use.keywords),
            Owner::Apply(apply) => Some(&apply.keywords),
            Owner::Nothing => None,
        }
    }

    fn notify(&self) -> &[Located] {
        match &self.owner {
            Owner::Block(block) => &block.notify,
            Owner::Apply(apply) => &apply.notify,
            _ => &[],
        }
    }

    /// Returns this ring and those outside it, innermost first.
    pub(super) fn outward(&self) -> impl Iterator<Item = &Frame> {
        std::iter::successors(Some(self), |frame| frame.outer.as_deref())
    }

    /// Returns the rings, outermost first.
    pub(super) fn inward(&self) -> Vec<&Frame> {
        let mut frames: Vec<_> = self.outward().collect();
        frames.reverse();
        frames
    }

    /// Returns a keyword of the task, or of the nearest ring that has it.
    pub(super) fn nearest<'a>(&'a self, task: &'a Task, pick: impl Fn(&'a Keywords) -> Option<&'a Located>) -> Option<&'a Located> {
        pick(&task.keywords).or_else(|| self.outward().filter_map(Frame::keywords).find_map(pick))
    }

    /// Returns every place of a keyword around the task, the nearest first.
    pub(super) fn outwards<'a>(
        &'a self,
        task: &'a Task,
        pick: impl Fn(&'a Keywords) -> Option<&'a Located>,
    ) -> impl Iterator<Item = &'a Located> {
        std::iter::once(&task.keywords).chain(self.outward().filter_map(Frame::keywords)).filter_map(pick)
    }

    /// Returns a keyword that adds up, outermost first, the task's own last.
    pub(super) fn all<'a>(&'a self, task: &'a Task, pick: impl Fn(&'a Keywords) -> &'a [Located]) -> Vec<&'a Located> {
        let outer = self.inward().into_iter().filter_map(Frame::keywords);
        outer.chain([&task.keywords]).flat_map(|keywords| pick(keywords).iter()).collect()
    }

    /// Returns everything to notify.
    pub(super) fn notified_by<'a>(&'a self, task: &'a Task) -> Vec<&'a Located> {
        self.inward().into_iter().flat_map(|frame| frame.notify().iter()).chain(&task.notify).collect()
    }

    /// Returns all tags of a task that stands in here.
    pub(super) fn tags_of(&self, task: &Task) -> Vec<String> {
        let mut tags = self.tags.clone();
        tags.extend(task.keywords.tags.iter().filter(|tag| !self.tags.contains(tag)).cloned());
        tags
    }

    /// Returns the innermost role, and its use.
    pub(super) fn role_in_use(&self) -> Option<(&Arc<RoleUse>, &Arc<Role>)> {
        self.outward().find_map(|frame| match (&frame.owner, &frame.role) {
            (Owner::Use(r#use), Some(role)) => Some((r#use, role)),
            _ => None,
        })
    }

    /// Returns the roles whose tasks brought this one in, innermost first. That a role depends on it does not count.
    pub(super) fn parent_roles(&self) -> Vec<Arc<Role>> {
        let mut parents = Vec::new();
        let mut inner: Option<&Frame> = None;
        for frame in self.outward().filter(|frame| frame.role.is_some()) {
            let is_dependency = inner.is_some_and(|inner| inner.outer.as_deref().is_some_and(|outer| std::ptr::eq(outer, frame)));
            if inner.is_some() && !is_dependency {
                parents.extend(frame.role.clone());
            }
            inner = Some(frame);
        }
        parents
    }
}
