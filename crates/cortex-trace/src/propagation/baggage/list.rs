use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use http::HeaderValue;

use super::member::{is_member, is_token, trim};
use super::{BaggageMember, InvalidBaggage, InvalidBaggageKind, percent};
use crate::carrier;

/// What the services of a request tell each other: `key=value` members with optional properties, for everybody
/// downstream to read.
///
/// Members that nobody touches keep their bytes, their order and their duplicates. At most 64 members and 8192 bytes
/// are carried, in the sum over all lines; of what exceeds that, whole members are dropped from the end. A member that
/// breaks the grammar, or is too long by itself, is dropped alone.
///
/// It comes from whoever sent the request: check a value before you act on it.
///
/// # Performance
///
/// Empty, it is a null pointer; otherwise a clone adds to a reference count. What was received is read when somebody
/// asks for the first time.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::Baggage;
///
/// let mut baggage: Baggage = "userId=alice, serverNode=DF%2028;ttl=60".parse()?;
/// assert_eq!(baggage.get("serverNode").as_deref(), Some("DF 28"));
/// baggage.set("userId", "Amélie")?;
/// assert_eq!(baggage.to_string(), "userId=Am%C3%A9lie,serverNode=DF%2028;ttl=60");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Baggage {
    list: Option<Arc<List>>,
}

struct List {
    received: Box<str>,
    /// What is left of `received` as it goes out; `None` if that is all of it.
    cleaned: OnceLock<Option<Box<str>>>,
}

//= https://www.w3.org/TR/baggage/#limits
//# Condition 1: The resulting baggage-string contains 64 list-members or less.
const MEMBERS: usize = 64;
//= https://www.w3.org/TR/baggage/#limits
//# Condition 2: The resulting baggage-string is of size 8192 bytes or less.
const BYTES: usize = 8192;

impl Baggage {
    /// The baggage without members.
    pub const EMPTY: Self = Self { list: None };

    /// Returns the baggage of what runs on this thread: see [`Captured`](crate::Captured).
    ///
    /// ```
    /// use cortex_trace::Captured;
    /// use cortex_trace::propagation::Baggage;
    ///
    /// let captured = Captured::current().with_baggage("tier=gold".parse()?);
    /// let _guard = captured.attach();
    /// assert_eq!(Baggage::current().get("tier").as_deref(), Some("gold"));
    /// # Ok::<(), std::convert::Infallible>(())
    /// ```
    pub fn current() -> Self {
        carrier::peek(|carrier| carrier.baggage().clone()).unwrap_or_default()
    }

