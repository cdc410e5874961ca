use super::operation::Operation;
use super::policy::Policy;
use super::stages::Stages;

/// Policies, the outermost first: a tuple of one to eight.
pub trait Policies {
    /// All of them around others.
    type Over<Rest: Stages>: Stages;

    /// Puts them around others.
    fn over<Rest: Stages>(self, rest: Rest) -> Self::Over<Rest>;
}

/// What [`Pipeline::new`](super::Pipeline::new) makes of policies.
pub(super) type All<P> = <P as Policies>::Over<Operation>;

impl Policies for () {
    type Over<Rest: Stages> = Rest;

    fn over<Rest: Stages>(self, rest: Rest) -> Rest {
        rest
    }
}

macro_rules! tuples {
    ($($first:ident $($more:ident)*;)*) => {$(
        impl<$first: Policy $(, $more: Policy)*> Policies for ($first, $($more,)*) {
            type Over<Rest: Stages> = $first::Over<<($($more,)*) as Policies>::Over<Rest>>;

            fn over<Rest: Stages>(self, rest: Rest) -> Self::Over<Rest> {
                #[expect(non_snake_case, reason = "a value for each type")]
                let ($first, $($more,)*) = self;
                $first.over(Policies::over(($($more,)*), rest))
            }
        }
    )*};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}
