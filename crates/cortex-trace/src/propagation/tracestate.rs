use std::fmt;
use std::str::FromStr;

use http::HeaderValue;

use super::traceparent::trim;
use super::{FieldValue, canonical};

/// What the tracing systems on the way have to say to each other: up to 32 `key=value` members, the newest first.
///
/// Immutable: [`with`](Self::with) returns a changed copy. Members that nobody touches keep their bytes and their
/// order. There is no limit on the total length.
///
/// # Performance
///
/// A clone adds to a reference count. What arrives in one header as most senders write it is checked, but neither copied
/// on the way in nor on the way out: it shares the memory of the received value, and with it, as a rule, that of the
/// whole head of the request. A recorded span takes a copy instead.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::TraceState;
///
/// let received: TraceState = "rojo=00f067aa0ba902b7 , congo=t61rcWkgMzE".parse()?;
/// assert_eq!(received.get("congo"), Some("t61rcWkgMzE"));
/// let sent = received.with("congo", "ucfJifl5GOE")?;
/// assert_eq!(sent.to_string(), "congo=ucfJifl5GOE,rojo=00f067aa0ba902b7");
/// # Ok::<(), cortex_trace::propagation::InvalidTraceState>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TraceState {
    /// The members as they go out: valid, unique, joined with commas; never an empty value.
    members: Option<HeaderValue>,
}

/// The most members a list may have, and the most bytes a key or a value.
pub(super) const MEMBERS: usize = 32;
pub(super) const LENGTH: usize = 256;

impl TraceState {
    /// The list without members.
    pub const EMPTY: Self = Self { members: None };

    /// Says whether there is no member.
    pub const fn is_empty(&self) -> bool {
        self.members.is_none()
    }

