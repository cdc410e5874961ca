use crate::rejected::Rejected;

/// Something that a policy decided.
///
/// # Examples
///
/// ```
/// use cortex_resilience::Event;
///
/// fn is_worth_a_line(event: &Event) -> bool {
///     !matches!(event, Event::Ignored | Event::Late)
/// }
/// assert!(!is_worth_a_line(&Event::Late));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A call was refused.
    Rejected(Rejected),
    /// A call ended in a way that says nothing about the dependency.
    Ignored,
    /// A call ended after the state that it began in, so that its result counts for nothing.
    Late,
}