    /// Reads the lines of a header, joined in their order.
    ///
    /// ```
    /// use cortex_trace::propagation::Baggage;
    ///
    /// let baggage = Baggage::from_lines([b"a=1, b=\xff".as_slice(), b"c=3"]);
    /// assert_eq!(baggage.to_string(), "a=1,c=3");
    /// ```
    //= https://www.w3.org/TR/baggage/#limits
    //# If there are multiple baggage headers, all limits apply to the combination of all baggage headers and not each header individually.
    #[inline]
    pub fn from_lines<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut lines = lines.into_iter();
        // Outside of the loop, as there nearly always is none.
        lines.next().map_or(Self::EMPTY, |first| {
            Self::joined(std::iter::once(first).chain(lines))
        })
    }

    fn joined<'a>(mut lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut received = String::new();
        while let Some(line) = lines.next() {
            if received.len() + 1 + line.len() > BYTES {
                // Too much to keep for later, perhaps to harm: what may stay is sorted out now.
                let mut kept = Kept::default();
                if kept.extend(received.as_bytes()) && kept.extend(line) {
                    while lines.next().is_some_and(|line| kept.extend(line)) {}
                }
                return Self::of_clean(kept.list);
            }
            if !received.is_empty() {
                received.push(',');
            }
            // The replacement for what is no text is no part of a valid member.
            received.push_str(&String::from_utf8_lossy(line));
        }
        let list = (!received.is_empty()).then(|| {
            Arc::new(List {
                received: received.into_boxed_str(),
                cleaned: OnceLock::new(),
            })
        });
        Self { list }
    }

    /// Says whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.text().is_empty()
    }

    /// Returns the number of members.
    pub fn len(&self) -> usize {
        self.raw().count()
    }

    /// Returns the decoded value of `key`, the last one if there are several.
    pub fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        self.member(key).map(|member| member.value())
    }

    /// Returns the member with `key`, the last one if there are several.
    pub fn member(&self, key: &str) -> Option<BaggageMember<'_>> {
        self.raw()
            .rev()
            .map(BaggageMember::of_valid)
            .find(|member| member.key() == key)
    }

    /// Returns the members in their order, duplicates too.
    pub fn iter(&self) -> impl Iterator<Item = BaggageMember<'_>> {
        self.raw().map(BaggageMember::of_valid)
    }

    /// Sets `key` to `value`, in place of all members with that key, else at the end.
    ///
    /// If that makes too many members or bytes, others go, from the end.
    ///
    /// # Errors
    ///
    /// The key is no token, or the member alone, encoded, is longer than 8192 bytes. Nothing has changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::propagation::Baggage;
    ///
    /// let mut baggage: Baggage = "a=1,b=2,a=3".parse()?;
    /// baggage.set("a", "50 %")?;
    /// baggage.set("c", "")?;
    /// assert_eq!(baggage.to_string(), "a=50%20%25,b=2,c=");
    /// assert!(baggage.set("no token", "1").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), InvalidBaggage> {
        self.set_with(key, value, [])
    }

    /// Does what [`set`](Self::set) does, and gives the member properties: keys, with a value or without.
    ///
    /// # Errors
    ///
    /// A key is no token, or the member alone, encoded, is longer than 8192 bytes. Nothing has changed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::propagation::Baggage;
    ///
    /// let mut baggage = Baggage::default();
    /// baggage.set_with("tier", "gold", [("ttl", Some("60")), ("internal", None)])?;
    /// assert_eq!(baggage.to_string(), "tier=gold;ttl=60;internal");
    /// # Ok::<(), cortex_trace::propagation::InvalidBaggage>(())
    /// ```
    //= https://www.w3.org/TR/baggage/#baggage-string
    //# Producers SHOULD try to produce a baggage-string without any list-members which duplicate the key of another list member.
    pub fn set_with<'a>(
        &mut self,
        key: &str,
        value: &str,
        properties: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<(), InvalidBaggage> {
        if !is_token(key) {
            return Err(InvalidBaggageKind::Key.into());
        }
        let mut member = String::new();
        append(&mut member, key, Some(value))?;
        for (key, value) in properties {
            if !is_token(key) {
                return Err(InvalidBaggageKind::PropertyKey.into());
            }
            member.push(';');
            append(&mut member, key, value)?;
        }
        *self = self.with_member(key, &member);
        Ok(())
    }

    /// Removes all members with `key`, and says whether there was one.
    ///
    /// ```
    /// use cortex_trace::propagation::Baggage;
    ///
    /// let mut baggage: Baggage = "a=1,b=2,a=3".parse()?;
    /// assert!(baggage.remove("a"));
    /// assert!(!baggage.remove("a"));
    /// assert_eq!(baggage.to_string(), "b=2");
    /// # Ok::<(), std::convert::Infallible>(())
    /// ```
    pub fn remove(&mut self, key: &str) -> bool {
        if self.member(key).is_none() {
            return false;
        }
        let others: Vec<_> = self.raw().filter(|member| !has_key(member, key)).collect();
        *self = Self::of_clean(others.join(","));
        true
    }

    /// Returns the header value to send; `None` if there is no member.
    pub fn to_header(&self) -> Option<HeaderValue> {
        let text = Some(self.text()).filter(|text| !text.is_empty())?;
        HeaderValue::from_str(text).ok() // always: it is visible ASCII, spaces and tabs
    }

    /// Says whether nothing was received or set, without reading what was.
    pub(crate) const fn is_absent(&self) -> bool {
        self.list.is_none()
    }

    /// Says whether both are copies of the same one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.list, &other.list) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (one, two) => one.is_none() && two.is_none(),
        }
    }

    fn of_clean(list: String) -> Self {
        let list = (!list.is_empty()).then(|| {
            Arc::new(List {
                received: list.into_boxed_str(),
                cleaned: OnceLock::from(None),
            })
        });
        Self { list }
    }

    /// Returns the list with `member` as the only one with `key`.
    fn with_member(&self, key: &str, member: &str) -> Self {
        let (mut members, mut bytes) = (1, member.len());
        let fitting = self
            .raw()
            .filter(|other| !has_key(other, key))
            .take_while(|other| {
                members += 1;
                bytes += 1 + other.len();
                members <= MEMBERS && bytes <= BYTES
            })
            .count();
        let mut list = String::with_capacity(BYTES.min(self.text().len() + 1 + member.len()));
        let (mut is_set, mut others) = (false, 0);
        for other in self.raw() {
            let next = if !has_key(other, key) {
                others += 1;
                (others <= fitting).then_some(other)
            } else if is_set {
                None
            } else {
                is_set = true;
                Some(member)
            };
            if let Some(next) = next {
                push(&mut list, next);
            }
        }
        if !is_set {
            push(&mut list, member);
        }
        Self::of_clean(list)
    }

    fn text(&self) -> &str {
        self.list.as_deref().map_or("", List::text)
    }

    fn raw(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.text().split(',').filter(|member| !member.is_empty())
    }
}