    /// Returns the value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        if self.is_empty() {
            return None; // nearly always, and looked at for every span
        }
        self.iter()
            .find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Returns the members, newest first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.raw().filter_map(|member| member.split_once('='))
    }

    /// Returns the list with `key` set to `value`, as its left-most member; the right-most of 33 is dropped.
    ///
    /// Nothing moves if the key has that value already. Set only keys of your own tracing system.
    ///
    /// # Errors
    ///
    /// The key or the value breaks the grammar.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::propagation::TraceState;
    ///
    /// let state = TraceState::EMPTY.with("acme", "1")?.with("tenant@acme", "2")?;
    /// assert_eq!(state.to_string(), "tenant@acme=2,acme=1");
    /// assert!(state.with("Acme", "1").is_err());
    /// assert!(state.with("acme", "a,b").is_err());
    /// # Ok::<(), cortex_trace::propagation::InvalidTraceState>(())
    /// ```
    //= https://www.w3.org/TR/trace-context-2/#mutating-the-tracestate-field
    //# Modified keys MUST be moved to the beginning (left) of the list.
    pub fn with(&self, key: &str, value: &str) -> Result<Self, InvalidTraceState> {
        check_key(key.as_bytes())?;
        check_value(value.as_bytes())?;
        if self.get(key) == Some(value) {
            return Ok(self.clone());
        }
        let mut list = format!("{key}={value}");
        //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
        //# If adding an entry would cause the tracestate list to contain more than 32 list-members the right-most list-member should be removed from the list.
        for member in self.others(key).take(MEMBERS - 1) {
            list.push(',');
            list.push_str(member);
        }
        Ok(Self::from_list(list))
    }

    /// Returns the list without `key`. Remove only keys of your own tracing system.
    ///
    /// ```
    /// use cortex_trace::propagation::TraceState;
    ///
    /// let state: TraceState = "acme=1,congo=2".parse()?;
    /// assert_eq!(state.without("acme").to_string(), "congo=2");
    /// assert!(state.without("acme").without("congo").is_empty());
    /// # Ok::<(), cortex_trace::propagation::InvalidTraceState>(())
    /// ```
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        if self.get(key).is_none() {
            return self.clone();
        }
        let kept: Vec<_> = self.others(key).collect();
        Self::from_list(kept.join(","))
    }

    /// Reads the lines of a header; what does not follow the grammar is no list at all.
    #[inline]
    pub(super) fn received<'a>(mut lines: impl Iterator<Item = FieldValue<'a>>) -> Self {
        let Some(first) = lines.next() else {
            return Self::EMPTY;
        };
        let second = lines.next();
        if second.is_none() && canonical::is_canonical(first.as_bytes()) {
            return Self {
                members: first.to_header_value(),
            };
        }
        //= https://www.w3.org/TR/trace-context-2/#a-traceparent-is-received
        //# If the tracestate header cannot be parsed the vendor MAY discard the entire header.
        Self::joined([first].into_iter().chain(second).chain(lines)).unwrap_or_default()
    }

    /// Reads the lines of a header, joined in their order.
    //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
    //# When receiving multiple tracestate header fields, they MUST be combined into a single header according to RFC9110.
    #[cold]
    fn joined<'a>(lines: impl Iterator<Item = FieldValue<'a>>) -> Result<Self, InvalidTraceState> {
        let mut kept = [b"".as_slice(); MEMBERS];
        let (mut received, mut count) = (0, 0);
        for member in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
            let member = trim(member);
            //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
            //# Empty and whitespace-only list members are allowed.
            if member.is_empty() {
                continue;
            }
            let key = check_member(member)?;
            //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
            //# There can be a maximum of 32 list-members in a list.
            received += 1;
            if received > MEMBERS {
                return Err(Reason::Members.into());
            }
            //= https://www.w3.org/TR/trace-context-2/#mutating-the-tracestate-field
            //# Finally, vendors MAY also discard duplicate keys that were not generated by them.
            if kept[..count].iter().all(|earlier| !has_key(earlier, key)) {
                kept[count] = member;
                count += 1;
            }
        }
        let list = String::from_utf8(kept[..count].join(b",".as_slice()));
        Ok(Self::from_list(list.expect("invariant: checked to be ASCII")))
    }

    fn from_list(list: String) -> Self {
        let value =
            |list| HeaderValue::try_from(list).expect("invariant: checked to be visible ASCII and spaces");
        Self {
            members: (!list.is_empty()).then(|| value(list)),
        }
    }

    /// Returns the same list in memory of its own, so that keeping it keeps nothing else of a request.
    pub(crate) fn detached(&self) -> Self {
        let copy = |value: &HeaderValue| {
            HeaderValue::from_bytes(value.as_bytes()).expect("invariant: it is a header value")
        };
        Self {
            members: self.members.as_ref().map(copy),
        }
    }

    /// Returns how many bytes the list has.
    pub(crate) fn size(&self) -> usize {
        self.members.as_ref().map_or(0, HeaderValue::len)
    }

    pub(super) const fn as_header(&self) -> Option<&HeaderValue> {
        self.members.as_ref()
    }

    fn as_str(&self) -> &str {
        let members = self.members.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        str::from_utf8(members).expect("invariant: checked to be ASCII")
    }

    fn raw(&self) -> impl Iterator<Item = &str> {
        let list = self.as_str();
        list.split(',').filter(|member| !member.is_empty())
    }

    fn others(&self, key: &str) -> impl Iterator<Item = &str> {
        self.raw()
            .filter(move |member| member.split_once('=').is_none_or(|(name, _)| name != key))
    }
}

impl FromStr for TraceState {
    type Err = InvalidTraceState;

    /// Reads a header value: white space around members and empty members are skipped, of equal keys the first stays.
    fn from_str(s: &str) -> Result<Self, InvalidTraceState> {
        Self::joined(std::iter::once(FieldValue::from(s)))
    }
}

impl fmt::Display for TraceState {
    /// Writes the header value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Says why something is no `tracestate`, or no member of one.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::TraceState;
///
/// let error = TraceState::EMPTY.with("acme", "").unwrap_err();
/// assert!(error.to_string().starts_with("build a tracestate: a value has 1 to 256 "));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTraceState {
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Member,
    Members,
    Key,
    Value,
}

