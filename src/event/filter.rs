//! Type filters (`types=financial:*,campaign:stop`), as feeds and live sessions take them.

use super::{EventType, Malformed};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest filter list that is read; more would make one request expensive for all others.
const MAX_ENTRIES: usize = 1000;

/// Which types a reader wants: any of a list of patterns in which `*` stands for any run of characters. And which of
/// these he may have: a limit, which stays whatever he asks for later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeFilter {
    patterns: Vec<String>,
    limit: Option<Arc<TypeFilter>>,
}

impl TypeFilter {
    /// Every type: what an absent `types=` means.
    pub fn any() -> Self {
        Self::of(vec!["*".to_owned()])
    }

    /// No type at all: what is left when a live session has taken back everything it had asked for.
    pub fn none() -> Self {
        Self::of(Vec::new())
    }

    fn of(patterns: Vec<String>) -> Self {
        Self { patterns, limit: None }
    }

    /// This filter, letting through nothing that `limit` does not, instead of any limit it had.
    pub fn within(self, limit: Arc<Self>) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// The limit.
    pub fn limit(&self) -> Option<&Self> {
        self.limit.as_deref()
    }

    /// A text that is the same only for filters that let the same through: patterns and limit.
    pub fn key(&self) -> String {
        match &self.limit {
            None => self.to_string(),
            // No pattern has a line end in it.
            Some(limit) => format!("{self}\n{}", limit.key()),
        }
    }

    /// This filter and the patterns of another, each once.
    ///
    /// # Errors
    /// When these are more than a filter may have.
    pub fn with(mut self, more: &Self) -> Result<Self, Malformed> {
        for pattern in &more.patterns {
            if !self.patterns.contains(pattern) {
                self.patterns.push(pattern.clone());
            }
        }
        if self.patterns.len() > MAX_ENTRIES {
            return Err(Malformed::new(format!("a filter has at most {MAX_ENTRIES} entries")));
        }
        Ok(self)
    }

    /// This filter without the patterns of another; only equal ones go.
    pub fn without(mut self, less: &Self) -> Self {
        self.patterns.retain(|pattern| !less.patterns.contains(pattern));
        self
    }

    /// Whether the filter lets `ty` through.
    pub fn matches(&self, ty: &EventType) -> bool {
        self.patterns.iter().any(|pattern| glob(pattern.as_bytes(), ty.as_str().as_bytes()))
            && self.limit.as_ref().is_none_or(|limit| limit.matches(ty))
    }

    /// The patterns, in the order they were given.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }

    /// The types it names, when it has no wildcard: readers then need no list of all types. The limit is still to be
    /// asked ([`matches`](Self::matches)).
    pub fn exact(&self) -> Option<&[String]> {
        self.patterns.iter().all(|p| !p.contains('*')).then_some(&self.patterns)
    }
}

impl FromStr for TypeFilter {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut entries: Vec<String> = Vec::new();
        for entry in text.split(',') {
            // A pattern is well-formed when some type could match it with one-character wildcards.
            if entry.len() > 255 || entry.replace('*', "x").parse::<EventType>().is_err() {
                return Err(Malformed::new(format!(
                    "'{}' is not a type or a pattern of one; a filter is a comma-separated list of types in which '*' matches any run of characters",
                    entry.chars().take(80).collect::<String>()
                )));
            }
            if entries.len() == MAX_ENTRIES {
                return Err(Malformed::new(format!("a filter has at most {MAX_ENTRIES} entries")));
            }
            entries.push(entry.to_owned());
        }
        Ok(Self::of(entries))
    }
}

/// The patterns, as they stand in a URL.
impl fmt::Display for TypeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.patterns.join(","))
    }
}

/// Greedy match with one point of return: linear in practice, quadratic at worst, never exponential.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            retry = Some((p + 1, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((after_star, from)) = retry {
            retry = Some((after_star, from + 1));
            p = after_star;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(filter: &str, ty: &str) -> bool {
        filter.parse::<TypeFilter>().unwrap().matches(&ty.parse().unwrap())
    }

    #[test]
    fn patterns_match_runs_of_characters() {
        assert!(matches("*", "a:b"));
        assert!(matches("financial:*", "financial:end-budget"));
        assert!(matches("x,financial:*", "financial:a:b"));
        assert!(matches("*:end", "a:b:end"));
        assert!(matches("a*b*c", "a:xx-b.b-c"));
        assert!(matches("a**", "a"));
        assert!(!matches("financial:*", "financial"));
        assert!(!matches("a", "ab"));
        assert!(!matches("*:end", "a:ending"));
    }

    #[test]
    fn malformed_entries_are_refused() {
        for bad in ["", ",", "a,", ",a", "a b", "a::b", ":*", "a,,b", "é"] {
            assert!(bad.parse::<TypeFilter>().is_err(), "{bad}");
        }
        assert!(vec!["a"; MAX_ENTRIES + 1].join(",").parse::<TypeFilter>().is_err());
    }

    #[test]
    fn filters_grow_and_shrink_by_whole_patterns() {
        let filter: TypeFilter = "a,b:*".parse().unwrap();
        let more = filter.with(&"b:*,c".parse().unwrap()).unwrap();
        assert_eq!(more.patterns(), ["a", "b:*", "c"]);
        assert_eq!(more.clone().without(&"b:x,a".parse().unwrap()).patterns(), ["b:*", "c"]);
        let none = more.without(&"a,b:*,c".parse().unwrap());
        assert_eq!(none, TypeFilter::none());
        assert!(!none.matches(&"a".parse().unwrap()));
        let many: TypeFilter = (0..MAX_ENTRIES).map(|n| format!("t{n}")).collect::<Vec<_>>().join(",").parse().unwrap();
        assert!(many.with(&"one:more".parse().unwrap()).is_err());
    }

    #[test]
    fn a_limit_holds_whatever_is_asked_for() {
        let limit: Arc<TypeFilter> = Arc::new("a:*".parse().unwrap());
        let (a, b) = ("a:x".parse().unwrap(), "b".parse().unwrap());
        let all = TypeFilter::any().within(Arc::clone(&limit));
        assert!(all.matches(&a) && !all.matches(&b));
        let more = all.clone().with(&"b".parse().unwrap()).unwrap().without(&TypeFilter::any());
        assert_eq!(more.patterns(), ["b"]);
        assert!(!more.matches(&b));
        assert_ne!(all, TypeFilter::any());
        assert_ne!(all.key(), TypeFilter::any().key());
        assert_ne!(all.key(), TypeFilter::any().within(Arc::new("b".parse().unwrap())).key());
        assert_eq!(all.to_string(), "*");
    }

    proptest! {
        #[test]
        fn a_pattern_made_from_a_type_matches_it(ty in "[a-c]{1,4}(:[a-c]{1,4}){0,2}", cut in 0usize..14, len in 0usize..14) {
            let cut = cut.min(ty.len());
            let end = (cut + len).min(ty.len());
            let pattern = format!("{}*{}", &ty[..cut], &ty[end..]);
            prop_assume!(pattern.parse::<TypeFilter>().is_ok());
            prop_assert!(matches(&pattern, &ty), "{} {}", pattern, ty);
        }
    }
}
