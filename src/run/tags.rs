//! Which tasks `--tags` and `--skip-tags` select.

/// The tags that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    only: Vec<String>,
    skip: Vec<String>,
}

impl Selection {
    /// Returns the selection of `--tags` and `--skip-tags`; each may hold several, with commas.
    pub fn new(tags: &[String], skip_tags: &[String]) -> Self {
        Self { only: split(tags), skip: split(skip_tags) }
    }

    /// Whether a task with these tags, inherited ones included, is to run.
    ///
    /// `always` runs unless it is skipped by name, `never` does not run unless another of its tags (or `never`) is asked for.
    pub fn wants<T: AsRef<str>>(&self, tags: &[T]) -> bool {
        let has = |name: &str| tags.iter().any(|tag| tag.as_ref() == name);
        let is_untagged = tags.is_empty();
        let named = |list: &[String]| tags.iter().any(|tag| list.iter().any(|name| name == tag.as_ref()));
        let lists = |list: &[String], name: &str| list.iter().any(|entry| entry == name);

        let wanted = if self.only.is_empty() {
            !has("never")
        } else if has("always") || named(&self.only) {
            true
        } else if lists(&self.only, "all") {
            !has("never")
        } else if lists(&self.only, "tagged") {
            !is_untagged && !has("never")
        } else {
            lists(&self.only, "untagged") && is_untagged
        };
        if !wanted || self.skip.is_empty() {
            return wanted;
        }
        let skipped = named(&self.skip)
            || (lists(&self.skip, "all") && (!has("always") || lists(&self.skip, "always")))
            || (lists(&self.skip, "tagged") && !is_untagged)
            || (lists(&self.skip, "untagged") && is_untagged);
        !skipped
    }
}

fn split(tags: &[String]) -> Vec<String> {
    tags.iter().flat_map(|tags| tags.split(',')).map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(only: &[&str], skip: &[&str], tags: &[&str]) -> bool {
        let owned = |list: &[&str]| list.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        Selection::new(&owned(only), &owned(skip)).wants(tags)
    }

    #[test]
    fn named_tags_select_and_always_comes_along() {
        assert!(wants(&["web,db"], &[], &["db"]));
        assert!(!wants(&["web"], &[], &["db"]));
        assert!(!wants(&["web"], &[], &[]));
        assert!(wants(&["web"], &[], &["always"]));
        assert!(!wants(&["web"], &["always"], &["always"]));
    }

    #[test]
    fn never_runs_only_when_asked_for_by_name() {
        assert!(!wants(&[], &[], &["never", "debug"]));
        assert!(!wants(&["all"], &[], &["never", "debug"]));
        assert!(wants(&["debug"], &[], &["never", "debug"]));
        assert!(wants(&["never"], &[], &["never", "debug"]));
    }

    #[test]
    fn tagged_and_untagged_are_words_of_their_own() {
        assert!(wants(&["tagged"], &[], &["x"]));
        assert!(!wants(&["tagged"], &[], &[]));
        assert!(wants(&["untagged"], &[], &[]));
        assert!(!wants(&[], &["tagged"], &["x"]));
        assert!(!wants(&[], &["untagged"], &[]));
        assert!(!wants(&["web"], &["slow"], &["web", "slow"]));
    }
}
