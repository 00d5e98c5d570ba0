//! What can be rendered while a playbook is read, before any host is known.

use std::sync::{Arc, Mutex};

use crate::load::at_load::{AtLoad, Known};
use crate::load::loader::Early;
use crate::load::vault::Vault;
use crate::source::Sources;
use crate::value::{Map, Value};
use crate::vars::Engine;

/// Returns what renders names that must be known when the playbook is read: `-e` and what the play itself defines.
pub fn early(sources: &Sources, vault: &Arc<Vault>, extra: Arc<Mutex<Map>>) -> Early {
    let engine = Engine::new(Arc::new(AtLoad::new(vault.clone())), sources.clone());
    Arc::new(move |value: &Value, known: &Map| {
        let mut all = known.clone();
        if let Ok(extra) = extra.lock() {
            all.extend(extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        engine.render(value, &Known(all))
    })
}
