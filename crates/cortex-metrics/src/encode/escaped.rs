use super::encoder::{Encoder, Header, Labels, Value};
use super::escape::unescape;
use super::lines::Lines;
use super::parse::{quoted, raw_pairs};
use crate::Escaping;
use crate::metric::Kind;
use crate::name::stem;

/// Gives an encoder names as an escaping spells them: it sees only such as every scraper can read.
///
/// Apart from encoders, so that they do not ask for each series whether there is something to escape.
pub(crate) struct Escaped<'a> {
    encoder: &'a mut dyn Encoder,
    escaping: Escaping,
    /// Whether labels of the family have to be spelled in another way.
    respells: bool,
    /// Names of labels, each as it is rendered and as it is spelled.
    spelled: Vec<(String, String)>,
}

impl<'a> Escaped<'a> {
    pub(crate) fn new(encoder: &'a mut dyn Encoder, escaping: Escaping) -> Self {
        Self {
            encoder,
            escaping,
            respells: false,
            spelled: Vec::new(),
        }
    }

    fn respell(&mut self, rendered: &str) -> String {
        let mut out = String::with_capacity(rendered.len());
        for (name, value) in raw_pairs(rendered) {
            let separator = if out.is_empty() { "" } else { "," };
            let name = match quoted(name) {
                Some(inside) => self.label(name, inside),
                None => name,
            };
            out.extend([separator, name, "=\"", value, "\""]);
        }
        out
    }

    /// Spells the name of a label; of an exposition, each is escaped once.
    fn label(&mut self, rendered: &str, inside: &str) -> &str {
        let known = self.spelled.iter().position(|(known, _)| known == rendered);
        let at = known.unwrap_or_else(|| {
            let spelled = self.escaping.label_name(&unescape(inside)).into_owned();
            self.spelled.push((rendered.to_owned(), spelled));
            self.spelled.len() - 1
        });
        &self.spelled[at].1
    }
}

impl Encoder for Escaped<'_> {
    fn begin(&mut self, header: &Header<'_>) {
        self.respells = header.has_utf8_labels;
        if !header.has_utf8_name {
            self.encoder.begin(header);
            return;
        }
        let name = stem(self.escaping, header.name, header.kind);
        // The end of a name may be spelled in another way, too.
        let ends_with = |unit: &&str| name.strip_suffix(*unit).is_some_and(|rest| rest.ends_with('_'));
        self.encoder.begin(&Header {
            name: &name,
            unit: header.unit.filter(ends_with),
            has_utf8_name: false,
            ..*header
        });
    }

    fn put(&mut self, labels: Labels<'_>, value: &Value<'_>) {
        if !self.respells {
            self.encoder.put(labels, value);
            return;
        }
        let [scope, own] = &[labels.scope, labels.own].map(|labels| self.respell(labels));
        self.encoder.put(Labels { scope, own }, value);
    }

    fn end(&mut self) {
        self.encoder.end();
    }

    fn abandon(&mut self) {
        self.encoder.abandon();
    }

    fn lines(&mut self, kind: Kind, scope: &str) -> Option<Lines<'_>> {
        if self.respells {
            return None;
        }
        self.encoder.lines(kind, scope)
    }

    fn has_exemplars(&self) -> bool {
        self.encoder.has_exemplars()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Number, Text};

    const LABELS: &str = r#"c="1,\"x\"=","d.\"e"="\\","d.\"e"="2""#;

    fn written(escaping: Escaping, has_utf8: bool, unit: Option<&str>) -> String {
        let mut out = Vec::new();
        let mut text = Text::open_metrics(&mut out, false);
        let mut escaped = Escaped::new(&mut text, escaping);
        escaped.begin(&Header {
            name: if has_utf8 { "a.b_s" } else { "a_b_s" },
            kind: Kind::Counter,
            unit,
            help: "",
            has_utf8_name: has_utf8,
            has_utf8_labels: has_utf8,
        });
        assert_eq!(escaped.lines(Kind::Counter, "").is_some(), !has_utf8);
        let labels = Labels {
            scope: "",
            own: if has_utf8 { LABELS } else { "d_e=\"\"" },
        };
        let value = Value::Counter {
            value: Number::Unsigned(1),
            exemplar: None,
            created: None,
        };
        escaped.put(labels, &value);
        escaped.end();
        assert_eq!(escaped.spelled.len(), usize::from(has_utf8)); // each name once
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_that_everybody_reads_stay() {
        let expected = "# TYPE a_b_s counter\n# UNIT a_b_s s\na_b_s_total{d_e=\"\"} 1\n";
        for escaping in Escaping::ALL {
            assert_eq!(written(escaping, false, Some("s")), expected);
        }
    }

    #[test]
    fn other_names_are_spelled_as_they_were_asked_for() {
        for (escaping, name, label) in [
            (Escaping::Underscores, "a_b_s", "d__e"),
            (Escaping::Dots, "a_dot_b__s_", "d_dot___e"),
            (Escaping::Values, "U__a_2e_b__s_", "U__d_2e__22_e"),
        ] {
            let labels = format!(r#"c="1,\"x\"=",{label}="\\",{label}="2""#);
            let unit = match escaping {
                Escaping::Underscores => format!("# UNIT {name} s\n"),
                _ => String::new(), // the name does not end with it
            };
            let expected = format!("# TYPE {name} counter\n{unit}{name}_total{{{labels}}} 1\n");
            assert_eq!(written(escaping, true, Some("s")), expected);
        }
    }
}
