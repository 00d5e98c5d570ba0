//! The way to a host and its agents, which may break and be found again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;

use super::upload::Programs;
use crate::connect::escalate::{Begun, nonce};
use crate::connect::{Become, Link, Links, Target, Trouble};

/// The connection to a host, replaced when it is lost.
#[derive(Debug)]
pub struct Road {
    links: Arc<Links>,
    target: Target,
    programs: Arc<Programs>,
    link: Lock<Arc<Link>>,
    /// Held while a connection is opened: agents of several users may miss it at once.
    opening: Mutex<()>,
    given_up: AtomicBool,
}

/// How one agent is found again.
#[derive(Clone, Debug)]
pub struct Return {
    road: Arc<Road>,
    r#become: Option<Become>,
    /// The name that agent goes by.
    pub name: String,
    /// How long it waits.
    pub linger: Duration,
}

impl Road {
    /// Opens the way to a host.
    ///
    /// # Errors
    /// Says why no connection came about.
    pub async fn open(links: &Arc<Links>, programs: &Arc<Programs>, target: &Target) -> Result<Self, Trouble> {
        let link = links.open(target).await?;
        Ok(Self {
            links: Arc::clone(links),
            target: target.clone(),
            programs: Arc::clone(programs),
            link: Lock::new(Arc::new(link)),
            opening: Mutex::default(),
            given_up: AtomicBool::new(false),
        })
    }

    /// The host's name in the inventory.
    pub fn name(&self) -> &str {
        &self.target.name
    }

    /// The connection, which may be gone.
    pub fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long agents on this way live on without their controller.
    pub fn linger(&self) -> Duration {
        if self.link().is_local() { Duration::ZERO } else { Duration::from_secs(self.target.linger.unwrap_or(super::line::LINGER)) }
    }

    /// Opens the connection anew where it is gone.
    ///
    /// # Errors
    /// Says why no connection came about.
    pub async fn again(&self) -> Result<Arc<Link>, Trouble> {
        let _turn = self.opening.lock().await;
        let link = self.link();
        if !link.is_closed() {
            return Ok(link);
        }
        let link = Arc::new(self.links.open(&self.target).await?);
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&link);
        Ok(link)
    }

    /// Ends the attempts to find lost agents again.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// Starts an agent for a user, and says how it is found again.
    ///
    /// # Errors
    /// Says why it cannot run there.
    pub async fn start(self: &Arc<Self>, r#become: Option<&Become>) -> Result<(Begun, Return), Trouble> {
        let name = nonce();
        let (link, folder) = (self.link(), self.target.agent_folder.as_deref());
        let begun = self.programs.start(&link, r#become, folder, &name, None).await?;
        Ok((begun, Return { road: Arc::clone(self), r#become: r#become.cloned(), name, linger: self.linger() }))
    }
}

impl Return {
    /// Whether nobody wants the agent back any more.
    pub fn is_given_up(&self) -> bool {
        self.road.given_up.load(Ordering::SeqCst)
    }

    /// Connects again, and reaches for the agent; `None` where it is gone.
    ///
    /// # Errors
    /// Says why the host cannot be reached, or nothing be run there.
    pub async fn reach(&self) -> Result<Option<Begun>, Trouble> {
        let link = self.road.again().await?;
        let folder = self.road.target.agent_folder.as_deref();
        let begun = self.road.programs.start(&link, self.r#become.as_ref(), folder, &nonce(), Some(&self.name)).await?;
        Ok((begun.line == "hello").then_some(begun))
    }
}
