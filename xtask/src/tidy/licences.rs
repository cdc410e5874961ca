use toml::{Table, Value};

use super::finding::Finding;
use super::tree::Tree;

const FILE: &str = "deny.toml";

/// Every package in the lock file has a licence that deny.toml allows, whatever the platform and the features.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let policy = match tree.text(FILE).parse::<Table>() {
        Ok(policy) => policy,
        Err(error) => return vec![Finding::new(FILE, error.to_string())],
    };
    let allowed = strings(policy.get("licenses").and_then(|it| it.get("allow")));
    let mut findings = one_telemetry(&policy);
    for package in &tree.foreign {
        let mut allowed = allowed.clone();
        allowed.extend(exceptions(&policy, &package.name));
        let place = format!("{} {}", package.name, package.version);
        match package.license.as_deref() {
            None => findings.push(Finding::new(place, "names no licence")),
            Some(license) if !Expression::new(license).allows(&allowed) => {
                findings.push(Finding::new(place, format!("{license} is not allowed by {FILE}")));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Two versions of OpenTelemetry do not see each other's spans, so this duplicate is never excused.
fn one_telemetry(policy: &Table) -> Vec<Finding> {
    let bans = policy.get("bans");
    ["skip", "skip-tree"]
        .into_iter()
        .filter_map(|list| bans?.get(list)?.as_array())
        .flatten()
        .filter_map(|entry| entry.as_str().or_else(|| entry.get("crate")?.as_str()))
        .filter(|name| name.starts_with("opentelemetry"))
        .map(|name| {
            Finding::new(
                FILE,
                format!("never skip {name}: two versions do not see each other's spans"),
            )
        })
        .collect()
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    let values = value.and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn exceptions<'a>(policy: &'a Table, package: &str) -> Vec<&'a str> {
    let entries = policy
        .get("licenses")
        .and_then(|it| it.get("exceptions"))
        .and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("crate").and_then(Value::as_str) == Some(package))
        .flat_map(|entry| strings(entry.get("allow")))
        .collect()
}

/// An SPDX expression: licences, `AND`, `OR` and parentheses, and the old `/` for `OR`.
struct Expression {
    tokens: Vec<String>,
    at: usize,
}

impl Expression {
    fn new(text: &str) -> Self {
        let text = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        Self {
            tokens: text.split_whitespace().map(Into::into).collect(),
            at: 0,
        }
    }

    /// Tells whether the allowed licences suffice; what cannot be read is not allowed.
    fn allows(mut self, allowed: &[&str]) -> bool {
        self.any(allowed) == Some(true) && self.at == self.tokens.len()
    }

    fn any(&mut self, allowed: &[&str]) -> Option<bool> {
        let mut result = self.all(allowed)?;
        while self.take("OR") {
            result |= self.all(allowed)?;
        }
        Some(result)
    }

    fn all(&mut self, allowed: &[&str]) -> Option<bool> {
        let mut result = self.one(allowed)?;
        while self.take("AND") {
            result &= self.one(allowed)?;
        }
        Some(result)
    }

    fn one(&mut self, allowed: &[&str]) -> Option<bool> {
        if self.take("(") {
            let result = self.any(allowed)?;
            return self.take(")").then_some(result);
        }
        let mut license = self.next()?;
        if self.take("WITH") {
            license = format!("{license} WITH {}", self.next()?);
        }
        Some(allowed.contains(&license.as_str()))
    }

    fn next(&mut self) -> Option<String> {
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        Some(token)
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|it| it == token);
        self.at += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::texts;
    use super::super::tree::Foreign;
    use super::super::tree::fixture::tree;
    use super::*;

    const POLICY: &str = "[licenses]\nallow = ['MIT', 'Apache-2.0', 'Unicode-3.0', 'Apache-2.0 WITH LLVM-exception']\n\
        exceptions = [{ crate = 'colored', allow = ['MPL-2.0'] }]\n[bans]\nskip = ['syn', { crate = 'hashbrown' }]\n";

    fn says(policy: &str, name: &str, license: Option<&str>) -> Vec<String> {
        let mut tree = tree([]);
        tree.root.insert(FILE.into(), policy.into());
        tree.foreign.push(Foreign {
            name: name.into(),
            version: "1.0.0".into(),
            license: license.map(Into::into),
        });
        texts(&check(&tree))
    }

    #[test]
    fn reads_the_expressions_that_crates_use() {
        let allowed = [
            "MIT",
            "Apache-2.0",
            "Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ];
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(Expression::new(good).allows(&allowed), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR Apache-2.0) AND GPL-3.0",
            "Apache-2.0 WITH Other-exception",
            "MIT MIT",
            "MIT OR",
            "(MIT",
            "",
            "MIT WITH",
        ] {
            assert!(!Expression::new(bad).allows(&allowed), "{bad}");
        }
    }

    #[test]
    fn exceptions_are_for_one_crate() {
        assert_eq!(says(POLICY, "colored", Some("MPL-2.0")), [""; 0]);
        assert_eq!(
            says(POLICY, "other", Some("MPL-2.0")),
            ["other 1.0.0: MPL-2.0 is not allowed by deny.toml"]
        );
        assert_eq!(says(POLICY, "other", None), ["other 1.0.0: names no licence"]);
    }

    #[test]
    fn two_versions_of_opentelemetry_are_never_excused() {
        for entry in ["'opentelemetry_sdk'", "{ crate = 'opentelemetry_sdk' }"] {
            let policy = POLICY.replace("'syn'", entry);
            let found = says(&policy, "x", Some("MIT"));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains("never skip opentelemetry_sdk"), "{found:?}");
        }
        assert_eq!(says("[bans", "x", Some("MIT")).len(), 1);
    }
}