impl FromStr for Baggage {
    type Err = Infallible;

    /// Reads a header value, as [`from_lines`](Self::from_lines) does; there is always something, if only nothing.
    fn from_str(s: &str) -> Result<Self, Infallible> {
        Ok(Self::from_lines([s.as_bytes()]))
    }
}

impl PartialEq for Baggage {
    /// Compares what would be sent.
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.text() == other.text()
    }
}

impl Eq for Baggage {}

impl fmt::Display for Baggage {
    /// Writes the header value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl List {
    fn text(&self) -> &str {
        let cleaned = self.cleaned.get_or_init(|| {
            if is_clean(&self.received) {
                return None;
            }
            let mut kept = Kept::default();
            kept.extend(self.received.as_bytes());
            Some(kept.list.into_boxed_str())
        });
        cleaned.as_deref().unwrap_or(&self.received)
    }
}

/// Says whether a list can go out as it is, as most come in.
fn is_clean(list: &str) -> bool {
    let mut members = 0;
    list.len() <= BYTES
        && list.split(',').all(|member| {
            members += 1;
            members <= MEMBERS && trim(member).len() == member.len() && is_member(member)
        })
}

/// The members that may stay, from the left.
#[derive(Default)]
struct Kept {
    list: String,
    members: usize,
}

impl Kept {
    /// Adds what is valid of a line, and says whether there is room for more.
    //= https://www.w3.org/TR/baggage/#limits
    //# If a platform cannot propagate all baggage, it MUST NOT propagate any partial list-members.
    //= https://www.w3.org/TR/baggage/#mutating-baggage
    //# For example, it MAY remove an offending list-member before propagating the rest of the baggage-string, or MAY decide to not propagate the baggage-string at all.
    fn extend(&mut self, line: &[u8]) -> bool {
        line.split(|byte| *byte == b',').all(|member| {
            let member = str::from_utf8(member).map_or("", trim);
            if !is_member(member) || member.len() > BYTES {
                return true;
            }
            self.members += 1;
            let bytes = self.list.len() + usize::from(!self.list.is_empty()) + member.len();
            let fits = self.members <= MEMBERS && bytes <= BYTES;
            if fits {
                push(&mut self.list, member);
            }
            fits
        })
    }
}

fn push(list: &mut String, member: &str) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(member);
}

fn has_key(member: &str, key: &str) -> bool {
    BaggageMember::of_valid(member).key() == key
}