impl From<Reason> for InvalidTraceState {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

impl fmt::Display for InvalidTraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("build a tracestate: ")?;
        f.write_str(match self.reason {
            Reason::Member => "a member needs a `=`",
            Reason::Members => "it has more than 32 members",
            Reason::Key => {
                "a key starts with a-z or 0-9 and has 1 to 256 characters of a-z, 0-9, `_`, `-`, `*`, `/`, `@`"
            }
            Reason::Value => {
                "a value has 1 to 256 printable ASCII characters without `,` and `=`, the last one no space"
            }
        })
    }
}

impl std::error::Error for InvalidTraceState {}

/// Checks a member, and returns its key.
fn check_member(member: &[u8]) -> Result<&[u8], InvalidTraceState> {
    let end = member
        .iter()
        .position(|byte| class(*byte) & KEY == 0)
        .unwrap_or(member.len());
    let (key, rest) = member.split_at(end);
    match rest {
        [b'=', value @ ..] => {
            check_key(key)?;
            check_value(value)?;
            Ok(key)
        }
        _ if member.contains(&b'=') => Err(Reason::Key.into()),
        _ => Err(Reason::Member.into()),
    }
}

fn has_key(member: &[u8], key: &[u8]) -> bool {
    member
        .strip_prefix(key)
        .is_some_and(|rest| rest.starts_with(b"="))
}

//= https://www.w3.org/TR/trace-context-2/#key
//# A key MUST begin with a lowercase letter or a digit and contain up to 256 characters including lowercase letters (a-z), digits (0-9), underscores (_), dashes (-), asterisks (*), forward slashes (/), and at signs (@).
fn check_key(key: &[u8]) -> Result<(), InvalidTraceState> {
    match key {
        [first, ..] if key.len() <= LENGTH && class(*first) & KEY_FIRST != 0 && all_are(key, KEY) => Ok(()),
        _ => Err(Reason::Key.into()),
    }
}

//= https://www.w3.org/TR/trace-context-2/#value
//# The value is an opaque string containing up to 256 printable ASCII [RFC0020] characters (i.e., the range 0x20 to 0x7E) except comma (,) and (=). The string must end with a character which is not a space (0x20).
fn check_value(value: &[u8]) -> Result<(), InvalidTraceState> {
    match value {
        [.., last] if value.len() <= LENGTH && *last != b' ' && all_are(value, VALUE) => Ok(()),
        _ => Err(Reason::Value.into()),
    }
}

fn all_are(bytes: &[u8], wanted: u8) -> bool {
    bytes.iter().fold(wanted, |common, byte| common & class(*byte)) == wanted
}

#[inline]
pub(super) fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

pub(super) const KEY_FIRST: u8 = 1;
pub(super) const KEY: u8 = 2;
pub(super) const VALUE: u8 = 4;

