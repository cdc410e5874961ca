/// What is inside a policy of a [`Pipeline`](super::Pipeline): other policies, and the [`Operation`](super::parts::Operation) at last.
///
/// It is implemented by what [`Pipeline::new`](super::Pipeline::new) makes, and by nothing else.
pub trait Stages {
    /// A classifier that looks through them.
    type Through<C>;

    /// Has a classifier look through them.
    fn through<C>(classify: C) -> Self::Through<C>;
}

/// Around a future that is made for one call.
pub trait Execute<'a, Op>: Stages {
    /// The future behind all the policies.
    type Future;

    /// Begins a call.
    fn execute(&'a self, operation: Op) -> Self::Future;
}

/// Around futures of which there are several for one call.
pub trait Attempts<'a, Op>: Stages {
    /// The future behind all the policies.
    type Future;

    /// Begins an attempt, which calls the operation at its first poll.
    fn attempt(&'a self, operation: &mut Op, attempt: crate::attempt::Attempt) -> Self::Future;
}

/// Around services. The requests say which of them are sent again.
#[cfg(feature = "tower")]
pub trait Serve<I, P>: Stages {
    /// The service behind all the policies.
    type Service;

    /// Puts a service behind them.
    fn serve(&self, service: I, requests: &P) -> Self::Service;
}