/// Appends a key, and a value if there is one, unless that gets too long.
fn append(member: &mut String, key: &str, value: Option<&str>) -> Result<(), InvalidBaggage> {
    if member.len() + key.len() + value.map_or(0, str::len) > BYTES {
        return Err(InvalidBaggageKind::TooLong.into()); // before memory is spent on it
    }
    member.push_str(key);
    if let Some(value) = value {
        member.push('=');
        percent::encode(value, member);
    }
    if member.len() > BYTES {
        return Err(InvalidBaggageKind::TooLong.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn parse(line: &str) -> Baggage {
        Baggage::from_lines([line.as_bytes()])
    }

    /// What a member says: key, encoded value, properties.
    type Said = (String, String, Vec<(String, Option<String>)>);

    /// The grammar of the Recommendation, a function per rule, a character at a time.
    struct Grammar<'a>(std::iter::Peekable<std::str::Chars<'a>>);

    impl Grammar<'_> {
        fn list_member(text: &str) -> Option<Said> {
            let mut rest = Grammar(text.chars().peekable());
            let key = rest.token()?;
            rest.ows();
            rest.0.next_if_eq(&'=')?;
            rest.ows();
            let value = rest.value();
            rest.ows();
            let mut properties = Vec::new();
            while rest.0.next_if_eq(&';').is_some() {
                rest.ows();
                let key = rest.token()?;
                rest.ows();
                let value = rest.0.next_if_eq(&'=').map(|_| {
                    rest.ows();
                    rest.value()
                });
                rest.ows();
                properties.push((key, value));
            }
            rest.0.peek().is_none().then_some((key, value, properties))
        }

        fn ows(&mut self) {
            while self.0.next_if(|c| [' ', '\t'].contains(c)).is_some() {}
        }

        fn many(&mut self, wanted: impl Fn(char) -> bool) -> String {
            std::iter::from_fn(|| self.0.next_if(|c| wanted(*c))).collect()
        }

        fn token(&mut self) -> Option<String> {
            let token = self.many(|c| ('!'..='~').contains(&c) && !"\"(),/:;<=>?@[\\]{}".contains(c));
            (!token.is_empty()).then_some(token)
        }

        fn value(&mut self) -> String {
            self.many(|c| ('!'..='~').contains(&c) && !"\",;\\".contains(c))
        }
    }

    /// All of it, then what does not fit away from the end, one by one.
    fn oracle(lines: &[Vec<u8>]) -> Vec<(String, Said)> {
        let lines: Vec<String> = lines
            .iter()
            .map(|line| line.iter().map(|byte| char::from(*byte)).collect())
            .collect();
        let joined = lines.join(",");
        let mut members: Vec<_> = joined
            .split(',')
            .map(|member| member.trim_matches([' ', '\t']))
            .filter(|member| member.len() <= 8192)
            .filter_map(|member| Some((member.to_owned(), Grammar::list_member(member)?)))
            .collect();
        while too_much(&members) {
            members.pop();
        }
        members
    }

    fn too_much(members: &[(String, Said)]) -> bool {
        let texts: Vec<_> = members.iter().map(|(text, _)| text.as_str()).collect();
        members.len() > 64 || texts.join(",").len() > 8192
    }

    fn said(baggage: &Baggage) -> Vec<(String, Said)> {
        let of_member = |member: BaggageMember<'_>| {
            let properties = member.properties().map(|property| {
                let value = property
                    .as_str()
                    .split_once('=')
                    .map(|(_, value)| trim(value).to_owned());
                (property.key().to_owned(), value)
            });
            let said = (
                member.key().to_owned(),
                member.encoded_value().to_owned(),
                properties.collect(),
            );
            (member.to_string(), said)
        };
        baggage.iter().map(of_member).collect()
    }

    fn joined(members: &[(String, Said)]) -> String {
        let texts: Vec<_> = members.iter().map(|(text, _)| text.as_str()).collect();
        texts.join(",")
    }

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            12 => select(vec!["a", "b", "A", "=", "=", "=", ";", ",", ",", " ", "\t", "%", "%41", "1", "~"]).prop_map(String::from),
            2 => "[ -~\t]",
            1 => "[\\x00é\u{7f}]",
        ]
    }

    fn noise() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.concat().into_bytes())
    }

    fn member() -> impl Strategy<Value = String> {
        let property = "[ \t]{0,2};[ \t]{0,2}[a-c]{1,2}([ \t]?=[ \t]?[!#-+.-:<-\\[\\]-~]{0,5})?";
        (
            "[ \t]{0,2}[a-c!%]{1,2}[ \t]{0,2}=[ \t]{0,2}[!#-+.-:<-\\[\\]-~]{0,8}",
            proptest::collection::vec(property, 0..3),
        )
            .prop_map(|(member, properties)| member + &properties.concat())
    }

    /// A line of members that are many or long, or both, and sometimes too long or broken.
    fn long_line() -> impl Strategy<Value = Vec<u8>> {
        let member = prop_oneof![
            20 => (0_usize..400).prop_map(|length| format!("k={}", "v".repeat(length))),
            10 => Just("k=v".to_owned()),
            2 => (8180_usize..8200).prop_map(|length| format!("k={}", "v".repeat(length))),
            2 => Just("broken".to_owned()),
            2 => Just(" \t ".to_owned()),
        ];
        proptest::collection::vec(member, 0..90).prop_map(|members| members.join(",").into_bytes())
    }

    fn check(lines: &[Vec<u8>]) -> Result<(), TestCaseError> {
        let baggage = Baggage::from_lines(lines.iter().map(Vec::as_slice));
        let expected = oracle(lines);
        let text = joined(&expected);
        prop_assert_eq!(&said(&baggage), &expected);
        prop_assert_eq!(baggage.len(), expected.len());
        prop_assert_eq!(baggage.is_empty(), expected.is_empty());
        prop_assert_eq!(
            baggage
                .to_header()
                .map(|header| header.to_str().unwrap().to_owned()),
            (!text.is_empty()).then_some(text)
        );
        for (key, _) in expected.iter().map(|(_, said)| (&said.0, &said.1)) {
            let last = expected.iter().rfind(|(_, said)| said.0 == *key).unwrap();
            prop_assert_eq!(baggage.member(key).unwrap().as_str(), &last.0);
        }
        // What goes out reads back as it is.
        prop_assert_eq!(&baggage.to_string().parse::<Baggage>().unwrap(), &baggage);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn reads_what_the_oracle_reads_in_noise(lines in proptest::collection::vec(noise(), 0..4)) {
            check(&lines)?;
        }

        #[test]
        fn reads_what_the_oracle_reads_in_bytes(lines in proptest::collection::vec(any::<Vec<u8>>(), 0..3)) {
            check(&lines)?;
        }

        #[test]
        fn reads_what_the_oracle_reads_of_members(
            lines in proptest::collection::vec(proptest::collection::vec(member(), 0..4), 0..3),
        ) {
            let lines: Vec<_> = lines.iter().map(|members| members.join(",").into_bytes()).collect();
            check(&lines)?;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn reads_what_the_oracle_reads_of_long_lines(lines in proptest::collection::vec(long_line(), 0..4)) {
            check(&lines)?;
        }

        #[test]
        fn changes_what_the_oracle_changes(
            line in long_line(),
            changes in proptest::collection::vec(
                ("[k-m]", proptest::option::of((0_usize..8190).prop_map(|length| "v".repeat(length)))),
                1..6,
            ),
        ) {
            let mut baggage = Baggage::from_lines([line.as_slice()]);
            let mut expected = oracle(&[line]);
            for (key, value) in &changes {
                let place = expected.iter().position(|(_, said)| said.0 == *key);
                expected.retain(|(_, said)| said.0 != *key);
                match value {
                    None => prop_assert_eq!(baggage.remove(key), place.is_some()),
                    Some(value) => {
                        baggage.set(key, value).unwrap();
                        let member = (format!("{key}={value}"), (key.clone(), value.clone(), vec![]));
                        let mut place = place.unwrap_or(expected.len());
                        expected.insert(place, member);
                        while too_much(&expected) {
                            if place == expected.len() - 1 {
                                expected.remove(place - 1);
                                place -= 1;
                            } else {
                                expected.pop();
                            }
                        }
                    }
                }
                prop_assert_eq!(&said(&baggage), &expected);
            }
        }

        #[test]
        fn gets_what_was_set(key in "[!#-'*+.^-z|~-]{1,9}", value: String, property: Option<String>) {
            let mut baggage = parse("a=1,b=2");
            baggage.set_with(&key, &value, [("p", property.as_deref())]).unwrap();
            let member = baggage.member(&key).unwrap();
            prop_assert_eq!(member.value(), value.as_str());
            let read = member.properties().next().unwrap().value();
            prop_assert_eq!(read.as_deref(), property.as_deref());
            prop_assert_eq!(parse(&baggage.to_string()), baggage);
        }
    }

    fn numbered(members: usize) -> String {
        let members: Vec<_> = (0..members).map(|n| format!("k{n}={n}")).collect();
        members.join(",")
    }

    //= https://www.w3.org/TR/baggage/#limits
    //= type=test
    //# Condition 1: The resulting baggage-string contains 64 list-members or less.
    #[test]
    fn sixty_four_members_are_carried() {
        assert_eq!(parse(&numbered(64)).to_string(), numbered(64));
        assert_eq!(parse(&numbered(65)).to_string(), numbered(64));
        assert_eq!(parse(&numbered(100_000)).to_string(), numbered(64));
        let with_bad_ones = numbered(64).replace(',', ", bad ,,\t,");
        assert_eq!(parse(&with_bad_ones).to_string(), numbered(64));
    }

    //= https://www.w3.org/TR/baggage/#limits
    //= type=test
    //# Condition 2: The resulting baggage-string is of size 8192 bytes or less.
    //= https://www.w3.org/TR/baggage/#limits
    //= type=test
    //# If a platform cannot propagate all baggage, it MUST NOT propagate any partial list-members.
    #[test]
    fn eight_kilobytes_are_carried_in_whole_members() {
        let longest = format!("k={}", "v".repeat(8190));
        assert_eq!(parse(&longest).to_string(), longest);
        assert!(parse(&format!("{longest}v")).is_empty());
        assert_eq!(parse(&format!("{longest}v,a=1")).to_string(), "a=1");
        assert_eq!(parse(&format!("{longest},a=1")).to_string(), longest);
        let spaced = format!(" {longest}, \t,");
        assert_eq!(parse(&spaced).to_string(), longest);
        let half = format!("k={}", "v".repeat(4093)); // twice with a comma: 8191
        assert_eq!(
            parse(&format!("{half},{half}")).to_string(),
            format!("{half},{half}")
        );
        assert_eq!(parse(&format!("{half},{half}v")).to_string().len(), 8192);
        assert_eq!(parse(&format!("{half},{half}vv,a=1")).to_string(), half);
    }

    //= https://www.w3.org/TR/baggage/#limits
    //= type=test
    //# If there are multiple baggage headers, all limits apply to the combination of all baggage headers and not each header individually.
    #[test]
    fn limits_are_for_all_lines_together() {
        let line = numbered(40);
        let both = Baggage::from_lines([line.as_bytes(), line.as_bytes()]);
        assert_eq!(both.len(), 64);
        let half = format!("k={}", "v".repeat(4094));
        let both = Baggage::from_lines([half.as_bytes(), b"a=1", half.as_bytes()]);
        assert_eq!(both.to_string(), format!("{half},a=1"));
        let many = Baggage::from_lines(std::iter::repeat_n(b"a=1".as_slice(), 100_000));
        assert_eq!(many.len(), 64);
        let nothing = Baggage::from_lines(std::iter::repeat_n(b"".as_slice(), 100_000));
        assert!(nothing.is_absent());
    }

    //= https://www.w3.org/TR/baggage/#mutating-baggage
    //= type=test
    //# For example, it MAY remove an offending list-member before propagating the rest of the baggage-string, or MAY decide to not propagate the baggage-string at all.
    #[test]
    fn a_bad_member_goes_alone() {
        let lines = [
            b"a=1,b c=2,\xff=3,d=\xe4, e = 5 ;p".as_slice(),
            b"",
            b"f=6;,a=\"7\"",
            b"\xff",
            b"g=8",
        ];
        assert_eq!(Baggage::from_lines(lines).to_string(), "a=1,e = 5 ;p,g=8");
        assert_eq!(parse("nothing").to_header(), None);
        assert!(parse("nothing, else").is_empty());
        assert_eq!(parse("nothing"), Baggage::EMPTY);
    }

    //= https://www.w3.org/TR/baggage/#baggage-string
    //= type=test
    //# The order of duplicate entries SHOULD be preserved when mutating the list.
    //= https://www.w3.org/TR/baggage/#baggage-string
    //= type=test
    //# Producers SHOULD try to produce a baggage-string without any list-members which duplicate the key of another list member.
    #[test]
    fn duplicates_stay_until_their_key_is_set() {
        let mut baggage = parse("a=1;x, b= 2 ,a=3,c=4,b=5");
        assert_eq!(baggage.get("a").as_deref(), Some("3"));
        baggage.set("c", "9").unwrap();
        assert_eq!(baggage.to_string(), "a=1;x,b= 2,a=3,c=9,b=5");
        baggage.set("a", "9").unwrap();
        assert_eq!(baggage.to_string(), "a=9,b= 2,c=9,b=5");
        assert!(baggage.remove("b"));
        assert_eq!(baggage.to_string(), "a=9,c=9");
        assert!(!baggage.remove("b"));
        assert!(baggage.remove("a") && baggage.remove("c"));
        assert!(baggage.is_absent());
    }

    #[test]
    fn keys_are_case_sensitive_and_never_decoded() {
        let baggage = parse("Key=1,key=2,a%20b=3");
        assert_eq!(baggage.get("Key").as_deref(), Some("1"));
        assert_eq!(baggage.get("key").as_deref(), Some("2"));
        assert_eq!(baggage.get("KEY"), None);
        assert_eq!(baggage.get("a b"), None);
        assert_eq!(baggage.get("a%20b").as_deref(), Some("3"));
        assert_eq!(baggage.get("ke"), None);
    }

    #[test]
    fn a_copy_does_not_see_a_change() {
        let before = parse("a=1");
        let mut after = before.clone();
        assert!(after.is_same(&before));
        after.set("a", "2").unwrap();
        assert_eq!(
            (before.to_string(), after.to_string()),
            ("a=1".into(), "a=2".into())
        );
        assert_ne!(before, after);
    }

    #[test]
    fn what_is_set_stays_and_others_go_from_the_end() {
        let mut full = parse(&numbered(64));
        full.set("new", "x").unwrap();
        assert_eq!(full.to_string(), format!("{},new=x", numbered(63)));
        full.set("k0", &"v".repeat(8187)).unwrap();
        assert_eq!(full.len(), 1);
    }

    #[test]
    fn what_cannot_be_set_changes_nothing() {
        let mut baggage = parse("a=1");
        let mut why = |key: &str, value: &str, property: &str| {
            baggage
                .set_with(key, value, [(property, None)])
                .unwrap_err()
                .kind()
        };
        for key in ["", "a b", "a=", "ä", "a,b", "a;b", "\"a\"", "a\n"] {
            assert_eq!(why(key, "1", "p"), InvalidBaggageKind::Key, "{key:?}");
            assert_eq!(why("a", "1", key), InvalidBaggageKind::PropertyKey, "{key:?}");
        }
        assert_eq!(why("a", &"v".repeat(8189), "p"), InvalidBaggageKind::TooLong);
        assert_eq!(why("a", &" ".repeat(2731), "p"), InvalidBaggageKind::TooLong);
        assert_eq!(why("a", &"v".repeat(1 << 20), "p"), InvalidBaggageKind::TooLong);
        assert_eq!(why(&"k".repeat(8192), "", "p"), InvalidBaggageKind::TooLong);
        assert_eq!(why("a", "1", &"p".repeat(8189)), InvalidBaggageKind::TooLong);
        assert_eq!(baggage.to_string(), "a=1");
        baggage.set_with("a", &"v".repeat(8188), [("p", None)]).unwrap();
        assert_eq!(baggage.to_string().len(), 8192);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let why = |kind: InvalidBaggageKind| InvalidBaggage::from(kind).to_string();
        assert!(why(InvalidBaggageKind::Key).starts_with("set a baggage member: a key has"));
        assert!(why(InvalidBaggageKind::PropertyKey).contains("the key of a property has"));
        assert_eq!(
            why(InvalidBaggageKind::TooLong),
            "set a baggage member: it has more than 8192 bytes"
        );
        assert_eq!(format!("{:?}", parse("a=1;p,b=2")), r#"["a=1;p", "b=2"]"#);
    }
}