const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte < 0x7f {
        table[byte as usize] = match byte {
            b'a'..=b'z' | b'0'..=b'9' => KEY_FIRST | KEY | VALUE,
            b'_' | b'-' | b'*' | b'/' | b'@' => KEY | VALUE,
            b',' | b'=' => 0,
            b' '..=b'~' => VALUE,
            _ => 0,
        };
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads one line both ways: as it is received, and from text.
    fn parse(value: &[u8]) -> Option<String> {
        let line = FieldValue::from(value);
        let joined = TraceState::joined(std::iter::once(line)).ok();
        let received = TraceState::received(std::iter::once(line));
        assert_eq!(received, joined.clone().unwrap_or_default(), "{line:?}");
        joined.map(|state| state.to_string())
    }

    /// The same grammar, written the obvious way, on text and with sets.
    fn oracle(value: &[u8]) -> Option<String> {
        let text: String = value.iter().map(|byte| char::from(*byte)).collect();
        let mut seen = std::collections::HashSet::new();
        let mut kept = Vec::new();
        let mut total = 0;
        for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            total += 1;
            let parts: Vec<&str> = member.split('=').collect();
            let [key, value] = parts.as_slice() else {
                return None;
            };
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let key_is_fine =
                key.starts_with(letter) && key.chars().all(|c| letter(c) || "_-*/@".contains(c));
            let value_is_fine = value.chars().all(|c| (' '..='~').contains(&c));
            if !key_is_fine || !value_is_fine || value.is_empty() || key.len() > 256 || value.len() > 256 {
                return None;
            }
            if seen.insert(*key) {
                kept.push(format!("{key}={value}"));
            }
        }
        (total <= 32).then(|| kept.join(","))
    }

    /// Strings around the longest that is legal, which a pattern would take long to make.
    fn long() -> impl Strategy<Value = String> {
        (255_usize..258).prop_map(|length| "x".repeat(length))
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![8 => "[a-c0-9][a-z0-9@*/_-]{0,2}", 1 => "[@*A-Z _-]{0,3}", 1 => long()]
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![8 => "[ !-+.-<>-~]{0,4}[!-+.-<>-~]", 1 => "[ -~\\x7fé]{0,4}", 1 => long()]
    }

    fn valid_member() -> impl Strategy<Value = String> {
        (
            "[ \t]?",
            "[a-c][a-z0-9@*/_-]{0,2}",
            "[ !-+.-<>-~]{0,4}[!-+.-<>-~]",
            "[ \t]{0,2}",
        )
            .prop_map(|(before, key, value, after)| format!("{before}{key}={value}{after}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn reads_what_the_oracle_reads(
            members in proptest::collection::vec(("[ \t]?", key(), "=|=|=|=|==| =|", value(), "[ \t]?"), 0..4),
        ) {
            let members: Vec<_> = members.into_iter().map(|(a, b, c, d, e)| [a, b, c, d, e].concat()).collect();
            let list = members.join(",");
            prop_assert_eq!(parse(list.as_bytes()), oracle(list.as_bytes()), "{:?}", list);
        }

        #[test]
        fn reads_what_the_oracle_reads_in_noise(value: Vec<u8>) {
            prop_assert_eq!(parse(&value), oracle(&value));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn reads_what_the_oracle_reads_of_long_lists(
            members in proptest::collection::vec(prop_oneof![12 => valid_member(), 1 => "[ \t]?"], 0..36),
        ) {
            let list = members.join(",");
            prop_assert_eq!(parse(list.as_bytes()), oracle(list.as_bytes()), "{:?}", list);
        }

        #[test]
        fn what_is_read_reads_back_unchanged(members in proptest::collection::vec(valid_member(), 0..33)) {
            let once = parse(members.join(" ,\t").as_bytes()).unwrap();
            prop_assert_eq!(parse(once.as_bytes()), Some(once));
        }
    }

    fn numbered(members: usize) -> String {
        let members: Vec<_> = (0..members).map(|n| format!("k{n}={n}")).collect();
        members.join(",")
    }

    //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
    //= type=test
    //# There can be a maximum of 32 list-members in a list.
    #[test]
    fn thirty_two_members_at_most() {
        assert_eq!(parse(numbered(32).as_bytes()), Some(numbered(32)));
        assert_eq!(parse(numbered(33).as_bytes()), None);
        let empties = numbered(32).replace(',', ", ,\t,");
        assert_eq!(parse(empties.as_bytes()), Some(numbered(32)));
        assert_eq!(parse(vec!["a=1"; 33].join(",").as_bytes()), None);
        assert_eq!(
            parse(vec!["a=1"; 32].join(",").as_bytes()).as_deref(),
            Some("a=1")
        );
    }

    //= https://www.w3.org/TR/trace-context-2/#key
    //= type=test
    //# A key MUST begin with a lowercase letter or a digit and contain up to 256 characters including lowercase letters (a-z), digits (0-9), underscores (_), dashes (-), asterisks (*), forward slashes (/), and at signs (@).
    #[test]
    fn keys() {
        let longest = "k".repeat(256);
        for good in [
            "a",
            "0",
            "0@x",
            "a@b@c",
            "a*/_-@",
            &longest,
            "tenant0000000000000@system",
        ] {
            assert!(parse(format!("{good}=1").as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            "A",
            "_a",
            "@a",
            "-a",
            "a b",
            "a ",
            "ä",
            "a;",
            "a.b",
            &"k".repeat(257),
        ] {
            assert!(parse(format!("{bad}=1").as_bytes()).is_none(), "{bad}");
        }
    }

    //= https://www.w3.org/TR/trace-context-2/#value
    //= type=test
    //# All leading spaces MUST be preserved as part of the value. All trailing spaces are considered to be optional whitespace characters not part of the value.
    //= https://www.w3.org/TR/trace-context-2/#value
    //= type=test
    //# The value is an opaque string containing up to 256 printable ASCII [RFC0020] characters (i.e., the range 0x20 to 0x7E) except comma (,) and (=). The string must end with a character which is not a space (0x20).
    #[test]
    fn values() {
        assert_eq!(parse(b"a=  1 ").as_deref(), Some("a=  1"));
        assert_eq!(
            parse(format!("a={}", "~".repeat(256)).as_bytes()).map(|s| s.len()),
            Some(258)
        );
        for bad in ["", " ", "\t1", "a=b", "é", "\x7f", "1\t2", &"~".repeat(257)] {
            assert!(parse(format!("a={bad}").as_bytes()).is_none(), "{bad:?}");
        }
        for bad in ["1 ", "", "a,b", "a=b", "\n"] {
            assert!(TraceState::EMPTY.with("a", bad).is_err(), "{bad:?}");
        }
    }

    //= https://www.w3.org/TR/trace-context-2/#mutating-the-tracestate-field
    //= type=test
    //# Modified keys MUST be moved to the beginning (left) of the list.
    //= https://www.w3.org/TR/trace-context-2/#mutating-the-tracestate-field
    //= type=test
    //# When mutating tracestate, the order of unmodified key/value pairs MUST be preserved.
    #[test]
    fn changes_move_to_the_left_and_the_rest_stays() {
        let state: TraceState = "a=1,b= 2,c=3".parse().unwrap();
        assert_eq!(state.with("b", "9").unwrap().to_string(), "b=9,a=1,c=3");
        assert_eq!(state.with("d", "9").unwrap().to_string(), "d=9,a=1,b= 2,c=3");
        assert_eq!(state.with("b", " 2").unwrap(), state);
        assert_eq!(state.without("b").to_string(), "a=1,c=3");
        assert_eq!(state.without("x"), state);
        assert_eq!(format!("{state:?}"), r#"{"a": "1", "b": " 2", "c": "3"}"#);
    }

    //= https://www.w3.org/TR/trace-context-2/#tracestate-header-field-values
    //= type=test
    //# If adding an entry would cause the tracestate list to contain more than 32 list-members the right-most list-member should be removed from the list.
    #[test]
    fn the_thirty_third_pushes_out_the_last() {
        let full: TraceState = numbered(32).parse().unwrap();
        let more = full.with("new", "x").unwrap();
        assert_eq!(more.to_string(), format!("new=x,{}", numbered(31)));
        let changed = full.with("k31", "x").unwrap();
        assert_eq!(changed.to_string(), format!("k31=x,{}", numbered(31)));
    }

    //= https://www.w3.org/TR/trace-context-2/#tracestate-limits
    //= type=test
    //# Vendors SHOULD propagate at least 512 characters of a combined header.
    #[test]
    fn long_lists_survive_whole() {
        let members: Vec<_> = (0..32).map(|n| format!("k{n}={}", "v".repeat(256))).collect();
        let list = members.join(",");
        assert_eq!(parse(list.as_bytes()), Some(list));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let why = |list: &str| list.parse::<TraceState>().unwrap_err().to_string();
        assert_eq!(why("a"), "build a tracestate: a member needs a `=`");
        assert_eq!(
            why(&numbered(33)),
            "build a tracestate: it has more than 32 members"
        );
        assert!(why("A=1").contains("a key starts"));
        assert!(why("a=é").contains("a value has"));
    }
}
