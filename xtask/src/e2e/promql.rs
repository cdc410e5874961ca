use std::iter::Peekable;
use std::str::Chars;

/// The words of the language that are neither metrics nor, as functions are, followed by a parenthesis.
const WORDS: [&str; 22] = [
    "and",
    "atan2",
    "avg",
    "bool",
    "bottomk",
    "count",
    "count_values",
    "end",
    "group",
    "inf",
    "max",
    "min",
    "nan",
    "offset",
    "or",
    "quantile",
    "start",
    "stddev",
    "stdvar",
    "sum",
    "topk",
    "unless",
];

/// The words that a list of labels follows.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// What a query asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Used {
    pub(super) selectors: Vec<Selector>,
    /// The labels of `by (..)`, `on (..)` and the like.
    pub(super) grouping: Vec<String>,
}

/// `name{label=".."}`, of which either may be missing.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Selector {
    pub(super) name: Option<String>,
    pub(super) labels: Vec<String>,
}

impl Used {
    /// Reads a query that Prometheus accepts; of any other it makes something.
    pub(super) fn of(query: &str) -> Self {
        let mut used = Self::default();
        let mut chars = query.chars().peekable();
        // Whether a `{` belongs to the metric before it.
        let mut named = false;
        while let Some(&next) = chars.peek() {
            match next {
                '{' => {
                    let labels = list(&mut chars, '}');
                    match used.selectors.last_mut() {
                        Some(selector) if named => selector.labels = labels,
                        _ => used.selectors.push(Selector { name: None, labels }),
                    }
                }
                '[' => drop(list(&mut chars, ']')),
                '"' | '\'' | '`' => string(&mut chars),
                '#' => while chars.next_if(|char| *char != '\n').is_some() {},
                _ if next.is_ascii_digit() => drop(word(&mut chars)),
                _ if is_word(next) => {
                    let word = word(&mut chars);
                    while chars.next_if(|char| char.is_whitespace()).is_some() {}
                    let lower = word.to_ascii_lowercase();
                    let is_list = LISTS.contains(&&*lower);
                    let called = chars.peek() == Some(&'(');
                    if is_list && called {
                        used.grouping.extend(list(&mut chars, ')'));
                    }
                    named = !is_list && !called && !WORDS.contains(&&*lower);
                    if named {
                        used.selectors.push(Selector {
                            name: Some(word),
                            labels: Vec::new(),
                        });
                    }
                    continue;
                }
                _ => drop(chars.next()),
            }
            named &= next.is_whitespace();
        }
        used
    }

    /// Lists the names of the metrics.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.selectors
            .iter()
            .filter_map(|selector| selector.name.as_deref())
    }
}

/// Reads from an opening bracket to the closing one and returns the words between them.
fn list(chars: &mut Peekable<Chars<'_>>, end: char) -> Vec<String> {
    let mut words = Vec::new();
    while let Some(&next) = chars.peek() {
        match next {
            '"' | '\'' | '`' => string(chars),
            _ if is_word(next) => words.push(word(chars)),
            _ => {
                chars.next();
                if next == end {
                    break;
                }
            }
        }
    }
    words
}

fn word(chars: &mut Peekable<Chars<'_>>) -> String {
    std::iter::from_fn(|| chars.next_if(|char| is_word(*char))).collect()
}

fn string(chars: &mut Peekable<Chars<'_>>) {
    let quote = chars.next();
    while let Some(char) = chars.next() {
        if Some(char) == quote {
            return;
        }
        if char == '\\' && quote != Some('`') {
            chars.next();
        }
    }
}

fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == ':'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes what is used as `name{labels}` and `by:labels`.
    fn used(query: &str) -> String {
        let used = Used::of(query);
        let selectors = used.selectors.iter().map(|selector| {
            let name = selector.name.as_deref().unwrap_or_default();
            format!("{name}{{{}}}", selector.labels.join(","))
        });
        let grouping = used.grouping.iter().map(|label| format!("by:{label}"));
        selectors.chain(grouping).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn finds_metrics_and_labels() {
        for (query, expected) in [
            ("up == 0", "up{}"),
            (
                "sum by (job, le) (rate(a_bucket{x=~\"5..\", y!='}{'}[5m]))",
                "a_bucket{x,y} by:job by:le",
            ),
            ("sum(rate(a[5m])) by (job)", "a{} by:job"),
            ("histogram_quantile(0.99, job:a:rate5m)", "job:a:rate5m{}"),
            (
                "a / on (job) group_left (v) b {c=\"\\\"d\"} offset 1h",
                "a{} b{c} by:job by:v",
            ),
            ("a and b or c unless bool_x > bool 1e3", "a{} b{} c{} bool_x{}"),
            (
                "topk(10, count by (__name__) ({job=~\".+\"}))",
                "{job} by:__name__",
            ),
            ("a > (14.4 * 0.001) # b{c=\"d\"}\nand d", "a{} d{}"),
            ("sum_over_time(rate(a[1m])[1h:5m]) + {x=`\\`}", "a{} {x}"),
            ("a{}+{b=\"c\"}", "a{} {b}"),
            ("SUM BY (x) (a) + Inf - NaN", "a{} by:x"),
            ("time() - max(a{b=\"c\"}) * 0.5", "a{b}"),
        ] {
            assert_eq!(used(query), expected, "{query}");
        }
    }

    #[test]
    fn what_is_cut_off_ends() {
        for query in ["a{b=\"c", "sum by (", "a[", "\"\\", "# only"] {
            let _ = Used::of(query);
        }
        assert_eq!(Used::of("a + b").names().collect::<Vec<_>>(), ["a", "b"]);
    }
}
